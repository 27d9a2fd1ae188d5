"""The tables that scoring a fit writes, as columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.fit.decisions import UNRELATED
from annobench.ontology.rollup import Rollup
from annobench.score.evidence import Evidence, Rules
from annobench.score.metric import Family, Row
from annobench.score.statistics import Weights
from annobench.score.truths import rolled_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.core.parquet import Column


REPLICATES = 200  # of the confidence rules: enough for intervals, few enough to keep for every fit
VIEW = ["dataset", "split", "method", "seed"]
COLUMNS = [*VIEW, "status", "family", "metric", "label_set", "level", "group", "value", "n"]
CONFUSION = ["unit", "true", "predicted", "n"]
GROUPS = ["level", "group", *CONFUSION]
CONFIDENCE = ["rule", "merging", "metric", "variant", "replicate", "value"]
SUMS = ["unit", "metric", "part", "value"]
_NUMBERS = {"seed": np.int64, "n": np.int64, "replicate": np.int64, "value": np.float64}


@dataclass(frozen=True)
class ScoredView:
    """Which view of a fit a table is of."""

    dataset: str
    split: str
    method: str
    seed: int


def score_columns(view: ScoredView, status: str, rows: Iterable[Row]) -> "dict[str, Column]":
    """Columns of `scores`: one row per value."""
    fixed = dict(zip(VIEW, astuple(view), strict=True)) | {"status": status}
    return _repeated(fixed, _by_name(COLUMNS[5:], map(astuple, rows)))


def confusion_columns(view: ScoredView, evidence: Evidence) -> "dict[str, Column]":
    """Columns of `confusion`: cells of every unit by true and predicted label; no rows without predictions."""
    kind, table = "cell", count_confusion([], [], [])
    if "predictions" in evidence.has:
        scored, names = evidence.scored, list(evidence.scored.names)
        kind = evidence.units.kind
        labels = (Categorical(codes, names) for codes in (scored.true_codes, scored.predicted_codes))
        table = count_confusion(evidence.units.of_cells, *labels)
    return _repeated({"split": view.split, "method": view.method, "unit_kind": kind}, table)


def group_columns(view: ScoredView, evidence: Evidence, names: Sequence[str]) -> "dict[str, Column]":
    """Columns of `groups`: `confusion` within every value of some columns of obs; a value that is not given is none."""
    kind, parts = "cell", [_group_part("", "", count_confusion([], [], []))]
    if "predictions" in evidence.has:
        scored, kind = evidence.scored, evidence.units.kind
        true, predicted = (
            Categorical(codes, list(scored.names)) for codes in (scored.true_codes, scored.predicted_codes)
        )
        for name in (name for name in names if name in scored.groups):
            values = scored.groups[name]
            for value in (value for value in values.counts() if value != NOT_GIVEN):
                rows = np.flatnonzero(values == value)
                table = count_confusion(evidence.units.of_cells[rows], true[rows], predicted[rows])
                parts.append(_group_part(name, value, table))
    joined: dict[str, Column] = {}
    for name in GROUPS:
        values_of = [part[name] for part in parts]
        joined[name] = np.concatenate([np.asarray(one) for one in values_of]) if name == "n" else _stacked(values_of)
    return _repeated({"split": view.split, "method": view.method, "unit_kind": kind}, joined)


def _group_part(level: str, group: str, table: "Mapping[str, Column]") -> "dict[str, Column]":
    return _repeated({"level": level, "group": group}, table)


def _stacked(parts: "Sequence[Column]") -> Categorical:
    """Categorical columns, one below the other."""
    columns = [one for one in parts if isinstance(one, Categorical)]
    names = list(dict.fromkeys(name for one in columns for name in one.names))
    return Categorical(np.concatenate([one.recode(names) for one in columns]), names)


def sums_columns(view: ScoredView, evidence: Evidence, families: Iterable[Family]) -> "dict[str, Column]":
    """Columns of `sums`: what metrics with `from_sums` are computed from, for every unit; zeros are left out."""
    rows: list[tuple[str, str, str, str, float]] = []
    for family in (one for one in families if one.unit_sums):
        assert family.unit_sums is not None
        for metric, parts in evidence.sums(family.name, family.unit_sums).items():
            units = family.units(evidence) if family.units else evidence.units
            for part, values in parts.items():
                pairs = zip(units.names, values.tolist(), strict=True)
                rows += [(units.kind, unit, metric, part, value) for unit, value in pairs if value]
    return _repeated({"split": view.split, "method": view.method}, _by_name(["unit_kind", *SUMS], rows))


def confidence_columns(view: ScoredView, evidence: Evidence, merge: Rollup | None) -> "dict[str, Column]":
    """Columns of `confidence`: rules compared; no rows without decision values."""
    rows = _confidence(view, evidence, merge) if "decisions" in evidence.has else ()
    return _repeated({"split": view.split, "method": view.method}, _by_name(CONFIDENCE, rows))


def _confidence(
    view: ScoredView, evidence: Evidence, merge: Rollup | None
) -> Iterator[tuple[str, str, str, str, int, float]]:
    """Values, replicates, curves and histograms of every rule."""
    rules, bins = evidence.rules, evidence.bins
    weights = Weights(REPLICATES)
    of_cells = weights.of([f"unit:{view.dataset}/{unit}" for unit in evidence.units.of_cells[rules.cells].to_text()])
    of_unrelated = weights.of([f"foreign:{i}" for i in range(UNRELATED)])
    for merging, right in _readings(evidence, rules, merge).items():
        for one in (replace(one, right=right) for one in rules.confidences):
            key = (one.rule, merging)
            for (metric, variant), value in one.values(bins).items():
                yield (*key, metric, variant, -1, value)
            for metric, values in one.replicates(of_cells, of_unrelated, bins).items():
                for i, value in enumerate(values):
                    yield (*key, metric, "-", i, value)
            if merging == "none":
                for coverage, value in one.curve().items():
                    yield (*key, "risk", coverage, -1, value)
                for name, shares in one.histograms().items():
                    for i, value in enumerate(shares):
                        yield (*key, f"share_{name}", f"{i:02d}", -1, value)


def _readings(evidence: Evidence, rules: Rules, merge: Rollup | None) -> "dict[str, NDArray[np.bool_]]":
    """Which of the cells are right, by labels as they are and, where there is a rule, merged."""
    scored = evidence.scored
    readings = {"none": scored.correct[rules.cells]}
    if merge:
        target = rolled_codes(Categorical.of(scored.names), merge, scored.ontology).codes
        true, predicted = (codes[rules.cells] for codes in (scored.true_codes, scored.predicted_codes))
        readings["merged"] = target[true] == target[predicted]
    return readings


def count_confusion(
    units: "Categorical | Sequence[str] | NDArray[np.object_]",
    true: "Categorical | Sequence[str] | NDArray[np.object_]",
    predicted: "Categorical | Sequence[str] | NDArray[np.object_]",
) -> "dict[str, Column]":
    """Number of cells for every combination of unit, true and predicted label that occurs, in sorted order."""
    names, shape, place = [], [], np.zeros(len(units), dtype=np.int64)
    for values in (units, true, predicted):
        one = values if isinstance(values, Categorical) else Categorical.of(values)
        names.append(list(one.counts()))
        shape.append(len(names[-1]))
        place = place * shape[-1] + one.recode(names[-1])
    cells, counts = np.unique(place, return_counts=True)
    codes = (code.astype(np.int32) for code in np.unravel_index(cells, shape))
    return {
        **{key: Categorical(code, of) for key, code, of in zip(CONFUSION[:3], codes, names, strict=True)},
        "n": counts,
    }


def _by_name(names: Sequence[str], rows: Iterable[tuple[str | int | float, ...]]) -> "dict[str, Column]":
    """Rows as columns, in types that do not depend on what is in them."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return {
        name: np.array(values, dtype=_NUMBERS[name]) if name in _NUMBERS else Categorical.of(values)
        for name, values in zip(names, columns, strict=True)
    }


def _repeated(fixed: Mapping[str, str | int], columns: "Mapping[str, Column]") -> "dict[str, Column]":
    """Columns, behind others that hold one value."""
    n = len(next(iter(columns.values())))
    repeated: dict[str, Column] = {}
    for name, value in fixed.items():
        if isinstance(value, str):
            repeated[name] = Categorical(np.zeros(n, dtype=np.int32), [value])
        else:
            repeated[name] = np.full(n, value, dtype=np.int64)
    return {**repeated, **columns}
