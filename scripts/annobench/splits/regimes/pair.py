"""Pair: the references train, the query is tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.splits.held_out import HeldOut

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class Pair(HeldOut):
    """A query may declare that it has no labels: it is annotated, and nothing of it is scored by truth."""

    LABEL = "reference to query"
    OF_PAIRS = True
    MAY_TEST_UNLABELLED = True

    def label(self) -> str:
        """The query."""
        return "query"

    def columns(self) -> list[str]:
        """Reference or query."""
        return ["part"]

    def kept_apart(self) -> str | None:
        """The query never trains."""
        return "part"

    def test_cells(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[bool_]":
        """The query."""
        return obs["part"] == "query"
