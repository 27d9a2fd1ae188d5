"""Marker biology of the labellings of one split: metrics that need no truth, in two readings, and a heat map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.ontology import UNKNOWN, Ontology
from annobench.score.audit.tables import Recorder
from annobench.score.metric import Row
from annobench.score.metrics import markers

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    Labels = NDArray[np.object_]

DEG_GENES = 2000  # differential expression looks at the most variable genes where more are measured
HEAT_GENES = 4  # genes of each type in the heat map


@dataclass
class Biology:
    """The marker metrics of one split and seed.

    Parameters
    ----------
    query
        The tested cells with their measured genes.
    table
        Marker genes: type -> symbols.
    ontology
        Relates types with markers to the labels.
    labels
        Labelling -> first label of every cell, (n,). Where `oracle` is among them, its types count.
    methods
        Which of them are methods.
    """

    query: "AnnData"
    table: Mapping[str, Sequence[str]]
    ontology: Ontology
    labels: "Mapping[str, Labels]"
    methods: Sequence[str]

    @cached_property
    def _symbols(self) -> "Labels":
        return self.query.var["feature_name"].astype(str).to_numpy()

    @cached_property
    def _measured(self) -> markers.MarkerSet:
        return markers.MarkerSet.measured(self.table, list(self._symbols))

    @cached_property
    def types(self) -> set[str]:
        """Types with markers that the truth uses, or any method where there is no truth."""
        basis = [self.labels["oracle"]] if "oracle" in self.labels else list(self.labels.values())
        return {self._measured.nearest(label, self.ontology) for labels in basis for label in set(labels)} - {UNKNOWN}

    @cached_property
    def _looked_at(self) -> "tuple[markers.Expression, NDArray[np.intp]]":
        """Expression of the genes that are looked at, and their positions."""
        from annobench.cells.expression import log_normalised, variable_genes

        matrix = log_normalised(self.query)
        tested = variable_genes(matrix, DEG_GENES)
        used = np.union1d(tested, np.concatenate(list(self._measured.genes.values())))  # all others stay sparse
        return markers.Expression(matrix[:, used].toarray(), np.searchsorted(used, tested)), used

    @property
    def expression(self) -> markers.Expression:
        """Expression of the genes that are looked at."""
        return self._looked_at[0]

    @cached_property
    def sets(self) -> markers.MarkerSet:
        """The markers, as positions among the genes that are looked at."""
        used = self._looked_at[1]
        return markers.MarkerSet({t: np.searchsorted(used, genes) for t, genes in self._measured.genes.items()})

    @cached_property
    def argmax(self) -> "tuple[Labels, NDArray[np.float64], list[str]]":
        """The control `marker_argmax`: labels, scores (cells, types) and types."""
        return self.expression.argmax_labels(self.sets.among(self.types))

    def record(self, recorder: Recorder) -> None:
        """All marker metrics of both readings."""
        reading = {**self.labels, "marker_argmax": self.argmax[0]}
        self._record(recorder, "published", self.expression, reading, self.sets)
        self._record_fair(recorder)

    def _record_fair(self, recorder: Recorder) -> None:
        """Common cells and common types of the methods and the truth; one half of the markers is kept for scoring."""
        use, kept = self.sets.halves()
        halved = [t for t in sorted(self.types) if t in use.genes]
        if len(halved) < 2:
            return
        best, _, _ = self.expression.argmax_labels(use.among(halved))
        nearest = {
            name: np.array([kept.nearest(label, self.ontology) for label in labels], dtype=object)
            for name, labels in {**self.labels, "marker_argmax": best}.items()
        }
        compared = self._comparable(nearest)
        common = np.all([nearest[name] != UNKNOWN for name in compared], axis=0)
        shared = set.intersection(*(_used(nearest[name][common]) for name in compared))
        if len(shared) < 2:
            return
        cells = markers.Expression(self.expression.values[common], self.expression.genes_for_degs)
        cut = {name: labels[common] for name, labels in nearest.items() if name in compared or name not in self.methods}
        # a control that lacks one of the common types would be averaged over other types than the methods
        cut = {name: labels for name, labels in cut.items() if shared <= _used(labels)}
        self._record(recorder, "fair", cells, cut, kept.among(shared))

    def _comparable(self, nearest: "Mapping[str, Labels]") -> list[str]:
        """The truth and the methods that use at least half of its types: a poor method must not end the comparison."""
        if "oracle" not in self.labels:
            return list(self.methods)
        wanted = _used(nearest["oracle"])
        able = [name for name in self.methods if 2 * len(_used(nearest[name]) & wanted) >= len(wanted)]
        return ["oracle", *able]

    def _record(
        self,
        recorder: Recorder,
        reading: str,
        expression: markers.Expression,
        labellings: "Mapping[str, Labels]",
        sets: markers.MarkerSet,
    ) -> None:
        """The metrics of every labelling, and of every type of it."""
        for name, labels in labellings.items():
            own = sorted(set(labels) - {UNKNOWN})
            values, of_types = markers.marker_metrics(
                expression, labels, sets, own if reading == "published" else sorted(sets.genes)
            )
            kind = "method" if name in self.methods else "control"
            recorder.metrics(kind, name, [_overall(metric, reading, value) for metric, value in values.items()])
            recorder.types(name, reading, of_types)

    def record_heat_map(self, recorder: Recorder) -> None:
        """Mean expression of the top genes of every type in all types, standardised over the types, within 2.5."""
        symbols = self._symbols[self._looked_at[1]]
        for name in ("oracle", *self.methods) if "oracle" in self.labels else self.methods:
            labels = self.labels[name]
            types = [t for t in sorted(set(labels) - {UNKNOWN}) if (labels == t).sum() >= markers.MIN_CELLS]
            degs = markers.top_genes(self.expression, labels, types, HEAT_GENES)
            if len(degs) < 2:
                continue
            means = np.array([self.expression.values[labels == t].mean(axis=0) for t in degs])
            for of, (genes, _) in degs.items():
                for gene in genes:
                    deviation = means[:, gene].std()
                    scaled = (means[:, gene] - means[:, gene].mean()) / (deviation if deviation > 0 else 1)
                    for label_id, value in zip(degs, np.clip(scaled, -2.5, 2.5), strict=True):
                        recorder.degs(name, of, symbols[gene], label_id, float(value))


def record_gene_overlap(recorder: Recorder, kind: str, name: str, genes: Mapping[str, int]) -> None:
    """Genes that the model of a method and the query share, over those of the model and over those of the query.

    A model that was trained on the measured genes has all of them, even if it looks at none.
    """
    of_model, shared = genes.get("model", genes["train"]), genes.get("shared", genes["test"])
    recorder.metrics(kind, name, [_overall("gene_overlap", "published", shared / of_model)])
    recorder.metrics(kind, name, [_overall("panel_use", "published", shared / genes["test"])])


def _used(labels: "Labels") -> set[str]:
    """Types with enough cells to be scored."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {str(name) for name, n in zip(names, counts, strict=True) if n >= markers.MIN_CELLS} - {UNKNOWN}


def _overall(metric: str, reading: str, value: float) -> Row:
    return Row("markers", metric, reading, "overall", "all", float(value), 0)
