"""Scoring one fit: the only place, but for the oracle, where predictions meet the truth.

Cells are matched by id. A test cell whose own label is unknown is left out of every metric and counted; a cell that the
method called unknown is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import atomic
from annobench.core.parquet import NOT_GIVEN, Categorical, ColumnWriter, crc32, positions, to_arrow
from annobench.fit import predictions
from annobench.fit.calibration import Groups
from annobench.fit.decisions import UNRELATED, read_decisions
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.score.metrics import confidence_rules as selection
from annobench.score.metrics import resources
from annobench.score.metrics.base import Probabilities, Row, Scored
from annobench.score.metrics.registry import FAMILIES
from annobench.score.statistics import Weights
from annobench.score.truths import Truths, read_truths, rolled, rolled_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTPUTS = ("scores", "confusion", "confidence")
MAX_BLOCKS = 2000
REPLICATES = 200  # of the confidence rules: enough for intervals, few enough to keep for every fit
_AFFECTED = {
    "probabilities": "brier and auroc_ovr, and of labels that are rolled up ece, are not computed",
    "decisions": "confidence rules are compared on a part of the cells",
}
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
    roles: Sequence[Path],
    train: Path,
    ontology: Ontology,
    settings: Mapping[str, Any],
    identity: Mapping[str, Any],
    outputs: Mapping[str, Path],
) -> None:
    """Score the fit in folder `fit`, as every view that the study has of it.

    `obs` and `train` are the tables of the dataset and of the split that was fitted. `settings` has unknown_truth,
    calibration_bins, min_units, rollup and merge (rules of a file of config/rollups, or None), and views: split, part
    (of a release: reference or query, else None) and methods (name -> decoding), one for each file of `roles`;
    `identity` has dataset and seed. Writes three tables, whose columns split and method name the view: scores (one row
    per value), confusion (cells of each unit by true and predicted label) and confidence (rules compared), from which
    intervals come.
    """
    run = RunRecord.read(fit / "run.json")
    for what, why in run.left_out.items():
        print(f"{_AFFECTED[what]}: {why}", flush=True)
    views = [
        (view, read_truths(obs, file, train, ontology, settings["rollup"]))
        for file, view in zip(roles, settings["views"], strict=True)
    ]
    later = [truths for view, truths in views if view["part"] == "query"]
    with ExitStack() as files:
        writers = [files.enter_context(ColumnWriter(files.enter_context(atomic(outputs[name])))) for name in OUTPUTS]
        for view, truths in views:
            _check_known(truths, obs, settings)
            if later and view["part"] == "reference":
                truths = replace(truths, ood=sorted(set(later[0].labels.counts()) - {UNKNOWN}))
            for method, decoding in view["methods"].items():
                about = {**identity, "split": view["split"], "method": method}
                tables = _score_view(fit, run, truths, ontology, settings, about, decoding)
                for writer, table in zip(writers, tables, strict=True):
                    writer.write(table)


def _check_known(truths: "Truths", obs: Path, settings: Mapping[str, Any]) -> None:
    if truths.unlabelled and settings["unknown_truth"] == "error":
        raise DataError(
            f"{obs}: {truths.unlabelled} test cells have an unknown label, and scoring.unknown_truth is error; map the "
            "labels or set it to drop"
        )


def _score_view(
    fit: Path,
    run: RunRecord,
    truths: "Truths",
    ontology: Ontology,
    settings: Mapping[str, Any],
    about: Mapping[str, Any],
    decoding: str,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Columns of scores, confusion and confidence of one view; `about` has dataset, split, method and seed.

    Confidence rules are compared on the labels that the method itself gives, not on decoded ones.
    """
    unknown = len(truths.known) - int(truths.known.sum())
    rows = list(resources.compute(run))
    rows.append(Row("status", "completed", "-", "fit", "all", float(run.ok), 1))
    rows.append(Row("status", "unknown_truth", "-", "overall", "all", float(unknown), len(truths.known)))
    confusion = count_confusion([], [], [])
    kind = "cell"
    confidence: list[tuple[Any, ...]] = []
    if run.has("predictions") and truths.known.any():  # a query without labels has no truth to compare with
        bins = settings["calibration_bins"]
        truths = truths.of(np.flatnonzero(truths.known))
        scored = read_scored(fit, run, truths, ontology, bins, decoding)
        for compute in FAMILIES.values():
            rows.extend(compute(scored))
        kind, units = resampling_units(truths, settings["min_units"])
        names = list(scored.names)
        confusion = count_confusion(
            units, Categorical(scored.true_codes, names), Categorical(scored.predicted_codes, names)
        )
        if run.has("decisions") and decoding == "argmax":
            merge = Rollup.from_config(settings["merge"], ontology) if settings["merge"] else None
            cells, judged = judged_rules(fit, scored, truths)
            drawn = [f"unit:{about['dataset']}/{unit}" for unit in units[cells].to_text()]
            confidence = _confidence(judged, scored, cells, drawn, bins, merge)
            rows.extend(selection.rows(judged, bins))
    view = {name: about[name] for name in ("split", "method")}
    return (
        _repeated(
            {**{name: about[name] for name in COLUMNS[:4]}, "status": run.status},
            _by_name(COLUMNS[5:], map(astuple, rows)),
        ),
        _repeated({**view, "unit_kind": kind}, confusion),
        _repeated(view, _by_name(CONFIDENCE, confidence)),
    )


