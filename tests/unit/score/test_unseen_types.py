"""What is promised: cells of types that no training cell has are scored by the descendant rule and by distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.score.metrics import hierarchical, ontology_aware, unseen_types
from helpers import rows_of_family, scored, values

LABELS = ["A", "A1", "A2", "A2x", "B"]


def test_a_case_by_hand() -> None:
    """A2 and A are unseen. Closures: A {A}, A1 {A, A1}, A2 {A, A2}, A2x {A, A2, A2x, B}, B {B}."""
    truth = ["A2", "A2", "A", "A1", "A1", "B", "B"]
    predicted = ["A1", "A2x", "unknown", "A1", "A2", "B", "unknown"]
    rows = rows_of_family(unseen_types, scored(truth, predicted, training=["A1", "A2x", "B"]))
    found = {row.metric: (row.value, row.n) for row in rows}
    assert found["unseen_ontology_accuracy"] == (pytest.approx(1 / 3), 3)  # A2x lies below A2
    # shared nodes 1 + 2 + 0; nodes of truths 2 + 2 + 1, of predictions 2 + 4 + 0
    assert found["unseen_hierarchical_f1"] == (pytest.approx(2 * 3 / 11), 3)
    assert found["unseen_named_share"] == (0, 3)
    assert found["seen_lost_share"] == (0.25, 4)  # A2 for A1; unknown is no type


def test_there_are_no_values_where_every_type_is_seen() -> None:
    assert not rows_of_family(unseen_types, scored(["A1", "B"], ["B", "B"]))
    (row,) = rows_of_family(unseen_types, scored(["A1", "B"], ["A1", "A2"]))
    assert (row.metric, row.value, row.n) == ("seen_lost_share", 0.5, 2)


def test_cells_without_a_known_type_are_of_no_unseen_type() -> None:
    assert not rows_of_family(unseen_types, scored(["unknown", "B"], ["B", "B"], training=["B"]))


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40))
def test_values_are_those_of_the_families_on_these_cells_alone(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = (np.array(one, dtype=object) for one in zip(*pairs, strict=True))
    training = ["A1", "B"]
    own = ~np.isin(truth, training)
    found = values(rows_of_family(unseen_types, scored(truth.tolist(), predicted.tolist(), training=training)))
    if not own.any():
        assert ("unseen_ontology_accuracy", "-", "all") not in found
        return
    part = scored(truth[own].tolist(), predicted[own].tolist(), training=training)
    aware, nodes = values(rows_of_family(ontology_aware, part)), values(rows_of_family(hierarchical, part))
    assert found["unseen_ontology_accuracy", "-", "all"] == pytest.approx(aware["ontology_accuracy", "-", "all"])
    assert found["unseen_hierarchical_f1", "-", "all"] == pytest.approx(nodes["hierarchical_f1_micro", "-", "all"])
