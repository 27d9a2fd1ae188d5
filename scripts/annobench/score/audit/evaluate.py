"""The audit of one evaluation: every metric on methods and controls, marker biology, and what figures show of cells."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.panel import measured, restricted
from annobench.cells.stored_cells import read_cells, store_folder
from annobench.config.names import SAMPLE
from annobench.config.results import Results
from annobench.core.paths import ROOT
from annobench.fit.decisions import read_decisions, sample
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.audit.biology import Biology, record_gene_overlap
from annobench.score.audit.controls import CONTROLS, Basis, made
from annobench.score.audit.embeddings import ControlEvidence, EmbeddingBasis, drawn, positions_alone
from annobench.score.audit.label_noise import Answers
from annobench.score.audit.margins import Margins, Samples, values_of
from annobench.score.audit.perturbations import FAMILIES as OF_PERTURBATIONS
from annobench.score.audit.perturbations import TrainingCells, record_perturbations
from annobench.score.audit.tables import Recorder, Tables
from annobench.score.confidence import CALIBRATED
from annobench.score.confidence_rules import compared_rules
from annobench.score.evidence import Evidence, FitEvidence
from annobench.score.join import read_scored
from annobench.score.marker_table import read_markers
from annobench.score.metrics.confidence import rows as rows_of_rules
from annobench.score.orthologues import read_pairs
from annobench.score.perturbation.reading import control_name
from annobench.score.registry import rows_of, runnable
from annobench.score.scored import Scored
from annobench.score.spec import AuditedFits, AuditSpec, audited_fits
from annobench.score.truths import Truths, read_truths, rolled, rollup_of
from annobench.score.units import PLURALS, Units, resampling_units

if TYPE_CHECKING:
    from anndata import AnnData


def audit_evaluation(
    spec: AuditSpec, dataset: Mapping[str, Path], results: Results, ontology: Ontology, outputs: Mapping[str, Path]
) -> None:
    """Audit one evaluation of a dataset.

    Parameters
    ----------
    spec
        What of the study counts.
    dataset
        `cells` and `obs` of the dataset.
    results
        Where splits and fits lie.
    ontology
        Relates the labels.
    outputs
        Files to write: `metrics`, `margins`, `types`, `degs`, `spatial`, `places`, `label_noise`,
        `disputed`, `misplaced` and `predicted`.
    """
    path = dataset["cells"]
    cells = None if store_folder(path) else read_cells(path)  # a file is read once; of a store what is looked at
    table = read_markers(ROOT / spec.markers, ontology) if spec.markers else {}
    tables, samples, kinds, answers = Tables(), Samples(ontology), set(), Answers(ontology, spec.primary)
    first = True
    for split in audited_fits(spec, results):
        runs = {method: RunRecord.read(folder / "run.json") for method, folder in split.fits.items()}
        runs = {method: run for method, run in runs.items() if run.ok}
        if runs:  # without a method there is nothing to compare metrics on
            audit = _SplitAudit(spec, split, runs, ontology, dataset=dataset, cells=cells)
            if first and table and spec.orthologues:
                table = read_pairs(Path(spec.orthologues)).carried(table, audit.query.var["feature_name"])
            audit.record(tables, table, first=first)
            if audit.labelled:
                audit.count(samples, answers)
                kinds.add(PLURALS[audit.units.kind])
            first = False
    margins = Margins(values_of(tables.rows["metrics"]), samples, " and ".join(sorted(kinds)), spec.level)
    tables.rows["margins"] += margins.rows()
    tables.rows["label_noise"] += answers.noise_rows()
    tables.rows["disputed"] += answers.disputed_rows()
    tables.rows["misplaced"] += answers.misplaced_rows()
    tables.write(outputs)


_NOT_JUDGED = ("per_class", *OF_PERTURBATIONS)  # values of single classes have no verdict; the others own controls


class _SplitAudit:
    """One split with one seed.

    Parameters
    ----------
    spec, split, runs
        What is audited, where its files are, and the records of the fits that are ok.
    ontology
        Relates the labels.
    dataset
        `cells` and `obs` of the dataset.
    cells
        The cells, where they are in memory.
    """

    def __init__(
        self,
        spec: AuditSpec,
        split: AuditedFits,
        runs: Mapping[str, RunRecord],
        ontology: Ontology,
        *,
        dataset: Mapping[str, Path],
        cells: "AnnData | None",
    ) -> None:
        self.spec, self.split, self.ontology, self.runs, self.obs = spec, split, ontology, runs, dataset["obs"]
        self.cells = dataset["cells"]
        self._controls: dict[str, Evidence] = {}  # labellings of controls, as they are recorded
        truths = read_truths(dataset["obs"], split.roles, split.train, ontology, rollup_of(spec.rollup, ontology))
        self._tested = truths
        known = np.flatnonzero(truths.known)
        self.labelled = len(known) > 0
        # a query without labels: what needs no truth can be computed all the same
        chosen = known if self.labelled else np.arange(len(truths.known))
        if len(chosen) > SAMPLE:  # enough for means, and what bounds the memory: the cells that have decision values
            chosen = np.intersect1d(chosen, sample(len(truths.known), split.seed))
        self.truths: Truths = truths.of(chosen)
        self.ids: list[str] = self.truths.ids.to_pylist()
        if cells is None:
            looked_at = read_cells(dataset["cells"], self.truths.places)
        else:
            looked_at = cells[cells.obs_names.get_indexer(self.ids)]
        self.query: AnnData = restricted(looked_at, measured(looked_at.var, split.panel))

    @cached_property
    def evidence(self) -> dict[str, FitEvidence]:
        """What every method left behind."""
        return {
            method: FitEvidence(
                self.split.fits[method],
                run,
                self.truths,
                self.ontology,
                bins=self.spec.bins,
                min_units=self.spec.min_units,
                obs=self.obs,
                columns=self.spec.columns,
                options=self.spec.options,
                seed=self.split.seed,
                cells=self.cells if control_name(self.cells) else None,
            )
            for method, run in self.runs.items()
        }

    @cached_property
    def methods(self) -> dict[str, Scored]:
        """The methods that predict labels."""
        if self.labelled:
            return {method: one.scored for method, one in self.evidence.items() if "predictions" in one.has}
        return {
            method: read_scored(self.split.fits[method], run, self.truths, self.ontology, bins=self.spec.bins)
            for method, run in self.runs.items()
            if run.has("predictions")
        }

    @cached_property
    def basis(self) -> Basis:
        """What controls are made from."""
        truths, truth = self.truths, self.truths.labels
        empty = Scored.of(truth, [truth], truths.training, self.ontology, bins=self.spec.bins)
        fine = np.array(list(truths.class_sizes), dtype=object)
        sizes: dict[str, int] = {}
        for label, n in zip(rolled(fine, truths.rollup, self.ontology), truths.class_sizes.values(), strict=True):
            sizes[str(label)] = sizes.get(str(label), 0) + n
        known = {label: sizes[label] for label in sorted(sizes) if label != UNKNOWN}
        return Basis(
            empty,
            {label: n / sum(known.values()) for label, n in known.items()},
            len(fine),
            self.split.seed,
            rollup=truths.rollup,
            merge=rollup_of(self.spec.merge, self.ontology),
            unrelated=Path(self.spec.unrelated) if self.spec.unrelated else None,
            query=self.query,
        )

    def record(self, tables: Tables, table: Mapping[str, list[str]], *, first: bool) -> None:
        """Fill the tables; the heat map and the cells in space are of the first split."""
        shares = "training" if self.truths.trained else "tested"
        recorder = Recorder(tables, self.split.split, self.split.seed, shares)
        controls = self._record_scores(recorder) if self.labelled else {}
        if not self.labelled:
            self._record_predicted(recorder)
        if self.labelled:
            self._record_embeddings(recorder, first)
        if self.methods and self.query.n_vars and self._wants("markers"):
            self._record_biology(recorder, {**controls, **self.methods}, table, first)
        training = TrainingCells(self.cells, self.obs, self.split.roles)
        record_perturbations(recorder, self.evidence, training, self.split.seed, self.spec.families)
        if first and "spatial" in self.query.obsm:
            self._record_spatial(recorder)

    @cached_property
    def units(self) -> Units:
        """The unit of every cell."""
        return resampling_units(self.truths, self.spec.min_units)

    def count(self, samples: Samples, answers: Answers) -> None:
        """What margins are resampled from, and the answers for every cell."""
        key = (self.split.split, self.split.seed)
        columns = self.truths.columns
        answers.add_cells(key, self.ids, self.truths.labels, columns["study"], columns["donor"])
        every = [("control", name, one) for name, one in self._controls.items()]
        for kind, name, evidence in every + [("method", name, one) for name, one in self.evidence.items()]:
            if "predictions" in evidence.has:
                samples.add((kind, name), key, evidence, self.units)
                answers.add((kind, name), key, evidence.scored)

    def _control(self, name: str, scored: Scored) -> Evidence:
        """The labelling of a control, with the units of its cells."""
        self._controls[name] = evidence = Evidence(scored)
        evidence.units = self.units
        return evidence

    def _record_scores(self, recorder: Recorder) -> dict[str, Scored]:
        """Every metric that compares with the truth, on controls and methods; returns the controls."""
        controls = made(self.basis) if self.methods else {}  # there is nothing to compare labels with
        for name, scored in controls.items():
            if (rules := CONTROLS[name].rules) and self._wants("confidence"):
                recorder.metrics("control", name, rows_of_rules(rules(self.basis, scored), self.spec.bins))
        for name, scored in controls.items():
            self._record_families(recorder, "control", name, self._control(name, scored))
        for name, evidence in self.evidence.items():
            self._record_families(recorder, "method", name, evidence)
        return controls

    def _wants(self, family: str) -> bool:
        """Whether the evaluation scores a family that is computed here beside the evidence of a fit."""
        return self.spec.families is None or family in self.spec.families

    def _record_families(self, recorder: Recorder, kind: str, name: str, evidence: Evidence) -> None:
        """All families that are judged, but those that have controls of their own."""
        recorder.metrics(kind, name, rows_of(evidence, self.spec.families, but=_NOT_JUDGED))

    def _record_embeddings(self, recorder: Recorder, first: bool) -> None:
        """The families of embeddings on control embeddings, where they run on a method; and maps of the first split."""
        families = self.spec.families
        of_methods = {
            name: one
            for name, one in self.evidence.items()
            if any("embedding" in family.needs for family in runnable(one, families, but=_NOT_JUDGED))
        }
        if not of_methods:
            return
        like = next(iter(of_methods.values()))
        for name, control in CONTROLS.items():
            basis = EmbeddingBasis(like, self.query, self.basis.rng(name))
            points = control.embed(basis) if control.embed else None
            truth = control.rule is None  # of labels and of an order it is not the same
            if points is not None:
                evidence = ControlEvidence(like, points, but=("order",) if truth else ())
                self._record_families(recorder, "control", name, evidence)
            if truth and "order" in like.has:
                evidence = ControlEvidence(like, positions_alone(basis), but=("labels",))
                self._record_families(recorder, "control", name, evidence)
        for name, one in of_methods.items() if first else ():
            cells, places = drawn(one.embedding, self.split.seed)
            labels = [one.label_names[code] for code in one.label_codes[cells]]
            called = self.methods[name].labels[cells, 0] if name in self.methods else [""] * len(cells)
            for cell, (x, y), label, predicted in zip(cells, places, labels, called, strict=True):
                recorder.places(name, self.ids[cell], float(x), float(y), label, predicted)

    def _record_biology(
        self, recorder: Recorder, labellings: Mapping[str, Scored], table: Mapping[str, list[str]], first: bool
    ) -> None:
        for name in self.methods:
            genes = self.runs[name].genes
            if genes:
                record_gene_overlap(recorder, "method", name, genes)
        record_gene_overlap(recorder, "control", "majority", {"train": 1, "test": 1})
        labels = {name: scored.labels[:, 0] for name, scored in labellings.items()}
        biology = Biology(self.query, table, self.ontology, labels, list(self.methods))
        if len(biology.types) < 2:
            return  # the marker table says nothing of these cells
        if self.labelled:
            _, scores, types = biology.argmax
            best = self.basis.ranked(scores * np.sqrt(len(types)), types)
            self._record_families(recorder, "control", "marker_argmax", self._control("marker_argmax", best))
        biology.record(recorder)
        if first:
            biology.record_heat_map(recorder)

    def _record_predicted(self, recorder: Recorder) -> None:
        """What methods say of a query without labels, of all its cells."""
        for method, run in self.runs.items():
            if run.has("predictions"):
                folder = self.split.fits[method]
                scored = read_scored(folder, run, self._tested, self.ontology, bins=self.spec.bins)
                recorder.predicted(method, scored)

    def _record_spatial(self, recorder: Recorder) -> None:
        """Where every test cell lies, what it is, and what the methods say of it with which confidence."""
        places = np.asarray(self.query.obsm["spatial"], dtype=float)
        for name, scored in self.methods.items():
            confidence = np.full(scored.n, np.nan) if scored.confidence is None else scored.confidence
            if self.runs[name].has("decisions"):
                decisions = read_decisions(self.split.fits[name] / "decisions.npz")
                cells, rules = compared_rules(decisions, scored, self.truths)
                for one in (one for one in rules if one.rule == CALIBRATED):
                    confidence = np.full(scored.n, np.nan)
                    confidence[cells] = one.test
            truth, labels = scored.truth, scored.labels[:, 0]
            for i, cell in enumerate(self.ids):
                recorder.spatial(name, cell, places[i, 0], places[i, 1], truth[i], labels[i], float(confidence[i]))
