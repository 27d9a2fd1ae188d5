"""What is promised: metrics from counts are those of a plain loop over cells, whatever the order of the files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.counts import macro_f1_of_codes
from annobench.core.errors import DataError
from annobench.core.parquet import Categorical, read_columns, write_columns
from annobench.fit import decisions, predictions_file
from annobench.fit.decisions import write_decisions
from annobench.fit.predictions import Predictions
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.score.evidence import Evidence
from annobench.score.join import rolled_up, without_repeats
from annobench.score.registry import rows_of
from annobench.score.score_fit import FitTables, score_fit
from annobench.score.scored import Probabilities, Scored
from annobench.score.spec import RollupRule, ScoreSpec, ViewSpec
from helpers import run_record, scored, toy_ontology

LABELS = ["A", "A1", "A2", "A2x", "B"]
RULE = {"targets": {"A": ["A"], "B": ["B"]}, "others": "keep"}
ROLLUP = RollupRule.from_params(RULE)


# second implementations: every metric as it is defined, cell by cell


def made(seed: int, n: int = 60, ranks: int = 5, halves: bool = False, **more: Any) -> Scored:
    """Random cells with ties in the confidence, answers beyond the classes of the truth, and unknown ones."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(5, 0.3), n).round(2)
    values /= values.sum(axis=1, keepdims=True)
    values = values.astype(np.float16) if halves else values
    order = np.argsort(-values.astype(float), axis=1, kind="stable")[:, :ranks]
    labels = np.array(LABELS, dtype=object)[order]
    labels[rng.random(n) < 0.1, 0] = UNKNOWN
    truth = rng.choice([*LABELS[:4], "elsewhere"], n)
    groups = {"donor": rng.choice(["d1", "d2", "d3"], n).astype(object)}
    given_ = {"confidence": values.max(axis=1).astype(float), "is_probability": True, "groups": groups}
    given_ |= {"probabilities": Probabilities(values, LABELS), "training": LABELS[1:], "bins": 7}
    return scored(truth, labels, **given_ | more)


def plain(data: Scored) -> dict[tuple[str, str, str, str], float]:
    """Metrics that are computed from counts or sorted values, as their definitions say."""
    truth, labels, n = data.truth, data.labels, data.n
    confidence, right = data.confidence, data.truth == data.labels[:, 0]
    toy, found = data.ontology, {}

    def put(metric: str, value: Any, label_set: str = "-", level: str = "overall", group: str = "all") -> None:
        found[metric, label_set, level, group] = float(value)

    put("accuracy", right.mean())
    put("unseen_share", np.mean([label not in data.training for label in truth]))
    put("unknown_share", np.mean(labels[:, 0] == UNKNOWN))
    donors = data.groups["donor"].to_text()
    for donor in set(donors):
        put("accuracy", right[donors == donor].mean(), "-", "donor", donor)
        put("macro_f1", macro(truth[donors == donor], labels[donors == donor, 0]), "truth", "donor", donor)
    for depth in (1, 2, 3, 5):
        if depth <= labels.shape[1]:
            hit = np.array([truth[i] in labels[i, :depth] for i in range(n)])
            put(f"accuracy_top{depth}", hit.mean())
            put(f"macro_f1_top{depth}", macro(truth, np.where(hit, truth, labels[:, 0])), "truth")
    pairs = list(zip(truth, labels[:, 0], strict=True))
    below = [t == p or p in toy.descendants(t) for t, p in pairs]
    above = [t == p or t in toy.descendants(p) for t, p in pairs]
    put("ontology_accuracy", np.mean(below))
    put("ontology_macro_f1", macro(truth, np.where(below, truth, labels[:, 0])), "truth")
    put("exact_share", right.mean())
    put("finer_share", np.mean(below) - right.mean())
    put("coarser_share", np.mean(above) - right.mean())
    put("unrelated_share", np.mean([not (b or a) for b, a in zip(below, above, strict=True)]))
    leaves = [c for c in data.training if not toy.descendants(c) & set(data.training)]
    put("leaf_share", np.isin(labels[:, 0], leaves).mean())
    closures = [(closure(toy, t), closure(toy, p)) for t, p in pairs]
    both = sum(len(t & p) for t, p in closures)
    put("hierarchical_precision_micro", both / max(1, sum(len(p) for _, p in closures)))
    put("hierarchical_recall_micro", both / sum(len(t) for t, _ in closures))
    put("auroc_correct", pairwise(confidence, right))
    risks = risk(confidence, right)
    put("aurc", risks.mean())
    put("selective_accuracy", 1 - risks[round(0.8 * n) - 1])
    if data.is_probability:
        number = [min(6, max(0, int(np.ceil(c * 7)) - 1)) for c in confidence]
        gaps = [
            abs(right[number == b].mean() - confidence[number == b].mean()) * (number == b).sum()
            for number in [np.array(number)]
            for b in set(number.tolist())
        ]
        put("ece", sum(gaps) / n)
    if data.probabilities is not None:
        matrix, classes = data.probabilities.matrix(), list(data.probabilities.classes)
        is_class = truth[:, None] == np.array(classes, dtype=object)[None, :]
        put("brier", (((matrix - is_class) ** 2).sum(axis=1) + ~is_class.any(axis=1)).mean())
        of_classes = [pairwise(matrix[:, i], is_class[:, i]) for i in range(len(classes)) if is_class[:, i].any()]
        put("auroc_ovr", np.mean(of_classes), "shared")
    return found


