"""What is promised: any metric with a best value ranks methods the right way round, and the tables say from what."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.core.parquet import Categorical, write_columns
from annobench.fit.run_record import RunRecord
from annobench.score.evidence import Evidence
from annobench.score.registry import FAMILIES, METRICS, rows_of, runnable
from annobench.score.score_tables import (
    CONFIDENCE,
    ScoredView,
    confusion_columns,
    score_columns,
    sums_columns,
)
from annobench.score.units import Units
from annobench.tables import compare
from annobench.tables.audit import COLUMNS as AUDIT
from annobench.tables.shared.columns import filled, matches
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.spec import Scoring
from helpers import run_record, scored
from study_files import SHOWN, Context, fit_files, study

CLASSES = ["A", "A1", "A2x", "B"]
CELLS, DONORS = 120, 6
METHODS = {"good": "method", "poor": "method", "zero": "control"}
RIGHT = {"good": 0.85, "poor": 0.5, "zero": 0.25}


def fit(
    folder: Path, method: str, split: str = "x", seed: int = 1, probabilities: bool = True, **record: Any
) -> FitFiles:
    """A scored fit of 120 cells of six donors, whose answers are right for a share of them."""
    key = {"evaluation": "holdout", "regime": "holdout", "split": split, "method": method, "seed": seed}
    files = fit_files(folder, f"{method}/{split}/{seed}", **key)
    run_record(files.run, **record)
    rng = np.random.default_rng([seed, len(split), int(100 * RIGHT[method])])
    at = np.arange(CELLS) % len(CLASSES)
    said = np.where(rng.random(CELLS) < RIGHT[method], at, rng.integers(0, len(CLASSES), CELLS))
    shares = np.full((CELLS, len(CLASSES)), 0.1)
    shares[np.arange(CELLS), said] = 0.7
    more: dict[str, Any] = {"confidence": np.full(CELLS, 0.95), "is_probability": probabilities}
    if probabilities:
        more |= {"probabilities": shares, "probability_classes": CLASSES}
    names = np.array(CLASSES, dtype=object)
    evidence = Evidence(scored(names[at], names[said], **more))
    evidence.has |= {"run"}
    evidence.run = RunRecord.read(files.run)
    evidence.units = Units("donor", Categorical.of(np.array([f"d{i % DONORS}" for i in range(CELLS)], dtype=object)))
    view = ScoredView("d", split, method, seed)
    write_columns(files.scores, score_columns(view, evidence.run.status, rows_of(evidence)))
    write_columns(files.confusion, confusion_columns(view, evidence))
    write_columns(files.sums, sums_columns(view, evidence, runnable(evidence)))
    write_columns(files.confidence, {name: [] for name in ("split", "method", *CONFIDENCE)})
    return files


def built(fits: list[FitFiles], primary: str, metrics: tuple[str, ...] = SHOWN) -> dict[str, pd.DataFrame]:
    context = Context(study(methods=METHODS, scoring=Scoring(primary, metrics)), fits)
    context.having(audit=pd.DataFrame(columns=filled(AUDIT["audit"], ())))
    tables = {name: getattr(compare, name)(context) for name in ("summary", "ranking", "tests")}
    for name, table in tables.items():
        assert matches(list(table), compare.COLUMNS[name])
    return tables


def every(folder: Path, splits: str = "xy", seeds: tuple[int, ...] = (1, 2), **record: Any) -> list[FitFiles]:
    return [fit(folder, method, split, seed, **record) for method in METHODS for split in splits for seed in seeds]


def score_of(fits: list[FitFiles], method: str, metric: str) -> float:
    """Mean over splits of the mean over seeds, of what scoring wrote."""
    rows = pd.concat([pd.DataFrame(one.rows(one.scores)) for one in fits if one.method == method])
    wanted = METRICS[metric]
    rows = rows[(rows["metric"] == metric) & (rows["label_set"] == wanted.label_set) & (rows["level"] == wanted.level)]
    return float(rows.groupby("split")["value"].mean().mean())


@pytest.mark.parametrize(
    ("primary", "basis", "over", "units"),
    [
        ("macro_f1", "unit counts", "donors", DONORS),
        ("hierarchical_f1_macro", "unit counts", "donors", DONORS),
        ("mcc", "unit counts", "donors", DONORS),
        ("unrelated_share", "unit counts", "donors", DONORS),
        ("brier", "unit sums", "donors", DONORS),
        ("ece", "unit sums", "donors", DONORS),
        ("accuracy_top1", "unit sums", "donors", DONORS),
        ("aurc", "seeds", "seeds", 4),
        ("auroc_ovr", "seeds", "seeds", 4),
    ],
)
def test_a_metric_ranks_and_the_tables_say_from_what(
    tmp_path: Path, primary: str, basis: str, over: str, units: int
) -> None:
    fits = every(tmp_path)
    tables = built(fits, primary)
    ranking = tables["ranking"][tables["ranking"]["dataset"] == "d"]
    assert ranking["method"].tolist() == ["good", "poor", "zero"]
    assert ranking["rank"].tolist()[:2] == [1, 2]
    for row in ranking.itertuples():
        assert row.score == pytest.approx(score_of(fits, row.method, primary))
        assert row.low <= row.score <= row.high
        assert row.low < row.high or primary == "auroc_ovr"
        assert (row.basis, row.interval_over, row.n_units) == (basis, over, units)
        assert (row.n_fits, row.n_planned) == (4, 4)
    tested = tables["tests"]
    assert tested["metric"].tolist() == [primary]
    assert tested["basis"].tolist() == [basis]
    assert tested["difference"].item() == pytest.approx(ranking["score"].iloc[0] - ranking["score"].iloc[1])
    assert 0 < tested["p_value"].item() <= 1
    assert ranking["p_against_best"].iloc[1] == tested["p_holm"].item()
    summary = tables["summary"]
    assert set(summary.loc[summary["metric"] == primary, "basis"]) == {basis}
    assert set(summary["metric"]) == {primary, *SHOWN}
    assert set(summary.loc[summary["metric"] == "accuracy", "basis"]) == {"unit counts"}


def test_the_value_of_every_basis_is_that_of_scoring(tmp_path: Path) -> None:
    fits = every(tmp_path, splits="x", seeds=(1, 2, 3))
    left_out = {"status", "perturbation", "perturbation_published", "unseen_types"}  # the methods predict seen labels
    left_out |= {name for name, family in FAMILIES.items() if "embedding" in family.needs}
    left_out |= {name for name, family in FAMILIES.items() if family.on_request}
    names = tuple(name for name, one in METRICS.items() if one.level == "overall" and one.family not in left_out)
    summary = built(fits, "macro_f1", names)["summary"]
    whole = summary[(summary["dataset"] == "d") & (summary["split"] == "all") & (summary["method"] == "good")]
    values = whole.set_index("metric")["value"]
    assert len(values) == len(names) - 6  # the methods give one label a cell, so top 1 only
    for name, value in values.items():
        assert value == pytest.approx(score_of(fits, "good", str(name))), name
    assert (whole["low"] <= whole["value"] + 1e-9).all()
    assert (whole["value"] <= whole["high"] + 1e-9).all()


def test_a_cost_is_best_where_it_is_lowest_and_resamples_seeds(tmp_path: Path) -> None:
    seconds = {"good": 30.0, "poor": 2.0, "zero": 1.0}
    fits = [
        fit(tmp_path, method, split, seed, fit_seconds=seconds[method] * (1 + seed / 10))
        for method in METHODS
        for split in "xy"
        for seed in (1, 2, 3)
    ]
    tables = built(fits, "fit_seconds")
    ranking = tables["ranking"][tables["ranking"]["dataset"] == "d"]
    assert ranking["method"].tolist() == ["zero", "poor", "good"]
    assert ranking["rank"].tolist()[1:] == [1, 2]
    assert ranking["score"].tolist() == pytest.approx([1.2, 2.4, 36])
    assert set(ranking["basis"]) == set(ranking["interval_over"]) == {"seeds"}
    assert ranking["n_units"].tolist() == [6] * 3
    assert ((ranking["low"] < ranking["score"]) & (ranking["score"] < ranking["high"])).all()
    assert ranking["high"].iloc[2] > 37  # the range has no upper end
    test = tables["tests"].iloc[0]
    assert (test["method_a"], test["method_b"], test["basis"]) == ("good", "poor", "seeds")
    assert test["low"] < test["difference"] < test["high"]
    assert test["p_value"] == pytest.approx(2 / 64, abs=0.03)  # of six fits, two of 64 swaps are as extreme


def test_without_further_seeds_splits_are_resampled_and_one_fit_has_no_interval(tmp_path: Path) -> None:
    tables = built(every(tmp_path / "a", splits="xyz", seeds=(1,)), "aurc")
    whole = tables["ranking"][tables["ranking"]["dataset"] == "d"]
    assert set(whole["basis"]) == {"splits"}
    assert whole["n_units"].tolist() == [3] * 3
    assert whole["low"].notna().all()
    of_split = tables["summary"][(tables["summary"]["metric"] == "aurc") & (tables["summary"]["split"] == "x")]
    assert set(of_split["basis"]) == {"one value"}
    tables = built(every(tmp_path / "b", splits="x", seeds=(1,)), "aurc")
    ranking = tables["ranking"]
    assert set(ranking["basis"]) == {"one value"}
    assert set(ranking["interval_over"]) == {""}
    assert ranking["low"].isna().all()
    assert ranking["rank"].tolist()[:2] == [1, 2]
    assert tables["tests"]["p_value"].tolist() == [1]  # one fit of each can be swapped for nothing
    assert tables["tests"]["low"].isna().all()


def test_a_method_without_the_metric_is_listed_without_a_rank(tmp_path: Path) -> None:
    fits = [fit(tmp_path, method, "x", seed, probabilities=method != "good") for method in METHODS for seed in (1, 2)]
    tables = built(fits, "brier")
    ranking = tables["ranking"][tables["ranking"]["dataset"] == "d"]
    assert ranking["method"].tolist() == ["poor", "zero", "good"]
    assert ranking["rank"].isna().tolist() == [False, True, True]
    last = ranking.iloc[-1]
    assert np.isnan(last["score"])
    assert (last["basis"], last["n_fits"], last["n_planned"]) == ("", 0, 2)
    assert last["accuracy"] > 0.8
    assert tables["tests"].empty


def test_a_metric_that_is_best_in_the_middle_ranks_by_the_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = every(tmp_path)
    monkeypatch.setitem(METRICS, "coarser_share", replace(METRICS["coarser_share"], best=0.1))
    shares = {method: score_of(fits, method, "coarser_share") for method in METHODS}
    order = sorted(METHODS, key=lambda method: abs(shares[method] - 0.1))
    ranking = built(fits, "coarser_share")["ranking"]
    assert ranking.loc[ranking["dataset"] == "d", "method"].tolist() == order
    assert order != sorted(METHODS, key=shares.__getitem__)


def test_units_that_all_methods_share_are_swapped_together(tmp_path: Path) -> None:
    """One sum of all donors gives the same test as accuracy, which comes from counts."""
    fits = every(tmp_path)
    counts, sums = (built(fits, primary)["tests"].iloc[0] for primary in ("accuracy", "accuracy_top1"))
    columns = ["difference", "low", "high", "p_value"]
    assert counts[columns].tolist() == pytest.approx(sums[columns].tolist())
