"""Making a checkpoint of what others trained, or of random weights.

A checkpoint that cannot be had or read does not stop a study: its record says why, and the fits that need it are
skipped with that reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from annobench.core.errors import DataError, DownloadError
from annobench.core.files import expanded, inside, read_foreign_json, sha256_of
from annobench.core.progress import Report, silent
from annobench.data.checkpoints.files import read_vocabulary, read_weights, shape_of
from annobench.data.checkpoints.geneformer import bert_shape, one_segment, read_medians, read_tokens
from annobench.data.checkpoints.initial import initial_weights
from annobench.data.checkpoints.layout import own_weights
from annobench.data.checkpoints.spec import (
    CheckpointRecord,
    CheckpointSpec,
    Downloads,
    InputSpec,
    LocalFiles,
    NamedFiles,
    Random,
    ReadFile,
    Shape,
)
from annobench.data.checkpoints.stored import StoredCheckpoint, write_checkpoint
from annobench.data.download.http import Connection, cache_folder, download
from annobench.data.download.lock import changed, enforce, recorded

_WHOLE = 64  # digits of a SHA-256


def blank_record(name: str, spec: CheckpointSpec) -> CheckpointRecord:
    """The record of a checkpoint of which nothing is known yet but its file."""
    return CheckpointRecord(
        name=name, kind=spec.source.kind, about=spec.about, organism=spec.organism, input=spec.input
    )


def or_failed(name: str, spec: CheckpointSpec, folder: Path, make: Callable[[], None], report: Report) -> None:
    """Make a checkpoint; where that fails for a reason that has a message, the record says so."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        make()
    except (DataError, DownloadError) as error:
        reason = " ".join(str(error).split())
        report(f"{name}: {reason}; fits that read this checkpoint are skipped")
        replace(blank_record(name, spec), status="failed", reason=reason).write(folder)


def fetch_checkpoint(
    name: str,
    spec: CheckpointSpec,
    folder: Path,
    *,
    like: Path | None = None,
    lock_file: Path,
    connection: Connection | None = None,
    report: Report = silent,
) -> None:
    """Fill a folder with a checkpoint of kind `local`, `url` or `random`.

    Parameters
    ----------
    name, spec
        Of its file in config/checkpoints.
    folder
        Gets weights.safetensors, vocabulary.json, checkpoint.json, and medians.json where cells are ranked; of a
        checkpoint that cannot be had checkpoint.json alone.
    like
        Folder of the checkpoint whose shape random weights take.
    lock_file
        Keeps hashes of downloads that are not stated whole.
    connection
        How to reach servers.
    report
        Says one line of progress.
    """
    source = spec.source

    def make() -> None:
        if isinstance(source, Random):
            assert like is not None
            _make_random(name, spec, source, like, folder)
        elif isinstance(source, LocalFiles):
            _read(name, spec, source, _local(source), folder)
        elif isinstance(source, Downloads):
            _read(name, spec, source, _downloaded(name, source, lock_file, connection, report), folder)
        else:
            raise TypeError(f"{name}: a checkpoint of kind {source.kind} is not fetched")

    or_failed(name, spec, folder, make, report)


def _make_random(name: str, spec: CheckpointSpec, source: Random, like: Path, folder: Path) -> None:
    other = StoredCheckpoint.open(like)
    record = replace(
        blank_record(name, spec),
        shape=other.shape,
        input=other.input,
        pretraining=f"none: random weights (seed {source.seed}) in the shape of {source.like}",
    )
    write_checkpoint(folder, record, initial_weights(other.shape, source.seed), other.vocabulary, other.medians)


def _local(source: LocalFiles) -> dict[str, tuple[Path, str]]:
    """Name of a file -> the file, and where it comes from."""
    folder = expanded(source.path)
    if "$" in str(folder):
        raise DataError(f"source.path: '{source.path}' names a variable that is not set; set it or write the path out")
    found = {name: (folder / name, f"{source.path}/{name}") for name in source.names}
    if absent := [name for name, (path, _) in found.items() if not path.is_file()]:
        raise DataError(f"source.path: '{source.path}' has no file {', '.join(absent)}")
    return found


