"""Gene identity: Ensembl ids without version where they are known, symbols kept, duplicates resolved.

Rules, each decided over all genes:
- a value is an Ensembl id if it looks like one (`ENSG00000141510`, also with a version or `_PAR_Y`); versions are cut;
- where the YAML says `auto`, the column (or index) with most Ensembl ids holds the ids, and the first of
  feature_name, gene_symbol, gene_symbols, gene_name, symbol that exists, else the index, holds the symbols;
- a gene without a symbol (a text that means missing) is called by its id, else by its name in the index; one that has
  none of them cannot be told from others and is dropped;
- of several columns of the matrix for one gene, the one with most counts is kept;
- columns that are no genes (`annobench.cells.features`) are left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.cells.features import not_genes
from annobench.cells.genes import strip_version
from annobench.cells.spec import GenesSpec
from annobench.core.errors import DataError, nearest
from annobench.core.missing import is_missing
from annobench.core.records import plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_SYMBOL_COLUMNS = ("feature_name", "gene_symbol", "gene_symbols", "gene_name", "symbol")


@dataclass(frozen=True)
class ChosenGenes:
    """The genes that are kept.

    Parameters
    ----------
    table
        feature_id and feature_name, indexed by unique names.
    positions
        Their columns in the matrix of the source, rising.
    features
        Columns of the source that are genes, rising; `positions` are some of them.
    not_genes
        Number of columns that are no genes, by their type.
    not_required, duplicates, nameless
        How many genes were dropped, and why.
    """

    table: "pd.DataFrame"
    positions: "NDArray[np.intp]"
    features: "NDArray[np.intp]"
    not_genes: "Mapping[str, int]"
    not_required: int
    duplicates: int
    nameless: int = 0

    def among_features(self) -> "NDArray[np.intp]":
        """The positions of the genes that are kept among the columns that are genes."""
        import numpy as np

        return np.searchsorted(self.features, self.positions)


def chosen_genes(
    var: "pd.DataFrame", spec: GenesSpec, totals: "Callable[[], NDArray[np.floating]]", file: str
) -> ChosenGenes:
    """The genes of a source that are kept.

    Parameters
    ----------
    var
        Table of the genes of the source, (genes,).
    spec
        `genes` of the dataset.
    totals
        Gives the sum of every column of the matrix, (genes,); asked for only where a gene has several columns.
    file
        Named in messages.

    Raises
    ------
    DataError
        For a column that does not exist or does not hold what it should.
    """
    import numpy as np

    genes = gene_table(var, spec, file)
    is_gene = np.ones(len(var), dtype=bool)
    other: dict[str, int] = {}
    if spec.features == "genes":
        mask, other = not_genes(var, genes["feature_name"].tolist())
        is_gene = ~mask
    if not is_gene.any():
        kinds = ", ".join(f"{n} {kind}" for kind, n in other.items())
        raise DataError(
            f"{file}: genes: none of the {len(var)} features is a gene ({kinds}); name a file or slot with the genes, "
            "or keep all features by genes.features: all"
        )
    features = np.flatnonzero(is_gene)
    wanted = required_genes(var, spec.require, file) & is_gene
    named = (gene_keys(genes) != "").to_numpy()
    if not (named & is_gene).any():
        raise DataError(f"{file}: no gene has a name or an id; see genes.id and genes.name of the dataset")
    required = np.flatnonzero(wanted & named)
    genes = genes.iloc[required].reset_index(drop=True)
    keep, duplicates = np.arange(len(genes)), 0
    if gene_keys(genes).duplicated().any():
        keep, duplicates = keep_one_each(genes, totals()[required])
    genes = genes.iloc[keep].reset_index(drop=True)
    genes.index = gene_index(genes)
    nameless = int((wanted & ~named).sum())
    not_required = len(features) - int(wanted.sum())
    return ChosenGenes(genes, required[keep], features, other, not_required, duplicates, nameless)


def gene_table(var: "pd.DataFrame", spec: GenesSpec, file: str) -> "pd.DataFrame":
    """feature_id (empty where not known) and feature_name for every column of the matrix, in order.

    Raises DataError for a column that does not exist, or an id column in which nothing is an Ensembl id.
    """
    import pandas as pd

    columns = {"index": var.index.astype(str), **{c: var[c].astype(str) for c in var.columns}}
    ids = {name: [strip_version(v) for v in values] for name, values in columns.items()}
    number = {name: sum(map(bool, values)) for name, values in ids.items()}
    id_column, name_column = spec.id, spec.name
    if id_column == "auto":
        id_column = max(number, key=lambda name: number[name])
        id_column = id_column if number[id_column] else None
    elif id_column is not None:
        if id_column not in columns:
            raise DataError(f"{file}: genes.id: var has no column '{id_column}'{nearest(id_column, columns)}")
        if not number[id_column]:
            raise DataError(
                f"{file}: genes.id: nothing in '{id_column}' is an Ensembl id (first value: "
                f"'{columns[id_column][0]}'); use `auto` or null"
            )
    if name_column == "auto":
        name_column = next((c for c in _SYMBOL_COLUMNS if c in columns), "index")
    elif name_column not in columns:
        raise DataError(f"{file}: genes.name: var has no column '{name_column}'{nearest(name_column, columns)}")
    feature_id = ids[id_column] if id_column else [""] * len(var)
    rows = ["" if row.isdigit() else plain(row) for row in columns["index"]]  # a running number is no name
    names = [
        next((text for text in (plain(name), own, row) if not is_missing(text)), "")
        for name, own, row in zip(columns[name_column], feature_id, rows, strict=True)
    ]
    return pd.DataFrame({"feature_id": feature_id, "feature_name": names})


def gene_keys(genes: "pd.DataFrame") -> "pd.Series":
    """What a gene is known by: its Ensembl id, or its symbol where it has none."""
    return genes["feature_id"].where(genes["feature_id"] != "", genes["feature_name"])


def keep_one_each(genes: "pd.DataFrame", totals: "NDArray[np.floating]") -> "tuple[NDArray[np.intp], int]":
    """Positions of the columns to keep, in order, and how many were dropped as duplicates.

    `totals` is the sum of each column of the matrix; on a tie the first column stays.
    """
    import numpy as np

    key = gene_keys(genes)
    order = np.lexsort((np.arange(len(genes)), -totals))
    keep = np.sort(order[~key.iloc[order].duplicated().to_numpy()])
    return keep, len(genes) - len(keep)


def required_genes(var: "pd.DataFrame", columns: Sequence[str], file: str) -> "NDArray[np.bool_]":
    """Which genes are true in all boolean columns that `genes.require` names."""
    import numpy as np

    required = np.ones(len(var), dtype=bool)
    for column in columns:
        if column not in var.columns:
            raise DataError(f"{file}: genes.require: there is no column '{column}'{nearest(column, var.columns)}")
        words = var[column].astype(str).str.lower().replace({"1": "true", "0": "false", "1.0": "true", "0.0": "false"})
        other = words[~words.isin(["true", "false"])]
        if len(other):
            raise DataError(f"{file}: genes.require: column '{column}' holds '{other.iloc[0]}', expected true or false")
        required &= (words == "true").to_numpy()
    return required


def gene_index(genes: "pd.DataFrame") -> list[str]:
    """Unique names for var: the Ensembl id, else the symbol, numbered where a symbol of one is the id of another."""
    seen: Counter[str] = Counter()
    index = []
    for key in gene_keys(genes):
        seen[key] += 1
        index.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return index
