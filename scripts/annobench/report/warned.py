"""What methods warn of, as sentences of the report."""

import re
from collections.abc import Mapping

import pandas as pd

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def warned(
    warnings: pd.DataFrame, methods: Mapping[str, str] | None = None, datasets: Mapping[str, str] | None = None
) -> list[str]:
    """Sentences on the warnings of a study.

    Parameters
    ----------
    warnings
        The table of this name: dataset, evaluation, method, warning, n_fits.
    methods, datasets
        Names -> what people call them; names stand for themselves where they are missing.

    Returns
    -------
    A sentence for every dataset, method and kind of warning, in the order of the table. Warnings of one kind differ in
    nothing but their numbers, as those of several folds do: the first is quoted, with the number of all fits.
    """
    kinds: dict[tuple[str, str, str], tuple[str, int]] = {}
    for row in warnings.itertuples():
        key = (str(row.dataset), str(row.method), _NUMBER.sub("#", str(row.warning)))
        first, n = kinds.get(key, (str(row.warning), 0))
        kinds[key] = (first, n + int(row.n_fits))
    return [
        f"{(methods or {}).get(method, method)} on {(datasets or {}).get(dataset, dataset)}"
        f" ({n} fit{'s' if n != 1 else ''}): {text}"
        for (dataset, method, _), (text, n) in kinds.items()
    ]
