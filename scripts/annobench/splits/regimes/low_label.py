"""Low label: as holdout with the same seed, but only a share of the labels may train and select."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Entry, Expanded
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_, intp, object_
    from numpy.random import Generator
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class LowLabel(HeldOut):
    """The cells of a smaller `fraction` are among those of a larger one."""

    LABEL = "few labels"
    STEM = "lowlabel"
    LISTS = ("fractions",)
    VARIES = COLUMNS = ("fraction",)
    POOLED = False

    test_fraction: float
    fraction: float

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """One split per share of the labels."""
        return [Expanded(f"_{fraction:g}", {"fraction": fraction}) for fraction in entry.own["fractions"]]

    def label(self) -> str:
        """The share of the labels."""
        return f"{100 * self.fraction:g} % of the labels"

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """The test cells of holdout."""
        import numpy as np

        from annobench.splits.draws import TEST, share_of_each_class, stream

        labels = obs["label_id"]
        test = np.zeros(len(labels), dtype=bool)
        test[share_of_each_class(labels, ~test, self.test_fraction, stream(seed, TEST))] = True
        return test

    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """Roles of holdout, without what the budget leaves out."""
        from annobench.splits.draws import LABELS, stream

        roles, rng = super().assign(obs, seed), stream(seed, LABELS)
        for role in ("train", "val"):
            roles[beyond_budget(obs["label_id"], roles == role, self.fraction, rng)] = "unused"
        return roles


def beyond_budget(labels: "Categorical", pool: "NDArray[bool_]", fraction: float, rng: "Generator") -> "NDArray[intp]":
    """Positions that a label budget leaves out: all but the first round(n * fraction), at least one, of each class."""
    import numpy as np

    from annobench.splits.draws import by_class

    left = [rng.permutation(rows)[max(1, round(len(rows) * fraction)) :] for rows in by_class(labels, pool)]
    return np.concatenate(left) if left else np.array([], dtype=int)
