"""What is promised: multi-level answers are scored by depth against error, at every wanted confidence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import ConfigError, PredictionError
from annobench.core.parquet import read_columns, write_columns
from annobench.fit import predictions_file
from annobench.fit.decisions import read_temperature, write_decisions
from annobench.fit.predictions import Predictions
from annobench.ontology import UNKNOWN, Ontology, Term
from annobench.score.metrics.multilevel import answers, information
from annobench.score.score_fit import FitTables, score_fit
from annobench.score.scored import Probabilities
from annobench.score.spec import RollupRule, ScoreSpec, ViewSpec
from helpers import run_record, scored

CLASSES = ["CD4", "CD8", "B", "M"]


def blood() -> Ontology:
    """cell -> leukocyte -> {lymphocyte -> {T -> {CD4, CD8}, B}, M}."""
    above = {"leukocyte": "CL:0000000", "lymphocyte": "leukocyte", "M": "leukocyte", "T": "lymphocyte"}
    above |= {"B": "lymphocyte", "CD4": "T", "CD8": "T"}
    terms = {"CL:0000000": Term("cell")} | {name: Term(name.lower(), (one,)) for name, one in above.items()}
    return Ontology("2000-01-01", terms)


P = np.array(
    [
        [0.95, 0.03, 0.01, 0.01],  # CD4 at 0.9, T at 0.97
        [0.50, 0.45, 0.03, 0.02],  # T at 0.9, lymphocyte at 0.97
        [0.30, 0.20, 0.45, 0.05],  # lymphocyte at 0.9, unknown at 0.97
        [0.30, 0.20, 0.10, 0.40],  # unknown
        [0.01, 0.97, 0.01, 0.01],  # CD8
    ]
)
TRUTH = ["CD4", "B", "B", "M", "T"]  # the second answer is wrong; the last one is below its truth, which is wrong


def test_by_hand() -> None:
    data = scored(TRUTH, [CLASSES[i] for i in P.argmax(axis=1)], blood(), training=CLASSES)
    found = answers(data, Probabilities(P, CLASSES), 1.0, (0.9, 0.97))
    at = found[0.9]
    assert at.answered.tolist() == [True, True, True, False, True]
    assert at.right.tolist() == [True, False, True, False, False]
    assert at.depth.tolist() == [4, 3, 2, 0, 4]
    # of the 8 terms 5 are at and below lymphocyte; B has none below it
    lymphocyte = 1 - np.log(5) / np.log(8)
    assert at.information.tolist() == pytest.approx([1, 0, lymphocyte, 0, 0])
    assert found[0.97].depth.tolist() == [3, 2, 0, 0, 4]
    assert found[0.97].right.tolist() == [True, True, False, False, False]
    assert information(blood(), "CL:0000000") == pytest.approx(0)
    sums = at.sums(lambda values: np.array([values.sum()]))
    assert {name: {part: float(v[0]) for part, v in of.items()} for name, of in sums.items()} == {
        "multilevel_error": {"wrong": 2, "answered": 4},
        "multilevel_coverage": {"sum": 4, "n": 5},
        "multilevel_depth": {"depth": 13, "answered": 4},
        "multilevel_information": {"sum": pytest.approx(1 + lymphocyte), "n": 5},
    }


def test_rolled_up_the_answers_are_of_the_targets() -> None:
    targets = ["B", "M", "T"]
    data = scored(["T", "B", "B", "M", "T"], ["T", "T", "B", "M", "T"], blood(), training=targets)
    groups = np.array([2, 2, 0, 1])
    at = answers(data, Probabilities(P, targets, groups=groups), 1.0, (0.9,))[0.9]
    assert at.depth.tolist() == [3, 3, 2, 0, 3]
    assert at.right.tolist() == [True, False, True, False, True]


@pytest.fixture
def fit(tmp_path: Path) -> Path:
    """A fit of five test cells, in another order than the dataset has them."""
    ids = np.array([f"c{i}" for i in range(5)], dtype=object)
    obs = {name: np.full(5, "s", dtype=object) for name in ("study", "donor")}
    write_columns(tmp_path / "obs.parquet", {"cell_id": ids, "label_id": np.array(TRUTH, dtype=object), **obs})
    write_columns(tmp_path / "split.parquet", {"cell_id": ids, "role": np.full(5, "test", dtype=object)})
    write_columns(tmp_path / "train.parquet", {"cell_id": ids[:4], "label_id": np.array(CLASSES, dtype=object)})
    test = Predictions.from_probabilities(ids[::-1], P[::-1], CLASSES)
    predictions_file.write(tmp_path / "predictions.parquet", test)
    predictions_file.write_probabilities(tmp_path / "probabilities.npz", test)
    write_decisions(tmp_path / "decisions.npz", {"test": test}, 1.0)
    run_record(tmp_path / "run.json", outputs=("predictions", "probabilities", "decisions"))
    return tmp_path


def scores(folder: Path, view: ViewSpec, **more: object) -> pd.Series:
    spec = ScoreSpec(dataset="d", seed=1, views=(view,), **more)  # type: ignore[arg-type]
    tables = FitTables(obs=folder / "obs.parquet", train=folder / "train.parquet", roles=[folder / "split.parquet"])
    outputs = {name: folder / f"{name}.out" for name in ("scores", "confusion", "groups", "sums", "confidence")}
    score_fit(spec, folder, tables, blood(), outputs)
    table = pd.DataFrame(read_columns(folder / "scores.out"))
    found: pd.Series = table.set_index(["method", "metric", "label_set", "level", "group"])["value"]
    return found.xs("-", level="label_set").sort_index()


def test_the_decoding_is_a_view_of_the_fit(fit: Path) -> None:
    view = ViewSpec(split="s", methods={"m": "argmax", "m.multilevel": "multilevel"}, families=("flat",))
    scores(fit, view)
    pairs = pd.read_parquet(fit / "confusion.out")
    chosen = pairs[pairs["method"] == "m.multilevel"]
    expected = [("B", "T"), ("B", "lymphocyte"), ("CD4", "CD4"), ("M", UNKNOWN), ("T", "CD8")]
    assert sorted(zip(chosen["true"], chosen["predicted"], strict=True)) == expected
    scores(fit, view, decoding_options={"multilevel": {"confidence": 0.97}})
    pairs = pd.read_parquet(fit / "confusion.out")
    chosen = pairs[pairs["method"] == "m.multilevel"]
    expected = [("B", "lymphocyte"), ("B", UNKNOWN), ("CD4", "T"), ("M", UNKNOWN), ("T", "CD8")]
    assert sorted(zip(chosen["true"], chosen["predicted"], strict=True)) == expected
    rollup = RollupRule(targets={"lymphocyte": ("lymphocyte",), "M": ("M",)}, others="keep")
    scores(fit, view, rollup=rollup)
    pairs = pd.read_parquet(fit / "confusion.out")
    chosen = pairs[pairs["method"] == "m.multilevel"].groupby(["true", "predicted"])["n"].sum()
    assert chosen.to_dict() == {("lymphocyte", "lymphocyte"): 4, ("M", UNKNOWN): 1}


def test_allowed_labels_are_a_view_of_the_fit(fit: Path) -> None:
    view = ViewSpec(split="s", methods={"m.allowed": "allowed"}, families=("flat",))
    scores(fit, view, allowed=("T", "M"))
    pairs = pd.read_parquet(fit / "confusion.out")
    expected = [("B", "CD4"), ("B", "CD4"), ("CD4", "CD4"), ("M", "M"), ("T", "CD8")]
    got = pairs.loc[pairs.index.repeat(pairs["n"]), ["true", "predicted"]]
    assert sorted(map(tuple, got.to_numpy().tolist())) == expected
    with pytest.raises(PredictionError, match="needs a list of the types that can be there: `allowed_labels`"):
        scores(fit, view)


def test_the_family_runs_on_request(fit: Path) -> None:
    options = {"multilevel": {"confidences": [0.9, 0.94, 0.99]}}
    view = ViewSpec(split="s", methods={"m": "argmax"}, families=("flat", "multilevel"), options=options)
    found = scores(fit, view)["m"]
    assert found["multilevel_error", "overall", "all"] == 0.5
    assert found["multilevel_error", "confidence", "0.9"] == 0.5
    assert found["multilevel_coverage", "confidence", "0.94"] == 0.8
    assert found["multilevel_coverage", "confidence", "0.99"] <= 0.4
    assert "multilevel_error" in set(pd.read_parquet(fit / "sums.out")["metric"])
    view = ViewSpec(split="s", methods={"m": "argmax"})
    assert "multilevel_error" not in scores(fit, view).index.get_level_values("metric")
    options = {"multilevel": {"confidences": [0.5]}}
    view = ViewSpec(split="s", methods={"m": "argmax"}, families=("multilevel",), options=options)
    with pytest.raises(ConfigError, match="confidences: 0.5 is not above 0.5 and at most 1"):
        scores(fit, view)


def test_without_what_it_needs(fit: Path) -> None:
    test = predictions_file.read(fit / "predictions.parquet")
    test.probabilities, test.classes = P[::-1], tuple(CLASSES)
    write_decisions(fit / "decisions.npz", {"test": test})
    assert read_temperature(fit / "decisions.npz") is None
    found = scores(fit, ViewSpec(split="s", methods={"m": "argmax"}, families=("multilevel",)))
    assert "multilevel_error" not in found.index.get_level_values("metric")
    view = ViewSpec(split="s", methods={"m.multilevel": "multilevel"}, families=("flat",))
    with pytest.raises(PredictionError, match="needs the temperature .* fit again, with validation cells"):
        scores(fit, view)
    run_record(fit / "run.json", outputs=("predictions", "decisions"))
    with pytest.raises(PredictionError, match="needs the probabilities of all classes, which were not kept"):
        scores(fit, view)
