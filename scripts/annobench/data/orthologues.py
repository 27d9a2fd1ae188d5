"""Orthologues: tables of genes of two organisms, fetched and read into their one-to-one pairs of symbols."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import atomic, read_json, write_json
from annobench.core.missing import is_missing
from annobench.core.progress import Report, silent
from annobench.core.records import Records
from annobench.core.scratch import scratch_folder
from annobench.data.fetch import fetch_dataset
from annobench.data.spec import OrthologueSpec

Pairs = list[tuple[str, str]]
_NAMED = 5  # genes in a message


def fetch_orthologues(
    name: str, table: OrthologueSpec, pairs: Path, record: Path, *, lock_file: Path, report: Report = silent
) -> None:
    """Fetch a table of orthologues and write its one-to-one pairs as CSV; the record counts what was left out.

    Raises DataError or DownloadError.
    """
    import pandas as pd

    with scratch_folder() as folder:
        fetch_dataset(f"orthologues/{name}", table.source, folder, record, lock_file=lock_file, report=report)
        file = next(path for path in folder.iterdir())
        found, left_out = read_orthologues(file, table.columns)
    write_json(record, read_json(record) | {"pairs": len(found), "left_out": left_out})
    report(f"{file.name}: {len(found)} one-to-one pairs{''.join(f'; {n} {what}' for what, n in left_out.items() if n)}")
    with atomic(pairs) as temporary:
        pd.DataFrame(found, columns=list(table.columns)).to_csv(temporary, index=False)


def read_orthologues(file: Path, columns: Sequence[str]) -> tuple[Pairs, dict[str, int]]:
    """The one-to-one pairs of a table.

    Parameters
    ----------
    file
        CSV or TSV (also .gz), one pair a row. A pair that is listed twice is one pair.
    columns
        The two columns of symbols.

    Returns
    -------
    The pairs, in the order of the file, and what was left out -> how often.

    Raises
    ------
    DataError
        For a column that is not there, and where no pair is left.
    """
    rows = [(first, second) for _, (first, second) in Records.read(file, optional=True).table(columns)]
    given = {row: None for row in rows if not any(map(is_missing, row))}
    partners = [Counter(pair[side] for pair in given) for side in (0, 1)]
    pairs = [pair for pair in given if partners[0][pair[0]] == partners[1][pair[1]] == 1]
    several = [pair for pair in given if partners[0][pair[0]] > 1 or partners[1][pair[1]] > 1]
    left_out = {
        "rows without a symbol on one side": sum(any(map(is_missing, row)) for row in rows),
        "pairs left out, because one of their genes has several partners": len(several),
    }
    if not pairs:
        such = "; ".join(f"{first} and {second}" for first, second in several[:_NAMED])
        why = f"all genes have several partners, such as {such}" if several else "all rows lack a symbol"
        raise DataError(
            f"{file.name}: has no one-to-one pair of '{columns[0]}' and '{columns[1]}' ({why}); name the two columns "
            "of gene symbols under `columns`"
        )
    return pairs, left_out
