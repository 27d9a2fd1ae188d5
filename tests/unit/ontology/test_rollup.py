"""What is promised: a fine label has one coarse one, by a rule that can be said in a sentence."""

from pathlib import Path

import numpy as np
import pytest

from annobench.config.schema import load_yaml, validate
from annobench.core.errors import DataError
from annobench.core.paths import ROOT
from annobench.data.ontology import from_obo
from annobench.ontology import UNKNOWN, Ontology, Term
from annobench.ontology.rollup import Rollup, siblings_merged
from annobench.score.join import rolled_up
from annobench.score.truths import rolled
from helpers import scored, toy_ontology

ROLLUPS = sorted((ROOT / "config" / "rollups").glob("*.yaml"))
VASCULAR, EPITHELIAL, LYMPHOCYTE, PLASMA = "CL:0000115", "CL:0000066", "CL:0000542", "CL:0000786"


# the rule, on a toy: cell -> A -> {A1, A2 -> A2x}; cell -> B -> A2x


def test_the_deepest_root_decides() -> None:
    rule = Rollup({"A": ["A"], "A2": ["A2"], "B": ["B"]})
    assert rule.table(["A", "A1", "A2", "A2x", "B"], toy_ontology()) == {
        "A": "A",
        "A1": "A",
        "A2": "A2",
        "A2x": "A2",  # which is below A, A2 and B; A2 is deepest
        "B": "B",
    }


@pytest.mark.parametrize("order", [["A", "B"], ["B", "A"]])
def test_on_a_tie_the_target_that_stands_first_decides(order: list[str]) -> None:
    rule = Rollup({target: [target] for target in order})
    assert rule.of("A2x", toy_ontology()) == order[0]


def test_a_target_need_not_be_among_its_roots() -> None:
    rule = Rollup({"A": ["A2", "B"]}, keep_others=False)
    found = rule.table(["A", "A1", "A2", "A2x", "B"], toy_ontology())
    assert found == {"A": UNKNOWN, "A1": UNKNOWN, "A2": "A", "A2x": "A", "B": "A"}


def test_depth_is_the_longest_path() -> None:
    """X lies directly below the root as well; counted by the shortest path Y would be deeper than it."""
    terms = {
        "CL:0000000": Term("cell"),
        "Y": Term("y", ("CL:0000000",)),
        "Z": Term("z", ("Y",)),
        "X": Term("x", ("CL:0000000", "Z")),
        "leaf": Term("leaf", ("X", "Y")),
    }
    rule = Rollup({"Y": ["Y"], "X": ["X"]})
    assert rule.of("leaf", Ontology("2000-01-01", terms)) == "X"


@pytest.mark.parametrize("keep", [True, False])
def test_unknown_stays_unknown_and_others_are_kept_or_not(keep: bool) -> None:
    rule = Rollup({"A": ["A"], "everything": ["CL:0000000"]} if keep else {"A": ["A"]}, keep)
    assert rule.of(UNKNOWN, toy_ontology()) == UNKNOWN
    rule = Rollup({"A": ["A"]}, keep)
    assert rule.of("B", toy_ontology()) == ("B" if keep else UNKNOWN)
    assert rule.of("NO:1", toy_ontology()) == ("NO:1" if keep else UNKNOWN)  # not in the release


@pytest.mark.parametrize("key", ["targets", "roots"])
@pytest.mark.parametrize("label_id", ["NOPE", "OLD", "GONE"])
def test_ids_that_are_no_live_terms_are_refused(key: str, label_id: str) -> None:
    targets = {label_id: ["A"]} if key == "targets" else {"A": ["A", label_id]}
    with pytest.raises(DataError, match=f"'{label_id}' is (not a term of|obsolete in) Cell Ontology 2000-01-01"):
        Rollup.from_config({"targets": targets, "others": "keep"}, toy_ontology())


# the files


@pytest.mark.parametrize("path", ROLLUPS, ids=lambda path: path.stem)
def test_the_files_load_on_the_default_release(path: Path, ontology: Ontology) -> None:
    document = validate(load_yaml(path), "rollup", str(path))
    rule = Rollup.from_config(document, ontology)
    assert list(rule.targets) == list(document["targets"])
    for target in rule.targets:  # a target belongs to itself, so that coarse labels can be read as such
        assert rule.of(target, ontology) == target


