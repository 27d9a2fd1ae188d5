"""Bringing the files of a dataset into its source folder, with a record of where every byte came from."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from annobench import __version__
from annobench.cells.store.manifest import fingerprint
from annobench.core.errors import DataError, DownloadError
from annobench.core.files import expanded, link, sha256_of, write_json
from annobench.data.download.archive import extract_member
from annobench.data.download.http import Report, cache_folder, download, verified_file
from annobench.data.download.lock import enforce
from annobench.data.download.pypi import PipSettings, find_file


def fetch_dataset(
    name: str,
    source: dict[str, Any],
    folder: Path,
    record: Path,
    *,
    lock_file: Path,
    ontology: str | Path | None = None,
    chunks: Sequence[Path] = (),
    selection: Path | None = None,
    report: Report = lambda text: None,
) -> None:
    """Fill `folder` with the files of a dataset and write the provenance `record` (JSON) last.

    `lock_file` keeps the hashes of downloads that state none; `ontology` is the JSON of the release that a simulation
    takes its types from; `chunks` and `selection` (its record) are what earlier jobs fetched from the Census. Raises
    DataError or DownloadError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, Callable[..., tuple[Path, list[dict[str, Any]]]]] = {
        "package": _package,
        "pypi": _pypi,
        "url": _url,
        "local": _local,
        "xenium": _xenium,
        "simulate": _simulate,
        "census": _census,
    }
    given = {"ontology": ontology, "chunks": chunks, "selection": selection}
    file, steps = kinds[source["kind"]](source, folder, **given, report=report)
    size, sha256 = fingerprint(file)
    stated = source.get("member_sha256") or (source.get("sha256") if source["kind"] in ("package", "local") else None)
    if stated and stated != sha256:
        raise DownloadError(
            f"{name}: {file.name} has sha256 {sha256}, expected {stated}; it is not the file that the dataset was "
            "declared with"
        )
    if steps[0]["step"] == "download" and not source.get("sha256"):
        enforce(lock_file, name, steps[0]["file"], steps[0]["sha256"])
    write_json(
        record,
        {
            "dataset": name,
            "source": source,
            "file": file.name,
            "bytes": size,
            "sha256": sha256,
            "steps": steps,
            "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
            "annobench": __version__,
        },
    )


def _package(source: dict[str, Any], folder: Path, **_: Any) -> tuple[Path, list[dict[str, Any]]]:
    spec = find_spec(source["package"])
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"source.package: '{source['package']}' is not installed here; install the lock file (make env)"
        )
    original = Path(next(iter(spec.submodule_search_locations))) / source["member"]
    if not original.is_file():
        raise DataError(
            f"source.member: the installed '{source['package']}' has no file '{source['member']}'; install the "
            "locked version (make env)"
        )
    return link(original, folder / original.name), [
        {"step": "package", "package": source["package"], "file": source["member"]}
    ]


def _pypi(source: dict[str, Any], folder: Path, *, report: Report, **_: Any) -> tuple[Path, list[dict[str, Any]]]:
    archive = cache_folder() / "pypi" / source["file"]
    urls: list[str] = []
    connection = None
    if not _is_cached(archive, source.get("sha256")):  # else no network is needed
        settings = PipSettings.of_user()
        urls, connection = find_file(source["distribution"], source["file"], settings), settings.connection
    step = download(urls, archive, source.get("sha256"), connection=connection, report=report)
    file = folder / Path(source["member"]).name
    extract_member(archive, source["member"], file)
    return file, [{"step": "download", "file": source["file"], **step}, {"step": "extract", "member": source["member"]}]


def _url(source: dict[str, Any], folder: Path, *, report: Report, **_: Any) -> tuple[Path, list[dict[str, Any]]]:
    cached, step = verified_file(source, report)
    if source["member"]:
        file = folder / Path(source["member"]).name
        extract_member(cached, source["member"], file)
        return file, [step, {"step": "extract", "member": source["member"]}]
    return link(cached, folder / source["file"]), [step]


def _local(source: dict[str, Any], folder: Path, **_: Any) -> tuple[Path, list[dict[str, Any]]]:
    path = _own_path(source["path"])
    if not path.is_file():
        raise DataError(
            f"source.path: no file '{path}' (from '{source['path']}'); relative paths start at {Path.cwd()}"
        )
    link = folder / path.name
    link.unlink(missing_ok=True)
    link.symlink_to(path.resolve())  # never copied: it may be large, and it is the user's own
    return link, [{"step": "local", "path": str(path.resolve())}]


def _own_path(text: str) -> Path:
    """A path on this machine as the dataset states it, expanded."""
    path = expanded(text)
    if "$" in str(path):
        raise DataError(f"source.path: '{text}' names a variable that is not set; set it or write the path out")
    return path


def _xenium(source: dict[str, Any], folder: Path, *, report: Report, **_: Any) -> tuple[Path, list[dict[str, Any]]]:
    from annobench.data.sources.xenium import write_bundle

    if "urls" in source:
        bundle, step = verified_file(source, report)
        steps = [step]
    else:
        bundle = _own_path(source["path"])
        steps = [{"step": "local", "path": str(bundle.resolve())}]
    if not bundle.exists():
        raise DataError(
            f"source.path: no folder or zip '{bundle}' (from '{source['path']}'); relative paths start at {Path.cwd()}"
        )
    report(f"{bundle.name}: reading the bundle")
    file = folder / "xenium.h5ad"
    return file, [*steps, write_bundle(bundle, file)]


def _census(
    source: dict[str, Any], folder: Path, *, chunks: Sequence[Path], selection: Path | None, **_: Any
) -> tuple[Path, list[dict[str, Any]]]:
    from annobench.data.census.gather import gather_chunks

    if selection is None:
        raise DataError("source.kind: census is fetched in chunks; run it through Snakemake, or see docs/census.md")
    return gather_chunks(source, chunks, selection, folder)


def _simulate(
    source: dict[str, Any], folder: Path, *, ontology: str | Path | None, **_: Any
) -> tuple[Path, list[dict[str, Any]]]:
    from annobench.data.sources.simulate import write_simulated
    from annobench.ontology import Ontology

    if ontology is None:
        raise DataError("source.kind: simulate needs an ontology for its types")
    release = Ontology.load(ontology)
    file = folder / "simulated.h5ad"
    parameters = {key: value for key, value in source.items() if key != "kind"}
    write_simulated(file, **parameters, ontology=release)
    return file, [{"step": "simulate", "ontology": release.release}]


def _is_cached(path: Path, sha256: str | None) -> bool:
    return path.is_file() and sha256 is not None and sha256_of(path) == sha256
