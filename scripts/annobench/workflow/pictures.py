"""The pictures of docs/: figures of studies, drawn anew from tables, and stamped with the code that they are of."""

import csv
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from annobench.config.figures import figure_facts
from annobench.config.results import Results
from annobench.config.tables import table_facts
from annobench.core.codehash import code_hash
from annobench.core.errors import ConfigError, nearest
from annobench.core.files import atomic
from annobench.core.paths import ROOT

if TYPE_CHECKING:
    from annobench.workflow.common import Wildcards

LIST = ROOT / "docs" / "pictures.md"
_ROW = re.compile(r"\| `([\w.]+\.png)` \| `(\w+)` \| `(\w+)` \| `([^`]+)` \|")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY = b"annobench"


@dataclass(frozen=True)
class Picture:
    """A row of docs/pictures.md: a file of docs/, what it shows, and the command that makes it."""

    file: str
    study: str
    figure: str
    command: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return LIST.parent / self.file

    def stamp(self) -> str:
        """The figure, and a hash of its code and of the files that build its tables."""
        modules = sorted({f"annobench.tables.{table_facts(name).module}" for name in figure_facts(self.figure).tables})
        drawn = code_hash(f"annobench.figures.{self.figure}", within="annobench.figures.")
        return " ".join([self.figure, drawn, *(code_hash(module, within=module) for module in modules)])

    def problem(self) -> str | None:
        """Why the picture is not what today's code would draw, and what to do; None where it is."""
        if not self.path.is_file():
            return f"docs/{self.file}: is not there; run: {self.command}"
        found = stamp_of(self.path.read_bytes())
        if found == self.stamp():
            return None
        why = "its figure or its tables have changed since it was drawn" if found else "it has no stamp"
        return f"docs/{self.file}: {why}; run: {self.command}"


def pictures() -> list[Picture]:
    """The pictures that docs/pictures.md lists."""
    return [Picture(*row) for row in _ROW.findall(LIST.read_text(encoding="utf-8"))]


def redraw(study: str | None = None) -> int:
    """Draw the pictures of a study (of all whose tables are there) from its tables; returns an exit status.

    Raises
    ------
    ConfigError
        Where no picture is of the study, a table is not there, or it has other columns than today's.
    """
    listed = pictures()
    names = dict.fromkeys(one.study for one in listed)
    if study and study not in names:
        raise ConfigError(f"docs/pictures.md lists no picture of the study '{study}'{nearest(study, names)}")
    for one in listed:
        missing = [path for path in _tables(one).values() if not Path(path).is_file()]
        if study == one.study and missing:
            raise ConfigError(f"{missing[0]}: is not there; run: {one.command}")
        if study in (None, one.study):
            if missing:
                print(f"docs/{one.file}: left as it is, since {missing[0]} is not there; run: {one.command}")
            else:
                _draw(one)
                print(f"docs/{one.file}: drawn from results/tables/{one.study}")
    return 0


def _tables(one: Picture) -> dict[str, str]:
    return {name: Results().table(one.study, name) for name in figure_facts(one.figure).tables}


def _draw(one: Picture) -> None:
    from annobench.core.scratch import scratch_folder
    from annobench.figures.shared.style import draw_figure
    from annobench.tables.shared.columns import matches
    from annobench.workflow.figures import FigureRules
    from annobench.workflow.launch import resolve

    tables = _tables(one)
    for name, path in tables.items():
        with open(path, encoding="utf-8", newline="") as handle:
            header: Sequence[str] = next(csv.reader(handle), [])
        if not matches(header, list(table_facts(name).columns)):
            raise ConfigError(f"{path}: has other columns than today's code writes; run: {one.command}")
    settings = FigureRules(resolve(one.study)).settings(cast("Wildcards", SimpleNamespace(figure=one.figure)))
    with scratch_folder() as folder:
        png = folder / "figure.png"
        draw_figure(one.figure, tables, settings, pdf=str(folder / "figure.pdf"), png=str(png))
        content = png.read_bytes()
    with atomic(one.path) as new:
        new.write_bytes(stamped(content, one.stamp()))


def stamped(png: bytes, text: str) -> bytes:
    """A PNG with a text of ours behind its first chunk (the header), and nothing else changed."""
    if not png.startswith(_SIGNATURE):
        raise ConfigError("a picture is no PNG")
    (size,) = struct.unpack(">I", png[8:12])
    end = 8 + 12 + size
    kind, body = b"tEXt", _KEY + b"\0" + text.encode("latin-1")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:end] + chunk + png[end:]


def stamp_of(png: bytes) -> str | None:
    """The text of ours in a PNG; None where it has none."""
    at = len(_SIGNATURE)
    while at + 12 <= len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        if kind == b"tEXt" and body.startswith(_KEY + b"\0"):
            return body[len(_KEY) + 1 :].decode("latin-1")
        at += 12 + size
    return None
