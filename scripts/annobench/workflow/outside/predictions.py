"""Predictions at the paths that a user names: of what kind they are, and where their columns are."""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.records import DELIMITERS, Records, ending, lines_of, read_text
from annobench.score.compat.cas_runs import LABELS, CasRun, find_runs, read_truth
from annobench.workflow.outside.options import ScoreOptions

_LOOKED_AT = 2000  # rows of a table whose labels say what labels are
_IDS = ("cell_id", "index", "barcode", "barcodes", "cell", "cells", "cell_barcode", "obs_names", "cellid")
_LABELS = (
    *("label_id", "predicted_label_id", "label_1", "label", "predicted_label", "predicted_labels", "prediction"),
    *("predicted", "predicted_cell_type", "majority_voting", "cell_type_ontology_term_id", "cell_type", "celltype"),
)
_CONFIDENCES = ("confidence_calibrated", "confidence", "conf_score", "score_1", "score", "probability")


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for the cells of one sample.

    Parameters
    ----------
    model
        What people call the model.
    file
        What is read: a table, an h5ad file, or the folder of a run.
    place
        Where it lies, for telling apart models of one name: the last parts first count.
    reader
        What reads it: a name in methods/importers.
    options
        Its options, such as columns of a table.
    texts
        Different labels among the first rows.
    sample
        The file with the cells, as predictions name it; None where they do not.
    run
        The annotation run of cellarium-cas, where it is one.
    """

    model: str
    file: Path
    place: Path
    reader: str
    options: dict[str, object]
    texts: tuple[str, ...]
    sample: str | None = None
    run: CasRun | None = None


def found_predictions(options: ScoreOptions) -> list[Predictions]:
    """All predictions at the paths, in their order, models of one name told apart.

    Raises ConfigError or DataError where there are none, or where it is not clear what they are.
    """
    found: list[Predictions] = []
    for place in options.predictions:
        if (options.kind or _kind_of_path(place)) == "cas":
            found += [_of_run(run) for run in find_runs([place])]
        else:
            found += [_of_file(path, options) for path in _files(place)]
    twice = [one.file for i, one in enumerate(found) if one.file in [other.file for other in found[:i]]]
    if twice:
        raise ConfigError(f"PREDICTIONS: '{twice[0]}' is named twice")
    return _told_apart(found)


def _kind_of_path(place: str) -> str | None:
    """`cas` for folders, and for a .txt file that lists folders."""
    paths = [Path(one) for one in glob.glob(str(Path(place).expanduser()))] or [Path(place).expanduser()]
    if all(path.is_dir() for path in paths):
        return "cas"
    if paths[0].suffix == ".txt" and paths[0].is_file():
        first = next((line.strip() for line in lines_of(read_text(paths[0])) if line.strip()), "")
        return "cas" if first and (paths[0].parent / Path(first).expanduser()).is_dir() else None
    return None


def _files(place: str) -> list[Path]:
    paths = sorted(Path(one) for one in glob.glob(str(Path(place).expanduser())))
    if not paths:
        raise ConfigError(f"PREDICTIONS: there is no file or folder '{place}'")
    return [path.absolute() for path in paths]


def _told_apart(found: Sequence[Predictions]) -> list[Predictions]:
    """The same, with the end of its path behind the name of a model that several for one sample share."""
    named = []
    for one in found:
        same = [other for other in found if other.model == one.model]
        depth = next(
            depth
            for depth in range(max(len(other.place.parts) for other in same) + 1)
            if len({(_end(other, depth), other.sample) for other in same}) == len(same)
        )
        named.append(replace(one, model=f"{one.model} ({_end(one, depth)})") if depth else one)
    return named


def _end(one: Predictions, depth: int) -> str:
    return "/".join(one.place.parts[-depth:]) if depth else ""


# kinds


def _of_run(run: CasRun) -> Predictions:
    header, rows = _head(run.labels)
    texts = _texts(header, rows, run.ranks())
    return Predictions(run.model, run.folder, run.folder, "cas", {}, texts, run.sample, run)


def _of_file(path: Path, options: ScoreOptions) -> Predictions:
    if path.is_dir():
        raise DataError(f"{path}: is a folder without {LABELS}; expected a table of predictions, or KIND=cas")
    if options.kind == "obs" or (options.kind is None and path.suffix == ".h5ad"):
        return _of_obs(path, options)
    header, rows = _head(path)
    levels = [name for name in header if name.startswith("predicted.") and f"{name}.score" in header]
    if options.kind == "azimuth" or (options.kind is None and levels):
        return _of_azimuth(path, header, rows, levels, options)
    return _of_table(path, header, rows, options)


def _of_azimuth(
    path: Path, header: list[str], rows: list[list[str]], levels: list[str], options: ScoreOptions
) -> Predictions:
    """Levels are written from coarse to fine, and the finest is the first label."""
    if not levels:
        raise DataError(
            f"{path}: there is no column 'predicted.LEVEL' with a 'predicted.LEVEL.score'; is it of Azimuth?"
        )
    if options.crosswalk is None:
        raise ConfigError(
            f"{path}: labels of Azimuth need CROSSWALK=, a table of its labels and their Cell Ontology ids, or a name "
            "in config/labels"
        )
    if options.column is not None and options.column not in levels:
        raise ConfigError(f"{path}: there is no level '{options.column}'{nearest(options.column, levels)}")
    ranks = [options.column] if options.column else levels[::-1]
    columns = {"cell_id": _column(path, header, _IDS, "cell ids"), "label": ranks[0], "confidence": f"{ranks[0]}.score"}
    options_of_table: dict[str, object] = {**columns, "ranks": ranks[1:]}
    return Predictions(_stem(path), path, path.parent, "table", options_of_table, _texts(header, rows, ranks))


def _of_table(path: Path, header: list[str], rows: list[list[str]], options: ScoreOptions) -> Predictions:
    label = options.column or _column(path, header, _LABELS, "labels; name it by COLUMN=")
    if label not in header:
        raise ConfigError(f"{path}: COLUMN: there is no column '{label}'{nearest(label, header)}")
    ranks = [label]
    while label.endswith("1") and (name := f"{label[:-1]}{len(ranks) + 1}") in header:
        ranks.append(name)
    columns: dict[str, object] = {"cell_id": _column(path, header, _IDS, "cell ids"), "label": label}
    columns |= {"ranks": ranks[1:]} if ranks[1:] else {}
    confidence = next((name for name in _CONFIDENCES if name in header), None)
    columns |= {"confidence": confidence} if confidence else {}
    return Predictions(_stem(path), path, path.parent, "table", columns, _texts(header, rows, ranks))


def _of_obs(path: Path, options: ScoreOptions) -> Predictions:
    """A column of obs."""
    if options.column is None:
        raise ConfigError(f"{path}: COLUMN is missing; name the column of obs with the predicted labels")
    texts = tuple(text for text in read_truth(path, options.column).label.counts() if text != "nan")
    return Predictions(_stem(path), path, path.parent, "obs", {"label": options.column}, texts)


# tables


def _stem(path: Path) -> str:
    return re.sub(r"(\.\w{2,4})?\.gz$|\.\w+$", "", path.name)


def _column(path: Path, header: Sequence[str], known: Sequence[str], what: str) -> str:
    lower = {name.lower(): name for name in reversed(header)}
    for name in known:
        if name in lower:
            return lower[name]
    raise ConfigError(f"{path}: none of its columns ({', '.join(header[:12])}) is known to hold {what}")


def _texts(header: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[str]) -> tuple[str, ...]:
    at = [header.index(name) for name in columns]
    return tuple(dict.fromkeys(row[i].strip() for row in rows for i in at if len(row) > i and row[i].strip()))


def _head(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and first rows of a table; row names have the column `index`."""
    if path.suffix == ".parquet":
        header, rows = _parquet_head(path)
    else:
        kind = ending(path)
        if kind not in DELIMITERS:
            raise DataError(f"{path}: ends in '{kind}', expected a table ({', '.join(DELIMITERS)}, .parquet), or .h5ad")
        records = Records.read(path)
        header, rows = records.names, [fields for _, fields in islice(records, _LOOKED_AT)]
    if not rows:
        raise DataError(f"{path}: holds no rows, expected a header and one row per cell")
    return header, rows


def _parquet_head(path: Path) -> tuple[list[str], list[list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            batch = next(file.iter_batches(_LOOKED_AT))
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        raise DataError(f"{path}: is not a readable Parquet file with rows ({error})") from error
    header = ["index" if name == "__index_level_0__" else name for name in batch.schema.names]
    columns = [["" if value is None else str(value) for value in column.to_pylist()] for column in batch.columns]
    return header, [list(row) for row in zip(*columns, strict=True)]
