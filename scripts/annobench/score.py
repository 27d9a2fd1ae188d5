"""Scoring one fit: the only place, but for the oracle, where predictions meet the truth.

Cells are matched by id. A test cell whose own label is unknown is left out of every metric and counted; a cell that the
method called unknown is wrong.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench import predictions
from annobench.columns import NOT_GIVEN, read_columns, write_columns
from annobench.confidence import Groups
from annobench.errors import DataError
from annobench.files import read_json
from annobench.metrics import resources, selection
from annobench.metrics.base import Row, Scored
from annobench.metrics.registry import FAMILIES
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.runner.foreign import CELLS
from annobench.stats import Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BLOCKS = 2000
REPLICATES = 200  # of the confidence rules: enough for intervals, few enough to keep for every fit
CONFIDENCE = ["rule", "merging", "metric", "variant", "replicate", "value"]
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
    calibration_bins, min_units, and rollup and merge (rules of a file of config/rollups, or None); `identity` has
    dataset, split, method and seed. Writes three tables: scores (one row per value), confusion (cells of each unit by
    true and predicted label) and confidence (rules compared), from which intervals come.
    """
    run = read_json(fit / "run.json")
    truths = read_truths(obs, split, train, ontology, settings["rollup"])
    unknown = int((truths.test & (truths.columns["label_id"] == UNKNOWN)).sum())
    if truths.unlabelled and settings["unknown_truth"] == "error":
        raise DataError(
            f"{obs}: {truths.unlabelled} test cells have an unknown label, and scoring.unknown_truth is error; map the "
            "labels or set it to drop"
        )
    rows = list(resources.compute(run))
    rows.append(Row("status", "completed", "-", "fit", "all", float(run["status"] == "ok"), 1))
    rows.append(Row("status", "unknown_truth", "-", "overall", "all", float(unknown), int(truths.test.sum())))
    confusion: dict[str, Any] = dict.fromkeys(("unit", "true", "predicted"), np.empty(0, dtype=object)) | {
        "n": np.empty(0, dtype=int)
    }
    kind = "cell"
    confidence: list[tuple[Any, ...]] = []
    if run["status"] == "ok" and len(truths.cells):  # a query without labels has no truth to compare with
        bins = settings["calibration_bins"]
        scored = read_scored(fit, run, truths, ontology, bins)
        for compute in FAMILIES.values():
            rows.extend(compute(scored))
        kind, units = resampling_units(truths.columns, truths.cells, settings["min_units"])
        confusion = count_confusion(units, scored.truth, scored.labels[:, 0])
        if run.get("decisions"):
            merge = Rollup.from_config(settings["merge"], ontology) if settings["merge"] else None
            judged = judged_rules(fit, scored, truths)
            confidence = _confidence(judged, scored, [f"unit:{identity['dataset']}/{u}" for u in units], bins, merge)
            rows.extend(selection.rows(judged, bins))
    _write_rows(outputs["scores"], rows, identity, run["status"])
    write_columns(outputs["confusion"], {"unit_kind": np.full(len(confusion["n"]), kind, dtype=object), **confusion})
    columns = zip(*confidence, strict=True) if confidence else [[]] * len(CONFIDENCE)
    write_columns(outputs["confidence"], dict(zip(CONFIDENCE, map(list, columns), strict=True)))


@dataclass
class Truths:
    """True labels of a dataset, as they are scored, and the roles of its cells.

    columns: of obs, with `label_id` rolled up. test: (n,) whether a cell is tested; cells: positions of the test cells
    that have a known label. training: classes of the training cells, rolled up. unlabelled: test cells whose own label
    is unknown, before rolling up.
    """

    columns: "dict[str, NDArray[Any]]"
    test: "NDArray[np.bool_]"
    validation: "NDArray[np.bool_]"
    cells: "NDArray[np.intp]"
    training: list[str]
    rollup: Rollup | None
    unlabelled: int = 0


def read_truths(obs: Path, split: Path, train: Path, ontology: Ontology, rollup: Mapping[str, Any] | None) -> Truths:
    """True labels and roles, rolled up where the evaluation says so."""
    columns = read_columns(obs, ["cell_id", "label_id", "study", "donor"])
    rule = Rollup.from_config(rollup, ontology) if rollup else None
    roles = read_columns(split)["role"]
    test = roles == "test"
    unlabelled = int((test & (columns["label_id"] == UNKNOWN)).sum())
    columns["label_id"] = rolled(columns["label_id"], rule, ontology)
    training = sorted(set(rolled(read_columns(train, ["label_id"])["label_id"], rule, ontology)) - {UNKNOWN})
    cells = np.flatnonzero(test & (columns["label_id"] != UNKNOWN))
    return Truths(columns, test, roles == "val", cells, training, rule, unlabelled)


def rolled(labels: "NDArray[Any]", rule: Rollup | None, ontology: Ontology) -> "NDArray[Any]":
    """Labels rolled up by a rule; as they are without one."""
    if rule is None:
        return labels
    table = rule.table(labels.ravel(), ontology)
    return np.array([table[label] for label in labels.ravel()], dtype=object).reshape(labels.shape)


