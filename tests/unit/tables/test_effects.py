"""What is promised: an effect is a paired difference of what the tables hold, and a published row finds its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annobench.config.factors import Level, MethodFactors
from annobench.config.split import BalanceSettings
from annobench.core.errors import DataError
from annobench.core.parquet import write_columns
from annobench.ontology.rollup import Rollup
from annobench.score import statistics as stats
from annobench.score.score_tables import CONFIDENCE, REPLICATES, SUMS, count_confusion
from annobench.tables.confidence import rules as rules_table
from annobench.tables.effects import COLUMNS, LABEL_METRICS, Effects
from annobench.tables.published import COLUMNS as PUBLISHED
from annobench.tables.published import compared, published
from annobench.tables.shared.confidences import Confidences
from annobench.tables.shared.fits import FitFiles, Fits
from annobench.tables.shared.spec import PublishedColumn, PublishedTable, ScoredSplit, Statistics, balance_name
from helpers import run_record, toy_ontology
from study_files import Context, fit_files, split, study

CELLS = 90
TRUTH = np.array(["A1", "A2", "B"] * (CELLS // 3), dtype=object)
BALANCED = {"balance": "proportional 100"}


def answers(share: float, seed: int = 0) -> np.ndarray:
    """Labels of which a share is right; A1 and A2 are taken for each other, B for A1."""
    wrong = np.random.default_rng(seed).random(CELLS) >= share
    other = np.array([{"A1": "A2", "A2": "A1", "B": "A1"}[label] for label in TRUTH], dtype=object)
    return np.where(wrong, other, TRUTH)


def fit(folder: Path, evaluation: str, method: str, predicted: np.ndarray, rules: Any = (), seed: int = 1) -> FitFiles:
    """A fit on disk; `rules` has (rule, metric, value, replicates)."""
    key = {"evaluation": evaluation, "regime": "pair", "split": evaluation, "method": method, "seed": seed}
    files = fit_files(folder, f"{evaluation}/{method}/{seed}", **key)
    run_record(files.run)
    view = {"split": evaluation, "method": method}
    write_columns(files.scores, {**{key: [value] for key, value in view.items()}, "value": [1.0]})
    pairs = count_confusion(np.array([str(i) for i in range(CELLS)], dtype=object), TRUTH, predicted)
    kinds = {name: [value] * len(pairs["n"]) for name, value in {**view, "unit_kind": "cell"}.items()}
    write_columns(files.confusion, {**kinds, **pairs})
    write_columns(files.sums, {name: [] for name in ("split", "method", "unit_kind", *SUMS)})
    rows = [(rule, "none", metric, "-", -1, value) for rule, metric, value, _ in rules]
    rows += [(r, "none", m, "-", i, x) for r, m, _, drawn in rules for i, x in enumerate(drawn)]
    columns = zip(*rows, strict=True) if rows else [[]] * len(CONFIDENCE)
    named = {name: [value] * len(rows) for name, value in view.items()}
    write_columns(files.confidence, {**named, **dict(zip(CONFIDENCE, map(list, columns), strict=True))})
    return files


def evaluation(name: str, **more: Any) -> ScoredSplit:
    """An evaluation of one split."""
    return split(name, name, **{"regime": "pair"} | more)


BOTH = [evaluation("plain"), evaluation("capped", **BALANCED)]


def effects_of(
    fits: list[FitFiles], splits: list[ScoredSplit], merge: Rollup | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables effects and factors."""
    loaded = Fits(fits, toy_ontology())
    methods = dict.fromkeys(one.method for one in fits)
    spec = study(*splits, methods=list(methods), statistics=Statistics(0.95, 300))
    found = Effects(loaded, Confidences(loaded, 0.95), spec, merge)
    return found.effects(), found.factors()


@pytest.fixture
def balancing(tmp_path: Path) -> tuple[list[FitFiles], list[ScoredSplit]]:
    fits = [
        fit(tmp_path, "plain", "m", answers(0.6)),
        fit(tmp_path, "capped", "m", answers(0.8, 1)),
        fit(tmp_path, "plain", "n", answers(0.7, 2)),
        fit(tmp_path, "capped", "n", answers(0.7, 2)),
    ]
    return fits, BOTH


