"""Perturbations as cz-benchmarks scores them, defects included; see `annobench.score.perturbation.published`.

Its mean squared error and Pearson correlation over all genes are `mse_expression` and `pearson_delta` of the family
`perturbation`. Overall values are means over conditions, which cz-benchmarks does not take.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row
from annobench.score.metrics.shared.conditions import (
    rows_of_conditions,
    sums_of_conditions,
    units_of_conditions,
    values_of_sums,
)
from annobench.score.metrics.shared.sums import mean_over_cells
from annobench.score.perturbation import measures, published
from annobench.score.perturbation.compared import Compared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TOPS = (20, 100)
METRICS = [
    Metric(
        name="published_mse_top20",
        label="MSE, top 20 (cz-benchmarks)",
        meaning="mean squared error of means over the 20 genes that rise most by Wilcoxon score",
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_mse_top100",
        label="MSE, top 100 (cz-benchmarks)",
        meaning="mean squared error of means over the 100 genes that rise most by Wilcoxon score",
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_pearson_top20",
        label="Pearson, top 20 (cz-benchmarks)",
        meaning="Pearson correlation of effects over the 20 genes that rise most by Wilcoxon score",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_pearson_top100",
        label="Pearson, top 100 (cz-benchmarks)",
        meaning="Pearson correlation of effects over the 100 genes that rise most by Wilcoxon score",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_jaccard_top20",
        label="Jaccard, top 20 (cz-benchmarks)",
        meaning="overlap of the 20 genes that rise most by Wilcoxon score, predicted and measured",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_jaccard_top100",
        label="Jaccard, top 100 (cz-benchmarks)",
        meaning="overlap of the 100 genes that rise most by Wilcoxon score, predicted and measured",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_spearman_ratio",
        label="Spearman, ratio (cz-benchmarks)",
        meaning=(
            "Spearman correlation of measured log fold changes and predicted log ratios over a random half "
            "of the significant genes; 0 where it is not defined"
        ),
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="published_spearman_difference",
        label="Spearman, difference (cz-benchmarks)",
        meaning="the same of predicted differences of means",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
]


def values(compared: Compared) -> "dict[str, Array]":
    """Every metric of every condition: metric -> (conditions,); NaN where no gene is left to be scored."""
    found: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
    wilcoxon = published.Wilcoxon(compared.control)
    scores = [(wilcoxon.scores(one.truth), wilcoxon.scores(one.predicted)) for one in compared]
    for i in range(len(compared.conditions)):
        means = compared.truth[i], compared.predicted[i]
        effects = [mean - compared.control_mean for mean in means]
        for n in TOPS:
            risen = [published.risen(score, n) for score in scores[i]]
            error = measures.mean_squared_error(means[0][risen[0]], means[1][risen[0]])
            found[f"published_mse_top{n}"].append(error)
            correlation = measures.pearson(effects[0][risen[0]], effects[1][risen[0]])
            found[f"published_pearson_top{n}"].append(correlation)
            found[f"published_jaccard_top{n}"].append(measures.jaccard(*(set(genes.tolist()) for genes in risen)))
    changes = [published.log2_fold_changes(one.truth, compared.control) for one in compared]
    tables = ((published.adjusted(score[0]), change) for score, change in zip(scores, changes, strict=True))
    for one, change, genes in zip(compared, changes, published.sampled_genes(tables), strict=True):
        control = (compared.control if one.control is None else one.control).mean(axis=0, dtype=np.float64)
        mean = one.predicted.mean(axis=0, dtype=np.float64)
        for operation in ("ratio", "difference"):
            value = float("nan")
            if genes is not None:
                predicted = published.predicted_changes(mean[genes], control[genes], operation)
                value = published.correlation(change[genes], predicted)
            found[f"published_spearman_{operation}"].append(value)
    return {name: np.array(numbers, dtype=float) for name, numbers in found.items()}


def rows(compared: Compared, known: "Mapping[str, Array] | None" = None) -> Iterator[Row]:
    """Values of all conditions, and their means; `known` are the values where they are computed already."""
    return rows_of_conditions("perturbation_published", values(compared) if known is None else known, compared)


def compute(evidence: Evidence) -> Iterator[Row]:
    """Of the tested conditions of a fit."""
    return rows(evidence.perturbations, values_of_sums(evidence.sums("perturbation_published", unit_sums)))


def unit_sums(evidence: Evidence) -> "Mapping[str, Mapping[str, Array]]":
    """The values of single conditions, which intervals resample."""
    return sums_of_conditions(values(evidence.perturbations))


FAMILY = Family(
    "perturbation_published",
    tuple(METRICS),
    needs=("expression", "perturbations"),
    compute=compute,
    order=21,
    unit_sums=unit_sums,
    units=units_of_conditions,
)
