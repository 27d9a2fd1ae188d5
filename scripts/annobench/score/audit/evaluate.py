"""The audit of one evaluation: every metric on methods and controls, marker biology, and what figures show of cells."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.cells.stored_cells import read_cells, store_folder
from annobench.core.parquet import read_columns, write_columns
from annobench.fit.decisions import SAMPLE, sample
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup, siblings_merged
from annobench.score.audit import controls
from annobench.score.audit.tissue import train_on
from annobench.score.confidence import RECOMMENDED
from annobench.score.marker_table import read_markers
from annobench.score.metrics import confidence_rules as selection
from annobench.score.metrics import markers
from annobench.score.metrics.base import Row, Scored
from annobench.score.metrics.registry import FAMILIES
from annobench.score.score_fit import judged_rules, read_scored, rolled_up
from annobench.score.truths import Truths, read_truths, rolled_codes

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

DEG_GENES = 2000  # differential expression looks at the most variable genes where more are measured
HEAT_GENES = 4  # genes of each type in the heat map
_PER_CLASS = "per_class"
TABLES = {
    "metrics": ["split", "seed", "kind", "name", "family", "metric", "variant", "rule", "value"],
    "types": ["split", "seed", "name", "reading", "label_id", "metric", "value"],
    "degs": ["name", "gene_of", "gene", "label_id", "value"],
    "spatial": ["name", "cell_id", "x", "y", "true", "predicted", "confidence"],
}


_Rules = tuple[Any, list[selection.Judged]]  # positions of the cells with decision values, and every rule on them


@dataclass
class Tables:
    """Rows of the tables that an audit writes."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def add(self, table: str, *values: Any) -> None:
        """One row."""
        self.rows[table].append(values)

    def write(self, outputs: Mapping[str, Path]) -> None:
        """Write all tables; one without rows has its columns all the same."""
        for name, columns in TABLES.items():
            values = zip(*self.rows[name], strict=True) if self.rows[name] else [[]] * len(columns)
            write_columns(outputs[name], dict(zip(columns, map(list, values), strict=True)))


def audit_evaluation(settings: Mapping[str, Any], ontology: Ontology, outputs: Mapping[str, Path]) -> None:
    """Audit one evaluation of a dataset, from what lies under results/.

    `settings`: dataset; cells, obs and unrelated (paths, unrelated may be None); splits (each with split, seed, roles,
    train, panel, and fits: method -> folder); rollup and merge (rules or None); markers (path or None); bins.
    `outputs` has metrics, types, degs and spatial.
    """
    path = Path(settings["cells"])
    cells = None if store_folder(path) else read_cells(path)  # a file is read once; of a store what is looked at
    table = read_markers(settings["markers"], ontology) if settings["markers"] else {}
    found = Tables()
    first = True
    for split in settings["splits"]:
        runs = {m: RunRecord.read(Path(folder) / "run.json") for m, folder in split["fits"].items()}
        runs = {m: run for m, run in runs.items() if run.has("predictions")}
        if runs:  # without a method there is nothing to judge metrics by
            _Audit(settings, split, cells, ontology, table, found, runs, first).run()
            first = False
    found.write(outputs)