def read_scored(fit: Path, run: Mapping[str, Any], truths: Truths, ontology: Ontology, bins: int) -> Scored:
    """Join truth and predictions by cell id.

    Rolled up, the answer for a cell is what its first label belongs to; its probability is the sum over the classes
    that belong to the same.
    """
    ids = truths.columns["cell_id"][truths.cells]
    predicted = predictions.read(fit / "predictions.parquet")
    row = {cell: i for i, cell in enumerate(predicted.cell_ids)}
    missing = [cell for cell in ids if cell not in row]
    if missing:
        raise DataError(
            f"{fit}/predictions.parquet: {len(missing)} test cells have no prediction (such as {missing[0]}); fit "
            f"again with --forcerun {fit}/run.json"
        )
    rows = np.array([row[cell] for cell in ids], dtype=int)
    probabilities, classes = None, None
    if run["probabilities"]:
        if not (fit / "probabilities.npz").is_file():
            raise DataError(f"{fit}/probabilities.npz: is gone; fit again with --forcerun {fit}/run.json")
        matrix, classes, matrix_cells = predictions.read_probabilities(fit / "probabilities.npz")
        at = {cell: i for i, cell in enumerate(matrix_cells)}
        probabilities = matrix[[at[cell] for cell in ids]]
    scored = Scored(
        truth=truths.columns["label_id"][truths.cells],
        labels=predicted.labels[rows],
        training=truths.training,
        ontology=ontology,
        confidence=None if predicted.confidence is None else predicted.confidence[rows],
        is_probability=run["confidence_is_probability"],
        probabilities=probabilities,
        probability_classes=classes,
        groups={
            c: truths.columns[c][truths.cells]
            for c in ("study", "donor")
            if (truths.columns[c][truths.cells] != NOT_GIVEN).any()
        },
        bins=bins,
    )
    return scored if truths.rollup is None else rolled_up(scored, truths.rollup)


def rolled_up(scored: Scored, rule: Rollup) -> Scored:
    """Predictions as the targets that they belong to; the truth is rolled up already."""
    labels = rolled(scored.labels, rule, scored.ontology)
    for row in labels:  # a target that comes again is no second guess
        seen = list(dict.fromkeys(row))
        row[:] = seen + [UNKNOWN] * (len(row) - len(seen))
    found = replace(scored, labels=labels)
    if scored.probabilities is None or scored.probability_classes is None:
        return found
    targets, code = np.unique(
        rolled(scored.probability_classes, rule, scored.ontology).astype(str), return_inverse=True
    )
    summed = np.zeros((scored.n, len(targets)))
    np.add.at(summed.T, code, scored.probabilities.T)
    found = replace(found, probabilities=summed, probability_classes=targets.astype(object))
    if scored.is_probability and scored.confidence is not None:
        column = {target: i for i, target in enumerate(targets)}
        at = np.array([column.get(label, -1) for label in labels[:, 0]])  # `unknown` may be no class
        own = np.clip(summed[np.arange(scored.n), at], 0, 1)
        found = replace(found, confidence=np.where(at >= 0, own, scored.confidence))
    return found


def judged_rules(fit: Path, scored: Scored, truths: Truths) -> "list[selection.Judged]":
    """Every confidence rule for a fit that kept its decision values; validation cells of unknown type are left out."""
    decisions = predictions.read_decisions(fit / "decisions.npz")
    ids, part = truths.columns["cell_id"], decisions["part"]
    position = {cell: i for i, cell in enumerate(decisions["cell_ids"]) if part[i] == "test"}
    at = np.array([position[cell] for cell in ids[truths.cells]], dtype=int)
    truth = dict(zip(ids[truths.validation], truths.columns["label_id"][truths.validation], strict=True))
    expected = np.array([truth.get(cell, UNKNOWN) for cell in decisions["cell_ids"]], dtype=object)
    answered = rolled(decisions["labels"], truths.rollup, scored.ontology)
    known = np.flatnonzero((part == "validation") & (expected != UNKNOWN))
    groups = None
    if truths.rollup is not None:
        targets = rolled(decisions["classes"], truths.rollup, scored.ontology)
        names = {name: i for i, name in enumerate(sorted({*targets, *answered}))}
        codes = (np.array([names[name] for name in labels]) for labels in (targets, answered))
        groups = Groups(*codes)
    return selection.judge(scored, decisions, at, known, (answered == expected)[known], groups)


def _confidence(
    judged: "list[selection.Judged]", scored: Scored, units: "list[str]", bins: int, merge: Rollup | None
) -> "list[tuple[Any, ...]]":
    """Rows of the table of confidence rules: values, replicates, curves and histograms."""
    weights = Weights(REPLICATES)
    of_cells = weights.of(units)
    of_foreign = weights.of([f"foreign:{i}" for i in range(CELLS)])
    readings = {"none": scored.correct}
    if merge:
        merged = [rolled(labels, merge, scored.ontology) for labels in (scored.truth, scored.labels[:, 0])]
        readings["merged"] = merged[0] == merged[1]
    found: list[tuple[Any, ...]] = []
    for merging, right in readings.items():
        for one in (replace(one, right=right) for one in judged):
            key = (one.rule, merging)
            found += [(*key, metric, variant, -1, value) for (metric, variant), value in one.values(bins).items()]
            for metric, values in one.replicates(of_cells, of_foreign, bins).items():
                found += [(*key, metric, "-", i, value) for i, value in enumerate(values)]
            if merging == "none":
                found += [(*key, "risk", coverage, -1, value) for coverage, value in one.curve().items()]
                for name, shares in one.histograms().items():
                    found += [(*key, f"share_{name}", f"{i:02d}", -1, value) for i, value in enumerate(shares)]
    return found


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
