"""What is promised: predicted expression has every cell once, over the genes of the query, in finite numbers."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import PredictionError
from annobench.fit.expression import Expression, write_expression

IDS = np.array(["a", "b", "c"], dtype=object)
GENES = pd.DataFrame({"feature_name": list("xy")}, index=["ENSG1", "ENSG2"])
VALUES = np.arange(6.0).reshape(3, 2)
CONDITIONS = np.array(["k", "k", "l"], dtype=object)


def test_it_is_written_in_the_order_of_the_cells(tmp_path: Path) -> None:
    order = [2, 0, 1]
    given = Expression(IDS[order], CONDITIONS[order], VALUES[order])
    write_expression(tmp_path / "e.h5ad", given, list(IDS), GENES, "counts")
    found = ad.read_h5ad(tmp_path / "e.h5ad")
    assert found.X.dtype == np.float32
    assert np.array_equal(found.X, VALUES)
    assert list(found.obs_names) == list(IDS)
    assert list(found.obs["condition"]) == list(CONDITIONS)
    assert list(found.var_names) == list(GENES.index)
    assert found.uns["annobench"]["matrix"] == "counts"


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (IDS, VALUES[:, :1], r"has shape \(3, 1\), expected \(3, 2\)"),
        (IDS, np.where(VALUES == 4, np.nan, VALUES), "holds 1 NaN or infinite"),
        (np.array(["a", "b", "d"], dtype=object), VALUES, r"expression for 3 cells.*1 \(c\) missing"),
    ],
)
def test_what_is_broken_is_refused(tmp_path: Path, ids: Any, values: Any, message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        write_expression(tmp_path / "e.h5ad", Expression(ids, CONDITIONS, values), list(IDS), GENES, "counts")
    assert list(tmp_path.iterdir()) == []