def _downloaded(
    name: str, source: Downloads, lock_file: Path, connection: Connection | None, report: Report
) -> dict[str, tuple[Path, str]]:
    """The same of downloads."""
    connection = connection or Connection(attempts=3, timeout=30)  # fits of one checkpoint wait, not the study
    found = {}
    for file in source.names:
        stated = source.sha256.get(file, "")
        cached = inside(cache_folder() / "checkpoints" / name, file)
        address = f"{source.url.rstrip('/')}/{file}"
        whole = stated if len(stated) == _WHOLE else None
        known = None if whole else recorded(lock_file, f"checkpoints/{name}", file)
        try:
            received = download([address], cached, whole or known, connection=connection, report=report)
        except DownloadError as error:
            raise (changed(error, lock_file, f"checkpoints/{name}", file) if known else error) from error
        if not received["sha256"].startswith(stated):
            cached.unlink()
            raise DownloadError(f"{address}: has the sha256 {received['sha256']}, expected one that begins {stated}")
        if whole is None:
            enforce(lock_file, f"checkpoints/{name}", file, received["sha256"])
        found[file] = (cached, address)
    return found


def _read(
    name: str, spec: CheckpointSpec, source: NamedFiles, paths: dict[str, tuple[Path, str]], folder: Path
) -> None:
    """Read the files of a checkpoint, strictly, and write it in our form."""
    files = {}
    for file, (path, origin) in paths.items():
        found, stated = sha256_of(path), source.sha256.get(file, "")
        if not found.startswith(stated):
            raise DataError(f"{origin}: has the sha256 {found}, expected {stated}; it is not the file that was meant")
        files[file] = ReadFile(origin=origin, bytes=path.stat().st_size, sha256=found)
    arguments, weights = read_foreign_json(paths[source.arguments][0]), read_weights(paths[source.weights][0])
    vocabulary_file = paths[source.vocabulary][0]
    medians, notes = None, []
    if source.layout == "geneformer":
        assert source.medians is not None
        vocabulary = read_tokens(vocabulary_file, spec.input)
        medians = read_medians(paths[source.medians][0], vocabulary)
        whole: Shape = bert_shape(arguments, source.arguments, vocabulary, spec.input)
        weights = one_segment(weights, arguments, source.weights)
        notes.append("of the vectors of segments the first is read: a cell is one segment")
        notes.append(f"{len(medians):,} of {len(vocabulary):,} tokens have a median; others stand for no gene here")
    else:
        vocabulary = read_vocabulary(vocabulary_file, spec.input)
        whole = shape_of(arguments, source.arguments, vocabulary, spec.input)
    shape = _read_shape(whole, spec.input, vocabulary)
    own = own_weights(weights, whole, source.weights, layers=shape.layers)
    record = replace(
        blank_record(name, spec),
        shape=shape,
        pretraining="by others; see `about`",
        files=files,
        used=own.used,
        dropped=own.dropped,
        arguments=arguments,
        notes=(f"embedding of a cell: {spec.input.embedding}; the file has {whole.layers} layers", *notes),
    )
    write_checkpoint(folder, record, own.arrays, vocabulary, medians)


def _read_shape(whole: Shape, given: InputSpec, vocabulary: Mapping[str, int]) -> Shape:
    """The shape of what is read of an encoder; raises DataError where it has no such layer."""
    layers = whole.layers if given.layer is None else given.layer
    if layers > whole.layers:
        raise DataError(f"input.layer is {layers}, and there are {whole.layers} layers")
    if given.pooling == "cls":
        return replace(whole, layers=layers)
    apart = {whole.pad, *(vocabulary[token] for token in (given.cls, given.eos) if token is not None)}
    return replace(whole, layers=layers, pooling="mean", special=tuple(sorted(apart)))
