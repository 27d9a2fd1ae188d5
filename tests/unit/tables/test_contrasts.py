"""What is promised: contrasts are mean paired differences over runs, tested as stated, with intervals over units."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from annobench.config.results import Results
from annobench.core.parquet import write_columns
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.metrics import flat, ontology_aware, per_class
from annobench.score.score_tables import CONFIDENCE, SUMS, count_confusion
from annobench.tables.contrasts import COLUMNS, contrasts
from annobench.tables.shared.contrast_intervals import Bootstrap, groups_of_donors
from annobench.tables.shared.fits import FitFiles
from annobench.tables.shared.spec import Statistics, TablesSpec
from helpers import rows_of_family, run_record, scored, toy_ontology
from study_files import Context, contrast, fit_files, study
from study_files import split as scored_split

CLASSES = ["A", "A1", "A2", "A2x", "B"]
GAIN = contrast("gain", "old", "new")
TARGET = ["level", "metric", "label_set", "group"]


# the test


@given(st.lists(st.tuples(*[st.sampled_from([0.1, 0.25, 0.5, 0.7, 0.9])] * 2), min_size=2, max_size=6))
def test_the_paired_test_is_that_of_scipy(runs: list[tuple[float, float]]) -> None:
    base, method = np.array(runs).T
    n, t, p = stats.paired_t((method - base)[None])
    assert n.tolist() == [len(runs)]
    if np.ptp((method - base).round(9)) > 0:
        expected = ttest_rel(method, base)
        assert (t[0], p[0]) == pytest.approx((expected.statistic, expected.pvalue))


def test_runs_without_spread_and_missing_runs() -> None:
    nan = np.nan
    rows = np.array(
        [
            [0.0, 0.0, 0.0],
            [0.1, 0.3 - 0.2, 0.1],  # the same but for rounding
            [-0.1, -0.1, nan],
            [0.1, nan, nan],
            [nan, nan, nan],
            [0.1, nan, 0.4],
        ]
    )
    n, t, p = stats.paired_t(rows)
    assert n.tolist() == [3, 3, 2, 1, 0, 2]
    assert t[:3].tolist() == [0, np.inf, -np.inf]
    assert p[0] == 1
    assert np.isnan(p[1:5]).all()
    assert np.isnan(t[3:5]).all()
    assert p[5] == pytest.approx(ttest_rel([0.1, 0.4], [0, 0]).pvalue)


# the table


def fit(folder: Path, method: str, seed: int, cells: dict[str, Any], split: str = "s", kind: str = "donor") -> FitFiles:
    """A fit on disk: `cells` has unit, truth and predicted."""
    evaluation = "holdout" if split in "stu" else split
    key = {"evaluation": evaluation, "regime": "holdout", "split": split, "method": method, "seed": seed}
    files = fit_files(folder, f"fits/{method}/{split}/{seed}", **key)
    run_record(files.run)
    pairs = count_confusion(cells["unit"], cells["truth"], cells["predicted"])
    fixed = {key: [value] * len(pairs["n"]) for key, value in (("split", split), ("method", method))}
    write_columns(files.confusion, {**fixed, "unit_kind": [kind] * len(pairs["n"]), **pairs})
    for path, columns in ((files.scores, []), (files.sums, SUMS), (files.confidence, CONFIDENCE)):
        write_columns(path, {name: [] for name in ["split", "method", *columns]})
    return files


def rows_of(files: FitFiles, cells: dict[str, Any]) -> pd.DataFrame:
    """Its scores, as scoring makes them."""
    data = scored(cells["truth"], cells["predicted"], groups={"study": cells["study"]})
    found = [row for family in (flat, per_class, ontology_aware) for row in rows_of_family(family, data)]
    return pd.DataFrame([vars(row) for row in found]).assign(**files.key, status="ok")


def drawn(seed: int, right: float, cells: int = 240, donors: int = 16, studies: int = 4) -> dict[str, Any]:
    """Cells whose truth and units are always the same, and of which a share is predicted right."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng([seed, int(right * 1000)])
    truth, donor = fixed.choice(CLASSES, cells).astype(object), fixed.integers(0, donors, cells)
    wrong = rng.choice(CLASSES, cells).astype(object)
    found = {"truth": truth, "predicted": np.where(rng.random(cells) < right, truth, wrong)}
    found["unit"] = np.array([f"donor{i:02d}" for i in donor], dtype=object)
    found["study"] = np.array([f"study{i % studies}" for i in donor], dtype=object)
    return found