class _Audit:
    """One split with one seed."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        split: Mapping[str, Any],
        cells: "AnnData | None",
        ontology: Ontology,
        table: Mapping[str, list[str]],
        found: Tables,
        runs: Mapping[str, RunRecord],
        first: bool,
    ) -> None:
        from annobench.cells.panel import measured, restricted

        self.settings, self.split, self.ontology, self.found, self.first = settings, split, ontology, found, first
        self.truths: Truths = read_truths(
            Path(settings["obs"]), Path(split["roles"]), Path(split["train"]), ontology, settings["rollup"]
        )
        known = np.flatnonzero(self.truths.known)
        self.labelled = len(known) > 0
        # a query without labels: what needs no truth can be computed all the same
        chosen = known if self.labelled else np.arange(len(self.truths.known))
        if len(chosen) > SAMPLE:  # enough for means, and what bounds the memory: the cells that have decision values
            chosen = np.intersect1d(chosen, sample(len(self.truths.known), split["seed"]))
        self.truths = self.truths.of(chosen)
        self.ids = self.truths.ids.to_pylist()
        if cells is None:
            looked_at = read_cells(settings["cells"], self.truths.places)
        else:
            looked_at = cells[cells.obs_names.get_indexer(self.ids)]
        mask = measured(looked_at.var, Path(split["panel"]) if split["panel"] else None)
        self.query = restricted(looked_at, mask)
        self.table = table
        self.where = (split["split"], split["seed"])
        self.runs = runs

    def run(self) -> None:
        """Fill the tables."""
        bins = self.settings["bins"]
        methods = {
            m: read_scored(Path(self.split["fits"][m]), run, self.truths, self.ontology, bins)
            for m, run in self.runs.items()
        }
        judged = {
            m: judged_rules(Path(self.split["fits"][m]), scored, self.truths)
            for m, scored in methods.items()
            if self.runs[m].has("decisions")
        }
        labellings = methods
        if self.labelled:
            oracle = self._basis.certain(self._basis.scored.truth)
            labellings = {"oracle": oracle, **self._controls(), **methods}
            for name, scored in labellings.items():
                self._families("method" if name in methods else "control", name, scored)
            for name, (_, rules) in judged.items():
                self._rows("method", name, selection.rows(rules, bins))
        self._markers(labellings, list(methods))
        if self.first and "spatial" in self.query.obsm:
            self._spatial(methods, judged)

    def _families(self, kind: str, name: str, scored: Scored) -> None:
        """Every metric that compares with the truth; values of single classes have no verdict."""
        for family, compute in FAMILIES.items():
            if family != _PER_CLASS:
                self._rows(kind, name, compute(scored))

    def _rows(self, kind: str, name: str, rows: Iterator[Row] | Any) -> None:
        for row in rows:
            # among the answers of a wrong model the few right ones are of types that both tissues have
            beside = name == "unrelated_tissue" and row.metric == "auroc_correct"
            if row.level in ("overall", "rule") and not beside:
                rule = row.group if row.level == "rule" else "-"
                self.found.add(
                    "metrics", *self.where, kind, name, row.family, row.metric, row.label_set, rule, float(row.value)
                )

    @cached_property
    def _basis(self) -> controls.Basis:
        """What controls are made from."""
        truth = self.truths.labels
        empty = Scored.of(truth, [truth], self.truths.training, self.ontology, bins=self.settings["bins"])
        fine = read_columns(self.split["train"], ["label_id"], categorical=["label_id"])["label_id"]
        counts = rolled_codes(fine, self.truths.rollup, self.ontology).counts()
        known = sum(n for name, n in counts.items() if name != UNKNOWN)
        shares = {name: n / known for name, n in counts.items() if name != UNKNOWN}
        return controls.Basis(empty, shares, len(set(fine.counts()) - {UNKNOWN}), self.split["seed"])

    def _controls(self) -> dict[str, Scored]:
        """All controls but the oracle; of noise and the other tissue the confidence rules as well."""
        basis = self._basis
        truth, bins = basis.scored.truth, self.settings["bins"]
        found = basis.without_information(5)
        self._rows("control", "noise", selection.rows(controls.noise_rules(basis, found["noise"]), bins))
        merge = self.settings["merge"]
        table = Rollup.from_config(merge, self.ontology).table(truth, self.ontology) if merge else {}
        if all(key == value for key, value in table.items()):  # nothing to merge by that rule
            table = siblings_merged(sorted(set(truth) - {UNKNOWN}), self.ontology)
        if any(key != value for key, value in table.items()):
            found["merged"] = basis.certain(controls.merged_labels(truth, table))
        if self.settings["unrelated"]:
            model = train_on(Path(self.settings["unrelated"]), self.query, self.split["seed"])
            if model is not None:
                scored = basis.ranked(model.decisions, model.classes, 5)
                if self.truths.rollup:
                    scored = rolled_up(scored, self.truths.rollup)
                found["unrelated_tissue"] = scored
                self._rows(
                    "control",
                    "unrelated_tissue",
                    selection.rows(controls.tissue_rules(model, scored, np.arange(scored.n)), bins),
                )
        return found

    # markers

    def _markers(self, labellings: Mapping[str, Scored], methods: list[str]) -> None:
        from annobench.cells.expression import log_normalised, variable_genes

        self._gene_overlap(methods)
        matrix = log_normalised(self.query)
        sets = markers.MarkerSet.measured(self.table, list(self.query.var["feature_name"].astype(str)))
        plain = {name: scored.labels[:, 0] for name, scored in labellings.items()}
        basis = [plain["oracle"]] if self.labelled else list(plain.values())
        types = {sets.nearest(label, self.ontology) for labels in basis for label in set(labels)} - {UNKNOWN}
        if len(types) < 2:
            return  # the marker table says nothing of these cells
        tested = variable_genes(matrix, DEG_GENES)
        used = np.union1d(tested, np.concatenate(list(sets.genes.values())))  # all others stay sparse
        place = np.full(matrix.shape[1], -1)
        place[used] = np.arange(len(used))
        sets = markers.MarkerSet({t: place[genes] for t, genes in sets.genes.items()})
        self.symbols = self.query.var["feature_name"].astype(str).to_numpy()[used]
        expression = markers.Expression(matrix[:, used].toarray(), place[tested])
        best, scores, names = expression.argmax_labels(sets.among(types))
        if self.labelled:
            found = self._basis.ranked(scores * np.sqrt(len(names)), names, 5)
            self._families("control", "marker_argmax", found)
        self._reading("published", expression, {**plain, "marker_argmax": best}, sets, methods)
        self._fair_reading(expression, plain, sets, types, methods)
        if self.first:
            self._heat_map(expression, plain, methods)

    def _gene_overlap(self, methods: list[str]) -> None:
        for name in (*methods, "majority"):
            # a model that was trained on the measured genes has all of them, even if it looks at none
            genes = self.runs[name].genes if name in methods else {"train": 1, "test": 1}
            of_model, shared = genes.get("model", genes["train"]), genes.get("shared", genes["test"])
            kind = "method" if name in methods else "control"
            self._rows(kind, name, [_overall("gene_overlap", "published", shared / of_model)])
            self._rows(kind, name, [_overall("panel_use", "published", shared / genes["test"])])

    def _fair_reading(
        self,
        expression: markers.Expression,
        plain: Mapping[str, "NDArray[Any]"],
        sets: markers.MarkerSet,
        types: set[str],
        methods: list[str],
    ) -> None:
        """Common cells and common types of the methods and the truth; one half of the markers is kept for judging."""
        use, judge = sets.halves()
        halved = [t for t in sorted(types) if t in use.genes]
        if len(halved) < 2:
            return
        best, _, _ = expression.argmax_labels(use.among(halved))
        nearest = {
            name: np.array([judge.nearest(label, self.ontology) for label in labels], dtype=object)
            for name, labels in {**plain, "marker_argmax": best}.items()
        }
        compared = self._comparable(nearest, methods)
        common = np.all([nearest[name] != UNKNOWN for name in compared], axis=0)
        shared = set.intersection(*(_used(nearest[name][common]) for name in compared))
        if len(shared) < 2:
            return
        kept = markers.Expression(expression.values[common], expression.genes_for_degs)
        cut = {name: labels[common] for name, labels in nearest.items() if name in compared or name not in methods}
        # a control that lacks one of the common types would be averaged over other types than the methods
        cut = {name: labels for name, labels in cut.items() if shared <= _used(labels)}
        self._reading("fair", kept, cut, judge.among(shared), methods)

    def _comparable(self, nearest: Mapping[str, "NDArray[Any]"], methods: list[str]) -> list[str]:
        """The truth and the methods that use at least half of its types: a poor one must not end the comparison."""
        if not self.labelled:
            return methods
        wanted = _used(nearest["oracle"])
        able = [name for name in methods if 2 * len(_used(nearest[name]) & wanted) >= len(wanted)]
        return ["oracle", *able]

    def _reading(
        self,
        reading: str,
        expression: markers.Expression,
        labellings: Mapping[str, "NDArray[Any]"],
        sets: markers.MarkerSet,
        methods: list[str],
    ) -> None:
        """The metrics of every labelling, and of every type of it."""
        for name, labels in labellings.items():
            own = sorted(set(labels) - {UNKNOWN})
            values, of_types = markers.judged(
                expression, labels, sets, own if reading == "published" else sorted(sets.genes)
            )
            kind = "method" if name in methods else "control"
            self._rows(kind, name, [_overall(metric, reading, value) for metric, value in values.items()])
            for label_id, of_type in of_types.items():
                for metric, value in of_type.items():
                    self.found.add("types", *self.where, name, reading, label_id, metric, float(value))

    def _heat_map(
        self, expression: markers.Expression, labellings: Mapping[str, "NDArray[Any]"], methods: list[str]
    ) -> None:
        """Mean expression of the top genes of every type in all types, standardised over the types, within 2.5."""
        for name in ("oracle", *methods) if self.labelled else methods:
            labels = labellings[name]
            types = [t for t in sorted(set(labels) - {UNKNOWN}) if (labels == t).sum() >= markers.MIN_CELLS]
            degs = markers.top_genes(expression, labels, types, HEAT_GENES)
            if len(degs) < 2:
                continue
            means = np.array([expression.values[labels == t].mean(axis=0) for t in degs])
            for of, (genes, _) in degs.items():
                for gene in genes:
                    spread = means[:, gene].std()
                    scaled = (means[:, gene] - means[:, gene].mean()) / (spread if spread > 0 else 1)
                    for label_id, value in zip(degs, np.clip(scaled, -2.5, 2.5), strict=True):
                        self.found.add("degs", name, of, self.symbols[gene], label_id, float(value))

    def _spatial(self, methods: Mapping[str, Scored], judged: Mapping[str, "_Rules"]) -> None:
        """Where every test cell lies, what it is, and what the methods say of it with which confidence."""
        places = np.asarray(self.query.obsm["spatial"], dtype=float)
        for name, scored in methods.items():
            cells, rules = judged.get(name, (np.empty(0, dtype=int), []))
            confidence = np.full(scored.n, np.nan) if scored.confidence is None else scored.confidence
            for one in rules:
                if one.rule == RECOMMENDED:
                    confidence = np.full(scored.n, np.nan)
                    confidence[cells] = one.test
            truth, labels = scored.truth, scored.labels[:, 0]
            for i, cell in enumerate(self.ids):
                self.found.add(
                    "spatial", name, cell, places[i, 0], places[i, 1], truth[i], labels[i], float(confidence[i])
                )


def _used(labels: "NDArray[Any]") -> set[str]:
    """Types with enough cells to be judged."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {str(name) for name, n in zip(names, counts, strict=True) if n >= markers.MIN_CELLS} - {UNKNOWN}


def _overall(metric: str, reading: str, value: float) -> Row:
    return Row("markers", metric, reading, "overall", "all", float(value), 0)
