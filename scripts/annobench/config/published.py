"""Published values that are drawn as references: the files that a study names, and which data they are of.

Imported while the Snakefile is parsed: standard library and errors only. The values are read by
`annobench.tables.published_values`.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from annobench.core.errors import ConfigError, nearest


def published_files(named: str | list[str] | None, root: Path, source: str = "config") -> list[Path]:
    """Files of config/published that `published_values` names; raises ConfigError for one that is not there."""
    folder = root / "config" / "published"
    found = []
    for name in [named] if isinstance(named, str) else named or []:
        path = folder / f"{name}.tsv"
        if not path.is_file():
            known = [file.stem for file in folder.glob("*.tsv")]
            raise ConfigError(f"{source}: published_values: no file config/published/{name}.tsv{nearest(name, known)}")
        found.append(path)
    return found


def published_datasets(files: Iterable[Path]) -> list[str]:
    """Names of the datasets that published values are of, sorted."""
    found: set[str] = set()
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            found |= {row["dataset"] for row in csv.DictReader(lines, delimiter="\t") if row.get("dataset")}
    return sorted(found)
