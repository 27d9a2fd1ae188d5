"""Holdout: a random share of the cells is tested, or whole donors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.random import Generator
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class Holdout(HeldOut):
    """A share of each class is tested; with `group_by` whole groups, as near to that share as they allow."""

    LABEL = "held-out cells"

    group_by: str | None
    test_fraction: float

    def columns(self) -> list[str]:
        """The column of the groups."""
        return [self.group_by] if self.group_by else []

    def kept_apart(self) -> str | None:
        """No group is trained and tested."""
        return self.group_by

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """A stratified draw of cells, or of groups."""
        import numpy as np

        from annobench.splits.draws import TEST, share_of_each_class, stream

        rng = stream(seed, TEST)
        if self.group_by:
            return whole_groups(obs[self.group_by], self.test_fraction, self.group_by, rng)
        labels = obs["label_id"]
        test = np.zeros(len(labels), dtype=bool)
        test[share_of_each_class(labels, ~test, self.test_fraction, rng)] = True
        return test


def whole_groups(groups: "Categorical", fraction: float, column: str, rng: "Generator") -> "NDArray[bool_]":
    """Cells of groups that are drawn in turn, each where it brings the number of cells nearer to the fraction.

    At least one group is drawn and one is left; cells of unknown group are never drawn.
    """
    import numpy as np

    from annobench.core.parquet import NOT_GIVEN

    counts = {name: n for name, n in groups.counts().items() if name != NOT_GIVEN}
    names, sizes = list(counts), np.array(list(counts.values()))
    if len(names) < 2:
        raise DataError(
            f"splits: group_by {column}: {len(names)} different values; one must be held out and another must train, "
            "so use group_by: null"
        )
    target = fraction * sizes.sum()
    drawn: list[int] = []
    for i in rng.permutation(len(names)):
        total = sizes[drawn].sum()
        if len(drawn) < len(names) - 1 and abs(total + sizes[i] - target) < abs(total - target):
            drawn.append(i)
    if not drawn:  # every group is larger than twice the target
        drawn = [int(np.argmin(sizes))]
    return groups.recode([names[i] for i in drawn]) >= 0
