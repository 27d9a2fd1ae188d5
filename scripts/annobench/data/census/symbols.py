"""One list of genes for several datasets, some of which know them by symbol only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.missing import is_missing
from annobench.core.records import Records
from annobench.data.census.filters import local_file
from annobench.data.census.spec import GeneTable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GeneMap:
    """The genes of a family of releases.

    Attributes
    ----------
    ids, names
        Ensembl id and symbol of every gene, sorted by id.
    places
        Position of each dataset's genes among them; -1 for a gene that is dropped.
    about
        How the genes of each dataset were identified, for the record.
    """

    ids: list[str]
    names: list[str]
    places: "Mapping[str, NDArray[np.int64]]"
    about: Mapping[str, dict[str, int]]


def gene_map(tables: "Mapping[str, pd.DataFrame]", gene_table: GeneTable | None = None) -> GeneMap:
    """Join tables of genes (feature_id, empty where not known; feature_name) on their Ensembl ids.

    A gene without an id gets the one that its symbol has in the other tables or in `gene_table`, where all of them
    agree on one; else it is dropped and counted. So is a gene whose symbol is listed twice in its table, or whose id
    another gene of the table has. Raises DataError where no gene is left.
    """
    known: dict[str, set[str]] = {}
    named: dict[str, str] = {}
    for table in tables.values():
        _learn(zip(table["feature_id"].astype(str), table["feature_name"].astype(str), strict=True), known, named)
    if gene_table:
        _learn(_rows(gene_table), known, dict(named))
    chosen = {name: _ids(table, known) for name, table in tables.items()}
    ids = sorted({one for of_table, _ in chosen.values() for one in of_table if one})
    if not ids:
        raise DataError(
            f"no gene of {', '.join(tables)} has an Ensembl id; add a dataset that has them, or a gene table (`genes`)"
        )
    position = {one: i for i, one in enumerate(ids)}
    symbols = {next(iter(of)): symbol for symbol, of in known.items() if len(of) == 1}
    places = {name: np.array([position.get(one, -1) for one in of_table]) for name, (of_table, _) in chosen.items()}
    return GeneMap(
        ids,
        [named.get(one) or symbols.get(one, one) for one in ids],
        {name: of_table.astype(np.int64) for name, of_table in places.items()},
        {name: about for name, (_, about) in chosen.items()},
    )


def _learn(rows: Iterable[tuple[str, str]], known: dict[str, set[str]], named: dict[str, str]) -> None:
    for one, symbol in rows:
        if one and symbol:
            known.setdefault(symbol, set()).add(one)
            named.setdefault(one, symbol)


def _ids(table: "pd.DataFrame", known: Mapping[str, set[str]]) -> tuple[list[str], dict[str, int]]:
    """The id of every gene of a table, empty for one that is dropped; and the counts for the record."""
    own = table["feature_id"].astype(str).tolist()
    symbols = table["feature_name"].astype(str).tolist()
    taken = {one for one in own if one}
    often: dict[str, int] = {}
    for symbol in symbols:
        often[symbol] = often.get(symbol, 0) + 1
    chosen = list(own)
    by_symbol = 0
    for i, symbol in enumerate(symbols):
        if not own[i] and often[symbol] == 1 and len(known.get(symbol, ())) == 1:
            (one,) = known[symbol]
            if one not in taken:
                chosen[i], by_symbol = one, by_symbol + 1
                taken.add(one)
    about = {"by_id": sum(map(bool, own)), "by_symbol": by_symbol, "dropped": sum(not one for one in chosen)}
    return chosen, about


def _rows(table: GeneTable) -> list[tuple[str, str]]:
    path = local_file(table.file)
    if not path.is_file():
        raise DataError(f"genes.file: no file {path} (from '{table.file}')")
    rows = [row for _, row in Records.read(path, optional=True).table([table.id, table.name])]
    return [("" if is_missing(one) else one, "" if is_missing(name) else name) for one, name in rows]