def test_an_effect_is_the_difference_of_the_values_of_two_evaluations(balancing: Any) -> None:
    effects, factors = effects_of(*balancing)
    assert tuple(effects.columns) == COLUMNS["effects"]
    values = factors.set_index(["evaluation", "method", "metric"])["value"]
    assert values["plain", "m", "accuracy"] == pytest.approx((answers(0.6) == TRUTH).mean())
    for metric in LABEL_METRICS:
        rows = effects[effects["metric"] == metric].set_index("method")
        assert rows["factor"].unique().tolist() == ["balance"]
        assert rows[["from", "to"]].drop_duplicates().to_numpy().tolist() == [["none", "proportional 100"]]
        expected = values["capped", "m", metric] - values["plain", "m", metric]
        assert rows.loc["m", "difference"] == pytest.approx(expected)
        assert rows.loc["m", "low"] < expected < rows.loc["m", "high"]
        assert rows.loc["all", "difference"] == pytest.approx(expected / 2)  # the other method gains nothing
        assert rows["n_comparisons"].to_dict() == {"all": 2, "m": 1, "n": 1}


def test_identical_evaluations_differ_by_nothing(balancing: Any) -> None:
    effects, _ = effects_of(*balancing)
    same = effects[effects["method"] == "n"]
    assert len(same) == len(LABEL_METRICS)
    assert (same[["difference", "low", "high"]] == 0).all().all()


def test_the_interval_of_an_effect_is_that_of_paired_cells(tmp_path: Path) -> None:
    """Differences of right and wrong, cell by cell: Student's t says how far off their mean may be."""
    from scipy.stats import t

    first, second = answers(0.6), answers(0.8, 1)
    fits = [fit(tmp_path, "plain", "m", first), fit(tmp_path, "capped", "m", second)]
    row = effects_of(fits, BOTH)[0].query("metric == 'accuracy'").iloc[0]
    gain = (second == TRUTH).astype(float) - (first == TRUTH)
    half = t.ppf(0.975, CELLS - 1) * gain.std(ddof=1) / np.sqrt(CELLS)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.2)


def test_intervals_hold_a_true_effect_as_often_as_they_say(tmp_path: Path) -> None:
    """Two methods that are right by chance, in 0.5 and 0.7 of the cells: the true effect is 0.2."""
    inside = []
    for trial in range(40):
        fits = [
            fit(tmp_path / str(trial), "plain", "m", answers(0.5, 1000 + trial)),
            fit(tmp_path / str(trial), "capped", "m", answers(0.7, 2000 + trial)),
        ]
        row = effects_of(fits, BOTH)[0].query("metric == 'accuracy'").iloc[0]
        inside.append(row["low"] <= 0.2 <= row["high"])
    assert np.mean(inside) >= 0.85  # of 40; below that with a chance of 1 in 100 at 95 %


@pytest.mark.parametrize(
    "second",
    [
        evaluation("capped", **BALANCED, training="all"),  # two things differ
        evaluation("capped", **BALANCED, panel="xenium"),
        evaluation("capped", **BALANCED, other_settings="group_by: donor"),
        evaluation("capped", **BALANCED, regime="kfold"),
        evaluation("capped", **BALANCED, dataset="other"),
        evaluation("capped"),  # nothing does
    ],
)
def test_evaluations_that_differ_in_more_than_one_factor_are_not_compared(tmp_path: Path, second: ScoredSplit) -> None:
    fits = [fit(tmp_path, "plain", "m", answers(0.6)), fit(tmp_path, "capped", "m", answers(0.8))]
    fits[1] = replace(fits[1], dataset=second.dataset, regime=second.regime)
    assert effects_of(fits, [evaluation("plain"), second])[0].empty


