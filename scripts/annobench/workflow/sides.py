"""Two sets of results compared, fit by fit: the same methods of two runs, or two methods of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from annobench.config.results import Results
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns
from annobench.ontology import Ontology
from annobench.tables.compare import Comparison
from annobench.tables.shared.columns import EVALUATION
from annobench.tables.shared.fits import FitFiles, Fits, planned_fits
from annobench.tables.shared.spec import TablesSpec

_COLUMNS = [*EVALUATION, "method_a", "method_b", "metric", "a", "b", "difference", "low", "high", "p_value", "p_holm"]
COLUMNS = (*_COLUMNS, "n_fits", "n_other_cells", "n_missing", "changed_labels", "interval_over")
A, B = "a:", "b:"


@dataclass(frozen=True)
class Side:
    """One set of results.

    Attributes
    ----------
    results
        Where its files lie.
    spec
        What the tables of its study are made from.
    method
        The method that is compared; None for all.
    """

    results: Results
    spec: TablesSpec
    method: str | None = None


@dataclass(frozen=True)
class _Pair:
    """The fits of two methods in one evaluation: those compared, and how many are not."""

    a: list[FitFiles]
    b: list[FitFiles]
    other_cells: int
    missing: int


def compared(a: Side, b: Side, ontology: Ontology) -> pd.DataFrame:
    """What changed from one set of results to another.

    Parameters
    ----------
    a, b
        The two sides; how scores are compared comes from the study of the second.
    ontology
        Relates the labels.

    Returns
    -------
    A row for every evaluation and method: the primary metric of both, the paired difference (second minus first) with
    interval and p-values (Holm over the methods of the evaluation), on the splits and seeds that both have with the
    same test cells; the numbers of fits that only one side has (`n_missing`), or that tested other cells
    (`n_other_cells`); and the share of test cells that got another label.

    Raises
    ------
    DataError
        Where no method of an evaluation has fits on both sides.
    """
    names = _names(a, b)
    of_a, of_b = (_by_place(planned_fits(side.spec, side.results)) for side in (a, b))
    pairs: dict[tuple[str, str, str], dict[tuple[str, str], _Pair]] = {}
    for place in [place for place in of_a if place in of_b]:
        for name_a, name_b in names:
            pair = _paired(of_a[place].get(name_a, []), of_b[place].get(name_b, []), a.results, b.results)
            if pair.a or pair.other_cells or pair.missing:
                pairs.setdefault(place, {})[A + name_a, B + name_b] = pair
    fits = [fit for of in pairs.values() for pair in of.values() for fit in (*pair.a, *pair.b)]
    if not fits:
        raise DataError(
            "the two have no fit in common: the same dataset, split, seed and test cells, finished and scored"
        )
    methods = {A + name: method for name, method in a.spec.methods.items()}
    methods |= {B + name: method for name, method in b.spec.methods.items()}
    comparison = Comparison(Fits(list(dict.fromkeys(fits)), ontology), replace(b.spec, methods=methods))
    rows = []
    for place, of in pairs.items():
        rows += _rows(comparison, place, of)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _names(a: Side, b: Side) -> list[tuple[str, str]]:
    """Pairs of methods that are compared."""
    if a.method or b.method:
        name_a, name_b = a.method or b.method, b.method or a.method
        return [(str(name_a), str(name_b))]
    shared = [name for name, method in a.spec.methods.items() if name in b.spec.methods and method.kind == "method"]
    return [(name, name) for name in shared]


def _by_place(fits: Sequence[FitFiles]) -> dict[tuple[str, str, str], dict[str, list[FitFiles]]]:
    found: dict[tuple[str, str, str], dict[str, list[FitFiles]]] = {}
    for fit in fits:
        found.setdefault(fit.place, {}).setdefault(fit.method, []).append(fit)
    return found


def _paired(a: Sequence[FitFiles], b: Sequence[FitFiles], of_a: Results, of_b: Results) -> _Pair:
    """Fits of the same split and seed that both sides have, with the same test cells."""
    done_a, done_b = ({(fit.split, fit.seed): fit for fit in fits if fit.done} for fits in (a, b))
    shared = [key for key in done_a if key in done_b]
    same = [key for key in shared if _same_cells(done_a[key], of_a, of_b)]
    return _Pair(
        [replace(done_a[key], method=A + done_a[key].method, scored_as=done_a[key].method) for key in same],
        [replace(done_b[key], method=B + done_b[key].method, scored_as=done_b[key].method) for key in same],
        len(shared) - len(same),
        len({(fit.split, fit.seed) for fit in (*a, *b)} - set(shared)),
    )


def _same_cells(fit: FitFiles, of_a: Results, of_b: Results) -> bool:
    """Whether a split with its seed tests the same cells on both sides."""
    files = [Path(of.roles(fit.dataset, fit.split, fit.seed)) for of in (of_a, of_b)]
    if files[0] == files[1]:
        return True
    if not all(path.is_file() for path in files):
        return False
    return bool(np.array_equal(_tested(files[0]), _tested(files[1])))


def _tested(path: Path) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    table = read_columns(path, ["cell_id", "role"])
    return np.asarray(table["cell_id"], dtype=object)[np.asarray(table["role"]) == "test"]


def _rows(
    comparison: Comparison, place: tuple[str, str, str], pairs: Mapping[tuple[str, str], _Pair]
) -> list[dict[str, object]]:
    metric = comparison.primary.name
    wanted = [names for names, pair in pairs.items() if pair.a]
    tests = comparison.tests_of([(b, a) for a, b in wanted], [place])
    by_pair = {(row.method_b, row.method_a): row for row in tests.itertuples()}
    rows = []
    for names, pair in pairs.items():
        about = dict(zip(EVALUATION, place, strict=True)) | {"metric": metric, "n_missing": pair.missing}
        about |= {"method_a": names[0].removeprefix(A), "method_b": names[1].removeprefix(B)}
        about |= {"n_other_cells": pair.other_cells, "n_fits": len(pair.a)}
        if names in by_pair:
            row = by_pair[names]
            of_a, of_b = (comparison.measures.over([comparison.primary], fits)[metric] for fits in (pair.a, pair.b))
            about |= {"a": of_a.value, "b": of_b.value, "difference": row.difference, "low": row.low, "high": row.high}
            about |= {"p_value": row.p_value, "p_holm": row.p_holm, "interval_over": " and ".join(sorted(of_b.kinds))}
            about["changed_labels"] = _changed(pair)
        rows.append(about)
    return rows


def _changed(pair: _Pair) -> float:
    """Share of test cells whose first label differs, over all fits; NaN where the predictions are gone."""
    changed, cells = 0, 0
    for one, other in zip(pair.a, pair.b, strict=True):
        files = [fit.folder / "predictions.parquet" for fit in (one, other)]
        if not all(path.is_file() for path in files):
            return float("nan")
        labels = [_labels(path) for path in files]
        shared = labels[0].index.intersection(labels[1].index)
        changed += int((labels[0].loc[shared] != labels[1].loc[shared]).sum())
        cells += len(shared)
    return changed / cells if cells else float("nan")


def _labels(path: Path) -> pd.Series:
    """First label of every cell."""
    table = read_columns(path, ["cell_id", "label_1"])
    return pd.Series(table["label_1"], index=pd.Index(table["cell_id"]))
