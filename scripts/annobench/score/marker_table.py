"""Marker genes of cell types: tables of config/markers, keyed by Cell Ontology id."""

import re
from pathlib import Path

from annobench.cells.gene_names import what_is_wrong
from annobench.core.errors import DataError
from annobench.core.records import Records
from annobench.ontology import Ontology
from annobench.ontology.labels import check_live

COLUMNS = ["label_id", "gene", "comment"]
# HGNC symbols: letters, digits and hyphens; lower case only as in C20orf85
_HGNC = re.compile(r"[A-Z][A-Z0-9]*(orf\d+)?(-[A-Z0-9]+)*")
_OTHER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]+([-.:_()]+[A-Za-z0-9]+)*\)?")  # of other organisms, as H2-Eb1


def read_markers(path: str | Path, ontology: Ontology) -> dict[str, list[str]]:
    """Read a table of marker genes.

    Parameters
    ----------
    path
        Tab-separated, with the columns label_id, gene and comment (which may be left out), one row per pair.
    ontology
        The release in which every label_id must be a live term.

    Returns
    -------
    Cell Ontology id -> gene symbols, both in the order of the file.

    Raises
    ------
    DataError
        With file and line: a wrong header, a row that is too long, an id that is not a live term, a gene that is not an
        HGNC symbol (in a table of another organism: that is no symbol), or a pair that is listed twice.
    """
    path = Path(path)
    records = Records.read(path, optional=True)
    if not {*COLUMNS[:2]} <= set(records.names):
        raise DataError(
            f"{path}: expected the columns {', '.join(COLUMNS)} (tab-separated), found {', '.join(records.names)}"
        )
    table: dict[str, list[str]] = {}
    rows = list(records.table(COLUMNS[:2]))
    others = sum(bool(_OTHER.fullmatch(gene)) and not _HGNC.fullmatch(gene) for _, (_, gene) in rows)
    symbol, called = (_OTHER, "a gene") if 2 * others > len(rows) else (_HGNC, "an HGNC")
    for where, (given, gene) in rows:
        label_id = check_live(given, ontology, where)
        if strange := what_is_wrong(gene):
            raise DataError(f"{where}: '{gene}' {strange}; write the symbol of the gene")
        if not symbol.fullmatch(gene):
            raise DataError(f"{where}: '{gene}' is not {called} symbol; write one gene per row, without spaces")
        if gene in table.setdefault(label_id, []):
            raise DataError(f"{where}: gene '{gene}' of {label_id} is listed twice; keep one row")
        table[label_id].append(gene)
    if not table:
        raise DataError(f"{path}: has no markers; add rows below the header")
    return table