@pytest.fixture
def lineages(ontology: Ontology) -> Rollup:
    return Rollup.from_config(load_yaml(ROOT / "config/rollups/lung_lineages.yaml"), ontology)


@pytest.mark.parametrize(
    ("label", "lineage"),
    [
        ("CL:0000786", PLASMA),  # plasma cells are lymphocytes
        ("CL:0000985", PLASMA),  # IgG plasma cell
        ("CL:0000236", LYMPHOCYTE),  # B cell
        ("CL:0000623", LYMPHOCYTE),  # natural killer cell
        ("CL:0000897", LYMPHOCYTE),  # CD4-positive, alpha-beta memory T cell
        ("CL:0000097", "CL:0000097"),  # mast cells are myeloid leukocytes
        ("CL:0000775", "CL:0000766"),  # neutrophil
        ("CL:0000583", "CL:0000766"),  # alveolar macrophage
        ("CL:0000784", "CL:0000766"),  # plasmacytoid dendritic cell
        ("CL:0002543", VASCULAR),  # vein endothelial cell
        ("CL:0002138", VASCULAR),  # endothelial cell of lymphatic vessel
        ("CL:0000669", VASCULAR),  # pericyte
        ("CL:0002062", EPITHELIAL),  # pulmonary alveolar type 1 cell
        ("CL:0001064", EPITHELIAL),  # malignant cell
        ("CL:0000540", UNKNOWN),  # neuron
        (UNKNOWN, UNKNOWN),
    ],
)
def test_lung_lineages(lineages: Rollup, ontology: Ontology, label: str, lineage: str) -> None:
    assert label == UNKNOWN or label in ontology
    assert lineages.of(label, ontology) == lineage


@pytest.fixture(scope="module")
def release_2022(real_data: Path) -> Ontology:
    file = real_data / "ontology" / "cl-basic.v2022-09-15.obo.gz"
    if not file.is_file():
        pytest.skip(f"{file.name} is not among the real data for development")
    return from_obo(file, "2022-09-15")


def test_endothelium_below_epithelium_is_vascular_all_the_same(release_2022: Ontology) -> None:
    """In this release endothelial cells are epithelial cells; the deeper root decides."""
    assert EPITHELIAL in release_2022.ancestors(VASCULAR)
    rule = Rollup.from_config(load_yaml(ROOT / "config/rollups/lung_lineages.yaml"), release_2022)
    endothelial = ["CL:0000115", "CL:0000071", "CL:0002543", "CL:0002138", "CL:2000016"]
    assert {label: rule.of(label, release_2022) for label in endothelial if label in release_2022} == {
        label: VASCULAR for label in endothelial if label in release_2022
    }
    assert rule.of("CL:0002062", release_2022) == EPITHELIAL
    # the order of the targets has no part in it
    turned = Rollup(dict(reversed(rule.targets.items())), rule.keep_others)
    assert turned.of("CL:0002543", release_2022) == VASCULAR


# without a table


def test_siblings_become_their_parent_but_never_a_topmost_type(ontology: Ontology) -> None:
    cd4, cd8, b, monocyte = "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000576"
    found = siblings_merged([cd4, cd8, b, monocyte], ontology)
    assert found[cd4] == found[cd8]
    assert found[cd4] in ontology.ancestors(cd4) & ontology.ancestors(cd8)
    assert found[cd4] not in ontology.ancestors(b)
    assert found[monocyte] == monocyte  # its only relatives are below the topmost node


def test_a_class_that_others_become_stays_and_they_are_one_type() -> None:
    terms = {
        "CL:0000000": Term("cell"),
        "top": Term("top", ("CL:0000000",)),
        "other": Term("other", ("top",)),
        "middle": Term("middle", ("top",)),
        "T": Term("t", ("middle",)),
        "NK": Term("nk", ("middle",)),
        "T4": Term("t4", ("T",)),
        "T8": Term("t8", ("T",)),
    }
    found = siblings_merged(["T", "T4", "T8", "NK", "other"], Ontology("2000-01-01", terms))
    assert found == {"T": "T", "T4": "T", "T8": "T", "NK": "middle", "other": "other"}


