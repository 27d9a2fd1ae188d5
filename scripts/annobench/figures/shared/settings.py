"""What a figure uses of the study besides its tables.

Imported while the Snakefile is parsed: the standard library only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from annobench.config.contrasts import Contrast
from annobench.core.spec import Spec
from annobench.figures.shared.words import MODEL_LABELS, spelled

Place = tuple[str, str]  # dataset and evaluation


@dataclass(frozen=True)
class MetricWords(Spec):
    """What a metric is called, which way is better, and its bounds (None where it has none)."""

    label: str
    lower_is_better: bool = False
    low: float | None = 0.0
    high: float | None = 1.0

    def limits(self, values: Iterable[float]) -> tuple[float, float]:
        """Ends of an axis: the bounds, or where it has none a little beyond the values and zero."""
        numbers = [0.0, *(value for value in values if isfinite(value))]
        room = 0.05 * (max(numbers) - min(numbers)) or 1.0
        low = min(numbers) - (room if min(numbers) < 0 else 0) if self.low is None else self.low
        return low, max(numbers) + room if self.high is None else self.high


@dataclass(frozen=True)
class ReleaseView(Spec):
    """One evaluation of the regime `release`, and which side of it is scored: `id` or `ood`."""

    dataset: str
    evaluation: str
    part: str


@dataclass(frozen=True)
class ReleaseMethod(Spec):
    """A method in a figure of the regime `release`.

    Attributes
    ----------
    name, label, kind, decoding
        As in the study.
    model
        The implementation, such as `mlp`.
    loss, loss_label
        The loss that it is trained with, and what it is called; None for a method without one.
    loss_order
        Place of the loss among all losses: its colour and marker are those at this place of the palette.
    """

    name: str
    label: str
    kind: str = "method"
    model: str = ""
    loss: str | None = None
    loss_label: str | None = None
    loss_order: int = -1
    decoding: str = "argmax"

    @property
    def model_label(self) -> str:
        """The network of a method with a loss, without the loss; else the label of the method."""
        return MODEL_LABELS.get(self.model, spelled(self.model)) if self.loss else self.label


@dataclass(frozen=True)
class ReleaseSettings(Spec):
    """What figures of the regime `release` use of a study; views, methods and contrasts are in its order.

    Attributes
    ----------
    level
        Coverage of the intervals, such as 0.95.
    published_datasets
        Datasets that the published values are of.
    simulated
        Datasets without a real cell.
    """

    views: tuple[ReleaseView, ...]
    methods: tuple[ReleaseMethod, ...]
    contrasts: tuple[Contrast, ...]
    level: float
    published_datasets: tuple[str, ...]
    simulated: tuple[str, ...]

    def method(self, name: str) -> ReleaseMethod:
        """A method by name; one that the study does not know is called by its name."""
        known = (method for method in self.methods if method.name == name)
        return next(known, ReleaseMethod(name, spelled(name), model=name))


@dataclass(frozen=True)
class FigureSettings(Spec):
    """What a figure uses of a study.

    Attributes
    ----------
    title
        Title of the figure.
    primary
        The primary metric.
    metrics
        Metric -> what it is called and which way is better.
    datasets
        Dataset -> its label.
    evaluations
        `dataset/evaluation` -> its name for people.
    units
        Dataset -> the unit of its coordinates, for those that state it.
    published
        Dataset and evaluation that are set beside a published table; None where the study names none.
    level
        Coverage of the intervals, such as 0.95.
    release
        For figures of the regime `release`; None for all others.
    """

    title: str
    primary: str
    metrics: Mapping[str, MetricWords]
    datasets: Mapping[str, str]
    evaluations: Mapping[str, str]
    units: Mapping[str, str] = field(default_factory=dict)
    published: Place | None = None
    level: float = 0.95
    release: ReleaseSettings | None = None

    @property
    def of_release(self) -> ReleaseSettings:
        """The settings of the regime `release`, for figures that name it."""
        if self.release is None:
            raise ValueError(f"'{self.title}' does not name the regime release, and has no settings of it")
        return self.release

    def metric(self, name: str) -> MetricWords:
        """What a metric is called; one that is not known is called by its name."""
        return self.metrics.get(name) or MetricWords(spelled(name))

    def dataset_label(self, dataset: str) -> str:
        """What a dataset is called."""
        return self.datasets.get(dataset, dataset)

    def evaluation_label(self, place: Place) -> str:
        """What an evaluation is called; `all` is the mean over the study."""
        dataset, evaluation = place
        return "mean" if dataset == "all" else self.evaluations.get(f"{dataset}/{evaluation}", evaluation)
