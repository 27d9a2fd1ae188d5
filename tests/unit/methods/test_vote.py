"""What is promised: votes are counted as stated, whoever is named first, and whoever cannot vote is named."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.core.errors import ConfigError, DataError, MethodSkipped
from annobench.fit import predictions_file
from annobench.fit.decisions import write_decisions
from annobench.fit.method import Context, FinishedFit
from annobench.fit.predictions import Predictions, joined, validate
from annobench.fit.run_record import RunRecord
from annobench.methods.shared.consensus import Consensus, consensus
from annobench.methods.vote import Vote
from annobench.ontology import Ontology, Term
from helpers import run_record, toy_ontology

NAMES = ["A", "B", "A1", "A2", "A2x", "unknown"]


def counted(*labels: str, weights: list[float] | None = None, **more: Any) -> tuple[list[str], list[float], bool]:
    """What members with these labels agree on for one cell."""
    column = np.array(labels, dtype=object)[:, None]
    found = consensus(column, weights or [1.0] * len(labels), toy_ontology(), **more)
    return found.labels[0].tolist(), found.shares[0].round(6).tolist(), bool(found.tied[0])


# --- counting


def test_most_votes_win() -> None:
    assert counted("A1", "A2", "A1", "B", top_k=3) == (["A1", "A2", "B"], [0.5, 0.25, 0.25], False)
    assert counted("A1", "A2", "A2", weights=[5.0, 1.0, 2.0]) == (["A1"], [0.625], False)


def test_ties_go_to_the_lowest_id_and_are_said() -> None:
    assert counted("B", "A1", top_k=2) == (["A1", "B"], [0.5, 0.5], True)
    assert counted("unknown", "B") == (["B"], [0.5], True)  # unknown loses ties
    assert counted("A1", "A1", "B", "B", "A2")[2]
    assert not counted("A1", "A1", "B")[2]


def test_fewer_labels_than_wanted_are_filled_with_unknown() -> None:
    assert counted("A1", "A1", "B", top_k=3) == (["A1", "B", "unknown"], [0.666667, 0.333333, 0.0], False)


@pytest.mark.parametrize(
    ("labels", "expected", "share"),
    [
        (("A1", "A2", "A2"), "A2", 2 / 3),  # the deepest with a majority
        (("A1", "A2"), "A", 1.0),  # none of the two has one, what is above both has
        (("A2x", "A2", "A1"), "A2", 2 / 3),  # A2x counts for A2
        (("A2x", "A2x", "A1"), "A2x", 2 / 3),
        (("A1", "B"), "unknown", 0.0),  # only the root is above both
        (("A2x", "B"), "B", 1.0),  # A2x lies under B too
        (("A", "A1", "A1", "A2"), "A", 1.0),  # half is no majority
        (("unknown", "unknown", "A1"), "unknown", 2 / 3),
        (("unknown", "A1", "A1"), "A1", 2 / 3),
        (("x", "x", "A1"), "x", 2 / 3),  # an id that the release lacks has nothing above it
    ],
)
def test_a_consensus_in_the_ontology_by_hand(labels: tuple[str, ...], expected: str, share: float) -> None:
    found, shares, _ = counted(*labels, scheme="ontology")
    assert found == [expected]
    assert shares == [pytest.approx(share, abs=1e-6)]


def test_a_higher_majority_gives_a_more_general_answer() -> None:
    assert counted("A1", "A2", "A2", scheme="ontology", majority=0.8)[0] == ["A"]
    assert counted("A1", "A2", "B", scheme="ontology", majority=0.8)[0] == ["unknown"]


def test_ties_in_the_ontology() -> None:
    """Both parents of a type have its votes, and the same depth."""
    two = {k: Term(k, ("CL:0000000",)) for k in ("P", "Q")} | {k: Term(k, ("P", "Q")) for k in ("X", "Y")}
    ontology = Ontology("2000-01-01", {"CL:0000000": Term("cell"), **two})
    found = consensus(np.array([["X"], ["Y"]], dtype=object), [1, 1], ontology, scheme="ontology")
    assert (found.labels.tolist(), found.shares.tolist(), found.tied.tolist()) == ([["P"]], [[1.0]], [True])


votes = st.integers(2, 6).flatmap(
    lambda members: st.tuples(
        st.lists(st.lists(st.sampled_from(NAMES), min_size=5, max_size=5), min_size=members, max_size=members),
        st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.0]), min_size=members, max_size=members),
    )
)
schemes = st.sampled_from(["labels", "ontology"])


def same(first: Consensus, second: Consensus) -> bool:
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in ("labels", "shares", "tied"))


@given(votes, schemes, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_members_does_not_matter(drawn: Any, scheme: Any, random: Any) -> None:
    labels, weights = np.array(drawn[0], dtype=object), drawn[1]
    order = random.sample(range(len(weights)), len(weights))
    first = consensus(labels, weights, toy_ontology(), scheme=scheme, top_k=3)
    again = consensus(labels[order], [weights[i] for i in order], toy_ontology(), scheme=scheme, top_k=3)
    assert same(first, again)


@given(st.sampled_from(NAMES), st.lists(st.floats(0.01, 5), min_size=2, max_size=6), schemes)
def test_unanimity_gives_the_label_with_confidence_one(label: str, weights: list[float], scheme: Any) -> None:
    found = consensus(np.full((len(weights), 1), label, dtype=object), weights, toy_ontology(), scheme=scheme)
    assert found.labels[0, 0] == label
    assert found.shares[0, 0] == pytest.approx(1)
    assert not found.tied[0]


@given(votes, schemes, st.data())
@settings(max_examples=100, deadline=None)
def test_a_weight_of_zero_is_leaving_out(drawn: Any, scheme: Any, data: Any) -> None:
    labels, weights = np.array(drawn[0], dtype=object), list(drawn[1])
    out = data.draw(st.integers(0, len(weights) - 1))
    weights[out] = 0.0
    kept = [i for i in range(len(weights)) if i != out]
    first = consensus(labels, weights, toy_ontology(), scheme=scheme)
    again = consensus(labels[kept], [weights[i] for i in kept], toy_ontology(), scheme=scheme)
    assert same(first, again)


@given(votes, schemes, st.floats(0.1, 10))
@settings(max_examples=60, deadline=None)
def test_only_the_ratio_of_weights_counts_and_shares_are_shares(drawn: Any, scheme: Any, factor: float) -> None:
    labels, weights = np.array(drawn[0], dtype=object), drawn[1]
    first = consensus(labels, weights, toy_ontology(), scheme=scheme, top_k=4)
    again = consensus(labels, [w * factor for w in weights], toy_ontology(), scheme=scheme, top_k=4)
    assert first.labels.tolist() == again.labels.tolist()
    assert np.allclose(first.shares, again.shares)
    assert (np.diff(first.shares, axis=1) <= 1e-9).all()
    assert (first.shares.sum(axis=1) <= 1 + 1e-9).all()


@given(votes)
@settings(max_examples=60, deadline=None)
def test_the_consensus_in_the_ontology_has_its_majority_below_it(drawn: Any) -> None:
    labels, weights = np.array(drawn[0], dtype=object), drawn[1]
    ontology = toy_ontology()
    found = consensus(labels, weights, ontology, scheme="ontology")
    for column, label, share in zip(labels.T, found.labels[:, 0], found.shares[:, 0], strict=True):
        agree = [label == own or label in ontology.ancestors(own) for own in column]
        assert share == pytest.approx(sum(np.array(weights)[agree]) / sum(weights))
        assert share > 0.5 or label == "unknown"


# --- the method

CELLS = [f"c{i}" for i in range(6)]
VALIDATION = [f"v{i}" for i in range(4)]
TRUTH = ["A1", "A2", "B", "A1"]  # of the validation cells


def member(folder: Path, name: str, labels: list[str], validation: list[str] | None = None) -> FinishedFit:
    """A finished fit that gave these labels to the test cells and, where it left them, to the validation cells."""
    place = folder / name
    place.mkdir()
    order = np.random.default_rng(len(name)).permutation(len(CELLS))  # cells are joined by id
    given_ = Predictions.from_labels(np.array(CELLS, dtype=object)[order], np.array(labels, dtype=object)[order])
    predictions_file.write(place / "predictions.parquet", given_)
    outputs = ["predictions"]
    if validation is not None:
        parts = {"test": given_, "validation": Predictions.from_labels(VALIDATION, validation)}
        for part in parts.values():
            part.decisions, part.classes = np.zeros((len(part.cell_ids), 2)), ("A1", "A2")
        outputs += ["decisions"] * write_decisions(place / "decisions.npz", parts)
    run_record(place / "run.json", method=name, outputs=tuple(outputs))
    return FinishedFit(place, RunRecord.read(place / "run.json"), "votes", "predictions")


@pytest.fixture
def members(tmp_path: Path) -> list[FinishedFit]:
    return [
        member(tmp_path, "one", ["A1", "A1", "A2", "B", "A1", "A1"], ["A1", "A2", "B", "A1"]),  # macro F1 1
        member(tmp_path, "two", ["A1", "A2", "A2", "B", "A2", "B"], ["A2", "A1", "B", "A2"]),  # 1/3
        member(tmp_path, "three", ["A1", "A2", "B", "unknown", "A2x", "A2"], ["A2", "A1", "A1", "A2"]),  # 0
    ]


def fitted(fits: list[FinishedFit], absent: dict[str, str] | None = None, **parameters: Any) -> Vote:
    obs = pd.DataFrame({"label_id": TRUTH}, index=VALIDATION)
    setting = Context(seed=1, classes=["A1", "A2", "B"], ontology=toy_ontology(), validation=ad.AnnData(obs=obs))
    setting.uses, setting.absent, setting.top_k = {"votes": tuple(fits)}, absent or {}, 2
    method = Vote(**parameters)
    method.fit(ad.AnnData(obs=pd.DataFrame(index=["t"])), setting)
    return method


def asked(method: Vote, cells: list[str] = CELLS) -> Predictions:
    found = joined(method.predict(ad.AnnData(obs=pd.DataFrame(index=cells))))
    return validate(found, cells, toy_ontology().terms)


def test_a_vote_of_three(members: list[FinishedFit]) -> None:
    method = fitted(members)
    found = asked(method)
    assert found.labels[:, 0].tolist() == ["A1", "A2", "A2", "B", "A1", "A1"]
    assert found.confidence == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert method.notes["ties"] == 2
    assert method.notes["agrees"] == {"one": round(5 / 6, 4), "three": round(2 / 6, 4), "two": round(4 / 6, 4)}
    assert method.notes["members"] == ("one", "three", "two")
    asked(method, CELLS[:1])
    assert method.notes["ties"] == 2  # of the test cells, which come first


def test_without_a_member_is_what_leaving_it_out_gives(members: list[FinishedFit]) -> None:
    whole = fitted(members)
    labels = asked(whole).labels[:, 0]
    for name in ("one", "two", "three"):
        without = asked(fitted(members, leave_out=name)).labels[:, 0]
        assert whole.notes["changes_without"][name] == round(float((without != labels).mean()), 4)
        fewer = asked(fitted([fit for fit in members if fit.run.method != name])).labels[:, 0]
        assert without.tolist() == fewer.tolist()


def test_weights_are_macro_f1_on_the_validation_cells(members: list[FinishedFit]) -> None:
    method = fitted(members, weights="validation")
    assert method.notes["weights"] == {"one": 1.0, "three": 0.0, "two": round(1 / 3, 4)}
    assert asked(method).labels[:, 0].tolist() == ["A1", "A1", "A2", "B", "A1", "A1"]  # the best member decides


def test_a_consensus_in_the_ontology(members: list[FinishedFit]) -> None:
    found = asked(fitted(members, scheme="ontology"))
    assert found.labels.tolist() == [["A1"], ["A2"], ["A2"], ["B"], ["A2"], ["A"]]
    assert found.confidence[4] == pytest.approx(2 / 3)


def test_a_member_without_validation_predictions_has_the_mean_weight(
    members: list[FinishedFit], tmp_path: Path
) -> None:
    method = fitted([*members, member(tmp_path, "four", ["B"] * 6)], weights="validation")
    assert method.notes["weights"]["four"] == round((1 + 1 / 3 + 0) / 3, 4)
    assert method.notes["warnings"] == (
        "four: no predictions of validation cells; the mean weight of the others counts",
    )
    bare = [member(tmp_path, name, ["B"] * 6) for name in ("five", "six")]
    with pytest.raises(MethodSkipped, match="no member left right predictions of validation cells"):
        fitted(bare, weights="validation")


def test_validation_cells_are_voted_on_where_all_members_have_them(members: list[FinishedFit]) -> None:
    assert asked(fitted(members), VALIDATION).labels[:, 0].tolist() == ["A2", "A1", "B", "A2"]


def test_members_that_failed_are_counted_and_named(members: list[FinishedFit]) -> None:
    method = fitted(members, absent={"svm": "its fit failed: of this"})
    assert method.notes["members_absent"] == 1
    assert method.notes["warnings"] == ("'svm' does not vote: its fit failed: of this",)
    with pytest.raises(MethodSkipped, match=r"1 of 2 members can vote, expected two or more \('svm': failed\)"):
        fitted(members[:1], absent={"svm": "failed"})
    with pytest.raises(MethodSkipped, match="1 of 2 members can vote"):
        fitted(members[:2], leave_out="two")


def test_what_is_refused(members: list[FinishedFit]) -> None:
    with pytest.raises(ConfigError, match="'tow' is no member; did you mean 'two'"):
        fitted(members, leave_out="tow")
    with pytest.raises(ConfigError, match="majority"):
        Vote(majority=1.0)
    with pytest.raises(DataError, match="'one' left no label for 1 of 2 cells, such as other"):
        asked(fitted(members), ["c1", "other"])