def world(folder: Path, cells: dict[str, Any], train: list[str], splits: str = "s") -> None:
    """The files of the dataset that contrasts look at."""
    for split in splits:
        for kind in ("splits", "train"):
            (folder / kind / "d" / split).mkdir(parents=True)
        for seed in (1, 2, 3, 4):
            n = len(cells["truth"])
            write_columns(folder / f"splits/d/{split}/seed{seed}.parquet", {"role": ["test"] * n + ["train"]})
            write_columns(folder / f"train/d/{split}/seed{seed}.parquet", {"label_id": train})
    (folder / "data/d").mkdir(parents=True)
    obs = {"donor": [*cells["unit"], "donor00"], "study": [*cells["study"], "of training"]}
    write_columns(folder / "data/d/obs.parquet", obs)


def settled(splits: str = "s", **more: Any) -> TablesSpec:
    planned = [scored_split(name, seeds=(1, 2, 3, 4)) for name in splits]
    return study(*planned, **{"contrasts": (GAIN,), "statistics": Statistics(0.95, 200, 4)} | more)


Two = tuple[Path, list[FitFiles], pd.DataFrame]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    """Four runs of two methods on 16 donors of 4 studies; class B is not trained."""
    world(tmp_path, drawn(1, 0.5), ["A", "A1", "A2", "A2x"])
    fits, scores = [], []
    for method, right in (("old", 0.4), ("new", 0.7)):
        for seed in (1, 2, 3, 4):
            cells = drawn(seed, right)
            fits.append(fit(tmp_path, method, seed, cells))
            scores.append(rows_of(fits[-1], cells))
    return tmp_path, fits, pd.concat(scores, ignore_index=True)


def compared(folder: Path, fits: list[FitFiles], scores: pd.DataFrame, **more: Any) -> pd.DataFrame:
    return contrasts(Context(settled(**more), fits, folder).having(scores=scores))


def test_values_tests_and_families(two: Two) -> None:
    table = compared(*two)
    assert tuple(table) == COLUMNS["contrasts"]
    wide = two[2].pivot(index=TARGET, columns=["method", "seed"], values="value")
    for row in table[~table["level"].isin(["node_class"])].itertuples():
        values = wide.loc[(row.level, row.metric, row.label_set, row.group)]
        assert (row.base_value, row.value) == pytest.approx((values["old"].mean(), values["new"].mean()))
        expected = tuple(ttest_rel(values["new"], values["old"])) if np.ptp(values["new"] - values["old"]) else (0, 1)
        assert (row.t, row.p_value, row.n_runs) == pytest.approx((*expected, 4))
        assert row.difference == pytest.approx(row.value - row.base_value)
    for _, family in table.groupby(["metric", "label_set", "level"]):
        assert family["p_holm"].to_numpy() == pytest.approx(stats.holm(family["p_value"]))
        assert set(family["family_size"]) == {len(family)}
    family = table[(table["level"] == "class") & (table["metric"] == "f1")]
    assert family["p_holm"].to_numpy() == pytest.approx(multipletests(family["p_value"], method="holm")[1])
    assert table.groupby("level")["group"].nunique().to_dict() == {
        **{"overall": 1, "class": 5, "study": 4, "node_class": 3}
    }
    labels = table[table["level"] == "class"].set_index("group")["group_label"].to_dict()
    assert labels["A2x"] == "a two x"
    assert set(table.loc[table["level"] == "class", "n_cells"]) <= set(range(30, 80))