def test_merging_again_is_only_coarser_and_truth_stays_true(ontology: Ontology) -> None:
    """Whatever is merged: a class becomes itself or an ancestor."""
    classes = ["CL:0000624", "CL:0000625", "CL:0000897", "CL:0000236", "CL:0000576", "CL:0000860", "CL:0000084"]
    found = siblings_merged(classes, ontology)
    assert set(found) == set(classes)
    for label, target in found.items():
        assert target == label or target in ontology.ancestors(label)
    assert len(set(found.values())) < len(classes)


def test_unrelated_classes_are_not_merged() -> None:
    assert siblings_merged(["A1", "B"], toy_ontology()) == {"A1": "A1", "B": "B"}


# predictions rolled up

RULE = Rollup({"A": ["A"], "B": ["B"]}, keep_others=False)


def test_probabilities_are_summed_and_labels_not_repeated() -> None:
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    classes = np.array(["B", "A1", "A2", "X"], dtype=object)
    labels = np.array([["B", "A1", "A2", "X"], ["X", "A2", "A1", "B"]], dtype=object)
    data = scored(
        ["A", "B"],
        labels,
        confidence=probabilities.max(axis=1),
        is_probability=True,
        probabilities=probabilities,
        probability_classes=classes,
    )
    found = rolled_up(data, RULE)
    assert found.probabilities.classes == ["A", "B", UNKNOWN]
    assert found.probabilities.matrix() == pytest.approx(np.array([[0.5, 0.4, 0.1], [0.5, 0.1, 0.4]]))
    assert found.labels.tolist() == [["B", "A", UNKNOWN, UNKNOWN], [UNKNOWN, "A", "B", UNKNOWN]]
    # the first label stays the answer; its confidence is the sum of what belongs to the same
    assert found.confidence == pytest.approx([0.4, 0.4])
    assert data.labels[0, 2] == "A2"  # what was given is not changed


def test_probabilities_of_random_answers_add_up_and_no_label_stands_twice() -> None:
    rng = np.random.default_rng(0)
    classes = np.array(["A", "A1", "A2", "A2x", "B", "X"], dtype=object)
    probabilities = rng.dirichlet(np.ones(6), 50)
    order = np.argsort(-probabilities, axis=1)[:, :4]
    data = scored(
        ["A"] * 50,
        classes[order],
        confidence=probabilities.max(axis=1),
        is_probability=True,
        probabilities=probabilities,
        probability_classes=classes,
    )
    found = rolled_up(data, RULE)
    assert found.probabilities.matrix().sum(axis=1) == pytest.approx(np.ones(50))
    for row in found.labels:
        known = [label for label in row if label != UNKNOWN]
        assert len(known) == len(set(known))
    assert (found.confidence >= data.confidence - 1e-12).all()


def test_an_answer_that_is_no_class_keeps_its_confidence() -> None:
    data = scored(
        ["A", "B"],
        ["unknown", "B"],
        confidence=np.array([0.3, 0.8]),
        is_probability=True,
        probabilities=np.array([[0.7, 0.3], [0.2, 0.8]]),
        probability_classes=np.array(["A1", "B"], dtype=object),
    )
    assert rolled_up(data, RULE).confidence.tolist() == [0.3, 0.8]


def test_scores_that_are_no_probabilities_keep_their_confidence() -> None:
    data = scored(["A", "B"], ["A2x", "A1"], confidence=np.array([7.0, -3]))
    found = rolled_up(data, RULE)
    assert found.labels[:, 0].tolist() == ["A", "A"]
    assert found.confidence.tolist() == [7, -3]
    assert found.probabilities is None


def test_rolled_keeps_the_shape_and_without_a_rule_everything() -> None:
    labels = np.array([["A1", "B"], ["A2", UNKNOWN]], dtype=object)
    assert rolled(labels, None, toy_ontology()) is labels
    assert rolled(labels, RULE, toy_ontology()).tolist() == [["A", "B"], ["A", UNKNOWN]]
