"""Accuracy and macro F1 within groups of cells: every study, donor, tissue, disease."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import macro_f1
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.score.metric import Row
from annobench.score.scored import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray


def within(scored: Scored, family: str, prefix: str, predicted: "NDArray[np.integer]") -> Iterator[Row]:
    """`accuracy` and `macro_f1` (names behind a prefix) of every group, in the order of their names.

    predicted: class numbers (n,) that count as predictions. The macro mean is over the classes that have cells in the
    group; cells whose group is not given are in none.
    """
    for column, values in scored.groups.items():
        hits, true, total = _counts(scored, values, predicted)
        scores = macro_f1(hits, true, total, scored.members("truth", true, total))
        for i in sorted(range(len(values.names)), key=values.names.__getitem__):
            name, n = values.names[i], int(true[i].sum())
            if n and name != NOT_GIVEN:
                yield Row(family, f"{prefix}accuracy", "-", column, name, float(hits[i].sum() / n), n)
                yield Row(family, f"{prefix}macro_f1", "truth", column, name, float(scores[i]), n)


def _counts(
    scored: Scored, groups: Categorical, predicted: "NDArray[np.integer]"
) -> "tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]":
    """Hits, true and predicted cells, (groups, classes)."""
    shape = (len(groups.names), len(scored.classes))
    known = np.flatnonzero(groups.codes >= 0) if (groups.codes < 0).any() else slice(None)
    place = groups.codes[known].astype(np.int64) * shape[1]
    true, predicted = scored.true_codes[known], predicted[known]

    def count(places: "NDArray[np.int64]") -> "NDArray[np.intp]":
        return np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)

    of_truth = place + true
    return count(of_truth[true == predicted]), count(of_truth), count(place + predicted)
