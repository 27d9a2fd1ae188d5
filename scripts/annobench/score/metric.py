"""How a metric describes itself, what it returns, and what a family of metrics is.

A label set says over which classes an average is taken:

- `truth`: classes that occur among the true labels of the scored test cells;
- `either`: classes that occur among the true or the predicted labels (scikit-learn's default);
- `shared`: classes of `truth` that the training cells have as well;
- `ood`: classes of `truth` that the cells of another release have as well, on which the same fit is scored; only where
  the evaluation names them;
- `-`: the metric is not an average over classes.

`unknown` is never a class: as a prediction it is simply wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from annobench.score.counts import Counts
    from annobench.score.evidence import Evidence
    from annobench.score.units import Units

    Array = NDArray[np.float64]

INFINITE = float("inf")
COUNTS, SUMS, FITS = "unit counts", "unit sums", "fits"  # what intervals and tests of a metric are computed from


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric, described once for scores, intervals, ranking, tests, figures and the report.

    A family lists its metrics in `METRICS`; its options, if it has any, are fields of a dataclass `Options` with
    literal defaults. Configuration reads `name`, `label`, `low`, `high`, `best`, `label_set` and `level` from the
    syntax tree, so they are written as literals (or `INFINITE`).

    Parameters
    ----------
    name
        As in the column `metric` of all tables.
    label
        For people: axes, headlines.
    meaning
        What the value says, in one sentence.
    low, high
        Range of values; `INFINITE` where there is no bound.
    best
        The best value; None where no value is better than another. Distance to it ranks methods.
    label_set
        The label set of the value that ranks; see the module.
    level
        What has a value: `overall` (the test cells of a view), `fit` (the run record), `class`, `bin`, `rule` (a
        confidence rule), or `audit` (a labelling, in the audit only). Metrics of the first two levels can rank. Rows of
        other levels, such as `condition`, may stand beside those of `overall`.
    needs
        Evidence that it needs beyond what its family needs.
    from_counts
        The metric as a pure function of `Counts`, whose axes before the last may be replicates: (..., classes) ->
        (...,), or (..., classes) for the level `class`. Scores, intervals and tests all call it.
    from_sums
        The metric as a pure function of sums over cells, part -> (...,), for a family with `unit_sums`.
    family
        Name of its family; set by `Family`.
    """

    name: str
    label: str
    meaning: str
    low: float
    high: float
    best: float | None
    label_set: str = "-"
    level: str = "overall"
    needs: tuple[str, ...] = ()
    from_counts: "Callable[[Counts], Array] | None" = None
    from_sums: "Callable[[Mapping[str, Array]], Array] | None" = None
    family: str = ""

    @property
    def basis(self) -> str:
        """What intervals and tests are computed from: `COUNTS`, `SUMS`, else `FITS` (seeds or splits)."""
        return COUNTS if self.from_counts else SUMS if self.from_sums else FITS

    def loss(self, value: float) -> float:
        """How much worse than the best value: smaller is better. Raises ValueError where there is no best value."""
        if self.best is None:
            raise ValueError(f"{self.name} has no best value")
        if self.best == self.high:
            return -value
        return value if self.best == self.low else abs(value - self.best)


@dataclass(frozen=True)
class Row:
    """One value of a metric.

    Parameters
    ----------
    family, metric
        Names.
    label_set
        Over which classes an average is taken; of a confidence rule or a marker metric which reading it is.
    level
        overall, class, a column of `Scored.groups`, bin, rule, condition or fit.
    group
        Which class, group, bin, rule or condition; `all` for the levels overall and fit.
    value
        The value.
    n
        How many cells it is of.
    """

    family: str
    metric: str
    label_set: str
    level: str
    group: str
    value: float
    n: int


@dataclass(frozen=True)
class Family:
    """A family of metrics: one file of `score/metrics`, which assigns it to `FAMILY`.

    Parameters
    ----------
    name
        Name of the file.
    metrics
        What it computes.
    needs
        Evidence without which it does not run; see `annobench.score.evidence`.
    compute
        Evidence -> rows. None for a family that only the audit computes.
    order
        Place among the families in tables.
    on_request
        It takes time, or says something of embeddings only: it runs where the evaluation names it in `metric_families`,
        and on fits that predict no labels where the evaluation names none.
    unit_sums
        Evidence -> metric -> part -> sums over the cells of every unit, (units,): for the metrics with `from_sums`.
    units
        Evidence -> what these sums are over, where it is not the units of the tested cells.
    """

    name: str
    metrics: tuple[Metric, ...]
    needs: tuple[str, ...]
    compute: "Callable[[Evidence], Iterable[Row]] | None"
    order: int = 100
    unit_sums: "Callable[[Evidence], Mapping[str, Mapping[str, Array]]] | None" = None
    on_request: bool = False
    units: "Callable[[Evidence], Units] | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(replace(metric, family=self.name) for metric in self.metrics))
