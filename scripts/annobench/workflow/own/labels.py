"""`annobench labels`: the labels of a column as a label table, with Cell Ontology ids where these are sure."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from annobench.config.extends import shown
from annobench.core.delimited import column_positions
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.files import atomic, expanded
from annobench.core.paths import ROOT
from annobench.core.progress import Report, silent
from annobench.core.records import plain
from annobench.core.tables import Wanted, column_names, read_table
from annobench.data.definitions import read_definitions
from annobench.data.ontology import read_release
from annobench.data.spec import OntologySpec
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import COLUMNS
from annobench.ontology.matching import COMMON, Match, Matcher, common_names, is_number
from annobench.workflow.own.lines import columns, counted, first_sentence, wrapped
from annobench.workflow.own.reading import own_file, text_counts

if TYPE_CHECKING:
    import pandas as pd

MORE_COLUMNS = ("cells", "candidates")  # of a proposed table, for who completes it; nothing reads them
_MOST = 1000  # labels
_LONGEST = 300  # characters of a definition in a table


@dataclass(frozen=True)
class Knowledge:
    """A release of the Cell Ontology, the definitions of its terms, and what finds terms for labels."""

    ontology: Ontology
    definitions: Mapping[str, str]
    matcher: Matcher

    @classmethod
    def usual(cls, tissues: Iterable[str] = (), root: Path = ROOT) -> "Knowledge":
        """The release of the default study, and the common names of config/labels."""
        from annobench.workflow.launch import resolve

        spec = OntologySpec.from_params(resolve(None).settings["ontology"])
        ontology = read_release(spec)
        table = root / "config" / "labels" / COMMON
        common = common_names(table, ontology) if table.is_file() else {}
        return cls(ontology, read_definitions(spec), Matcher(ontology, common, tissues))


@dataclass(frozen=True)
class Proposal:
    """What the labels of a column mean, the most frequent label first.

    Parameters
    ----------
    cells
        Label -> number of cells; what has no number (a class of a model) has 0.
    matches
        Label -> what it means.
    missing
        Number of cells without a label.
    merged
        Numbers of spellings that differ in blanks only, and count as one label.
    """

    cells: Mapping[str, int]
    matches: Mapping[str, Match]
    missing: int = 0
    merged: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Mapping[str, int], matcher: Matcher, missing: int = 0) -> "Proposal":
        """What labels mean."""
        counts, spellings = Counter[str](), Counter[str]()
        for text, n in cells.items():
            counts[plain(text)] += n
            spellings[plain(text)] += 1
        ordered = sorted(counts, key=lambda label: (-counts[label], label.lower(), label))
        return cls(
            {label: counts[label] for label in ordered},
            {label: matcher.match(label) for label in ordered},
            missing,
            {label: n for label, n in spellings.items() if n > 1},
        )

    def chosen(self, kind: str) -> list[str]:
        """Labels that are `sure`, have `no_type`, or are left `open`."""
        return [label for label, match in self.matches.items() if _kind(match) == kind]

    def sum_of(self, labels: Iterable[str]) -> int:
        """Number of cells with some labels."""
        return sum(self.cells[label] for label in labels)

    def to_do(self) -> str:
        """What is left to do in the table; empty for nothing."""
        left = len(self.chosen("open"))
        return f"; fill in label_id of {counted(left, 'row')}, `{UNKNOWN}` where no term fits" if left else ""

    def table(self, knowledge: Knowledge) -> str:
        """A label table: rows without an id are for people to fill in from the candidates."""
        handle = io.StringIO()
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow([*COLUMNS, *MORE_COLUMNS])
        for label, match in self.matches.items():
            candidates = " | ".join(
                f"{one.label_id} {knowledge.ontology.label(one.label_id)}: {_shortened(knowledge, one.label_id)}"
                for one in match.candidates
            )
            comment = match.how or "to decide"
            if match.label_id not in (None, UNKNOWN):
                comment = f"{knowledge.ontology.label(str(match.label_id))} ({match.how})"
            writer.writerow([label, match.label_id or "", comment, self.cells[label] or "", candidates])
        return handle.getvalue()

    def text(self, knowledge: Knowledge, width: int | None = None, what: str = "label") -> str:
        """What people read: sure labels in a line each, the others with their candidates and definitions.

        `what` the labels are, in the singular.
        """
        sure, none, left = (self.chosen(kind) for kind in ("sure", "no_type", "open"))
        parts = []
        if sure:
            rows = [self._sure_row(label, knowledge.ontology) for label in sure]
            parts.append(f"sure: {self._counted(sure, what)}\n{_indented(columns(rows, _less(width), right=[0]))}")
        if none:
            shown = ", ".join(f"'{label}'" for label in none)
            parts.append(f"no type, taken as `{UNKNOWN}`: {self._counted(none, what)}\n  {shown}")
        if left:
            blocks = [self._open_block(label, knowledge, width) for label in left]
            parts.append(f"to decide: {self._counted(left, what)}\n" + "\n".join(blocks))
        if self.missing:
            parts.append(f"without a label: {counted(self.missing, 'cell')}")
        if self.merged:
            first = next(iter(self.merged))
            labels = counted(len(self.merged), what)
            parts.append(f"{labels} with blanks here and none there, such as '{first}': taken as one")
        return "\n\n".join(parts)

    def _counted(self, labels: list[str], what: str) -> str:
        n = counted(len(labels), what)
        return f"{n} of {counted(self.sum_of(labels), 'cell')}" if self.sum_of(self.cells) else n

    def _sure_row(self, label: str, ontology: Ontology) -> tuple[str, ...]:
        match = self.matches[label]
        number = f"{self.cells[label]:,}" if self.cells[label] else ""
        return number, label, str(match.label_id), ontology.label(str(match.label_id)), match.how

    def _open_block(self, label: str, knowledge: Knowledge, width: int | None) -> str:
        n = self.cells[label]
        number = f" ({counted(n, 'cell')})" if n else ""
        lines = [f"  {label}{number}"]
        for one in self.matches[label].candidates:
            lines.append(f"    {one.label_id}  {knowledge.ontology.label(one.label_id)}  ({one.score:.2f})")
            if definition := knowledge.definitions.get(one.label_id):
                lines.append(wrapped(first_sentence(definition), width, " " * 16))
        if not self.matches[label].candidates:
            lines.append("    a number, as of a cluster" if is_number(label) else "    no term has a similar name")
        return "\n".join(lines)


def _kind(match: Match) -> str:
    if match.label_id is None:
        return "open"
    return "no_type" if match.label_id == UNKNOWN else "sure"


def _shortened(knowledge: Knowledge, label_id: str) -> str:
    text = first_sentence(knowledge.definitions.get(label_id, "no definition"))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _less(width: int | None) -> int | None:
    return None if width is None else width - 2


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def count_labels(values: "pd.Series", where: str) -> tuple[dict[str, int], int]:
    """Label -> number of cells, and the number of cells without one.

    Raises DataError for a column that holds no labels: numbers with decimals, or a value of its own for nearly every
    cell.
    """
    if values.dtype.kind == "f" and not (values.dropna() % 1 == 0).all():
        raise DataError(
            f"{where}: holds numbers such as {values.dropna().iloc[0]:g}, expected labels; name another column"
        )
    given = values.dropna()
    found = text_counts(given)
    missing = len(values) - len(given) + sum(n for label, n in found.items() if not plain(label))
    found = {label: n for label, n in found.items() if plain(label)}
    check_labels(found, len(values), where)
    return found, missing


def check_labels(found: Mapping[str, int], cells: int, where: str) -> None:
    """Raise DataError for values that are no labels: none, or one of its own for nearly every cell."""
    if len(found) > _MOST or (len(found) > 50 and len(found) > cells / 2):
        raise DataError(f"{where}: holds {len(found):,} different values in {cells:,} cells, expected labels")
    if not found:
        raise DataError(f"{where}: no cell has a value")


class Labelled(NamedTuple):
    """Labels of a column and their numbers of cells, the number of cells without one, and the tissues of the cells."""

    cells: dict[str, int]
    missing: int
    tissues: list[str]


def read_labels(file: str | Path, column: str, report: Report = silent) -> Labelled:
    """Labels of a column of obs, or of a table of cells (CSV, TSV, Parquet). Raises DataError."""
    path = expanded(str(file))
    if path.is_file() and re.search(r"\.(csv|tsv|txt|parquet)(\.gz)?$", path.name.lower()):
        known = column_names(path)
        if column in known or path.suffix == ".parquet":
            column_positions(path.name, known, [column])
            texts = read_table(path, Wanted(texts=[column])).texts[column].counts()
            cells = {label: n for label, n in texts.items() if plain(label)}
            check_labels(cells, sum(texts.values()), f"{path.name}: '{column}'")
            return Labelled(cells, sum(texts.values()) - sum(cells.values()), [])
    with own_file(file, report) as own, own.open() as source:
        if column not in source.columns:
            near = nearest(column, source.columns) or "; obs has no columns"
            raise DataError(f"{own.name}: obs has no column '{column}'{near}")
        obs = source.obs(columns=[name for name in (column, "tissue") if name in source.columns])
        cells, missing = count_labels(obs[column], f"{own.name}: obs['{column}']")
        tissues = obs["tissue"].dropna().astype(str).unique().tolist() if "tissue" in obs else []
        return Labelled(cells, missing, tissues)


def table_path(out: str, root: Path = ROOT) -> Path:
    """Where a label table goes: a name in config/labels, or a file that ends in .tsv. Raises ConfigError."""
    if not out.endswith(".tsv") and not re.fullmatch(r"[a-z][a-z0-9_.]*", out):
        raise ConfigError(
            f"--out: '{out}' is neither a name (lower-case letters, digits, underscores) nor a file that ends in .tsv"
        )
    return Path(out).expanduser() if out.endswith(".tsv") else root / "config" / "labels" / f"{out}.tsv"


def write_table(path: Path, text: str, *, force: bool = False) -> None:
    """Write a label table. Raises ConfigError where there is one and `force` is not given, or no folder."""
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists; choose another name, or overwrite it by --force")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}")
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def propose(
    file: str,
    column: str,
    out: str | None = None,
    *,
    tissue: str | None = None,
    force: bool = False,
    width: int | None = None,
) -> str:
    """What `annobench labels` prints; writes the table where `out` names one.

    Parameters
    ----------
    file, column
        Cells, and the column of their labels.
    out
        Name of a table in config/labels, or a .tsv file; None where nothing is written.
    tissue
        Where the cells come from; by default what the column `tissue` says.
    force
        Overwrite the table.
    width
        Characters of a line of the terminal; None to cut nothing off.
    """
    path = table_path(out) if out else None
    if path is not None and path.exists() and not force:
        raise ConfigError(f"{path}: exists; choose another name, or overwrite it by --force")
    given = read_labels(file, column)
    knowledge = Knowledge.usual([tissue] if tissue else given.tissues)
    found = Proposal.of(given.cells, knowledge.matcher, given.missing)
    n = sum(given.cells.values()) + given.missing
    labels = counted(len(found.cells), "label")
    head = f"{Path(file).name}, {column}: {labels} of {counted(n, 'cell')}, Cell Ontology "
    parts = [head + knowledge.ontology.release, found.text(knowledge, width)]
    left = found.to_do()
    if path is not None:
        write_table(path, found.table(knowledge), force=force)
        parts.append(f"wrote {shown(path, ROOT)}{left}")
    else:
        parts.append("To write this as a label table, add --out NAME (config/labels/NAME.tsv) or --out FILE.tsv.")
    return "\n\n".join(parts)
