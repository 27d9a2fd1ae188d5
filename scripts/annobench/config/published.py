"""Published values that figures draw as references: the files that a study names, and the datasets they are of.

Imported while the Snakefile is parsed: the standard library and errors only. `annobench.tables.published_values` reads
the values.
"""

from collections.abc import Iterable
from pathlib import Path

from annobench.core.errors import ConfigError, nearest
from annobench.core.records import Records


def published_files(named: str | list[str] | None, root: Path, source: str = "config") -> list[Path]:
    """Files of config/published that the key `published_values` names; raises ConfigError for a missing one."""
    folder = root / "config" / "published"
    paths = [folder / f"{name}.tsv" for name in ([named] if isinstance(named, str) else named or [])]
    for path in paths:
        if not path.is_file():
            known = [file.stem for file in folder.glob("*.tsv")]
            raise ConfigError(
                f"{source}: published_values: no file config/published/{path.name}{nearest(path.stem, known)}"
            )
    return paths


def published_datasets(files: Iterable[Path]) -> list[str]:
    """Names of the datasets that published values are of, sorted."""
    datasets: set[str] = set()
    for path in files:
        records = Records.read(path, comment="#")
        if "dataset" in records.names:
            datasets |= {dataset for _, (dataset,) in records.table(["dataset"])}
    return sorted(datasets - {""})