def test_kinds_of_classes_are_means_over_their_classes(
    tmp_path: Path, two: tuple[list[FitFiles], pd.DataFrame]
) -> None:
    table = compared(*two).set_index(TARGET).sort_index()
    classes = table.loc["class", "f1", "-"]
    kinds = {"internal": ["A", "A2"], "leaf_connected": ["A1", "A2x"], "leaf": ["A1", "A2x"]}  # of B is nothing trained
    for kind, members in kinds.items():
        row = table.loc["node_class", "f1", "-", kind]
        assert row["difference"] == pytest.approx(classes.loc[members, "difference"].mean())
        assert row["n_cells"] == classes.loc[members, "n_cells"].sum()
        assert row["low"] < row["difference"] < row["high"]
    assert len(table.loc["node_class", "f1"]) == len(kinds)


def test_the_order_of_rows_and_fits_changes_nothing(two: Two) -> None:
    folder, fits, scores = two
    shuffled = scores.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(compared(folder, fits[::-1], shuffled), compared(folder, fits, scores))


def test_intervals_are_over_studies_and_within_a_study_over_donors(
    tmp_path: Path, two: tuple[list[FitFiles], pd.DataFrame]
) -> None:
    table = compared(*two)
    bounded = table.dropna(subset=["low"])
    assert (bounded["low"] <= bounded["difference"]).all()
    assert (bounded["difference"] <= bounded["high"]).all()
    kinds = bounded.groupby("level")[["unit_kind", "n_units"]].agg(lambda values: set(values))
    assert kinds.loc["class"].tolist() == kinds.loc["overall"].tolist() == [{"study"}, {4}]
    assert kinds.loc["study"].tolist() == [{"donor"}, {4}]
    none = table[table["low"].isna()]
    assert set(none["metric"]) == {"leaf_share", "unseen_share"}  # what the training classes decide is not in counts
    assert none["n_units"].isna().all()


def test_few_studies_give_way_to_donors_and_a_class_of_one_has_no_interval(tmp_path: Path) -> None:
    fits, scores = [], []
    for method, right in (("old", 0.4), ("new", 0.7)):
        for seed in (1, 2):
            cells = drawn(seed, right, studies=3)
            cells["truth"][:] = np.where(cells["truth"] == "B", "A", cells["truth"])
            cells["truth"][cells["unit"] == "donor00"] = "B"
            if method == "old":
                cells["predicted"] = np.where(np.arange(240) % 3 == seed, "A1", "B").astype(object)
            fits.append(fit(tmp_path, method, seed, cells))
            scores.append(rows_of(fits[-1], cells))
    world(tmp_path, cells, CLASSES)
    table = compared(tmp_path, fits, pd.concat(scores)).set_index(TARGET).sort_index()
    found = table.loc["class", "f1", "-"]
    assert set(found["unit_kind"]) == {"donor"}
    assert found.loc["B", ["n_units", "note"]].tolist() == [1, "known from 1 donor: no interval"]
    assert np.isnan(found.loc["B", "low"])
    assert np.isfinite(found.loc["A1", "low"])