def test_panel_training_is_compared_with_training_on_all_genes_never_the_other_way(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "panel", "m", answers(0.6)), fit(tmp_path, "whole", "m", answers(0.8))]
    found, _ = effects_of(fits, [evaluation("panel"), evaluation("whole", training="all")])
    assert set(zip(found["factor"], found["from"], found["to"], strict=True)) == {("training", "all", "panel")}
    assert (found.query("metric == 'accuracy'")["difference"] < 0).all()


def test_merging_is_compared_within_every_fit(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "plain", "m", answers(0.6))]
    effects, factors = effects_of(fits, [evaluation("plain")], Rollup({"A": ["A"]}))
    row = effects.query("factor == 'merging' and metric == 'accuracy'").iloc[0]
    merged = np.array(["A" if label != "B" else "B" for label in answers(0.6)], dtype=object)
    truth = np.array(["A" if label != "B" else "B" for label in TRUTH], dtype=object)
    before, after = (answers(0.6) == TRUTH).mean(), (merged == truth).mean()
    assert row["difference"] == pytest.approx(after - before)
    assert row["difference"] > 0.1  # though no answer was changed
    assert row[["from", "to"]].tolist() == ["none", "merged"]
    assert factors.query("metric == 'accuracy'").set_index("merging")["value"].to_dict() == pytest.approx(
        {"none": before, "merged": after}
    )


def test_the_table_of_factors_is_complete(balancing: Any) -> None:
    _, factors = effects_of(*balancing, Rollup({"A": ["A"]}))
    assert tuple(factors.columns) == COLUMNS["factors"]
    keys = factors[["evaluation", "method", "merging", "metric"]]
    assert len(keys) == len(keys.drop_duplicates()) == 2 * 2 * 2 * len(LABEL_METRICS)
    assert factors.groupby("evaluation")["balance"].unique().map(list).to_dict() == {
        "plain": ["none"],
        "capped": ["proportional 100"],
    }
    assert (factors["low"] <= factors["value"]).all()
    assert (factors["value"] <= factors["high"]).all()
    assert (factors["n_fits"] == 1).all()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "none"),
        ({"policy": "cap", "max_cells": 9}, "proportional 9"),
        ({"policy": "cap", "share": "fill", "max_cells": 9}, "fill 9"),
        ({"policy": "cap", "share": "equal", "max_cells": 9, "target_proportions": {"a": 0.1}}, "equal 9, target"),
        ({"policy": "spatialcore", "max_cells": 5000}, "spatialcore proportional 5000"),
    ],
)
def test_names_of_balancing(settings: dict, name: str) -> None:
    assert balance_name(BalanceSettings(**settings)) == name


# factors of methods


def kind(**levels: tuple[str, int]) -> MethodFactors:
    """A method as levels of factors, each with its place in the study."""
    return MethodFactors("adapted", {factor: Level(name, name.upper(), i) for factor, (name, i) in levels.items()})


def effects_of_methods(
    fits: list[FitFiles], splits: list[ScoredSplit], kinds: dict[str, MethodFactors]
) -> pd.DataFrame:
    loaded = Fits(fits, toy_ontology())
    spec = study(*splits, methods=list(kinds), statistics=Statistics(0.95, 300))
    methods = {name: replace(spec.methods[name], factors=one) for name, one in kinds.items()}
    return Effects(loaded, Confidences(loaded, 0.95), replace(spec, methods=methods), None).effects()


PROBE, LORA = ("probe", 0), ("lora", 1)
BIG, SMALL = ("big", 0), ("small", 1)
FOUR = {
    "probe_big": kind(strategy=PROBE, backbone=BIG),
    "lora_big": kind(strategy=LORA, backbone=BIG),
    "probe_small": kind(strategy=PROBE, backbone=SMALL),
    "lora_small": kind(strategy=LORA, backbone=SMALL),
}


def right(n: int) -> np.ndarray:
    """Labels of which the first n are right."""
    return np.where(np.arange(CELLS) < n, TRUTH, np.array(["A2"] * CELLS, dtype=object))


def accuracy_of(n: int) -> float:
    return float((right(n) == TRUTH).mean())