def _by_name(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    """Rows as columns."""
    return dict(zip(names, list(zip(*rows, strict=True)) or [()] * len(names), strict=True))


def _repeated(fixed: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns in types that do not depend on what is in them, behind others that hold one value."""
    n = len(next(iter(columns.values())))
    found = {name: Categorical.of([value]) if isinstance(value, str) else [value] for name, value in fixed.items()}
    behind = np.zeros(n, dtype=np.intp)
    return {
        **{
            name: value[behind] if isinstance(value, Categorical) else np.repeat(value, n)
            for name, value in found.items()
        },
        **{
            name: values if isinstance(values, Categorical) else _typed(name, values)
            for name, values in columns.items()
        },
    }


def _typed(name: str, values: Any) -> Any:
    numbers = {"n": np.int64, "replicate": np.int64, "value": np.float64}
    return np.array(values, dtype=numbers[name]) if name in numbers else Categorical.of(values)


def read_scored(
    fit: Path, run: RunRecord, truths: Truths, ontology: Ontology, bins: int, decoding: str = "argmax"
) -> Scored:
    """Join truth and predictions by cell id; `decoding` says which of the labels that a fit has written are meant.

    Rolled up, the answer for a cell is what its first label belongs to; its probability is the sum over the classes
    that belong to the same.
    """
    answers = predictions.read_answers(fit / "predictions.parquet", decoding)
    rows = positions(truths.ids, answers.cell_ids)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise DataError(
            f"{fit}/predictions.parquet: {len(missing)} test cells have no prediction (such as "
            f"{truths.ids[int(missing[0])]}); fit again with --forcerun {fit}/run.json"
        )
    probabilities = None
    if run.has("probabilities") and decoding == "argmax":
        if not (fit / "probabilities.npz").is_file():
            raise DataError(f"{fit}/probabilities.npz: is gone; fit again with --forcerun {fit}/run.json")
        matrix, classes = predictions.map_probabilities(fit / "probabilities.npz", len(answers.cell_ids))
        probabilities = Probabilities(matrix, classes, None if np.array_equal(rows, np.arange(len(matrix))) else rows)
    scored = Scored.of(
        truths.labels,
        [labels[rows] for labels in answers.labels],
        truths.training,
        ontology,
        groups={name: values for name, values in truths.columns.items() if set(values.counts()) - {NOT_GIVEN}},
        confidence=None if answers.confidence is None else answers.confidence[rows],
        is_probability=run.confidence_is_probability and decoding == "argmax",
        ood=truths.ood,
        probabilities=probabilities,
        bins=bins,
    )
    return scored if truths.rollup is None else rolled_up(scored, truths.rollup)


def rolled_up(scored: Scored, rule: Rollup) -> Scored:
    """Predictions as the targets that they belong to; the truth is rolled up already.

    Without the probabilities of all classes nobody can say how likely a target is: the confidence then orders the
    cells, and is no probability any more.
    """
    names = list(scored.names)
    ranked = [Categorical(codes, names) for codes in scored.label_codes.T]
    labels = without_repeats([rolled_codes(one, rule, scored.ontology) for one in ranked])
    confidence, probabilities = scored.confidence, scored.probabilities
    if probabilities is not None:
        groups = rolled_codes(Categorical.of(probabilities.classes), rule, scored.ontology)
        targets = sorted(groups.names)
        probabilities = replace(probabilities, classes=targets, groups=groups.recode(targets))
        if scored.is_probability and confidence is not None:
            confidence = _of_answer(probabilities, labels[0].recode(targets), confidence)
    return Scored.of(
        Categorical(scored.true_codes, names),
        labels,
        scored.training,
        scored.ontology,
        scored.groups,
        confidence=confidence,
        is_probability=scored.is_probability and probabilities is not None,
        probabilities=probabilities,
        bins=scored.bins,
        ood=scored.ood,
    )


def without_repeats(ranked: list[Categorical]) -> list[Categorical]:
    """Labels of every rank where none stands twice: a target that comes again is no second guess.

    Later labels move up, and `unknown` fills what is left.
    """
    names = list(dict.fromkeys([*(name for one in ranked for name in one.names), UNKNOWN]))
    codes = np.stack([one.recode(names) for one in ranked], axis=1)
    again = np.zeros(codes.shape, dtype=bool)
    for rank in range(1, len(ranked)):
        again[:, rank] = (codes[:, :rank] == codes[:, [rank]]).any(axis=1)
    cells = np.flatnonzero(again.any(axis=1))
    order = np.argsort(again[cells], axis=1, kind="stable")
    moved = np.take_along_axis(codes[cells], order, axis=1)
    moved[np.take_along_axis(again[cells], order, axis=1)] = names.index(UNKNOWN)
    codes[cells] = moved
    return [Categorical(column, names) for column in codes.T]


def _of_answer(
    probabilities: Probabilities, answer: "NDArray[np.int32]", otherwise: "NDArray[Any]"
) -> "NDArray[np.float64]":
    """Probability of every cell's answer (class number); for an answer that is no class (-1) another value."""
    found = np.array(otherwise, dtype=np.float64)
    for cells, values in probabilities.blocks():
        own = answer[cells]
        known = np.flatnonzero(own >= 0)
        found[cells.start + known] = np.clip(values[known, own[known]], 0, 1)
    return found


def judged_rules(fit: Path, scored: Scored, truths: Truths) -> "tuple[NDArray[np.intp], list[selection.Judged]]":
    """Cells (positions in `scored`) with decision values, and every confidence rule on them.

    Validation cells of unknown type are left out. Of a large test set only a sample has decision values.
    """
    decisions = read_decisions(fit / "decisions.npz")
    part, ids = decisions["part"], decisions["cell_ids"]
    test = np.flatnonzero(part == "test")
    place = positions(to_arrow(ids[test]), truths.ids)
    test, place = test[place >= 0], place[place >= 0]
    order = np.argsort(place, kind="stable")
    at, cells = test[order], place[order]
    if not len(cells):  # none of the few cells that have a known label was drawn
        return cells, []
    answered = rolled(decisions["labels"], truths.rollup, scored.ontology)
    judged = np.flatnonzero(part == "validation")
    row = positions(to_arrow(ids[judged]), truths.validation[0])
    judged, row = judged[row >= 0], row[row >= 0]
    expected = truths.validation[1][row].to_text()
    known = expected != UNKNOWN
    groups = None
    if truths.rollup is not None:
        targets = rolled(decisions["classes"], truths.rollup, scored.ontology)
        names = sorted({*targets, *answered})
        groups = Groups(Categorical.of(targets).recode(names), Categorical.of(answered).recode(names))
    right = (answered[judged] == expected)[known]
    return cells, selection.judge(scored.correct[cells], decisions, at, judged[known], right, groups)


def _confidence(
    judged: "list[selection.Judged]",
    scored: Scored,
    cells: "NDArray[np.intp]",
    units: list[str],
    bins: int,
    merge: Rollup | None,
) -> "list[tuple[Any, ...]]":
    """Rows of the table of confidence rules: values, replicates, curves and histograms."""
    weights = Weights(REPLICATES)
    of_cells = weights.of(units)
    of_unrelated = weights.of([f"foreign:{i}" for i in range(UNRELATED)])
    readings = {"none": scored.correct[cells]}
    if merge:
        target = rolled_codes(Categorical.of(scored.names), merge, scored.ontology).codes
        readings["merged"] = target[scored.true_codes[cells]] == target[scored.predicted_codes[cells]]
    found: list[tuple[Any, ...]] = []
    for merging, right in readings.items():
        for one in (replace(one, right=right) for one in judged):
            key = (one.rule, merging)
            found += [(*key, metric, variant, -1, value) for (metric, variant), value in one.values(bins).items()]
            for metric, values in one.replicates(of_cells, of_unrelated, bins).items():
                found += [(*key, metric, "-", i, value) for i, value in enumerate(values)]
            if merging == "none":
                found += [(*key, "risk", coverage, -1, value) for coverage, value in one.curve().items()]
                for name, shares in one.histograms().items():
                    found += [(*key, f"share_{name}", f"{i:02d}", -1, value) for i, value in enumerate(shares)]
    return found


def resampling_units(truths: Truths, min_units: int) -> tuple[str, Categorical]:
    """What intervals resample, and the unit of every scored cell.

    Donors where the test cells have at least `min_units` of them, else studies, else cells. Cells of a dataset with
    more than 2,000 cells are joined to 2,000 blocks by a hash of their id: the same blocks for every method.
    """
    for column in ("donor", "study"):
        names = set(truths.columns[column].counts())
        if NOT_GIVEN not in names and len(names) >= min_units:
            return column, truths.columns[column]
    if truths.cells <= MAX_BLOCKS:
        return "cell", Categorical.of([str(place) for place in truths.places.tolist()])
    blocks = (crc32(truths.ids) % MAX_BLOCKS).astype(np.int32)
    return "cell", Categorical(blocks, [str(block) for block in range(MAX_BLOCKS)])


def count_confusion(units: Any, true: Any, predicted: Any) -> dict[str, Any]:
    """Number of cells for every combination of unit, true and predicted label that occurs, in sorted order.

    Texts, or Categorical; what is returned is Categorical.
    """
    names, shape, place = [], [], np.zeros(len(units), dtype=np.int64)
    for values in (units, true, predicted):
        one = values if isinstance(values, Categorical) else Categorical.of(values)
        names.append(list(one.counts()))
        shape.append(len(names[-1]))
        place = place * shape[-1] + one.recode(names[-1])
    cells, counts = np.unique(place, return_counts=True)
    codes = (code.astype(np.int32) for code in np.unravel_index(cells, shape))
    pairs = zip(("unit", "true", "predicted"), codes, names, strict=True)
    return {key: Categorical(code, of) for key, code, of in pairs} | {"n": counts}
