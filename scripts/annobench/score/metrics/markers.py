"""Marker biology: the metrics of SpatialCore, which need no truth. Each is computed in two readings.

All of them use log1p of counts per 10,000 over the measured genes (x below), labels of the cells, and a table of marker
genes. None of them depends on whether a label is right; the audit says which of them can be won without being right.

`published`: every cell with its own label, every type of the labelling whose very id the marker table lists, all of its
markers. Each method is therefore scored on types of its own choice, by genes that it may have used.

`fair`: cells that no compared labelling calls unknown, types that all of them use, and the half of the markers that is
kept for scoring. A label without markers of its own counts as the nearest type above it that has some.

Types with fewer than 10 cells or fewer than 2 measured markers are left out of both.

- marker_cv: standard deviation over mean of a cell's mean marker value, over the cells of a type; mean over types.
- marker_log2fc: log2((a + 0.01) / (b + 0.01)), a and b the mean marker value in the type and in all other cells; mean
  over types.
- marker_purity: share of (cell, marker) pairs of a type with x > 0; mean over types.
- contamination: mean x of the markers of all other types, less the type's own, in the cells of a type; mean over types.
- deg_log2fc: mean log2 fold change of the 10 genes with the highest Wilcoxon score of a type against all other cells,
  as scanpy's rank_genes_groups computes both; mean over types. No marker table is used.
- marker_recovery: share of the markers of a type that more than 10 % of its cells express (x > 0); mean over types.
- gene_overlap: genes of the model that the query measures, over the genes of the model; and panel_use, over the
  measured genes of the query.

Source: tables, text and figures of the SpatialCore benchmark (github.com/mcap91/SpatialCore, January 2026), which has
no code for them. Cuts that it leaves open are set here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from annobench.ontology import UNKNOWN, Ontology
from annobench.score.metric import INFINITE, Family, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_CELLS = 10
MIN_MARKERS = 2
TOP_DEGS = 10
EXPRESSED = 0.1
_PSEUDO = 0.01

METRICS = [
    Metric(
        name="marker_cv",
        label="marker CV",
        meaning="spread of the markers of a type within it",
        low=0,
        high=INFINITE,
        best=0,
        level="audit",
    ),
    Metric(
        name="marker_log2fc",
        label="marker log2 fold change",
        meaning="markers in their type against all other cells",
        low=-20,
        high=INFINITE,
        best=INFINITE,
        level="audit",
    ),
    Metric(
        name="marker_purity",
        label="marker purity",
        meaning="share of a type's cells and markers expressed",
        low=0,
        high=1,
        best=1,
        level="audit",
    ),
    Metric(
        name="contamination",
        label="contamination",
        meaning="markers of other types in a type's cells",
        low=0,
        high=INFINITE,
        best=0,
        level="audit",
    ),
    Metric(
        name="deg_log2fc",
        label="DEG log2 fold change",
        meaning="fold change of a type's ten top genes",
        low=-20,
        high=INFINITE,
        best=INFINITE,
        level="audit",
    ),
    Metric(
        name="marker_recovery",
        label="marker recovery",
        meaning="share of a type's markers that a tenth of its cells express",
        low=0,
        high=1,
        best=1,
        level="audit",
    ),
    Metric(
        name="gene_overlap",
        label="gene overlap",
        meaning="share of a model's genes that the query measures",
        low=0,
        high=1,
        best=1,
        level="audit",
    ),
    Metric(
        name="panel_use",
        label="panel use",
        meaning="share of the measured genes that the model uses",
        low=0,
        high=1,
        best=1,
        level="audit",
    ),
]
FAMILY = Family("markers", tuple(METRICS), needs=("cells",), compute=None, order=8)


@dataclass(frozen=True)
class MarkerSet:
    """Markers among the measured genes: type -> positions of genes."""

    genes: Mapping[str, "NDArray[np.intp]"]

    @classmethod
    def measured(cls, table: Mapping[str, Sequence[str]], symbols: Sequence[str]) -> "MarkerSet":
        """The markers that are among the symbols of the measured genes; types with fewer than two are left out."""
        at = {symbol: i for i, symbol in enumerate(symbols)}
        genes = {t: np.array(sorted({at[g] for g in names if g in at}), dtype=int) for t, names in table.items()}
        return cls({t: places for t, places in genes.items() if len(places) >= MIN_MARKERS})

    def halves(self) -> "tuple[MarkerSet, MarkerSet]":
        """One half for labelling and one for scoring: the genes of a type go to the two in turn.

        A gene that two types share is in the same half for both. Types that keep fewer than two genes in a half are
        left out of both.
        """
        every = sorted({int(gene) for genes in self.genes.values() for gene in genes})
        rarest = {g: sum(g in genes for genes in self.genes.values()) for g in every}
        side: dict[int, int] = {}
        for genes in sorted(self.genes.values(), key=len):
            balance = sum(1 if side[g] else -1 for g in map(int, genes) if g in side)
            for gene in sorted((g for g in map(int, genes) if g not in side), key=lambda g: (rarest[g], g)):
                side[gene] = int(balance <= 0)
                balance += 1 if side[gene] else -1
        parts = [
            {t: np.array([g for g in genes if side[int(g)] == which], dtype=int) for t, genes in self.genes.items()}
            for which in (0, 1)
        ]
        kept = [t for t in self.genes if all(len(part[t]) >= MIN_MARKERS for part in parts)]
        return MarkerSet({t: parts[0][t] for t in kept}), MarkerSet({t: parts[1][t] for t in kept})

    def nearest(self, label: str, ontology: Ontology) -> str:
        """The type itself, or the deepest type above it, that has markers; `unknown` where there is none."""
        if label in self.genes:
            return label
        above = [t for t in ontology.ancestors(label) if t in self.genes]
        return max(above, key=lambda t: (ontology.depth(t), t)) if above else UNKNOWN

    def among(self, types: Iterable[str]) -> "MarkerSet":
        """The markers of some types."""
        return MarkerSet({t: self.genes[t] for t in types if t in self.genes})


class Expression:
    """Expression of the scored cells; what does not depend on labels is computed once.

    Parameters
    ----------
    values
        (cells, genes) log1p of counts per 10,000, dense.
    genes_for_degs
        Positions of the genes that differential expression looks at; None for all.
    """

    def __init__(self, values: "NDArray[np.floating]", genes_for_degs: "NDArray[np.intp] | None" = None) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.genes_for_degs = np.arange(self.values.shape[1]) if genes_for_degs is None else genes_for_degs

    @cached_property
    def ranks(self) -> "NDArray[np.float64]":
        """Rank of every cell in every gene for differential expression, ties at their mean."""
        from scipy.stats import rankdata

        return rankdata(self.values[:, self.genes_for_degs], axis=0)

    @cached_property
    def positive(self) -> "NDArray[np.bool_]":
        """Where something is expressed."""
        return self.values > 0

    def argmax_labels(self, markers: MarkerSet) -> "tuple[NDArray[np.object_], NDArray[np.float64], list[str]]":
        """The type with the highest mean of standardised marker values, for every cell; the scores; the types."""
        types = sorted(markers.genes)
        deviation = self.values.std(axis=0)
        scaled = (self.values - self.values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
        scores = np.column_stack([scaled[:, markers.genes[t]].mean(axis=1) for t in types])
        return np.array(types, dtype=object)[scores.argmax(axis=1)], scores, types


def per_type(expression: Expression, labels: "NDArray[np.object_]", markers: MarkerSet) -> dict[str, dict[str, float]]:
    """The metrics that use markers, for every type with markers and enough cells: type -> metric -> value."""
    types = [t for t in sorted(markers.genes) if (labels == t).sum() >= MIN_CELLS]
    everything = {int(g) for t in types for g in markers.genes[t]}
    of_types = {}
    for t in types:
        inside = labels == t
        own = markers.genes[t]
        values = expression.values[:, own].mean(axis=1)
        of_others = np.array(sorted(everything - set(map(int, own))), dtype=int)
        mean = float(values[inside].mean())
        outside = float(values[~inside].mean()) if (~inside).any() else np.nan
        expressed = expression.positive[np.ix_(inside, own)]
        of_types[t] = {
            "marker_cv": float(values[inside].std() / mean) if mean > 0 else np.nan,
            "marker_log2fc": float(np.log2((mean + _PSEUDO) / (outside + _PSEUDO))),
            "marker_purity": float(expressed.mean()),
            "contamination": float(expression.values[np.ix_(inside, of_others)].mean()) if len(of_others) else np.nan,
            "marker_recovery": float((expressed.mean(axis=0) > EXPRESSED).mean()),
            "cells": float(inside.sum()),
        }
    return of_types


def top_genes(
    expression: Expression, labels: "NDArray[np.object_]", types: Sequence[str], number: int = TOP_DEGS
) -> "dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]":
    """Genes with the highest Wilcoxon scores of each type against all other cells, and their log2 fold changes.

    Both are computed as in scanpy's rank_genes_groups: rank sums without correction for ties, and
    log2((expm1(mean in the type) + 1e-9) / (expm1(mean elsewhere) + 1e-9)).

    Returns
    -------
    Type -> positions among all genes, best first, and fold changes, (number,) each.
    """
    n = len(labels)
    chosen = expression.genes_for_degs
    total = expression.values[:, chosen].sum(axis=0)
    best_genes = {}
    for t in types:
        inside = labels == t
        m = int(inside.sum())
        if m < MIN_CELLS or m == n:
            continue
        score = (expression.ranks[inside].sum(axis=0) - m * (n + 1) / 2) / np.sqrt(m * (n - m) * (n + 1) / 12)
        here = expression.values[np.ix_(inside, chosen)].sum(axis=0)
        change = np.log2((np.expm1(here / m) + 1e-9) / (np.expm1((total - here) / (n - m)) + 1e-9))
        best = np.argsort(-score, kind="stable")[:number]
        best_genes[t] = (chosen[best], change[best])
    return best_genes


def averages(of_types: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means over the types for which a metric is defined."""
    names = ("marker_cv", "marker_log2fc", "marker_purity", "contamination", "marker_recovery")
    means = {}
    for name in names:
        values = [one[name] for one in of_types.values() if np.isfinite(one[name])]
        if values:
            means[name] = float(np.mean(values))
    return means


def marker_metrics(
    expression: Expression, labels: "NDArray[np.object_]", markers: MarkerSet, types_for_degs: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """All metrics of one labelling (means over types), and the values of each type."""
    of_types = per_type(expression, labels, markers)
    values = averages(of_types)
    degs = top_genes(expression, labels, types_for_degs)
    if degs:
        values["deg_log2fc"] = float(np.mean([change.mean() for _, change in degs.values()]))
    return values, of_types
