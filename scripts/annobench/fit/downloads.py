"""Files that were fetched for a method, as its fits see them; only the standard library, as every fit imports this."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from annobench.config.downloads import referenced
from annobench.core.errors import DataError
from annobench.core.files import read_json


def downloaded(records: Iterable[str | Path]) -> tuple[dict[str, str], dict[str, dict[str, Any]], str | None]:
    """Paths by name, what run records say of them (file, sha256, url), and why a fit cannot run, from the records.

    Raises DataError where a file is gone that its record promises.
    """
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
    return paths, facts, " ".join(problems) or None


def with_paths(parameters: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """Parameters of a method in which `download:<name>` is replaced by the path of that file."""
    return {key: paths.get(name, value) if (name := referenced(value)) else value for key, value in parameters.items()}
