"""Datasets of kind census as the Snakefile sees them: what goes together, and which files belong to them.

Imported while the Snakefile is parsed: standard library only.
"""

from collections.abc import Callable, Mapping

from annobench.config.schema import Document
from annobench.core.errors import ConfigError, nearest


def census_source(dataset: Document) -> Document | None:
    """The source of a dataset of kind census; None for any other."""
    source = dataset.get("source")
    return source if source and source["kind"] == "census" else None


def check_census(source: Document, where: str) -> None:
    """Raise ConfigError for settings that do not go together. `where` opens the message."""
    if source["built"] and (source["uri"] or source["new_since_uri"]):
        raise ConfigError(f"{where}: source.uri does not go with source.built, which says where the release lies")
    if source["new_since_uri"] and not source["new_since"]:
        raise ConfigError(f"{where}: source.new_since_uri is given without new_since; add the older release's date")
    if source["new_since"] and source["new_since"] >= source["release"]:
        raise ConfigError(
            f"{where}: source.new_since: {source['new_since']} is not older than the release {source['release']}"
        )
    if source["genes"].get("file") and source["genes"]["measured"]:
        raise ConfigError(f"{where}: source.genes: give `file` or `measured`, not both")
    for key in ("exclude", "ontology"):
        entry = source["exclude"] if key == "exclude" else source["corpus"]["ontology"]
        name = f"source.{key}" if key == "exclude" else "source.corpus.ontology"
        if not entry:
            continue
        if entry.get("path") and entry.get("urls"):
            raise ConfigError(f"{where}: {name}: give `path` or `urls`, not both")
        if entry.get("urls") and not entry.get("file"):
            raise ConfigError(f"{where}: {name}: `urls` needs `file`, the name of the file on disk")
        if key == "exclude" and not (entry.get("path") or entry.get("urls")):
            raise ConfigError(f"{where}: {name}: key 'path' is missing, or instead of it 'urls' and 'file'")


def release_parts(source: Document, load: Callable[[str], Document], where: str) -> list[str]:
    """The datasets from which the releases behind a census source are built; none where they are not built here.

    All of the file, since they share one list of genes. `load` reads a file of config/releases. Raises ConfigError for
    a date that the file does not have.
    """
    if not source["built"]:
        return []
    releases = load(source["built"])["releases"]
    for key in ("release", "new_since"):
        if source[key] and source[key] not in releases:
            raise ConfigError(
                f"{where}: source.{key}: config/releases/{source['built']}.yaml has no release {source[key]}"
                f"{nearest(source[key], releases)}"
            )
    return family(releases)


def family(releases: Mapping[str, list[str]]) -> list[str]:
    """All datasets of the releases of one file, sorted: they share one list of genes."""
    return sorted({part for parts in releases.values() for part in parts})


def chunk_names(chunks: int) -> list[str]:
    """Names of so many chunks: their numbers, in order."""
    return [f"{number:04d}" for number in range(chunks)]
