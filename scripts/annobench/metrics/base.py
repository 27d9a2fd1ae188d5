"""What every metric starts from, and what it returns.

A label set says over which classes an average is taken:
- `truth`: classes that occur among the true labels of the scored test cells;
- `either`: classes that occur among the true or the predicted labels (scikit-learn's default);
- `shared`: classes of `truth` that the training cells have as well;
- `-`: the metric is no average over classes.
`unknown` is never a class: as a prediction it is simply wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABEL_SETS = ("truth", "either", "shared")


@dataclass(frozen=True)
class Metric:
    """Description of a metric: `best` is its best value, None where no value is better than another."""

    name: str
    family: str
    summary: str
    low: float
    high: float
    best: float | None
    needs: str = "labels"


@dataclass(frozen=True)
class Row:
    """One value. `level` is overall, class, study, donor, bin or fit; `group` says which one; `n` counts its cells."""

    family: str
    metric: str
    label_set: str
    level: str
    group: str
    value: float
    n: int


@dataclass
class Scored:
    """Test cells with a known true label, beside what a method said of them.

    truth: (n,) ids. labels: (n, k) ids, best first. confidence: (n,) or None; `is_probability` says whether it is one.
    probabilities: (n, c) with `probability_classes`, or None. training: classes of the training cells.
    groups: column name -> (n,) values.
    """

    truth: "NDArray[Any]"
    labels: "NDArray[Any]"
    training: list[str]
    ontology: Ontology
    confidence: "NDArray[Any] | None" = None
    is_probability: bool = False
    probabilities: "NDArray[Any] | None" = None
    probability_classes: "NDArray[Any] | None" = None
    groups: Mapping[str, "NDArray[Any]"] = field(default_factory=dict)
    bins: int = 15

    @cached_property
    def classes(self) -> "NDArray[Any]":
        """Sorted union of true, predicted and training classes, `unknown` last where it is predicted."""
        found = set(map(str, self.truth)) | set(map(str, self.labels[:, 0])) | set(self.training)
        ordered = sorted(found - {UNKNOWN}) + ([UNKNOWN] if UNKNOWN in found else [])
        return np.array(ordered, dtype=object)

    def codes(self, labels: "NDArray[Any]") -> "NDArray[np.intp]":
        """Positions of labels in `classes`; -1 for one that is not there."""
        position = {label: i for i, label in enumerate(self.classes)}
        return np.array([position.get(label, -1) for label in labels], dtype=int)

    @cached_property
    def true_codes(self) -> "NDArray[np.intp]":
        """Class number of every true label."""
        return self.codes(self.truth)

    @cached_property
    def predicted_codes(self) -> "NDArray[np.intp]":
        """Class number of every predicted label."""
        return self.codes(self.labels[:, 0])

    @cached_property
    def correct(self) -> "NDArray[np.bool_]":
        """Which cells are predicted exactly."""
        return self.true_codes == self.predicted_codes

    @property
    def n(self) -> int:
        """Number of scored cells."""
        return len(self.truth)

    def members(self, label_set: str, true: "NDArray[Any]", predicted: "NDArray[Any]") -> "NDArray[np.bool_]":
        """Which of `classes` a label set holds, given the counts of true and predicted labels per class (last axis)."""
        known = self.classes != UNKNOWN
        if label_set == "truth":
            return (true > 0) & known
        if label_set == "either":
            return ((true > 0) | (predicted > 0)) & known
        return (true > 0) & np.isin(self.classes, self.training)


Compute = Callable[[Scored], Iterable[Row]]
