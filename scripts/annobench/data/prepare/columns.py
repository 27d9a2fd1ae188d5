"""A column of a source's obs as categories."""

from typing import TYPE_CHECKING

import numpy as np

from annobench.core.missing import is_missing
from annobench.core.parquet import NOT_GIVEN, Categorical

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def same(text: str, n: int) -> Categorical:
    """The same text for n cells."""
    return Categorical(np.zeros(n, dtype=np.int32), [text])


def missing_value(text: str, *, people: bool) -> bool:
    """Whether a text of a column means that there is no value; `people` as `words` of `is_missing`."""
    return is_missing(text, words=people) or text.strip().lower() == NOT_GIVEN


def coded(column: "pd.Series") -> Categorical:
    """A column as text; missing values become `unknown`."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column, use_na_sentinel=True)
    used = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(values)))
    names = list(pd.Series(_whole(values[used])).astype(object).astype(str))
    if (codes < 0).any():
        names.append(NOT_GIVEN)
    place = np.full(len(values) + 1, len(names) - 1, dtype=np.int32)
    place[used] = np.arange(len(used))
    whole = Categorical.of(names)  # two values may read the same
    return Categorical(whole.codes[place[codes]], whole.names)


def _whole(values: "pd.Index | NDArray[np.generic]") -> "pd.Index | NDArray[np.generic]":
    """Whole numbers as such: beside a missing value pandas stores clusters 0 and 1 as 0.0 and 1.0."""
    numbers = np.asarray(values) if getattr(values.dtype, "kind", "O") == "f" else None
    if numbers is None or not (np.isfinite(numbers) & (numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53)).all():
        return values
    return numbers.astype(np.int64)
