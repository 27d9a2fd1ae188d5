"""Marker genes of cell types: tables of config/markers, keyed by Cell Ontology id."""

import csv
import re
from pathlib import Path

from annobench.core.errors import DataError
from annobench.ontology import Ontology
from annobench.ontology.labels import check_live

COLUMNS = ["label_id", "gene", "comment"]
# HGNC symbols: letters, digits and hyphens; lower case only as in C20orf85
_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(orf\d+)?(-[A-Z0-9]+)*")


def read_markers(path: str | Path, ontology: Ontology) -> dict[str, list[str]]:
    """Read a table of marker genes.

    Parameters
    ----------
    path
        Tab-separated, with the columns label_id, gene and comment, one row per pair.
    ontology
        The release in which every label_id must be a live term.

    Returns
    -------
    Cell Ontology id -> gene symbols, both in the order of the file.

    Raises
    ------
    DataError
        With file and line: a wrong header or number of columns, an id that is not a live term, a gene that is not an
        HGNC symbol, or a pair that is listed twice.
    """
    table: dict[str, list[str]] = {}
    with open(path, encoding="utf-8", newline="") as handle:
        rows = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(rows, [])
        if header != COLUMNS:
            raise DataError(f"{path}: expected the columns {', '.join(COLUMNS)} (tab-separated), found {header}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(COLUMNS):
                raise DataError(f"{where}: has {len(row)} columns, expected {len(COLUMNS)} separated by tabs")
            label_id, gene, _ = row
            check_live(label_id, ontology, where)
            if not _SYMBOL.fullmatch(gene):
                raise DataError(f"{where}: '{gene}' is not an HGNC symbol; write one gene per row, without spaces")
            if gene in table.setdefault(label_id, []):
                raise DataError(f"{where}: gene '{gene}' of {label_id} is listed twice; keep one row")
            table[label_id].append(gene)
    if not table:
        raise DataError(f"{path}: has no markers; add rows below the header")
    return table