def test_two_methods_that_differ_in_one_part_are_compared_per_pair_and_over_all_pairs(tmp_path: Path) -> None:
    share = {"probe_big": 30, "lora_big": 60, "probe_small": 30, "lora_small": 36}
    fits = [fit(tmp_path, "plain", method, right(n)) for method, n in share.items()]
    found = effects_of_methods(fits, [evaluation("plain")], FOUR)
    assert tuple(found.columns) == COLUMNS["effects"]
    rows = found[(found["metric"] == "accuracy") & (found["factor"] == "strategy")].set_index("method")
    assert rows.index.tolist() == ["all", "lora_big", "lora_small"]
    assert rows["base"].tolist() == ["all", "probe_big", "probe_small"]
    assert rows["setting"].tolist() == ["", "BIG", "SMALL"]
    assert set(zip(rows["from"], rows["to"], rows["from_label"], rows["to_label"], strict=True)) == {
        ("probe", "lora", "PROBE", "LORA")
    }
    gains = [accuracy_of(60) - accuracy_of(30), accuracy_of(36) - accuracy_of(30)]
    assert gains == pytest.approx([20 / 90, 4 / 90])  # a third of the other answers is right as well
    assert rows["difference"].tolist() == pytest.approx([np.mean(gains), *gains])
    assert rows["n_comparisons"].tolist() == [2, 1, 1]
    assert set(found["evaluation"]) == {"plain"}  # the mean of one evaluation adds nothing
    of_backbone = found[(found["metric"] == "accuracy") & (found["factor"] == "backbone")].set_index("method")
    assert of_backbone.loc["probe_small", ["difference", "low", "high"]].tolist() == [0, 0, 0]  # identical answers
    assert of_backbone.loc["all", "difference"] == pytest.approx((accuracy_of(36) - accuracy_of(60)) / 2)


def test_evaluations_are_shown_one_by_one_and_as_their_mean(tmp_path: Path) -> None:
    kinds = {name: FOUR[name] for name in ("probe_big", "lora_big")}
    places = {"plain": (30, 60), "capped": (30, 36)}
    fits = [
        fit(tmp_path, place, method, right(n))
        for place, of in places.items()
        for method, n in zip(kinds, of, strict=True)
    ]
    found = effects_of_methods(fits, [evaluation("plain"), evaluation("capped", panel="x")], kinds)
    rows = found[found["metric"] == "accuracy"].set_index("evaluation")
    assert rows["difference"].to_dict() == pytest.approx({"all": 12 / 90, "plain": 20 / 90, "capped": 4 / 90})
    assert rows["n_comparisons"].to_dict() == {"all": 2, "plain": 1, "capped": 1}
    assert set(rows["method"]) == {"lora_big"}


def test_methods_are_compared_on_the_fits_of_both_with_the_same_weights(tmp_path: Path) -> None:
    """A failed fit must not become an effect; the interval is that of paired cells."""
    from scipy.stats import t

    kinds = {name: FOUR[name] for name in ("probe_big", "lora_big")}
    fits = [fit(tmp_path, "plain", "probe_big", answers(0.6), [], 1)]
    fits += [fit(tmp_path, "plain", "lora_big", answers(share, 1), [], seed) for seed, share in ((1, 0.8), (2, 0.1))]
    row = effects_of_methods(fits, [evaluation("plain", seeds=(1, 2))], kinds).query("metric == 'accuracy'").iloc[0]
    gain = (answers(0.8, 1) == TRUTH).astype(float) - (answers(0.6) == TRUTH)
    assert row["n_fits"] == 1
    assert row["difference"] == pytest.approx(gain.mean())
    half = t.ppf(0.975, CELLS - 1) * gain.std(ddof=1) / np.sqrt(CELLS)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.2)


def test_a_method_that_does_not_run_in_an_evaluation_is_compared_where_it_does(tmp_path: Path) -> None:
    fits = [fit(tmp_path, "plain", method, answers(0.6)) for method in FOUR]
    fits += [fit(tmp_path, "capped", "lora_big", answers(0.6))]
    found = effects_of_methods(fits, [evaluation("plain"), evaluation("capped", panel="x")], FOUR)
    assert set(found["evaluation"]) == {"plain"}
    assert effects_of_methods(fits[-1:], [evaluation("capped")], FOUR).empty


