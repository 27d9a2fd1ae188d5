"""Annotates new cells with the model of a fit: any method that keeps one, any h5ad file that has its genes."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench import __version__
from annobench.core.errors import AnnobenchError
from annobench.core.files import sha256_of, write_json
from annobench.core.parquet import Categorical
from annobench.fit.annotate_decoding import Decodings, within_clusters
from annobench.fit.annotate_job import AnnotateJob, OutputError
from annobench.fit.annotated import (
    Annotation,
    AnnotationWriter,
    CsvAnnotations,
    H5adAnnotations,
    ParquetAnnotations,
    Provenance,
)
from annobench.fit.calibration import Platt, strength
from annobench.fit.cuts import Ladder
from annobench.fit.decodings.given import Chosen
from annobench.fit.new_cells import NewCells
from annobench.fit.predictions import joined, validate
from annobench.fit.registry import load_class
from annobench.fit.saved_model import NoModelError, SavedModel
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from annobench.fit.method import Method
    from annobench.fit.predictions import Numbers

_SHOWN = 15  # labels of the summary
Say = Callable[[str], None]


@dataclass
class Summary:
    """What came out: cells per label, also by every decoding; confidences, cells without values."""

    labels: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    decoded: dict[str, Counter[str]] = field(default_factory=dict)
    _confidences: "list[np.ndarray]" = field(default_factory=list)

    def add(self, block: Annotation, empty: int) -> None:
        """Count the cells of a block."""
        self.labels.update(block.labels[:, 0].tolist())
        self.empty += empty
        for name, chosen in block.decoded.items():
            self.decoded.setdefault(name, Counter()).update(chosen.labels.counts())
        sure = block.confidence if block.calibrated is None else block.calibrated
        if sure is not None:
            self._confidences.append(sure.astype(np.float32))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.labels.total()

    @property
    def confidence(self) -> float | None:
        """Median of the calibrated confidences, else of those of the method."""
        values = np.concatenate(self._confidences) if self._confidences else np.empty(0)
        return float(np.nanmedian(values)) if np.isfinite(values).any() else None


def annotate(job: AnnotateJob, say: Say = print) -> None:
    """Annotate cells, write them and a report, and say what came out.

    Raises
    ------
    AnnobenchError
        For a folder without a model, cells that do not suit it, or a file that may not be written.
    """
    job.check()
    model = SavedModel.open(job.model)
    facts = model.facts
    say(f"model: {model}, {len(facts.classes)} classes, Cell Ontology {facts.ontology}")
    with NewCells(job.cells, model, job.read) as cells:
        if job.out.suffix == ".h5ad":
            _check_free(job, model)
        _say_cells(cells, model, job, say)
        method = _loaded(model, job)
        calibration = None if facts.calibration is None else Platt.restore(facts.calibration)
        cut = _cut(model, job, say)
        summary, decodings = Summary(), Decodings(model, job.decode)
        with _writer(job, model, cells.n, decodings.labels()) as writer:
            for block, empty in _all_annotated(cells, method, Answering(model, calibration, decodings, cut), job):
                writer.add(block)
                summary.add(block, empty)
            provenance = _provenance(job, model, cells, summary, cut)
            writer.finish(provenance)
    write_json(job.report, dict(provenance) | {"missing_genes": cells.match.missing})
    _say_summary(summary, model, job, decodings.labels(), say=say)


class Answering(NamedTuple):
    """What turns predictions into annotations."""

    model: SavedModel
    calibration: Platt | None
    decodings: Decodings
    cut: float | None


def _cut(model: SavedModel, job: AnnotateJob, say: Say) -> float | None:
    """The calibrated confidence below which cells become unknown; None where no error is wanted."""
    wanted, facts = job.decode.max_error, model.facts
    if wanted is None:
        return None
    if facts.cuts is None or facts.calibration is None:
        raise NoModelError(
            f"{model.folder}: --max-error needs a calibrated confidence and its cuts, and the fit has none: it had no "
            "validation cells, kept no decision values, or is older; fit again, or take another fit"
        )
    cut = Ladder.restore(facts.cuts).cut(wanted)
    if cut is None:
        raise NoModelError(
            f"{model.folder}: --max-error {wanted:g}: no cut is known to keep the error so low: too many of its "
            f"{int(facts.cuts['cells'][0])} validation cells are wrong, or there are too few of them; allow more"
        )
    say(
        f"cut: cells below a calibrated confidence of {cut.confidence:.3f} become unknown; {cut.kept:.1%} of the "
        f"validation cells are kept, {cut.error:.1%} of these wrong (95 % interval {cut.low:.1%} to {cut.high:.1%}); "
        "for cells of another kind nothing is promised"
    )
    return cut.confidence


def _check_free(job: AnnotateJob, model: SavedModel) -> None:
    """Raise OutputError where the cells have columns or an embedding of the names that are written."""
    import h5py

    more = "".join(f"|{re.escape(name)}_(label_id|label|confidence)" for name in job.decode.names)
    own = re.compile(rf"{re.escape(job.prefix)}((label_id|label|score)(_\d+)?|confidence(_calibrated)?{more})")
    with h5py.File(job.cells, "r") as file:
        if "column-order" not in file["obs"].attrs:
            raise OutputError(
                f"{job.cells.name}: its obs has the layout of anndata before 0.7, to which no column can be added; "
                "write the annotations as .csv or .parquet, or write the file again with anndata"
            )
        taken = [f"obs['{name}']" for name in file["obs"] if own.fullmatch(name)]
        if _key(job, model) in file.get("obsm", ()):
            taken.append(f"obsm['{_key(job, model)}']")
    if taken:
        raise OutputError(
            f"{job.cells.name}: has {', '.join(taken)} already; put a text before the new names by --prefix, such as "
            "--prefix new_"
        )


def _key(job: AnnotateJob, model: SavedModel) -> str:
    """Key of the embedding in obsm."""
    return f"X_{job.prefix}{model.facts.method}"


def _loaded(model: SavedModel, job: AnnotateJob) -> "Method":
    """The method with the model; nothing of the folder is executed."""
    try:
        method = load_class(model.facts.implementation).load(model.folder)
    except (AnnobenchError, MemoryError):
        raise
    except Exception as error:
        raise NoModelError(
            f"{model.folder}: the model cannot be read ({type(error).__name__}: {error}); fit again"
        ) from error
    if not method.abilities.predictions:
        raise NoModelError(f"{model.folder}: {model.facts.method} gives no labels; take a method that predicts them")
    if hasattr(method, "to"):
        method.to(job.device, job.threads)
    return method


def _writer(job: AnnotateJob, model: SavedModel, cells: int, names: Mapping[str, str]) -> AnnotationWriter:
    if job.out.suffix == ".h5ad":
        return H5adAnnotations(job.out, names, cells=job.cells, n=cells, prefix=job.prefix, embedding=_key(job, model))
    return (ParquetAnnotations if job.out.suffix == ".parquet" else CsvAnnotations)(job.out, names)


def _all_annotated(
    cells: NewCells, method: "Method", answering: Answering, job: AnnotateJob
) -> Iterator[tuple[Annotation, int]]:
    """Annotations of all cells block after block; where clusters vote, all cells are annotated before the first."""
    pairs = _annotated(cells, method, answering, job)
    if job.decode.clusters is None:
        yield from pairs
        return
    clusters = cells.clusters(job.decode.clusters)  # before the work: the column may not be there
    known = list(pairs)
    blocks = within_clusters([block for block, _ in known], clusters)
    yield from zip(blocks, (empty for _, empty in known), strict=True)


def _annotated(
    cells: NewCells, method: "Method", answering: Answering, job: AnnotateJob
) -> Iterator[tuple[Annotation, int]]:
    """Annotations of all cells, and how many of a block have no values in the genes that the model reads."""
    model, calibration, decodings, cut = answering
    wants_embedding = model.facts.embedding and job.out.suffix == ".h5ad"
    for names, block in cells.blocks(job.block):
        ids = list(block.obs_names)
        read = method.genes_read(block.var)
        empty = np.asarray((block.X if read is None else block.X[:, read]).sum(axis=1)).ravel() == 0
        embedding = _embedded(method, block) if wants_embedding else None
        predicted = validate(joined(method.predict(block)), ids, model.facts.labels)
        decisions = predicted.decision_values()
        calibrated = calibration(strength(decisions)) if calibration and decisions is not None else None
        labels = predicted.labels.copy()
        labels[empty] = UNKNOWN
        if cut is not None and calibrated is not None:
            labels[calibrated < cut, 0] = UNKNOWN
        scores, confidence = _blank(predicted.scores, empty), _blank(predicted.confidence, empty)
        decoded = {name: _without(chosen, empty) for name, chosen in decodings(predicted).items()}
        annotation = Annotation(names, labels, scores, confidence, _blank(calibrated, empty), embedding, decoded)
        yield annotation, int(empty.sum())


def _without(chosen: Chosen, empty: "NDArray[np.bool_]") -> Chosen:
    """What a decoding chose, `unknown` for empty cells."""
    names = [*chosen.labels.names, UNKNOWN]
    codes = np.where(empty, len(names) - 1, chosen.labels.codes).astype(np.int32)
    return Chosen(Categorical(codes, names).renamed(str), np.where(empty, np.nan, chosen.confidence))


def _embedded(method: "Method", block: "AnnData") -> "NDArray[np.float32]":
    """Embedding of some cells, in their order."""
    ids, found, done = block.obs_names.to_numpy(dtype=object), [], 0
    for part in method.embed(block):
        found.append(part.in_order(ids[done : done + len(part.cell_ids)]))
        done += len(part.cell_ids)
    return np.concatenate(found)


def _blank(values: "Numbers | None", empty: "NDArray[np.bool_]") -> "NDArray[np.float64] | None":
    """Numbers of cells, NaN for empty ones."""
    if values is None:
        return None
    found = np.array(values, dtype=np.float64)
    found[empty] = np.nan
    return found


def _provenance(
    job: AnnotateJob, model: SavedModel, cells: NewCells, summary: Summary, cut: float | None
) -> Provenance:
    """Where the annotation comes from, and how well the genes fitted."""
    facts = model.facts
    return {
        "annobench": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {name: str(getattr(facts, name)) for name in ("dataset", "split", "method", "seed", "implementation")},
        "model_sha256": model.hashes(),
        "data_sha256": facts.data_sha256,
        "code": facts.code,
        "versions": dict(facts.versions),
        "ontology": facts.ontology,
        "matrix": facts.matrix,
        "calibrated": facts.calibration is not None,
        **({} if job.decode.max_error is None else {"max_error": job.decode.max_error, "cut": cut or 0.0}),
        "cells": job.cells.name,
        "cells_sha256": sha256_of(job.cells),
        "slot": job.read.slot,
        "state": cells.state,
        "genes": cells.match.counts() | {"duplicates": cells.duplicates, "not_genes": sum(cells.not_genes.values())},
        "labels": dict(summary.labels),
        **{f"labels_{name}": dict(labels) for name, labels in summary.decoded.items()},
        "cells_without_values": summary.empty,
    }


# what is said


def _say_cells(cells: NewCells, model: SavedModel, job: AnnotateJob, say: Say) -> None:
    counts = cells.match.counts()
    changed = "" if cells.state == model.facts.matrix else f", given to the model as {model.facts.matrix}"
    say(f"cells: {cells.n:,} of {job.cells.name}; {job.read.slot} holds {cells.state}{changed}")
    say(
        f"genes: {counts['found']:,} of the {counts['model']:,} of the model ({cells.match.share:.1%}) are in the "
        f"file, {counts['found_by_id']:,} matched by Ensembl id and {counts['found_by_symbol']:,} by symbol; "
        f"{counts['missing']:,} are missing and taken as zero, {counts['unused']:,} genes of the file are not used"
    )
    if cells.not_genes:
        each = ", ".join(f"{n} {kind}" for kind, n in cells.not_genes.items())
        say(f"genes: {sum(cells.not_genes.values())} features of the file are no genes ({each}) and are left out")
    if cells.duplicates:
        say(f"genes: {cells.duplicates} columns of the file are of a gene of which another column has more counts")
    if model.facts.embedding and job.out.suffix != ".h5ad":
        say("the method gives an embedding as well, which only an h5ad file can hold")


def _say_summary(summary: Summary, model: SavedModel, job: AnnotateJob, names: Mapping[str, str], *, say: Say) -> None:
    total = summary.cells
    _say_labels(summary.labels, names, say)
    say("")
    say(f"unknown: {summary.labels[UNKNOWN] / total:.1%} of {total:,} cells")
    if summary.empty:
        say(f"{summary.empty:,} cells have no counts in the genes that the model reads: unknown, without confidence")
    if summary.confidence is not None:
        kind = "confidence of the method" if model.facts.calibration is None else "calibrated confidence"
        say(f"median {kind}: {summary.confidence:.3f}")
    for name, labels in summary.decoded.items():
        say("")
        say(f"by the decoding {name} (columns {job.prefix}{name}_label, ...):")
        _say_labels(labels, names, say)
        say(f"unknown: {labels[UNKNOWN] / total:.1%} of {total:,} cells")
    say(f"wrote {job.out} and {job.report}")


def _say_labels(labels: Counter[str], names: Mapping[str, str], say: Say) -> None:
    """The most frequent labels, a line each."""
    say("")
    total = labels.total()
    for label, n in labels.most_common(_SHOWN):
        name = label if label == UNKNOWN else f"{names.get(label, label)} ({label})"
        say(f"{n:>12,}  {n / total:6.1%}  {name}")
    more = len(labels) - _SHOWN
    if more > 0:
        rest = sum(n for _, n in labels.most_common()[_SHOWN:])
        say(f"{rest:>12,}  {rest / total:6.1%}  {more} other labels")
