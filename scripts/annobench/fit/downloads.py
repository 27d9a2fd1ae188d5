"""Files that were fetched for a method, as its fits see them; only the standard library, as every fit imports this."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from annobench.config.downloads import referenced
from annobench.core.errors import DataError
from annobench.core.files import read_json


class Downloaded(NamedTuple):
    """Files of a method.

    Parameters
    ----------
    paths
        Name -> absolute path.
    facts
        Name -> file, sha256 and url, for the run record.
    missing
        Why a fit cannot run; None where every file is there.
    """

    paths: dict[str, str]
    facts: dict[str, dict[str, str]]
    missing: str | None


def downloaded(records: Iterable[str | Path]) -> Downloaded:
    """Read the records of downloads. Raises DataError where a file is gone that its record promises."""
    paths, facts, problems = {}, {}, []
    for place in map(Path, records):
        record = read_json(place)
        if record["status"] != "ok":
            problems.append(record["reason"])
            continue
        path = place.with_suffix("") / record["file"]
        if not path.is_file():
            raise DataError(f"{path}: is gone; delete {place}, and the next run fetches it again")
        paths[record["download"]] = str(path.resolve())
        facts[record["download"]] = {key: record[key] for key in ("file", "sha256", "url")}
    return Downloaded(paths, facts, " ".join(problems) or None)


def with_paths(parameters: Mapping[str, object], paths: Mapping[str, str]) -> dict[str, object]:
    """Parameters of a method in which `download:<name>` is replaced by the path of that file."""
    return {key: paths.get(name, value) if (name := referenced(value)) else value for key, value in parameters.items()}
