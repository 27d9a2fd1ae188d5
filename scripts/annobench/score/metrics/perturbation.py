"""Perturbations: predicted against measured expression of whole conditions.

Every metric has a value for each condition (level `condition`), and its overall value is their plain mean. `effects`
are differences of mean log-normalised expression from the mean of the control cells. The strongest genes are those with
the largest effect, up or down, in units of the spread of the cells; the same spread for prediction and truth, because
many methods predict means. A condition that has no value of a metric, because nothing varies in the truth, is left out
of its mean: `n` of the overall row counts the cells that are left.

`perturbation_published` has what cz-benchmarks computes.
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
from annobench.score.perturbation import measures
from annobench.score.perturbation.compared import Compared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TOPS = (20, 100)
METRICS = [
    Metric(
        name="mse_expression",
        label="MSE of means",
        meaning="mean over conditions of the mean squared difference of predicted and measured mean expression",
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="mse_expression_top20",
        label="MSE of means, top 20",
        meaning="the same over the 20 genes with the strongest measured effect, up or down",
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="mse_expression_top100",
        label="MSE of means, top 100",
        meaning="the same over the 100 genes with the strongest measured effect, up or down",
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="pearson_delta",
        label="Pearson of effects",
        meaning="mean over conditions of the Pearson correlation of predicted and measured effects over all genes",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="pearson_delta_top20",
        label="Pearson of effects, top 20",
        meaning="the same over the 20 genes with the strongest measured effect, up or down",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="pearson_delta_top100",
        label="Pearson of effects, top 100",
        meaning="the same over the 100 genes with the strongest measured effect, up or down",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="jaccard_top20",
        label="Jaccard, top 20",
        meaning=(
            "mean over conditions of the overlap of the 20 genes with the strongest predicted and measured "
            "effect, each with its direction"
        ),
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="jaccard_top100",
        label="Jaccard, top 100",
        meaning="the same of 100 genes",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="spearman_ratio",
        label="Spearman of log ratios",
        meaning=(
            "mean over conditions of the Spearman correlation of predicted and measured log ratios of means "
            "to the controls, over the 100 genes with the strongest measured effect"
        ),
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="spearman_difference",
        label="Spearman of differences",
        meaning="the same of differences of means",
        low=-1,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="direction_top20",
        label="right direction, top 20",
        meaning=(
            "mean over conditions of the share of the 20 genes with the strongest measured effect that are "
            "predicted to move in the right direction"
        ),
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="direction_top100",
        label="right direction, top 100",
        meaning="the same of 100 genes",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="discrimination",
        label="discrimination",
        meaning=(
            "mean over conditions of how near the predicted effect is to that of its own condition, among "
            "those of all tested conditions; chance is 0.5"
        ),
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="energy_distance",
        label="energy distance",
        meaning=(
            "mean over conditions of the energy distance of predicted and measured cells on 20 principal "
            "axes of the measured cells"
        ),
        low=0,
        high=INFINITE,
        best=0,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="flat_predictions",
        label="conditions without effect",
        meaning="share of conditions for which no gene is predicted to differ from the controls",
        low=0,
        high=1,
        best=None,
    ),
    Metric(
        name="conditions_scored",
        label="tested conditions",
        meaning="number of conditions that are tested",
        low=0,
        high=INFINITE,
        best=None,
    ),
]


def values(compared: Compared) -> "dict[str, Array]":
    """Every metric of every condition: metric -> (conditions,); NaN where it is not defined."""
    found: dict[str, list[float]] = {metric.name: [] for metric in METRICS if metric.from_sums}
    true, predicted = compared.effects
    strong, claimed = compared.strengths
    for i, one in enumerate(compared):
        means = compared.truth[i], compared.predicted[i]
        top = {n: measures.top_genes(strong[i], n) for n in TOPS}
        for ending, genes in {"": np.arange(len(true[i])), **{f"_top{n}": top[n] for n in TOPS}}.items():
            found[f"mse_expression{ending}"].append(measures.mean_squared_error(means[0][genes], means[1][genes]))
            found[f"pearson_delta{ending}"].append(measures.pearson(true[i][genes], predicted[i][genes]))
        for n, genes in top.items():
            sets = measures.directed(strong[i], n), measures.directed(claimed[i], n)
            found[f"jaccard_top{n}"].append(measures.jaccard(*sets))
            found[f"direction_top{n}"].append(measures.right_direction(true[i][genes], predicted[i][genes]))
        most = top[max(TOPS)]
        ratios = [_log_ratios(compared, effect)[most] for effect in (true[i], predicted[i])]
        found["spearman_ratio"].append(measures.spearman(*ratios))
        found["spearman_difference"].append(measures.spearman(true[i][most], predicted[i][most]))
        places = (compared.placed(cells) for cells in (one.predicted, one.truth))
        found["energy_distance"].append(measures.energy_distance(*places))
    # the perturbed genes of all conditions: of one alone, a prediction that is the same for all would not be at chance
    targets = np.unique(np.concatenate([one.targets for one in compared])) if compared.conditions else np.arange(0)
    of_metric = {name: np.array(numbers, dtype=float) for name, numbers in found.items()}
    return of_metric | {"discrimination": measures.discrimination(true, predicted, [targets] * len(true))}


def _log_ratios(compared: Compared, effect: "Array") -> "Array":
    """Log ratios of means to the controls; of an effect of 0 exactly 0."""
    control = compared.control_mean
    return np.where(effect == 0, 0.0, measures.log_ratio(control + effect, control))


def rows(compared: Compared, known: "Mapping[str, Array] | None" = None) -> Iterator[Row]:
    """Values of all conditions, and their means; `known` are the values where they are computed already."""
    yield from rows_of_conditions("perturbation", values(compared) if known is None else known, compared)
    if compared.conditions:
        flat = float((compared.effects[1] == 0).all(axis=1).mean())
        yield Row("perturbation", "flat_predictions", "-", "overall", "all", flat, compared.cells)
        n = len(compared.conditions)
        yield Row("perturbation", "conditions_scored", "-", "overall", "all", float(n), compared.cells)


def compute(evidence: Evidence) -> Iterator[Row]:
    """Of the tested conditions of a fit."""
    return rows(evidence.perturbations, values_of_sums(evidence.sums("perturbation", unit_sums)))


def unit_sums(evidence: Evidence) -> "Mapping[str, Mapping[str, Array]]":
    """The values of single conditions, which intervals resample."""
    return sums_of_conditions(values(evidence.perturbations))


FAMILY = Family(
    "perturbation",
    tuple(METRICS),
    needs=("expression", "perturbations"),
    compute=compute,
    order=20,
    unit_sums=unit_sums,
    units=units_of_conditions,
)
