"""Mapping of authors' labels to Cell Ontology ids, by a curated table or by the ids of the source.

Nothing is guessed: a label that neither maps stays visible as `unknown` and is counted in the card.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.missing import is_missing
from annobench.core.records import Records, plain
from annobench.ontology.graph import UNKNOWN, Ontology
from annobench.ontology.ids import canonical

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
    respelled
        Id as the source spells it -> the id of the release.
    unused
        Labels of the table that no cell has.
    """

    label_ids: list[str]
    unmapped: dict[str, str]
    replaced: dict[str, str]
    respelled: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def read_table(path: str | Path, ontology: Ontology) -> dict[str, str]:
    """Read a table of config/labels: columns original, label_id, comment (which may be left out), tab-separated.

    Labels are taken as they are compared (`annobench.core.records.plain`), and ids in any spelling. A row without an id
    says `unknown`, as one with `unknown` does.

    Raises DataError for a wrong header, a label that is listed with two ids, or an id that is not a live term of the
    release.
    """
    path = Path(path)
    records = Records.read(path, optional=True)
    if not {*COLUMNS[:2]} <= set(records.names):
        raise DataError(
            f"{path}: expected the columns {', '.join(COLUMNS)} (tab-separated), found {', '.join(records.names)}"
        )
    table: dict[str, str] = {}
    for where, (original, given) in records.table(COLUMNS[:2]):
        label_id = UNKNOWN if is_missing(given) or given.lower() == UNKNOWN else given
        if label_id != UNKNOWN:
            label_id = check_live(label_id, ontology, where, "a live id or 'unknown'")
        if original in table:
            raise DataError(f"{where}: label '{original}' is listed twice; keep one row")
        table[original] = label_id
    return table


def check_live(label_id: str, ontology: Ontology, where: str, wanted: str = "a live id") -> str:
    """The id in the spelling of the release; `where` opens the message.

    Raises DataError where it is not a live term of the release.
    """
    known = label_id if label_id in ontology.terms else canonical(label_id)
    if known in ontology:
        return known
    successor = ontology.resolve(known)
    state = "obsolete in" if known in ontology.terms else "not a term of"
    hint = (
        f"; use its successor {successor} ({ontology.label(successor)}), or {wanted}"
        if successor
        else f"; use {wanted}"
    )
    found = ontology.find(label_id)
    if found and known not in ontology.terms:
        hint = f"; ids are expected, not names: use {found}, or {wanted}"
    raise DataError(f"{where}: '{label_id}' is {state} Cell Ontology {ontology.release}{hint}")


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
        Ids of the source in any spelling, one for each of `original`; an obsolete id is followed to its replacement.
    table
        Label -> id, with labels as they are compared (`annobench.core.records.plain`); goes before the ids of the
        source.
    ontology
        The release.
    cells
        Sizes of the sets of cells; None where every entry is one cell.
    """
    label_ids: list[str] = []
    unmapped: Counter[tuple[str, str]] = Counter()
    replaced: dict[str, str] = {}
    respelled: dict[str, str] = {}
    used: set[str] = set()
    for position, text in enumerate(original):
        label_id, reason = UNKNOWN, "no table and no native id"
        key = text if table and text in table else plain(text)
        listed = table is not None and key in table
        if table is not None:
            used.add(key)
            label_id = table.get(key, UNKNOWN)
            reason = "unknown by the table" if listed else "not in the table"
        if label_id == UNKNOWN and native is not None and not listed:
            given = native[position]
            resolved = ontology.resolve(given)
            if resolved:
                label_id = resolved
                if resolved != given:
                    (respelled if canonical(given) == resolved else replaced)[given] = resolved
            elif is_missing(given) or plain(given).lower() == UNKNOWN:
                reason = "no native id"
            else:
                reason = f"native id '{given}' is not in Cell Ontology {ontology.release}"
        if label_id == UNKNOWN:
            unmapped[text, reason] += 1 if cells is None else cells[position]
        label_ids.append(label_id)
    reasons: dict[str, list[str]] = {}
    for (text, reason), count in unmapped.items():
        reasons.setdefault(text, []).append(f"{count} cells: {reason}")
    unused = [label for label in table or {} if label not in used]
    return MappedLabels(
        label_ids, {text: "; ".join(each) for text, each in reasons.items()}, replaced, respelled, unused
    )
