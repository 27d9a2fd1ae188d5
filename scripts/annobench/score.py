"""Scoring one fit: the only place, but for the oracle, where predictions meet the truth.

Cells are matched by id. A test cell whose own label is unknown is left out of every metric and counted; a cell that the
method called unknown is wrong.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench import predictions
from annobench.columns import NOT_GIVEN, read_columns, write_columns
from annobench.errors import DataError
from annobench.files import read_json
from annobench.metrics import resources
from annobench.metrics.base import Row, Scored
from annobench.metrics.registry import FAMILIES
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLOCKS = 2000
COLUMNS = [
    "dataset",
    "split",
    "method",
    "seed",
    "status",
    "family",
    "metric",
    "label_set",
    "level",
    "group",
    "value",
    "n",
]


def score_fit(
    fit: Path,
    obs: Path,
    split: Path,
    train: Path,
    ontology: Ontology,
    settings: Mapping[str, Any],
    identity: Mapping[str, Any],
    outputs: Mapping[str, Path],
) -> None:
    """Score the fit in folder `fit`.

    `obs`, `split` and `train` are the tables of the dataset and its split. `settings` has unknown_truth,
    calibration_bins and min_units; `identity` has dataset, split, method and seed. Writes two tables: scores (one row
    per value) and confusion (cells of each unit by true and predicted label), from which intervals come.
    """
    run = read_json(fit / "run.json")
    columns = read_columns(obs, ["cell_id", "label_id", "study", "donor"])
    roles = read_columns(split)["role"]
    known = columns["label_id"] != UNKNOWN
    test = roles == "test"
    unknown = int((test & ~known).sum())
    if unknown and settings["unknown_truth"] == "error":
        raise DataError(
            f"{obs}: {unknown} test cells have an unknown label, and scoring.unknown_truth is error; map the labels "
            "or set it to drop"
        )
    rows = list(resources.compute(run))
    rows.append(Row("status", "completed", "-", "fit", "all", float(run["status"] == "ok"), 1))
    rows.append(Row("status", "unknown_truth", "-", "overall", "all", float(unknown), int(test.sum())))
    confusion: dict[str, Any] = dict.fromkeys(("unit", "true", "predicted"), np.empty(0, dtype=object)) | {
        "n": np.empty(0, dtype=int)
    }
    kind = "cell"
    cells = np.flatnonzero(test & known)
    if run["status"] == "ok" and len(cells):  # a query without labels has no truth to compare with
        scored = _scored(
            fit,
            run,
            columns,
            cells,
            sorted(set(read_columns(train, ["label_id"])["label_id"])),
            ontology,
            settings["calibration_bins"],
        )
        for compute in FAMILIES.values():
            rows.extend(compute(scored))
        kind, units = resampling_units(columns, cells, settings["min_units"])
        confusion = count_confusion(units, scored.truth, scored.labels[:, 0])
    _write_rows(outputs["scores"], rows, identity, run["status"])
    write_columns(outputs["confusion"], {"unit_kind": np.full(len(confusion["n"]), kind, dtype=object), **confusion})


def _scored(
    fit: Path,
    run: Mapping[str, Any],
    columns: Mapping[str, "NDArray[Any]"],
    cells: "NDArray[np.intp]",
    training: list[str],
    ontology: Ontology,
    bins: int,
) -> Scored:
    """Join truth and predictions by cell id."""
    ids = columns["cell_id"][cells]
    predicted = predictions.read(fit / "predictions.parquet")
    row = {cell: i for i, cell in enumerate(predicted.cell_ids)}
    missing = [cell for cell in ids if cell not in row]
    if missing:
        raise DataError(
            f"{fit}/predictions.parquet: {len(missing)} test cells have no prediction (such as {missing[0]}); fit "
            f"again with --forcerun {fit}/run.json"
        )
    rows = np.array([row[cell] for cell in ids])
    probabilities, classes = None, None
    if run["probabilities"]:
        if not (fit / "probabilities.npz").is_file():
            raise DataError(f"{fit}/probabilities.npz: is gone; fit again with --forcerun {fit}/run.json")
        matrix, classes, matrix_cells = predictions.read_probabilities(fit / "probabilities.npz")
        at = {cell: i for i, cell in enumerate(matrix_cells)}
        probabilities = matrix[[at[cell] for cell in ids]]
    return Scored(
        truth=columns["label_id"][cells],
        labels=predicted.labels[rows],
        training=training,
        ontology=ontology,
        confidence=None if predicted.confidence is None else predicted.confidence[rows],
        is_probability=run["confidence_is_probability"],
        probabilities=probabilities,
        probability_classes=classes,
        groups={c: columns[c][cells] for c in ("study", "donor") if (columns[c][cells] != NOT_GIVEN).any()},
        bins=bins,
    )


def resampling_units(
    columns: Mapping[str, "NDArray[Any]"], cells: "NDArray[np.intp]", min_units: int
) -> tuple[str, "NDArray[Any]"]:
    """What intervals resample, and the unit of every scored cell.

    Donors where the test cells have at least `min_units` of them, else studies, else cells. Cells of a dataset with
    more than 2,000 cells are joined to 2,000 blocks by a hash of their id: the same blocks for every method.
    """
    for column in ("donor", "study"):
        values = columns[column][cells]
        if (values != NOT_GIVEN).all() and len(np.unique(values.astype(str))) >= min_units:
            return column, values
    if len(columns["cell_id"]) <= MAX_BLOCKS:
        return "cell", np.array([str(i) for i in cells], dtype=object)
    return "cell", np.array(
        [str(zlib.crc32(cell.encode()) % MAX_BLOCKS) for cell in columns["cell_id"][cells]], dtype=object
    )


def count_confusion(units: "NDArray[Any]", true: "NDArray[Any]", predicted: "NDArray[Any]") -> dict[str, Any]:
    """Number of cells for every combination of unit, true and predicted label that occurs."""
    names, codes = [], []
    for values in (units, true, predicted):
        unique, code = np.unique(values.astype(str), return_inverse=True)
        names.append(unique.astype(object))
        codes.append(code)
    shape = [len(unique) for unique in names]
    cells, counts = np.unique(np.ravel_multi_index(codes, shape), return_counts=True)
    position = np.unravel_index(cells, shape)
    return {key: names[i][position[i]] for i, key in enumerate(("unit", "true", "predicted"))} | {"n": counts}


def _write_rows(path: Path, rows: Iterable[Row], identity: Mapping[str, Any], status: str) -> None:
    values = list(zip(*(astuple(row) for row in rows), strict=True))
    fixed = [[identity[key]] * len(values[0]) for key in ("dataset", "split", "method", "seed")] + [
        [status] * len(values[0])
    ]
    write_columns(path, dict(zip(COLUMNS, [*fixed, *values], strict=True)))
