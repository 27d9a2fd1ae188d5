"""Mapping of authors' labels to Cell Ontology ids, by a curated table or by the ids of the source.

Nothing is guessed: a label that neither maps stays visible as `unknown` and is counted in the card.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import DataError
from annobench.ontology.graph import UNKNOWN, Ontology

COLUMNS = ["original", "label_id", "comment"]


@dataclass(frozen=True)
class MappedLabels:
    """Mapped labels.

    Parameters
    ----------
    label_ids
        Cell Ontology id of every cell, or `unknown`.
    unmapped
        Original label -> number of cells that could not be mapped, and why.
    replaced
        Obsolete id of the source -> its replacement.
    """

    label_ids: list[str]
    unmapped: dict[str, str]
    replaced: dict[str, str]


def read_table(path: str | Path, ontology: Ontology) -> dict[str, str]:
    """Read a table of config/labels: tab-separated, columns original, label_id, comment.

    Raises DataError for a wrong header, a label that is listed twice, or an id that is not a live term of the release.
    """
    table: dict[str, str] = {}
    with open(path, encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        if rows.fieldnames != COLUMNS:
            raise DataError(
                f"{path}: expected the columns {', '.join(COLUMNS)} (tab-separated), found {rows.fieldnames}"
            )
        for number, row in enumerate(rows, start=2):
            original, label_id = row["original"], row["label_id"]
            if original in table:
                raise DataError(f"{path}, line {number}: label '{original}' is listed twice; keep one row")
            if label_id != UNKNOWN:
                check_live(label_id, ontology, f"{path}, line {number}", "a live id or 'unknown'")
            table[original] = label_id
    return table


def check_live(label_id: str, ontology: Ontology, where: str, wanted: str = "a live id") -> None:
    """Raise DataError where an id is not a live term of the release; `where` opens the message."""
    if label_id not in ontology:
        state = "obsolete in" if label_id in ontology.terms else "not a term of"
        raise DataError(f"{where}: '{label_id}' is {state} Cell Ontology {ontology.release}; use {wanted}")


def map_labels(
    original: Sequence[str],
    native: Sequence[str] | None,
    table: dict[str, str] | None,
    ontology: Ontology,
    cells: Sequence[int] | None = None,
) -> MappedLabels:
    """Give every cell a Cell Ontology id or `unknown`.

    Parameters
    ----------
    original
        Labels of the authors: one per cell, or one per set of cells with the same label and id.
    native
        Ids of the source, one for each of `original`; an obsolete id is followed to its replacement.
    table
        Label -> id; goes before the ids of the source.
    ontology
        The release.
    cells
        Sizes of the sets of cells; None where every entry is one cell.
    """
    label_ids: list[str] = []
    unmapped: Counter[tuple[str, str]] = Counter()
    replaced: dict[str, str] = {}
    for position, text in enumerate(original):
        label_id, reason = UNKNOWN, "no table and no native id"
        if table is not None:
            label_id = table.get(text, UNKNOWN)
            reason = "not in the table" if text not in table else "unknown by the table"
        if label_id == UNKNOWN and native is not None and not (table and text in table):
            given = native[position]
            resolved = ontology.resolve(given)
            if resolved:
                label_id = resolved
                if resolved != given:
                    replaced[given] = resolved
            else:
                reason = f"native id '{given}' is not in Cell Ontology {ontology.release}"
        if label_id == UNKNOWN:
            unmapped[text, reason] += 1 if cells is None else cells[position]
        label_ids.append(label_id)
    reasons: dict[str, list[str]] = {}
    for (text, reason), count in unmapped.items():
        reasons.setdefault(text, []).append(f"{count} cells: {reason}")
    return MappedLabels(label_ids, {text: "; ".join(each) for text, each in reasons.items()}, replaced)