def test_no_value_is_computed_twice_for_factors_of_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = [fit(tmp_path, "plain", method, answers(0.6)) for method in FOUR]
    loaded = Fits(fits, toy_ontology())
    spec = study(evaluation("plain"), methods=list(FOUR), statistics=Statistics(0.95, 300))
    methods = {name: replace(spec.methods[name], factors=one) for name, one in FOUR.items()}
    made = Effects(loaded, Confidences(loaded, 0.95), replace(spec, methods=methods), None)
    calls = []
    replicates_of = stats.replicates_of
    monkeypatch.setattr(stats, "replicates_of", lambda *given: calls.append(1) or replicates_of(*given))
    made.factors()
    assert len(made.effects()) == 2 * 3 * len(LABEL_METRICS)
    assert len(calls) == len(FOUR)


# confidence rules


def drawn(value: float, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    return value + spread * np.random.default_rng(seed).standard_normal(200)


def test_rules_are_compared_with_the_methods_own_within_every_fit(tmp_path: Path) -> None:
    rules = [("raw", "aurc", 0.3, drawn(0.3)), ("zscore", "aurc", 0.4, drawn(0.4))]
    rules += [("calibrated", "aurc", 0.3, drawn(0.3)), ("raw", "ece", 0.2, drawn(0.2))]
    found, _ = effects_of([fit(tmp_path, "plain", "m", answers(0.6), rules)], [evaluation("plain")])
    rows = found[found["factor"] == "confidence rule"].set_index(["to", "metric"])
    assert set(rows.index) == {("zscore", "aurc"), ("calibrated", "aurc")}
    assert rows.loc[("zscore", "aurc"), "difference"] == pytest.approx(0.1)
    # the same random weights on both sides: what they have in common cancels
    assert rows.loc[("zscore", "aurc"), ["low", "high"]].tolist() == pytest.approx([0.1, 0.1])
    assert rows.loc[("calibrated", "aurc"), ["difference", "low", "high"]].tolist() == [0, 0, 0]


def test_a_rule_that_some_fits_lack_is_compared_where_both_are(tmp_path: Path) -> None:
    one = [("raw", "aurc", 0.9, drawn(0.9))]
    two = [("raw", "aurc", 0.3, drawn(0.3)), ("calibrated", "aurc", 0.25, drawn(0.25))]
    fits = [fit(tmp_path, "plain", "m", answers(0.6), rules, seed) for seed, rules in ((1, one), (2, two))]
    found, _ = effects_of(fits, [evaluation("plain")])
    row = found[found["factor"] == "confidence rule"].iloc[0]
    assert row["difference"] == pytest.approx(-0.05)
    assert row["n_fits"] == 1


def test_values_of_rules_are_means_over_fits_with_intervals_around_them(tmp_path: Path) -> None:
    fits = [
        fit(tmp_path, "plain", "m", answers(0.6), [("raw", "aurc", v, drawn(v + 0.01, 0.05, seed))], seed)
        for seed, v in ((1, 0.2), (2, 0.4))
    ]
    row = rules_table(Context(study(methods=["m"]), fits)).iloc[0]
    assert row["value"] == pytest.approx(0.3)
    assert row["n_fits"] == 2
    cells = 0.05 / np.sqrt(2) * stats.interval_factor(CELLS, 0.95)
    seeds = stats.Weights(REPLICATES).of(["seed:d/plain/1", "seed:d/plain/2"])
    spread = (seeds @ [0.2, 0.4] / seeds.sum(axis=1)).std() * stats.deviation_factor(2)
    half = 1.96 * np.hypot(cells, spread)  # the seeds differ more than the cells do
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.25)
    assert (row["low"] + row["high"]) / 2 == pytest.approx(0.3, abs=0.05)  # around the value, not the replicates


# the published table

