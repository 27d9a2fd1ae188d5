"""Promises: counts are of cells, each once; shares of the labels stay apart; classes without training cells are told.

Ten cells by hand: A1 (0 to 3), B (4 to 7), A2x (8, 9).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.results import Results
from annobench.core.parquet import write_columns
from annobench.score.metric import Row
from annobench.score.metrics import per_class
from annobench.score.score_tables import COLUMNS, CONFIDENCE, SUMS, count_confusion
from annobench.score.spec import RollupRule
from annobench.splits.regimes.low_label import LowLabel
from annobench.tables.audit import COLUMNS as AUDIT
from annobench.tables.calibration import calibration
from annobench.tables.classes import classes
from annobench.tables.confidence import confidences, curves, rules
from annobench.tables.confusion import confusion
from annobench.tables.embeddings import probe_classes
from annobench.tables.errors import confusion_depths, error_relations
from annobench.tables.groups import groups
from annobench.tables.markers import markers, types
from annobench.tables.shared.columns import filled
from annobench.tables.shared.fits import planned_fits
from annobench.tables.shared.spec import TablesSpec
from helpers import rows_of_family, run_record, scored
from study_files import Context, split, study

RULES = (("aurc", "-"), ("risk", "0.5"), ("share_right", "3"))
LABELS = np.array(["A1"] * 4 + ["B"] * 4 + ["A2x"] * 2, dtype=object)


def written(folder: Path, spec: TablesSpec, tested: dict[tuple[str, int], list[int]], **more: Any) -> Context:
    """A study whose method `m` calls everything B; cells that are not tested train, but those of `untrained`."""
    results = Results(folder)
    write_columns(results.obs("d"), {"label_id": LABELS})
    untrained = more.get("untrained", {})
    rule = more.get("rule", {})
    for fit in planned_fits(spec, results):
        test = np.isin(np.arange(10), tested[fit.split, fit.seed])
        role = np.where(test, "test", "train").astype(object)
        write_columns(results.roles("d", fit.split, fit.seed), {"role": role})
        train = ~test & ~np.isin(LABELS, untrained.get(fit.split, []))
        write_columns(results.train("d", fit.split, fit.seed), {"label_id": LABELS[train]})
        truth = np.array([rule.get(label, label) for label in LABELS[test]], dtype=object)
        predicted = np.full(len(truth), "B", dtype=object)
        run_record(fit.run)
        rows = [*rows_of_family(per_class, scored(truth, predicted))]
        rows += [
            Row("calibration", f"bin_{of}", "-", "bin", "03", 0.4, len(truth)) for of in ("accuracy", "confidence")
        ]
        rows += [Row("probes", "probe_f1", "cells knn", "class", "B", 0.5, 1)]
        table = pd.DataFrame([asdict(row) for row in rows]).assign(**fit.key, status="ok")[COLUMNS]
        pairs = count_confusion(np.full(len(truth), "u", dtype=object), truth, predicted)
        text = {k: v if k == "n" else v.to_text() for k, v in pairs.items()}
        view = {name: np.full(len(pairs["n"]), value, dtype=object) for name, value in
                (("split", fit.split), ("method", fit.method), ("unit_kind", "donor"))}  # fmt: skip
        write_columns(fit.scores, {name: table[name].to_numpy() for name in table})
        write_columns(fit.confusion, {**text, **view})
        of_assay = {name: np.full(len(pairs["n"]), value, dtype=object) for name, value in
                    (("level", "assay"), ("group", "10x"))}  # fmt: skip
        write_columns(fit.groups, {**text, **view, **of_assay})
        write_columns(fit.sums, {name: [] for name in ("split", "method", *SUMS, "unit_kind")})
        rules = [("raw", "none", metric, variant, -1, 0.2) for metric, variant in RULES]
        of_rules = dict(zip(CONFIDENCE, zip(*rules, strict=True), strict=True))
        write_columns(fit.confidence, {"split": [fit.split] * 3, "method": [fit.method] * 3,
                                       **{name: list(values) for name, values in of_rules.items()}})  # fmt: skip
    made = Context(spec, planned_fits(spec, results), folder)
    return made.having(audit=pd.DataFrame(columns=filled(AUDIT["audit"], ())))


def of_method(*splits: str, seeds: tuple[int, ...] = (1, 2), **more: Any) -> TablesSpec:
    one = {"methods": ("m",), "seeds": seeds} | more
    return study(*(split(name, "e", **one) for name in splits), methods=["m"])


def by(table: pd.DataFrame, *columns: str, value: str = "cells") -> dict[Any, Any]:
    index = list(columns) if len(columns) > 1 else columns[0]
    return dict(table.set_index(index)[value])


FOLDS = {("f1", 1): [0, 1, 4, 5, 8], ("f2", 1): [2, 3, 6, 7, 9], ("f1", 2): [0, 2, 4, 6, 9], ("f2", 2): [1, 3, 5, 7, 8]}


def test_cells_of_folds_that_are_drawn_twice_count_once(tmp_path: Path) -> None:
    context = written(tmp_path, of_method("f1", "f2"), FOLDS)
    table = confusion(context)
    assert by(table, "true") == {"A1": 4, "A2x": 2, "B": 4}
    assert by(table, "true", value="n") == {"A1": 8, "A2x": 4, "B": 8}
    assert by(table, "true", value="n_fits") == {"A1": 4, "A2x": 4, "B": 4}
    assert set(table["split"]) == {"all"}
    assert by(classes(context), "label_id") == {"A1": 4, "A2x": 2, "B": 4}
    relations = by(error_relations(context), "label_id", "relation")
    assert relations == {("A1", "elsewhere"): 4, ("A2x", "above"): 2, ("B", "exact"): 4}
    top = confusion_depths(context)
    assert top[top["depth"] == 1]["cells"].sum() == 10
    bins = calibration(context)
    assert bins[["n", "cells"]].to_numpy().tolist() == [[20, 10.0]]


def test_test_sets_that_overlap_count_every_cell_once(tmp_path: Path) -> None:
    # A1: cells 0 and 1, then 1 and 2: four tests of three cells; B: cell 4 twice, two tests of one cell
    context = written(tmp_path, of_method("h"), {("h", 1): [0, 1, 4], ("h", 2): [1, 2, 4]})
    table = confusion(context)
    assert by(table, "true") == {"A1": 3, "B": 1}
    assert by(table, "true", value="n") == {"A1": 4, "B": 2}
    assert calibration(context)["cells"].tolist() == [pytest.approx(4)]


def test_shares_of_the_labels_are_never_added_up(tmp_path: Path) -> None:
    assert not LowLabel.POOLED
    spec = of_method("low_0.01", "low_0.1", pooled=False)
    context = written(tmp_path, spec, {(s, k): [0, 1, 4] for s in ("low_0.01", "low_0.1") for k in (1, 2)})
    for table in (confusion(context), classes(context)):
        of = "true" if "true" in table else "label_id"
        assert by(table, "split", of) == {
            (share, label): n for share in ("low_0.01", "low_0.1") for label, n in (("A1", 2), ("B", 1))
        }
    shares = {"low_0.01", "low_0.1"}
    for table in (calibration(context), error_relations(context), confusion_depths(context), probe_classes(context)):
        assert set(table["split"]) == shares
    for table in (rules(context), curves(context), confidences(context)):
        assert table["split"].tolist() == ["low_0.01", "low_0.1"]
    assert set(rules(context)["n_fits"]) == {2}
    of_group = groups(context)
    assert set(of_group["split"]) == shares
    assert set(of_group["n_fits"]) == {2}


def test_markers_are_apart_by_share_too(tmp_path: Path) -> None:
    splits = {"low_0.01": 0.2, "low_0.1": 0.8}
    tested_cells = {(s, k): [0, 1, 4] for s in splits for k in (1, 2)}
    place = {"dataset": "d", "evaluation": "e", "regime": "low_label"}
    metrics = [
        {**place, "split": s, "seed": k, "kind": "method", "name": "m", "family": "markers", "metric": "marker_purity",
         "variant": "fair", "value": value + k / 100} for s, value in splits.items() for k in (1, 2)
    ]  # fmt: skip
    of_types = [
        {**place, "split": s, "seed": k, "name": "m", "reading": "fair", "label_id": label, "metric": "marker_purity",
         "value": value} for s, value in splits.items() for k in (1, 2) for label in ("A1", "B")
    ]  # fmt: skip
    for pooled, expected in ((False, {"low_0.01": 0.215, "low_0.1": 0.815}), (True, {"all": 0.515})):
        context = written(tmp_path / str(pooled), of_method(*splits, pooled=pooled), tested_cells)
        context.audits = {"metrics": pd.DataFrame(metrics), "types": pd.DataFrame(of_types)}
        assert by(markers(context), "split", value="value") == pytest.approx(expected)
        found = types(context)
        assert set(found["split"]) == set(expected)
        assert set(found["n"]) == ({4} if pooled else {2})


def test_splits_that_are_taken_together_are_in_one_row(tmp_path: Path) -> None:
    context = written(tmp_path, of_method("f1", "f2"), FOLDS)
    for table in (rules(context), curves(context), confidences(context)):
        assert table["split"].tolist() == ["all"]
    assert set(groups(context)["split"]) == {"all"}


def test_classes_without_training_cells_are_told(tmp_path: Path) -> None:
    # no training cell of A2x at all, of A1 only for the second fold
    context = written(tmp_path, of_method("f1", "f2"), FOLDS, untrained={"f1": ["A1", "A2x"], "f2": ["A2x"]})
    expected = {"A1": 2, "A2x": 0, "B": 4}
    assert by(confusion(context), "true", value="n_trained") == expected
    assert by(classes(context), "label_id", value="n_trained") == expected


def test_nothing_is_told_of_training_cells_where_no_cell_trains(tmp_path: Path) -> None:
    context = written(
        tmp_path, of_method("z", seeds=(1,)), {("z", 1): list(range(10))}, untrained={"z": ["A1", "B", "A2x"]}
    )
    assert confusion(context)["n_trained"].isna().all()
    assert classes(context)["n_trained"].isna().all()


def test_cells_count_under_the_labels_that_they_are_rolled_up_to(tmp_path: Path) -> None:
    spec = study(
        split("f1", "e", methods=("m",), seeds=(1, 2), rollup="lineages"),
        methods=["m"],
        rollups={"lineages": RollupRule(targets={"A": ("A",)}, others="keep")},
    )
    tested = {("f1", 1): [0, 4, 8], ("f1", 2): [0, 4, 9]}
    context = written(tmp_path, spec, tested, rule={"A1": "A", "A2x": "A"}, untrained={"f1": ["A1"]})
    table = confusion(context)
    assert by(table, "true") == {"A": 3, "B": 1}  # cells 0, 8 and 9 in four tests
    assert by(table, "true", value="n_trained") == {"A": 2, "B": 2}  # the other cell of A2x trains


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    context = written(tmp_path, of_method("h"), {("h", 1): [0, 1, 4], ("h", 2): [1, 2, 4]})
    Path(context.results.roles("d", "h", 2)).unlink()
    table = confusion(context)
    assert table["cells"].isna().all()
    assert table["n"].tolist() == [4, 2]
    assert error_relations(context)["cells"].isna().all()
    assert classes(context)["cells"].isna().all()
