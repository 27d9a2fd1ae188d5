"""What is promised: tables say how many fits they rest on, who is missing, and who may be ranked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import DataError
from annobench.core.parquet import write_columns
from annobench.score.registry import METRICS
from annobench.score.score_tables import CONFIDENCE, SUMS, count_confusion
from annobench.tables import compare
from annobench.tables.audit import COLUMNS as AUDIT
from annobench.tables.calibration import calibration
from annobench.tables.classes import classes, trees
from annobench.tables.confusion import confusion
from annobench.tables.runs import failed, resources, warnings
from annobench.tables.scores import scores
from annobench.tables.shared.build import write_csv
from annobench.tables.shared.columns import filled
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.spec import Scoring
from annobench.tables.shared.standing import Standing
from annobench.tables.splits import splits
from helpers import run_record
from study_files import Context, fit_files, study

METHODS = {"good": "method", "bad": "method", "zero": "control"}


def fit(
    folder: Path,
    method: str,
    split: str,
    seed: int,
    share: float | None,
    status: str = "ok",
    evaluation: str = "holdout",
    **run: object,
) -> FitFiles:
    """A fit on disk whose predictions are right for a share of 60 cells; None leaves it out."""
    key = {"evaluation": evaluation, "regime": "holdout", "split": split, "method": method, "seed": seed}
    files = fit_files(folder, f"{method}/{split}/{seed}", **key)
    if share is None:
        return files
    record = {
        "status": status,
        "outputs": ("predictions",) if status == "ok" else (),
        "reason": None if status == "ok" else "a bad day",
        "fit_seconds": 1.0,
        "peak_rss_mb": 100.0,
    }
    record |= {"trainable_parameters": 10, "threads": 1, "total_seconds": 2.0, "cpu_seconds": 2.0, **run}
    run_record(files.run, **record)
    truth = np.array(["A1", "A2x", "B"] * 20, dtype=object)
    predicted = np.where(np.arange(60) < share * 60, truth, np.roll(truth, 1))
    pairs = (
        count_confusion(np.array([str(i) for i in range(60)], dtype=object), truth, predicted)
        if status == "ok"
        else {key: np.empty(0, dtype=object) for key in ("unit", "true", "predicted", "n")}
    )
    n = len(pairs["n"])
    view = {"split": [split] * n, "method": [method] * n}
    write_columns(files.confusion, {**view, "unit_kind": np.full(n, "cell", dtype=object), **pairs})
    write_columns(files.sums, {name: [] for name in ("split", "method", "unit_kind", *SUMS)})
    write_columns(files.confidence, {name: [] for name in ("split", "method", *CONFIDENCE)})
    row = {
        **files.key,
        "status": status,
        "family": "flat",
        "metric": "macro_f1",
        "label_set": "truth",
        "level": "overall",
    }
    write_columns(
        files.scores, {key: [value] for key, value in {**row, "group": "all", "value": float(share), "n": 60}.items()}
    )
    return files


def context(planned: list[FitFiles]) -> Context:
    """The context of some fits, of which there is no audit."""
    return Context(study(methods=METHODS), planned).having(audit=pd.DataFrame(columns=filled(AUDIT["audit"], ())))


def build(planned: list[FitFiles]) -> tuple[Context, pd.DataFrame, pd.DataFrame]:
    made = context(planned)
    return made, compare.ranking(made), compare.tests(made)


def test_ranking_orders_numbers_and_leaves_controls_out(tmp_path: Path) -> None:
    fits = [
        fit(tmp_path, m, s, k, share)
        for m, share in (("bad", 0.5), ("good", 0.9), ("zero", 0.0))
        for s in "xy"
        for k in (1, 2)
    ]
    _, ranked, tested = build(fits)
    part = ranked[ranked["dataset"] == "d"]
    assert part["method"].tolist() == ["good", "bad", "zero"]
    assert part["rank"].tolist()[:2] == [1, 2]
    assert pd.isna(part["rank"].iloc[2])
    assert part["n_fits"].tolist() == [4, 4, 4]
    assert part.iloc[0]["accuracy"] == pytest.approx(0.9)
    assert part.iloc[0]["low"] < part.iloc[0]["score"] < part.iloc[0]["high"]
    assert part["interval_over"].tolist() == ["cells"] * 3
    # one pair of methods: Holm changes nothing
    assert tested[["method_a", "method_b"]].to_numpy().tolist() == [["good", "bad"]]
    assert (
        tested["p_holm"].item() == tested["p_value"].item() == pytest.approx(1 / 101)
    )  # 100 swaps are enough for one pair
    assert part["p_against_best"].tolist()[1] == tested["p_holm"].item()
    whole = ranked[ranked["dataset"] == "all"]
    assert whole["score"].tolist() == pytest.approx(part["score"].tolist())


def test_ties_are_broken_by_parameters_then_time(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", "x", 1, 0.9, trainable_parameters=100), fit(tmp_path, "bad", "x", 1, 0.9)]
    assert build(fits)[1].query("dataset == 'd'")["method"].tolist() == ["bad", "good"]


def test_ties_are_broken_by_time_to_fit_and_predict(tmp_path: Path) -> None:
    fits = [
        fit(tmp_path, "good", "x", 1, 0.9, fit_seconds=1.0, predict_seconds=5.0),
        fit(tmp_path, "bad", "x", 1, 0.9, fit_seconds=3.0, predict_seconds=0.5),
    ]
    ranked = build(fits)[1].query("dataset == 'd'")
    assert ranked["method"].tolist() == ["bad", "good"]
    assert ranked["against_best"].tolist() == ["best", "same score"]


def test_evaluations_are_ranked_in_the_order_of_the_study(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", name, 1, 0.9, evaluation=name) for name in ("zebra", "apple", "mole")]
    ranked = build(fits)[1]
    assert ranked["evaluation"].tolist() == ["zebra", "apple", "mole", "all"]


def test_numbers_of_the_notes_and_of_the_saved_model_reach_resources_and_ranking(tmp_path: Path) -> None:
    notes = {"parameters": {"all": 170186, "head": 650}, "training": {"steps": 5, "validation_macro_f1": 0.5}}
    fits = [fit(tmp_path, "good", "x", seed, 0.9, outputs=("predictions", "model"), notes=notes) for seed in (1, 2)]
    fits += [fit(tmp_path, "bad", "x", 1, 0.5, outputs=("predictions", "model"), notes={"validation_note": "none"})]
    fits += [fit(tmp_path, "zero", "x", 1, 0.1)]
    for size, one in zip((1000, 3000), fits, strict=False):
        (one.folder / "model" / "more").mkdir(parents=True)
        (one.folder / "model" / "more" / "adapter.safetensors").write_bytes(b"0" * size)
        for name in ("annobench.json", "annobench_genes.parquet", "annobench_ontology.json"):  # every model has them
            (one.folder / "model" / name).write_bytes(b"0" * 10**6)
    made, ranked, _ = build(fits)
    table = resources(made).set_index(["method", "seed"])
    columns = ["total_parameters", "model_bytes", "validation_score"]
    assert table.loc[("good", 1), columns].tolist() == [170186, 1000, 0.5]
    assert table.loc[("good", 2), "model_bytes"] == 3000
    assert table.loc[[("bad", 1), ("zero", 1)], columns].isna().all().all()  # its model is gone; keeps none
    best = ranked[ranked["dataset"] == "d"].iloc[0]
    assert best[columns].tolist() == [170186, 2000, 0.5]


def test_warnings_of_run_records_are_listed_once_per_evaluation(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", "x", seed, 0.9, notes={"warnings": ("few genes", "no ids")}) for seed in (1, 2)]
    fits += [fit(tmp_path, "bad", "x", 1, 0.5, notes={"warnings": ("few genes",)}), fit(tmp_path, "zero", "x", 1, 0.1)]
    view = replace(fits[0], split="x.query", evaluation="query")  # another view of the same fit
    table = warnings(context([*fits, view]))
    assert table.drop(columns=["dataset", "fit"]).to_numpy().tolist() == [
        ["holdout", "good", "few genes", 2],
        ["holdout", "good", "no ids", 2],
        ["holdout", "bad", "few genes", 1],
        ["query", "good", "few genes", 1],
        ["query", "good", "no ids", 1],
    ]
    assert table["fit"].tolist()[0] == str(fits[0].folder)


# against the best, and against baselines

TESTED = pd.DataFrame(
    [
        ("d", "e", "cheap", "new", -0.10, -0.15, -0.05, 0.01),
        ("d", "e", "cheap", "poor", 0.10, 0.02, 0.20, 0.20),
        ("d", "e", "new", "odd", 0.15, -0.01, 0.31, 0.01),
        ("d", "e", "new", "poor", 0.20, 0.10, 0.30, 0.01),
    ],
    columns=["dataset", "evaluation", "method_a", "method_b", "difference", "low", "high", "p_holm"],
)


def standing(metric: str = "macro_f1", tested: pd.DataFrame = TESTED, **scores: float | None) -> Standing:
    """Methods of one evaluation by their scores, best first; without a score a method has no rank."""
    rows = [
        ("d", "e", name, name.title(), score, None if score is None else i + 1)
        for i, (name, score) in enumerate(scores.items())
    ]
    table = pd.DataFrame(rows, columns=["dataset", "evaluation", "method", "label", "score", "rank"])
    return Standing(table, tested, METRICS[metric], 0.05)


def verdict(made: Standing, *baselines: str) -> str:
    (said,) = set(made.on_baselines(baselines))
    return said


def test_a_place_in_the_ranking_says_nothing_where_tests_tell_nothing_apart() -> None:
    made = standing(new=0.8, odd=0.65, poor=0.6, cheap=0.5, lone=0.4, twin=0.8, failed=None)
    assert made.against_best() == ["best", "not told apart", "worse", "worse", "not tested", "same score", ""]
    assert made.p_against_best() == [None, 0.01, 0.01, 0.01, None, None, None]
    made = standing(cheap=0.7, poor=0.6)
    assert made.against_best() == ["best", "not told apart"]  # the interval lies above 0, the corrected p-value too
    no_interval = TESTED.assign(low=np.nan, high=np.nan)
    assert standing(tested=no_interval, new=0.8, poor=0.6).against_best() == ["best", "not told apart"]


def test_the_best_other_method_is_held_against_the_best_baseline() -> None:
    made = standing(new=0.8, odd=0.75, cheap=0.7, poor=0.6)
    assert verdict(made, "cheap", "poor") == (
        "New is better than the best baseline Cheap by 0.100 [0.050, 0.150] (p = 0.01)"
    )
    assert verdict(made, "odd", "poor") == (
        "not shown to be better: New against the best baseline Odd by 0.150 [-0.010, 0.310]"
    )
    assert verdict(made, "new") == "baseline wins: no other method is better than New (0.800)"
    assert verdict(made) == ""
    cheap = standing(cheap=0.7, poor=0.6)
    assert verdict(cheap, "poor") == (
        "Cheap is better than the best baseline Poor by 0.100 [0.020, 0.200]; not after correction for all pairs of "
        "methods (p = 0.2)"
    )


def test_the_same_score_as_a_baseline_is_not_better() -> None:
    assert verdict(standing(new=0.7, cheap=0.7 - 1e-12), "cheap").startswith("baseline wins: no other method is better")


def test_a_verdict_needs_both_sides_and_an_interval() -> None:
    assert verdict(standing(new=0.8, cheap=None), "cheap") == "no verdict: no baseline finished all its fits"
    assert verdict(standing(new=None, cheap=0.8), "cheap") == "no verdict: no other method finished all its fits"
    lone = standing(new=0.8, lone=0.5)
    expected = "not shown to be better: New against the best baseline Lone, without an interval"
    assert verdict(lone, "lone") == expected
    made = standing(tested=TESTED.assign(low=np.nan, high=np.nan), new=0.8, cheap=0.5)
    assert verdict(made, "cheap") == expected.replace("Lone", "Cheap")


def test_where_less_is_better_the_verdict_says_by_how_much_less() -> None:
    made = standing("brier", cheap=0.1, new=0.2)
    assert verdict(made, "new") == ("Cheap is better than the best baseline New by 0.100 [0.050, 0.150] (p = 0.01)")
    assert verdict(standing("fit_seconds", cheap=0.1, new=0.2), "cheap") == (
        "baseline wins: no other method is better than Cheap (0.1)"
    )


def test_a_metric_that_is_best_in_the_middle_shows_nobody_to_be_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "coarser_share", replace(METRICS["coarser_share"], best=0.1))
    assert verdict(standing("coarser_share", new=0.1, cheap=0.3), "cheap").startswith("not shown to be better: New")


def test_the_ranking_says_what_the_tests_say_of_a_baseline(tmp_path: Path) -> None:
    fits = [fit(tmp_path, m, s, 1, share) for m, share in (("bad", 0.5), ("good", 0.9)) for s in "xy"]
    spec = study(methods=METHODS, scoring=Scoring("macro_f1", ("accuracy",), ("bad",)))
    made = Context(spec, fits).having(audit=pd.DataFrame(columns=filled(AUDIT["audit"], ())))
    ranked, tested = compare.ranking(made), compare.tests(made).iloc[0]
    here = ranked[ranked["dataset"] == "d"]
    numbers = [f"{tested[name]:.3f}" for name in ("difference", "low", "high")]
    sentence = "GOOD is better than the best baseline BAD by {} [{}, {}] (p = 0.0099)".format(*numbers)
    assert here["baseline_verdict"].tolist() == [sentence] * 2
    assert here["against_best"].tolist() == ["best", "worse"]
    assert set(ranked.loc[ranked["dataset"] == "all", "baseline_verdict"]) == {""}
    assert set(build(fits)[1]["baseline_verdict"]) == {""}  # the study names none


def test_failed_and_missing_fits_are_listed_and_take_the_rank_away(tmp_path: Path) -> None:
    fits = [
        fit(tmp_path, "good", "x", 1, 0.9),
        fit(tmp_path, "good", "x", 2, 0.0, status="failed", traceback="traceback.txt"),
        fit(tmp_path, "bad", "x", 1, 0.5),
        fit(tmp_path, "bad", "x", 2, None),
    ]
    made, ranked, tested = build(fits)
    table = failed(made)
    assert table["status"].tolist() == ["failed", "missing"]
    assert table["reason"].tolist() == ["a bad day", "has not been run"]
    assert table["traceback"].tolist()[0].endswith("good/x/2/traceback.txt")
    assert ranked["rank"].isna().all()
    assert ranked["n_fits"].tolist() == [1, 1, 1, 1]
    assert ranked["n_planned"].tolist() == [2, 2, 2, 2]
    assert tested["n_fits"].tolist() == [1]  # the fit that both have
    assert len(scores(made)) == 3


def test_a_method_without_any_fit_is_listed_among_the_failures(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", "x", 1, 0.9), fit(tmp_path, "bad", "x", 1, None)]
    made, ranked, tested = build(fits)
    assert set(ranked["method"]) == {"good"}
    assert failed(made)["method"].tolist() == ["bad"]
    assert tested.empty


def test_nothing_finished_at_all(tmp_path: Path) -> None:
    made, ranked, tested = build([fit(tmp_path, "good", "x", 1, None)])
    empty = [one(made) for one in (scores, classes, trees, confusion, calibration, resources, splits)]
    assert all(table.empty and len(table.columns) > 3 for table in [ranked, tested, *empty])


def test_views_share_a_fit_and_a_view_that_was_never_scored_is_an_error(tmp_path: Path) -> None:
    one = fit(tmp_path, "good", "a", 1, 0.9)
    other = replace(one, method="good.leaf")
    assert resources(context([one, other]))["fit"].tolist() == [str(one.run.parent)] * 2
    assert one.rows(one.scores)["value"].size
    with pytest.raises(DataError, match=r"no rows of split a and method good.leaf.*--forcerun"):
        other.rows(other.scores)


def test_evaluations_of_one_dataset_and_regime_stay_apart(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", "x", 1, 0.9), fit(tmp_path, "bad", "x", 1, 0.8)]
    fits += [fit(tmp_path, m, "y", 1, s, evaluation="capped") for m, s in (("good", 0.3), ("bad", 0.5))]
    _, ranked, tested = build(fits)
    best = ranked[ranked["rank"] == 1].set_index("evaluation")["method"].to_dict()
    assert best["holdout"] == "good"
    assert best["capped"] == "bad"
    assert ranked.loc[ranked["dataset"] == "d", "n_planned"].tolist() == [1, 1, 1, 1]
    assert tested["evaluation"].tolist() == ["holdout", "capped"]
    whole = ranked[ranked["dataset"] == "all"].set_index("method")
    assert whole.loc["good", "accuracy"] == pytest.approx(0.6)


def test_units_are_counted_once_over_the_fits_of_an_evaluation(tmp_path: Path) -> None:
    _, ranked, _ = build([fit(tmp_path, "good", split, 1, 0.9) for split in "xy"])
    assert ranked["n_units"].tolist() == [60, 60]


def test_confusion_sums_over_fits(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "good", "x", seed, 1.0) for seed in (1, 2)]
    table = confusion(context(fits))
    assert table[["true", "predicted", "n"]].to_numpy().tolist() == [
        ["A1", "A1", 40],
        ["A2x", "A2x", 40],
        ["B", "B", 40],
    ]


def test_numbers_are_written_with_six_digits(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"a": [1 / 3, None], "b": [1, 2]}), ["a", "b"])
    assert (tmp_path / "t.csv").read_text() == "a,b\n0.333333,1\n,2\n"


@pytest.mark.parametrize("declared", [["b", "a"], ["a"], ["a", "b", "c"], ["a", "<any>", "b", "c"], ["<any>", "a"]])
def test_only_the_declared_columns_are_written(declared: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t.csv: was declared with the columns .*, built with a, b$"):
        write_csv(tmp_path / "t.csv", pd.DataFrame({"a": [1], "b": [2]}), declared)
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("declared", [["<any>"], ["a", "<any>"], ["a", "b", "<any>"], ["<any>", "b"]])
def test_a_column_in_brackets_stands_for_any_number(declared: list[str], tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"a": [1], "b": [2]}), declared)
    assert (tmp_path / "t.csv").is_file()
