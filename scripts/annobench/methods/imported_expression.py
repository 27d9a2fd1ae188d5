"""Predicted expression that was made elsewhere: cells, or a mean for every condition."""

import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.core.errors import DataError, MethodSkipped, nearest
from annobench.core.files import sha256_of
from annobench.core.parquet import positions, to_arrow
from annobench.core.records import DELIMITERS, ending, read_text, separator
from annobench.fit.method import Abilities, Context, Expression, Method, Notes
from annobench.methods.shared.imports import listed, located
from annobench.methods.shared.matching import SHOWN
from annobench.methods.shared.perturbation import STATE, Profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class ImportedExpression(Method):
    """Reads predictions instead of making them, and joins them by name, never by row.

    Parameters
    ----------
    path
        The file, relative to the repository; `~` and variables such as $ANNOBENCH_DATA are expanded, and `{dataset}`
        stands for the name of the dataset. An .h5ad, or a table (.csv, .tsv, .parquet) with a row for every condition,
        or cell, and a column for every gene. A fit is skipped where the file is missing.
    rows
        What the rows of the file are: `cells`, joined by id; or `conditions`, joined by name. Several rows of one
        condition are predicted cells, and are dealt to the tested cells in turn.
    condition
        With `rows: conditions`, the column with the name of the condition: a column of obs, or of the table; null where
        conditions are the index, or the first column.
    genes
        What the genes of the file are named by: `symbol` or `id`; in an .h5ad the index of var.
    state
        What the values are: counts, or log1p of counts per 10,000 or per million.
    missing
        What becomes of tested cells, or conditions, that the file lacks: `control` predicts the mean of the training
        control cells, that is no effect; `error`.
    missing_genes
        What becomes of genes that the file lacks: `control` or `error`, likewise.
    how
        How the file is made: what a user is told who does not have it.
    """

    abilities = Abilities(predictions=False, expression=True, probabilities=False)
    files = ("{path}",)

    trainable_parameters = 0

    def __init__(
        self,
        *,
        path: str,
        rows: Literal["cells", "conditions"] = "cells",
        condition: str | None = None,
        genes: Literal["symbol", "id"] = "symbol",
        state: Literal["counts", "log1p_cp10k", "log1p_cpm"] = "log1p_cp10k",
        missing: Literal["control", "error"] = "error",
        missing_genes: Literal["control", "error"] = "control",
        how: str = "",
    ) -> None:
        self.path, self.rows, self.condition, self.genes, self.state = path, rows, condition, genes, state
        self.missing, self.missing_genes, self.how = missing, missing_genes, how

    def fit(self, train: "AnnData", context: Context) -> None:
        self._path = self.path.replace("{dataset}", context.dataset)
        self._file = located(self._path)
        if not self._file.is_file():
            raise MethodSkipped(f"parameters.path: there is no file '{self._path}'; {self.how or 'make it'}")
        self._control = Profiles.of(train).control_mean

    def predict_expression(self, query: "AnnData", conditions: "Sequence[str]") -> Expression:
        given = self._read(self._file)
        values, of_genes = self._over_genes(given, query)
        keys = query.obs_names.to_numpy(dtype=object) if self.rows == "cells" else np.asarray(conditions, dtype=object)
        rows, of_rows = self._joined(given, keys)
        predicted = np.where((rows < 0)[:, None], self._control, values[rows]).astype(np.float32)
        self.notes = {
            "file": self._path,
            "sha256": {self._path: sha256_of(self._file)},
            "rows": given.n_obs,
            **of_genes,
            **of_rows,
        }
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)
        return Expression(
            query.obs_names.to_numpy(dtype=object), np.asarray(conditions, dtype=object), predicted, STATE
        )

    def _read(self, path: Path) -> "AnnData":
        """The file as cells or conditions by genes, whose index is what rows are joined by."""
        import anndata
        import pandas as pd

        try:
            if path.suffix == ".h5ad":
                given = anndata.read_h5ad(path)
            else:
                given = self._of_table(pd.read_parquet(path) if path.suffix == ".parquet" else _read_text_table(path))
        except (OSError, ValueError, UnicodeError, KeyError) as error:
            raise DataError(f"{path.name}: cannot be read as predicted expression ({error})") from error
        if self.rows == "conditions" and self.condition is not None:
            if self.condition not in given.obs:
                near = nearest(self.condition, given.obs.columns)
                raise DataError(f"{path.name}: condition: there is no column '{self.condition}'{near}")
            given.obs_names = given.obs[self.condition].astype(str)
        if self.rows == "cells" and not given.obs_names.is_unique:
            twice = given.obs_names[given.obs_names.duplicated()][0]
            raise DataError(f"{path.name}: cell '{twice}' is listed twice; expected one row per cell")
        return given

    def _of_table(self, table: "pd.DataFrame") -> "AnnData":
        """A table of numbers, but for the column of the conditions."""
        import anndata
        import pandas as pd

        obs = table[[self.condition]] if self.condition in table.columns else table[[]]
        numbers = table.drop(columns=list(obs.columns)).apply(pd.to_numeric, errors="raise")
        obs = obs.set_axis(table.index.astype(str))
        var = pd.DataFrame(index=numbers.columns.astype(str))
        return anndata.AnnData(numbers.to_numpy(dtype=np.float32), obs=obs, var=var)

    def _over_genes(self, given: "AnnData", query: "AnnData") -> "tuple[Array, Notes]":
        """Log-normalised values over the genes of the query, and what the run record says of genes."""
        from annobench.cells.expression import log_normalised

        if not given.var_names.is_unique:
            twice = given.var_names[given.var_names.duplicated()][0]
            raise DataError(f"{self._file.name}: gene '{twice}' is listed twice; expected one column per gene")
        column = "feature_name" if self.genes == "symbol" else "feature_id"
        wanted = query.var[column].astype(str).to_numpy(dtype=object)
        at = given.var_names.get_indexer(wanted)
        lacking = wanted[at < 0]
        if len(lacking) == len(wanted):
            raise DataError(
                f"{self._file.name}: none of its {given.n_vars} genes (such as '{given.var_names[0]}') is among the "
                f"{len(wanted)} genes of the data (such as '{wanted[0]}'); see `genes`, which is '{self.genes}'"
            )
        if len(lacking) and self.missing_genes == "error":
            raise DataError(
                f"{self._file.name}: {len(lacking)} of {len(wanted)} genes are missing ({listed(lacking)}), and "
                "`missing_genes` is error"
            )
        raw = given.X.toarray() if hasattr(given.X, "toarray") else np.asarray(given.X, dtype=np.float32)
        if bad := int((~np.isfinite(raw)).sum()):
            raise DataError(f"{self._file.name}: {bad} values are NaN or infinite; expected a number for every gene")
        if self.state != STATE:
            given.X = raw
            given.uns["annobench"] = {"matrix": self.state}
            raw = log_normalised(given).toarray()
        values = np.where(at < 0, self._control, raw[:, at])
        return values, {
            "genes_missing": len(lacking),
            "missing_gene": tuple(map(str, lacking[:SHOWN])),
            "genes_surplus": given.n_vars - (len(wanted) - len(lacking)),
        }

    def _joined(self, given: "AnnData", keys: "NDArray[np.object_]") -> "tuple[NDArray[np.int64], Notes]":
        """Row of the file for every tested cell, -1 where it has none, and what the run record says of rows."""
        names = given.obs_names.astype(str).to_numpy(dtype=object)
        rows = positions(to_arrow(keys), to_arrow(names))
        lacking = sorted(set(keys[rows < 0]))
        what = "cells" if self.rows == "cells" else "conditions"
        if (rows < 0).all():
            raise DataError(
                f"{self._file.name}: none of its {what} (such as '{names[0]}') is among those tested (such as "
                f"'{keys[0]}'); they are joined by name: see `rows` and `condition`"
            )
        if lacking and self.missing == "error":
            raise DataError(
                f"{self._file.name}: {len(lacking)} of {len(set(keys))} tested {what} are missing "
                f"({listed(lacking)}), and `missing` is error"
            )
        if self.rows == "conditions":
            for name in set(keys) - set(lacking):
                of_name, tested = np.flatnonzero(names == name), np.flatnonzero(keys == name)
                rows[tested] = np.resize(of_name, len(tested))
        return rows, {
            f"{what}_missing": len(lacking),
            "missing": tuple(lacking[:SHOWN]),
            f"{what}_surplus": len(set(names) - set(keys)),
        }


def _read_text_table(path: Path) -> "pd.DataFrame":
    """A table of many numbers, whose first column names the rows."""
    import pandas as pd

    text = read_text(path)
    head = text[: 1 << 16]
    mark = separator(head, DELIMITERS.get(ending(path), ","), whole=len(head) == len(text))
    comma = mark != "," and re.search(r"\d,\d", head) is not None
    return pd.read_csv(StringIO(text, newline=""), sep=mark, index_col=0, decimal="," if comma else ".")