def test_identical_and_constant_differences_are_noted(two: Two) -> None:
    folder, fits, scores = two
    chosen = (scores["level"] == "class") & (scores["metric"] == "f1")
    of_class = chosen & (scores["group"] == "A")
    scores.loc[of_class, "value"] = 0.5
    of_class = chosen & (scores["group"] == "A1")
    scores.loc[of_class, "value"] = np.where(scores.loc[of_class, "method"] == "old", 0.2, 0.3)
    late = (scores["group"] == "A2") & chosen & (scores["seed"] > 1)
    table = compared(folder, fits, scores[~late]).set_index(TARGET).sort_index().loc["class", "f1", "-"]
    assert table.loc["A", ["t", "p_value", "note"]].tolist() == [0, 1, "identical"]
    assert table.loc["A1", "t"] == np.inf
    assert np.isnan(table.loc["A1", ["p_value", "p_holm"]].astype(float)).all()
    assert table.loc["A1", "note"] == "the same difference in all runs: no p-value"
    assert table.loc["A2", "note"] == "1 run: no test"
    assert set(table["family_size"]) == {4}  # without A2, which was not tested
    p = [1, 1, *table.loc[["A2x", "B"], "p_value"]]
    assert table.loc[["A2x", "B"], "p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1][2:].tolist())


def test_runs_that_only_one_method_has_are_left_out(two: Two) -> None:
    folder, fits, scores = two
    run_record(fits[0].run, status="failed", outputs=())  # old, seed 1
    table = compared(folder, fits, scores[(scores["method"] == "new") | (scores["seed"] > 1)])
    assert set(table["n_runs"]) == {3}
    kept = scores[(scores["seed"] > 1) & (scores["metric"] == "accuracy") & (scores["level"] == "overall")]
    row = table[(table["metric"] == "accuracy") & (table["level"] == "overall")].iloc[0]
    assert row["value"] == pytest.approx(kept[kept["method"] == "new"]["value"].mean())
    assert compared(folder, fits[4:], scores).empty


def test_splits_of_one_evaluation_are_averaged_before_runs_are_compared(tmp_path: Path) -> None:
    world(tmp_path, drawn(1, 0.5), CLASSES, "tu")
    fits, scores = [], []
    for method, right in (("old", 0.4), ("new", 0.7)):
        for number, split in enumerate("tu"):
            for seed in (1, 2, 3):
                cells = drawn(seed + 10 * number, right)
                fits.append(fit(tmp_path, method, seed, cells, split))
                scores.append(rows_of(fits[-1], cells))
    whole = pd.concat(scores)
    row = (
        compared(tmp_path, fits, whole, splits="tu")
        .set_index(TARGET)
        .sort_index()
        .loc["overall", "macro_f1", "truth", "all"]
    )
    values = whole[(whole["metric"] == "macro_f1") & (whole["label_set"] == "truth") & (whole["level"] == "overall")]
    runs = values.groupby(["method", "seed"])["value"].mean()
    assert row["p_value"] == pytest.approx(ttest_rel(runs["new"], runs["old"]).pvalue)
    assert row["n_runs"] == 3
    assert row["n_cells"] == 480


def test_the_classes_of_the_later_release_are_a_label_set_of_the_earlier(tmp_path: Path) -> None:
    world(tmp_path, drawn(1, 0.5), CLASSES)
    splits = [scored_split(f"s_{part}", seeds=(1, 2), fitted="s", part=part) for part in ("reference", "query")]
    fits, scores = [], []
    for method, right in (("old", 0.4), ("new", 0.7)):
        for seed in (1, 2):
            cells = drawn(seed, right)
            later = np.isin(cells["truth"], ["A", "B"])
            of_later = {key: values[later] for key, values in cells.items()}
            for part, mine in (("reference", cells), ("query", of_later)):
                fits.append(fit(tmp_path, method, seed, mine, f"s_{part}"))
                scores.append(rows_of(fits[-1], mine))
                if part == "reference":
                    data = scored(mine["truth"], mine["predicted"], ood=["A", "B"])
                    found = [*rows_of_family(flat, data), *rows_of_family(ontology_aware, data)]
                    own = pd.DataFrame([vars(row) for row in found if row.label_set == "ood"])
                    scores.append(own.assign(**fits[-1].key, status="ok"))
    spec = study(*splits, contrasts=(GAIN,), statistics=Statistics(0.95, 200, 4))
    table = contrasts(Context(spec, fits, tmp_path).having(scores=pd.concat(scores)))
    table = table.set_index(["evaluation", *TARGET]).sort_index()
    row = table.loc["s_reference", "overall", "ontology_macro_f1", "ood", "all"]
    classes = table.loc["s_reference", "class", "ontology_f1", "-"]
    assert row["difference"] == pytest.approx(classes.loc[["A", "B"], "difference"].mean())
    assert row["low"] < row["difference"] < row["high"]
    assert row["unit_kind"] == "donor"  # no files name the studies of these splits
    assert "ood" not in table.loc["s_query"].index.get_level_values("label_set")


def test_without_contrasts_there_are_columns_and_no_rows(
    tmp_path: Path, two: tuple[list[FitFiles], pd.DataFrame]
) -> None:
    table = compared(*two, contrasts=())
    assert (tuple(table), len(table)) == (COLUMNS["contrasts"], 0)
    assert compared(*two, contrasts=(contrast("x", "old", "absent"),)).empty


# the bootstrap


PATHS = dict.fromkeys(["run", "scores", "confusion", "groups", "sums", "confidence", "attempt"], Path("x"))


def replicates_of(units: Any, truth: Any, predicted: Any, replicates: int = 200) -> Any:
    """Replicates of one fit that is counted by study."""
    pairs = {"unit": units, "true": truth, "predicted": predicted, "n": np.ones(len(units), dtype=int)}
    one = FitFiles(dataset="d", evaluation="e", regime="holdout", split="s", method="m", seed=1, **PATHS)
    fits = SimpleNamespace(
        counts={one: UnitCounts.of_table(pairs, Classes(CLASSES, toy_ontology()))},
        unit_kinds={one: "study"},
        classes={("d", "s"): CLASSES},
        planned=[one],
    )
    weights = stats.Weights(replicates, 0.95)
    settings = {"min_units": 4, "sets": {}, "results": Results("nowhere"), "overall": []}
    return Bootstrap(fits, weights, **settings).of([one])  # type: ignore[arg-type]


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_replicates_are_those_of_weighted_cells(seed: int) -> None:
    cells = drawn(seed, 0.5, donors=5)
    found = replicates_of(cells["unit"], cells["truth"], cells["predicted"], 100)
    names = sorted(set(cells["unit"]))
    weights = stats.Weights(100, 0.95).of([f"unit:d/{name}" for name in names])
    toy = toy_ontology()
    pairs = zip(cells["truth"], cells["predicted"], strict=True)
    replaced = np.array([t if p in toy.descendants(t) else p for t, p in pairs], dtype=object)
    for metric, predicted in (("f1", cells["predicted"]), ("ontology_f1", replaced)):
        for label in CLASSES:
            i = found.targets.index(("class", metric, "-", label))
            is_it, said = cells["truth"] == label, predicted == label
            stretch = stats.interval_factor(len(set(cells["unit"][is_it])), 0.95)
            assert found.units[i] == len(set(cells["unit"][is_it]))
            for number in (0, 99):
                of_cell = weights[number][[names.index(unit) for unit in cells["unit"]]]
                value = 2 * of_cell[is_it & said].sum() / (of_cell[is_it].sum() + of_cell[said].sum())
                assert found.values[i] + found.moves[number, i] / stretch == pytest.approx(value)


def test_intervals_over_studies_cover_the_difference_that_holds_in_all_studies() -> None:
    rng, inside, repeats, studies, size = np.random.default_rng(5), 0, 150, 8, 20
    units = np.repeat([f"study{i}" for i in range(studies)], size).astype(object)
    truth = np.tile(["A1", "B"], studies * size // 2).astype(object)
    other = np.where(truth == "A1", "B", "A1")
    for _ in range(repeats):
        found = []
        for mean in (0.6, 0.8):  # in every study the share of right cells is another one
            share = np.repeat(np.clip(rng.normal(mean, 0.08, studies), 0, 1), size)
            found.append(replicates_of(units, truth, np.where(rng.random(len(units)) < share, truth, other)))
        i = found[0].targets.index(("class", "f1", "-", "B"))
        difference = found[1].values[i] - found[0].values[i]
        drawn = difference + found[1].moves[:, i] - found[0].moves[:, i]
        low, high = stats.interval(drawn, difference, 0.95, (-1, 1))
        inside += low <= 0.2 <= high
    assert 0.9 <= inside / repeats < 1


def test_donors_of_several_groups_belong_to_none(tmp_path: Path) -> None:
    cells = {"truth": ["A"] * 4, "unit": ["d1", "d1", "d2", "unknown"], "study": ["s", "s", "t", "u"]}
    world(tmp_path, cells, CLASSES)
    assert groups_of_donors("d", "s", [1, 7], Results(tmp_path)) == {"study": {"d1": "s", "d2": "t"}}
    assert groups_of_donors("d", "elsewhere", [1], Results(tmp_path)) == {}
    columns = {"donor": ["d1", "d1", "d2", "d3", "x"], "study": list("stttt"), "disease": [*"abcc", "c"]}
    write_columns(tmp_path / "data/d/obs.parquet", columns | {"tissue": ["unknown", "gut", "gut", "gut", "lung"]})
    found = groups_of_donors("d", "s", [1], Results(tmp_path))
    assert found["study"] == {}  # d1 is in both
    assert found["disease"] == {"d2": "c", "d3": "c"}
    assert found["seen_disease"] == {"d1": "unseen", "d2": "seen", "d3": "seen"}
    assert found["tissue"] == dict.fromkeys(["d1", "d2", "d3"], "gut")
    assert found["seen_tissue"] == dict.fromkeys(["d1", "d2", "d3"], "unseen")


def test_tissues_and_diseases_have_intervals_over_their_donors(tmp_path: Path) -> None:
    """Donors 0 to 7 are healthy, of 8 to 12 the disease is new, 13 and 14 have another new one, 15 has both."""
    fits, scores = [], []
    for method, right in (("old", 0.4), ("new", 0.7)):
        for seed in (1, 2, 3, 4):
            cells = drawn(seed, right)
            number = np.array([int(unit[5:]) for unit in cells["unit"]])
            disease = np.select([number < 8, number < 13], ["normal", "flu"], "cough").astype(object)
            disease[np.flatnonzero(number == 15)[::2]] = "gout"
            again = np.where(number < 4, "true", "false").astype(object)
            cells |= {"disease": disease, "republished": again}
            fits.append(fit(tmp_path, method, seed, cells))
            seen = np.where(disease == "normal", "seen", "unseen").astype(object)
            groups = {"disease": disease, "seen_disease": seen, "republished": again}
            data = scored(cells["truth"], cells["predicted"], groups=groups)
            found = [*rows_of_family(flat, data), *rows_of_family(ontology_aware, data)]
            scores.append(pd.DataFrame([vars(row) for row in found]).assign(**fits[-1].key, status="ok"))
    world(tmp_path, cells, CLASSES)
    obs = {"donor": [*cells["unit"], "donor99"], "study": [*cells["study"], "of training"]}
    obs |= {"disease": [*disease, "normal"], "republished": [*again, "false"]}
    write_columns(tmp_path / "data/d/obs.parquet", obs)
    table = compared(tmp_path, fits, pd.concat(scores, ignore_index=True)).set_index(TARGET).sort_index()
    for level, groups in {
        "disease": {"normal": 8, "flu": 5},
        "seen_disease": {"seen": 8, "unseen": 8},
        "republished": {"true": 4, "false": 12},
    }.items():
        for group, donors in groups.items():
            row = table.loc[level, "ontology_macro_f1", "truth", group]
            assert (row["n_units"], row["unit_kind"]) == (donors, "donor")
            assert row["low"] < row["difference"] < row["high"]
    for group in ("cough", "gout"):  # two donors, and one that has both
        row = table.loc["disease", "macro_f1", "truth", group]
        assert np.isnan(row["low"])
        assert row["note"] == "fewer than 3 donors, or some of other groups too: no interval"