HEADER = "row\tmetric\trule\tunit\tscale\tcolumn\tvalue\tsource\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    text = HEADER + "Purity\tmarker_purity\t\t%\t100\ttheirs\t39.0\tpage\n"
    text += "Unknown, z\tunknown_rate\tzscore\t%\t100\ttheirs\t0.5\tpage\n"
    text += "Purity\tmarker_purity\t\t%\t100\tv2\t51.7\tpage\n"
    path = tmp_path / "t.tsv"
    path.write_text(text)
    return path


TABLE = PublishedTable("t.tsv", "d", "plain", {"theirs": PublishedColumn("m", "plain")})


def marker_rows() -> pd.DataFrame:
    rows = [
        ("d", "plain", "m", "marker_purity", "published", 0.4),
        ("d", "plain", "m", "marker_purity", "fair", 0.3),
        ("d", "other", "m", "marker_purity", "published", 0.9),
        ("d", "plain", "n", "marker_purity", "published", 0.8),
    ]
    return pd.DataFrame(rows, columns=["dataset", "evaluation", "name", "metric", "reading", "value"])


def audit_rows() -> pd.DataFrame:
    rows = [
        ("d", "plain", "marker_purity", "published", "-", "not evidence", "because"),
        ("d", "plain", "marker_purity", "fair", "-", "informative", ""),
        ("d", "plain", "unknown_rate", "published", "zscore", "not evidence", "noise"),
        ("d", "plain", "unknown_rate", "published", "raw", "informative", ""),
        ("d", "other", "marker_purity", "published", "-", "informative", ""),
    ]
    return pd.DataFrame(rows, columns=["dataset", "evaluation", "metric", "variant", "rule", "verdict", "reason"])


def test_published_rows_are_compared_with_what_was_measured_here(tmp_path: Path, file: Path) -> None:
    rules = [("zscore", "unknown_rate", 0.07, [])]
    one = fit(tmp_path, "plain", "m", answers(0.6), [("raw", "aurc", 0.3, drawn(0.3)), *rules])
    stored = pd.read_parquet(one.confidence)
    stored.loc[stored["metric"] == "unknown_rate", "variant"] = "published"
    stored.to_parquet(one.confidence)
    context = Context(study(published=TABLE), [one]).having(markers=marker_rows(), audit=audit_rows())
    context.root = tmp_path
    table = published(context)
    assert tuple(table.columns) == PUBLISHED["published"]
    assert table["published"].tolist() == [39.0, 0.5, 51.7]
    assert table["method"].tolist() == ["m", "m", ""]
    assert table["here"].tolist() == [pytest.approx(40), pytest.approx(7), pytest.approx(np.nan, nan_ok=True)]
    assert table["fair"].tolist()[0] == pytest.approx(30)
    assert np.isnan(table["fair"].tolist()[1])
    assert table["verdict"].tolist() == ["not evidence"] * 3
    assert table["reason"].tolist() == ["because", "noise", "because"]


def test_without_a_published_table_and_with_a_malformed_one(tmp_path: Path, file: Path) -> None:
    fits = [fit(tmp_path, "plain", "m", answers(0.6))]
    assert published(Context(study(), fits)).empty
    confidences = Confidences(Fits(fits, toy_ontology()), 0.95)
    file.write_text("row\tmetric\nPurity\tmarker_purity\n")
    with pytest.raises(DataError, match="t.tsv: expected the columns row, metric, rule.*found \\['row', 'metric'\\]"):
        compared(TABLE, file, markers=marker_rows(), confidences=confidences, audit=audit_rows())


def test_levels_are_compared_over_the_fits_that_both_have(tmp_path: Path) -> None:
    """A fit that failed on one side only must not become an effect."""
    shares = {1: 0.4, 2: 0.6, 3: 0.8}
    both = [
        fit(tmp_path, name, "m", answers(share), [], seed)
        for name in ("plain", "capped")
        for seed, share in shares.items()
    ]
    short = [one for one in both if not (one.evaluation == "plain" and one.seed == 1)]
    for fits in (both, short):
        effects, _ = effects_of(fits, BOTH)
        row = effects.query("factor == 'balance' and metric == 'accuracy'").iloc[0]
        assert row["difference"] == pytest.approx(0, abs=1e-9)
        assert row["n_fits"] == (3 if fits is both else 2)
