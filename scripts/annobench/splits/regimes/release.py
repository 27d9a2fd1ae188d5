"""Release: one fit is scored on held-out cells of its references and on what a later release, the query, adds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar

from annobench.config.regimes import Entry, Expanded, Regime
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy import bool_, intp, object_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical

ROLES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Release(Regime):
    """Roles of the cells of a pair, `part` of which is tested: the `reference`, the `query`, or `both`.

    Donors are drawn as for scTab's corpus (Fischer et al. 2024): in the order in which they first come, shuffled, the
    first of them train, then validation, then test. Query cells of a type that no training cell has are not used.
    """

    LABEL = "release"
    OF_PAIRS = True
    ADVICE = "give donors of the query names of their own, leave shared ones out, or use group_by: null"
    WORDS: ClassVar[Mapping[str, str]] = {**Regime.WORDS, "split_seed": "draw"}

    group_by: str | None
    test_fraction: float
    val_fraction: float
    split_seed: int | None
    multiple: int | None
    part: str

    @classmethod
    def expand(cls, entry: Entry) -> Iterable[Expanded]:
        """The split that is fitted, and the two on which its fits are scored."""
        return [
            Expanded("", {"part": "both"}, scored=False, averaged=False),
            Expanded("_id", {"part": "reference"}, fitted="", averaged=False),
            Expanded("_ood", {"part": "query"}, fitted="", averaged=False),
        ]

    @classmethod
    def evaluation_label(cls, evaluation: str) -> str:
        """The two sides in words."""
        return super().evaluation_label(
            evaluation.replace("_id", " in distribution").replace("_ood", " out of distribution")
        )

    def columns(self) -> list[str]:
        """Reference or query, and the column of the groups."""
        return ["part", *([self.group_by] if self.group_by else [])]

    def kept_apart(self) -> str | None:
        """No group is trained and tested."""
        return self.group_by

    def check_leaks(self, obs: "Mapping[str, Categorical]", seen: "NDArray[bool_]") -> None:
        """The query never trains."""
        if (seen & (obs["part"] == "query")).any():
            raise DataError("splits: the query has cells on the training side")

    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """Roles of the references are drawn first; then the parts that are not tested are left out."""
        import numpy as np

        seed = seed if self.split_seed is None else self.split_seed
        pool, number = self._drawn(obs, seed)
        roles = np.full(len(pool), "unused", dtype=object)
        rng = np.random.default_rng(seed)
        for i, role in enumerate(ROLES):
            cells = np.flatnonzero(pool & (number == i))
            if self.multiple:
                if 0 < len(cells) < self.multiple:
                    raise DataError(
                        f"splits: release: multiple {self.multiple}: only {len(cells)} cells have the role '{role}', "
                        "so that none would be left; choose a smaller multiple, or null"
                    )
                cells = rng.permutation(cells)
                cells = cells[: len(cells) // self.multiple * self.multiple]
            roles[cells] = role
        trained = obs["label_id"][roles == "train"].counts()
        query = (obs["part"] == "query") & (obs["label_id"].recode(list(trained)) >= 0)
        if self.part == "query":
            roles[roles == "test"] = "unused"
        if self.part != "reference":
            roles[query] = "test"
        return roles

    def _drawn(self, obs: "Mapping[str, Categorical]", seed: int) -> "tuple[NDArray[bool_], NDArray[intp]]":
        """Cells of the references that may be used; and 0 (train), 1 (val) or 2 (test) for each of them."""
        import numpy as np

        from annobench.core.parquet import NOT_GIVEN
        from annobench.ontology import UNKNOWN
        from annobench.splits.draws import TEST, VAL, share_of_each_class, stream

        labels = obs["label_id"]
        pool = (obs["part"] == "reference") & ~(labels == UNKNOWN)
        if self.group_by:
            pool &= ~(obs[self.group_by] == NOT_GIVEN)
            return pool, self._drawn_groups(obs[self.group_by], pool, seed)
        number = np.zeros(len(labels), dtype=int)
        for role, share, draw in ((2, self.test_fraction, TEST), (1, self.val_fraction, VAL)):
            number[share_of_each_class(labels, pool & (number == 0), share, stream(seed, draw))] = role
        return pool, number

    def _drawn_groups(self, groups: "Categorical", pool: "NDArray[bool_]", seed: int) -> "NDArray[intp]":
        """0 (train), 1 (val) or 2 (test) for every cell of the pool, by whole groups."""
        import numpy as np

        codes, first = np.unique(groups.codes[pool], return_index=True)
        order = codes[np.argsort(first)]
        test, val = (ceil(share * len(order)) for share in (self.test_fraction, self.val_fraction))
        if len(order) <= test + val:
            raise DataError(
                f"splits: release: group_by {self.group_by}: {len(order)} different values, {test} of them for test "
                f"and {val} for validation, leave none to train; use group_by: null"
            )
        np.random.default_rng(seed).shuffle(order)
        number = np.zeros(len(groups.names) + 1, dtype=int)
        number[order[len(order) - test :]] = 2
        number[order[len(order) - test - val : len(order) - test]] = 1
        drawn: NDArray[intp] = number[groups.codes]
        return drawn
