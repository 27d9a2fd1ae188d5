"""What the user says of predictions to score, and names for what is written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import ConfigError

KINDS = ("cas", "azimuth", "table", "obs")
COMPATS = ("cas",)


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What `annobench score` is asked for.

    Parameters
    ----------
    label
        Column of obs with the true labels.
    predictions
        Paths of files and folders, or patterns of them.
    out
        The folder that everything is written into.
    cells
        The h5ad file with the true labels, or a folder that holds the files that metadata.json of runs name.
    kind
        One of KINDS; told from the paths where it is None.
    column
        Column of the predicted labels.
    labels
        Table of the true labels: a name in config/labels, or a file.
    crosswalk
        The same for the predicted labels.
    groups
        Further columns of obs within whose groups is scored.
    compat
        Tools in whose files scores are written as well.
    zero_division
        In those files, the value of a ratio without cells.
    """

    label: str
    predictions: tuple[str, ...]
    out: Path
    cells: Path | None = None
    kind: str | None = None
    column: str | None = None
    labels: str | None = None
    crosswalk: str | None = None
    groups: tuple[str, ...] = ()
    compat: tuple[str, ...] = ()
    zero_division: float = 0.0

    def check(self) -> None:
        """Raise ConfigError for what is missing or not allowed."""
        if not self.label:
            raise ConfigError("LABEL is missing; name the column of obs with the true labels")
        if self.out == Path():
            raise ConfigError("OUT is missing; name the folder to write the study and its results into")
        if not self.predictions:
            raise ConfigError("PREDICTIONS is missing; name files or folders of predictions")
        if self.kind not in (None, *KINDS):
            raise ConfigError(f"KIND is '{self.kind}', expected one of {', '.join(KINDS)}")
        for compat in self.compat:
            if compat not in COMPATS:
                raise ConfigError(f"COMPAT is '{compat}', expected {', '.join(COMPATS)}")
        if self.cells is not None and not self.cells.exists():
            raise ConfigError(f"CELLS: there is no file or folder '{self.cells}'")


def listed(text: str | None, separator: str = ",") -> tuple[str, ...]:
    """Parts of a text between separators (a regular expression); empty ones are left out."""
    return tuple(part for one in re.split(separator, text or "") if (part := one.strip()))


def listed_paths(text: str) -> tuple[str, ...]:
    """Paths that blanks or commas separate; a text that is a path itself is one."""
    return (text,) if Path(text).expanduser().exists() else listed(text, r"[\s,]+")


def unique_name(text: str, taken: Iterable[str]) -> str:
    """A name for a file of config/ that is like a text and not taken; with a number where it would be."""
    taken = set(taken)
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    name = name if name[:1].isalpha() else f"x_{name}".rstrip("_")
    return next(one for one in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if one not in taken)