def macro(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean([f1(truth == label, predicted == label) for label in sorted(set(truth))]))


def f1(of_truth: np.ndarray, of_prediction: np.ndarray) -> float:
    return 2 * (of_truth & of_prediction).sum() / (of_truth.sum() + of_prediction.sum())


def closure(ontology: Ontology, label: str) -> set[str]:
    return set() if label == UNKNOWN else set(ontology.closure(label))


def pairwise(score: np.ndarray, positive: np.ndarray) -> float:
    above = score[positive][:, None] - score[~positive][None, :]
    return float((above > 0).mean() + (above == 0).mean() / 2)


def risk(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    expected = np.array([(~right[confidence == c]).mean() for c in confidence])
    return np.cumsum(expected[np.argsort(-confidence, kind="stable")]) / np.arange(1, len(right) + 1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 5]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_family_equals_a_loop_over_cells(seed: int, ranks: int, halves: bool) -> None:
    data = made(seed, ranks=ranks, halves=halves)
    rows = list(rows_of(Evidence(data)))
    found = {(row.metric, row.label_set, row.level, row.group): row.value for row in rows}
    for key, value in plain(data).items():
        assert found[key] == pytest.approx(value, abs=1e-12), key
    assert sum(row.n for row in rows if row.metric == "bin_accuracy") == data.n


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_rolled_up_probabilities_are_those_of_a_sum(seed: int, halves: bool) -> None:
    data = made(seed, halves=halves)
    truth = Rollup.from_config(RULE, toy_ontology())
    found = rolled_up(made(seed, halves=halves), truth)
    targets = ["A", "B"]
    summed = np.zeros((data.n, 2))
    code = [targets.index(truth.of(label, toy_ontology())) for label in LABELS]
    np.add.at(summed.T, np.array(code), data.probabilities.matrix().T)
    assert found.probabilities.matrix() == pytest.approx(summed, abs=1e-12)
    for i, target in enumerate(targets):
        assert found.probabilities.column(i) == pytest.approx(summed[:, i], abs=1e-12), target
    for i in range(data.n):
        first = truth.of(data.labels[i, 0], toy_ontology())
        own = summed[i, targets.index(first)] if first in targets else data.confidence[i]
        assert found.confidence[i] == pytest.approx(min(own, 1))
        row = list(dict.fromkeys(truth.of(label, toy_ontology()) for label in data.labels[i]))
        assert found.labels[i].tolist() == row + [UNKNOWN] * (5 - len(row))
    rows = list(rows_of(Evidence(found)))
    values = {(row.metric, row.label_set, row.level, row.group): row.value for row in rows}
    for key, value in plain(found).items():
        assert values[key] == pytest.approx(value, abs=1e-12), key


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", UNKNOWN]), min_size=4, max_size=4), min_size=1, max_size=9))
def test_no_label_stands_twice_and_the_order_stays(rows: list[list[str]]) -> None:
    ranked = [Categorical.of(np.array(column, dtype=object)) for column in zip(*rows, strict=True)]
    found = np.array([one.to_text() for one in without_repeats(ranked)]).T.tolist()
    for row, ours in zip(rows, found, strict=True):
        seen = list(dict.fromkeys(row))
        assert ours == seen + [UNKNOWN] * (4 - len(seen))


def test_without_all_probabilities_a_target_has_none() -> None:
    data = made(0, probabilities=None)
    found = rolled_up(data, Rollup.from_config(RULE, toy_ontology()))
    assert data.is_probability
    assert not found.is_probability
    assert found.confidence.tolist() == data.confidence.tolist()


def test_blocks_of_a_matrix_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {(r.metric, r.label_set): r.value for r in rows_of(Evidence(made(1, halves=True)), ["calibration"])}
    monkeypatch.setattr("annobench.score.scored._BLOCK", 20)
    parts = {(r.metric, r.label_set): r.value for r in rows_of(Evidence(made(1, halves=True)), ["calibration"])}
    assert parts == pytest.approx(whole, abs=1e-12)


# files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A dataset of 300 cells, of which 200 are tested (one of unknown type), and a fit with everything kept."""
    rng = np.random.default_rng(0)
    truth = rng.choice(LABELS, 300).astype(object)
    truth[6] = UNKNOWN
    ids = np.array([f"cell{i}" for i in range(300)], dtype=object)
    role = np.array((["test", "val", "test"] * 100), dtype=object)
    donor = rng.choice([f"d{i}" for i in range(6)], 300).astype(object)
    obs = {"cell_id": ids, "label_id": truth, "study": np.full(300, "s", dtype=object), "donor": donor}
    write_columns(tmp_path / "obs.parquet", obs)
    write_columns(tmp_path / "split.parquet", {"cell_id": ids, "role": role})
    write_columns(tmp_path / "train.parquet", {"cell_id": ids[:5], "label_id": np.array(LABELS, dtype=object)})
    values = rng.normal(size=(300, 5))
    values[np.arange(300), [LABELS.index(t) if t in LABELS else 0 for t in truth]] += 1.5
    shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    test, val = (
        Predictions.from_probabilities(ids[role == r], shares[role == r], LABELS, 5, values[role == r])
        for r in ("test", "val")
    )
    predictions_file.write(tmp_path / "predictions.parquet", test)
    predictions_file.write_probabilities(tmp_path / "probabilities.npz", test)
    write_decisions(tmp_path / "decisions.npz", {"test": test, "validation": val})
    run(tmp_path, "probabilities", "decisions")
    return tmp_path


def run(folder: Path, *more: str, **changes: Any) -> None:
    """The record of a fit with predictions and `more` outputs."""
    run_record(folder / "run.json", **{"outputs": ("predictions", *more), "confidence_is_probability": True} | changes)


def scores(folder: Path, **changes: Any) -> pd.DataFrame:
    view = ViewSpec(split="s", methods={"m": "argmax"}, **{k: changes.pop(k) for k in ("families",) if k in changes})
    score(folder, [folder / "split.parquet"], views=(view,), **changes)
    return pd.DataFrame(read_columns(folder / "scores.out")).set_index(["metric", "label_set", "level", "group"])


def score(folder: Path, roles: list[Path], **changes: Any) -> None:
    """Score the fit; `changes` are fields of the spec."""
    spec = ScoreSpec(**{"dataset": "d", "seed": 1, "bins": 10} | changes)
    tables = FitTables(obs=folder / "obs.parquet", train=folder / "train.parquet", roles=roles)
    outputs = {name: folder / f"{name}.out" for name in ("scores", "confusion", "groups", "sums", "confidence")}
    score_fit(spec, folder, tables, toy_ontology(), outputs)


def test_a_fit_is_scored_by_cell_id(files: Path) -> None:
    found = scores(files)
    table = pd.read_parquet(files / "predictions.parquet").set_index("cell_id")
    obs = pd.read_parquet(files / "obs.parquet").set_index("cell_id")
    joined = table.join(obs)[lambda t: t["label_id"] != UNKNOWN]
    right = joined["label_1"] == joined["label_id"]
    assert found.loc[("accuracy", "-", "overall", "all"), "value"] == pytest.approx(right.mean())
    assert found.loc[("accuracy", "-", "overall", "all"), "n"] == 199
    assert found.loc[("unknown_truth", "-", "overall", "all"), ["value", "n"]].tolist() == [1, 200]
    codes = Categorical.of([*joined["label_id"], *joined["label_1"]]).codes
    expected = macro_f1_of_codes(codes[:199], codes[199:])
    assert found.loc[("macro_f1", "truth", "overall", "all"), "value"] == pytest.approx(expected)
    pairs = pd.read_parquet(files / "confusion.out")
    assert pairs["n"].sum() == 199
    assert set(pairs["unit_kind"]) == {"donor"}
    expected = joined.groupby(["donor", "label_id", "label_1"]).size()
    assert pairs.set_index(["unit", "true", "predicted"])["n"].to_dict() == expected.to_dict()


def test_tissues_and_diseases_are_groups_and_seen_or_not(files: Path) -> None:
    obs = read_columns(files / "obs.parquet")
    roles = np.array(["test", "train", "test"] * 100, dtype=object)
    write_columns(files / "split.parquet", {"cell_id": obs["cell_id"], "role": roles})
    tissue = np.where(np.arange(300) % 30 == 0, "liver", np.where(np.arange(300) % 30 == 2, "unknown", "lung"))
    disease = np.full(300, "Crohn's disease", dtype=object)
    write_columns(files / "obs.parquet", obs | {"tissue": tissue.astype(object), "disease": disease})
    run(files, "probabilities")
    found = scores(files)["n"]
    groups = found.xs("ontology_macro_f1").droplevel("label_set")
    expected = {"liver": 10, "lung": 180 - 1}  # cell 6 has no label
    assert groups["tissue"].to_dict() == expected
    assert groups["seen_tissue"].to_dict() == {"seen": expected["lung"], "unseen": expected["liver"]}
    assert groups["disease"].to_dict() == {"Crohn's disease": 199}
    assert "seen_disease" not in groups.index.get_level_values("level")  # every test cell's disease is trained
    write_columns(files / "obs.parquet", obs | {"tissue": np.where(roles == "train", "unknown", tissue).astype(object)})
    levels = scores(files).index.get_level_values("level")
    assert "tissue" in levels
    assert "seen_tissue" not in levels  # of the training cells nothing is known


def test_cells_that_came_again_are_a_group_of_their_own(files: Path) -> None:
    obs = read_columns(files / "obs.parquet")
    again = np.where(np.arange(300) % 3 == 0, "true", "false").astype(object)
    run(files, "probabilities")
    write_columns(files / "obs.parquet", obs | {"republished": again})
    groups = scores(files)["n"].xs("ontology_macro_f1").droplevel("label_set")
    assert groups["republished"].to_dict() == {"false": 100, "true": 99}
    write_columns(files / "obs.parquet", obs | {"republished": np.full(300, "false", dtype=object)})
    assert "republished" not in scores(files).index.get_level_values("level")


def test_a_fit_is_scored_as_all_its_views(files: Path) -> None:
    """Two sets of test cells and a decoding, in one file; the first set also over the classes of the second."""
    obs = read_columns(files / "obs.parquet")
    run(files, "probabilities")
    roles = read_columns(files / "split.parquet")["role"]
    few = np.isin(obs["label_id"], LABELS[:2])
    for name, cells in (("own", roles == "test"), ("later", (roles == "test") & few)):
        role = np.where(cells, "test", "unused").astype(object)
        write_columns(files / f"{name}.parquet", {"cell_id": obs["cell_id"], "role": role})
    views = (
        ViewSpec(split="own", part="reference", methods={"m": "argmax", "m.leaf": "leaf"}),
        ViewSpec(split="later", part="query", methods={"m": "argmax"}),
    )
    answers = read_columns(files / "predictions.parquet")
    leaf = {"leaf": np.full(200, LABELS[0], dtype=object), "confidence_leaf": np.full(200, 0.5)}
    write_columns(files / "predictions.parquet", answers | leaf)
    score(files, [files / f"{view.split}.parquet" for view in views], views=views)
    table = pd.DataFrame(read_columns(files / "scores.out"))
    found = table.set_index(["split", "method", "metric", "label_set", "level", "group"])["value"]
    assert set(zip(table["split"], table["method"], strict=True)) == {("own", "m"), ("own", "m.leaf"), ("later", "m")}
    accuracy = found.xs(("accuracy", "-", "overall"), level=("metric", "label_set", "level")).droplevel("group")
    truth = obs["label_id"][roles == "test"]
    known = truth != UNKNOWN
    assert accuracy["own", "m.leaf"] == pytest.approx((truth[known] == LABELS[0]).mean())
    assert accuracy["own", "m"] == pytest.approx((answers["label_1"][known] == truth[known]).mean())
    assert accuracy["later", "m"] == pytest.approx((answers["label_1"] == truth)[few[roles == "test"]].mean())
    sets = table[table["metric"] == "macro_f1"].groupby(["split", "method"])["label_set"].agg(set)
    assert "ood" in sets["own", "m"]
    assert "ood" not in sets["later", "m"]
    per_class = found.xs(("own", "m", "f1"), level=("split", "method", "metric")).droplevel(["label_set", "level"])
    expected = per_class[LABELS[:2]].mean()
    assert found["own", "m", "macro_f1", "ood", "overall", "all"] == pytest.approx(expected)


def test_the_order_of_the_predictions_changes_nothing(files: Path) -> None:
    before = scores(files)
    table = predictions_file.read(files / "predictions.parquet")
    matrix, classes, _ = predictions_file.read_probabilities(files / "probabilities.npz")
    order = np.random.default_rng(1).permutation(200)
    table.probabilities, table.classes = matrix, tuple(classes)
    predictions_file.write(files / "predictions.parquet", table.rows(order))
    predictions_file.write_probabilities(files / "probabilities.npz", table.rows(order))
    pd.testing.assert_frame_equal(scores(files), before, rtol=1e-12)


def test_a_cell_without_prediction_is_named(files: Path) -> None:
    table = predictions_file.read(files / "predictions.parquet")
    predictions_file.write(files / "predictions.parquet", table.rows(np.arange(1, 200)))
    with pytest.raises(DataError, match=r"1 test cells have no prediction \(such as cell0\); fit again"):
        scores(files)


def test_a_matrix_of_other_cells_is_refused(files: Path) -> None:
    matrix, classes, ids = predictions_file.read_probabilities(files / "probabilities.npz")
    other = Predictions(ids[1:], np.empty((199, 1)), probabilities=matrix[1:], classes=tuple(classes))
    predictions_file.write_probabilities(files / "probabilities.npz", other)
    with pytest.raises(DataError, match=r"probabilities.npz: is damaged \(199 cells, predictions.parquet has 200\)"):
        scores(files)


def test_what_was_left_out_is_missing_and_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = scores(files)
    assert capsys.readouterr().out == ""
    run(files, "decisions", left_out={"probabilities": "too many"})
    found = scores(files)
    assert "brier and auroc_ovr, and of labels that are rolled up ece, are not computed: too many" in (
        capsys.readouterr().out
    )
    gone = ["brier", "auroc_ovr"]
    assert not set(gone) & set(found.index.get_level_values("metric"))
    kept = whole[~whole.index.get_level_values("metric").isin(gone)]
    pd.testing.assert_frame_equal(found, kept)
    assert "ece" in set(found.index.get_level_values("metric"))
    rolled = scores(files, rollup=ROLLUP)
    assert "ece" not in set(rolled.query("level == 'overall'").index.get_level_values("metric"))
    assert "aurc" in set(rolled.query("level == 'overall'").index.get_level_values("metric"))


def test_confidence_rules_look_at_the_cells_that_were_kept(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scores(files)
    monkeypatch.setattr(decisions, "SAMPLE", 80)
    chosen = decisions.sample(200, 1)
    stored = decisions.read_decisions(files / "decisions.npz")
    parts = {
        name: Predictions(
            stored["cell_ids"][rows],
            stored["labels"][rows][:, None],
            confidence=stored["confidence"][rows],
            classes=tuple(LABELS),
            decisions=stored["decisions"][rows],
        )
        for name, rows in (("test", chosen), ("validation", np.flatnonzero(stored["part"] == "validation")))
    }
    write_decisions(files / "decisions.npz", parts)
    found = scores(files)
    rules = found.query("level == 'rule'")
    truth = pd.read_parquet(files / "obs.parquet").set_index("cell_id")["label_id"]
    part = predictions_file.read(files / "predictions.parquet").rows(chosen)
    keep = truth[part.cell_ids].to_numpy() != UNKNOWN
    assert set(rules["n"]) == {keep.sum()}
    right = (part.labels[:, 0] == truth[part.cell_ids].to_numpy())[keep]
    expected = risk(part.confidence[keep], right).mean()
    assert rules.loc[("aurc", "-", "rule", "raw"), "value"] == pytest.approx(expected)
    others = "level not in ('rule', 'error')"
    pd.testing.assert_frame_equal(found.query(others), whole.query(others))


def test_a_failed_fit_has_tables_without_rows(files: Path) -> None:
    predictions_file.write_empty(files / "predictions.parquet")
    run(files, status="failed", outputs=())
    assert scores(files).loc[("completed", "-", "fit", "all"), "value"] == 0
    pairs = pd.read_parquet(files / "confusion.out")
    assert len(pairs) == 0
    assert pairs.dtypes.astype(str).tolist()[:4] == ["object"] * 4
