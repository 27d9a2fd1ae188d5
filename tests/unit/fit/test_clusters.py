"""What is promised: within a cluster all cells get the label of most; clusters of cells are found, and found again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.cells.expression import log_normalised
from annobench.cells.leiden import cell_clusters
from annobench.core.errors import PredictionError
from annobench.core.parquet import Categorical
from annobench.fit.decoded import decode_given
from annobench.fit.decodings.given import Given
from annobench.ontology import Ontology
from helpers import cells

LABELS = ["B", "A", "A", "B", "C", "unknown", "unknown", "C", "A"]
CLUSTERS = ["1", "1", "1", "2", "2", "3", "3", "unknown", "3"]


def chosen(labels: list[str], clusters: list[str], **options: float) -> list[tuple[str, float]]:
    cells = Given(
        labels=Categorical.of(labels), confidence=np.full(len(labels), 0.3), clusters=Categorical.of(clusters)
    )
    found = decode_given("clusters", cells, options)
    return list(zip(found.labels.to_text().tolist(), found.confidence.round(4).tolist(), strict=True))


def test_by_hand() -> None:
    found = chosen(LABELS, CLUSTERS)
    assert found[:3] == [("A", 0.6667)] * 3
    assert found[3:5] == [("B", 0.5)] * 2  # a tie goes to the first in the alphabet
    assert [*found[5:7], found[8]] == [("unknown", 0.6667)] * 3
    assert found[7] == ("C", 0.3)  # in no cluster
    strict = [label for label, _ in chosen(LABELS, CLUSTERS, min_share=0.6)]
    assert strict == ["A", "A", "A", "unknown", "unknown", "unknown", "unknown", "C", "unknown"]
    with pytest.raises(PredictionError, match="needs clusters of the cells; name a column of obs"):
        decode_given("clusters", Given(labels=Categorical.of(LABELS)))
    with pytest.raises(PredictionError, match="min_share is 2, expected 0 to 1"):
        chosen(LABELS, CLUSTERS, min_share=2)


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["1", "2", "3"])), min_size=1, max_size=40))
def test_the_majority_holds_in_every_cluster(pairs: list[tuple[str, str]]) -> None:
    labels, clusters = [label for label, _ in pairs], [cluster for _, cluster in pairs]
    found = chosen(labels, clusters)
    for name in set(clusters):
        members = [label for label, cluster in pairs if cluster == name]
        own = {answer for answer, cluster in zip(found, clusters, strict=True) if cluster == name}
        assert len(own) == 1
        label, share = own.pop()
        assert members.count(label) == max(members.count(one) for one in "ABC")
        assert share == pytest.approx(members.count(label) / len(members), abs=1e-4)


def test_clusters_of_cells_follow_their_types_and_are_the_same_again(ontology: Ontology) -> None:
    data = cells(ontology, cells=300, genes=150, seed=2)
    expression = log_normalised(data)
    found = cell_clusters(expression, seed=1, resolution=1.0)
    assert (found == cell_clusters(expression, seed=1, resolution=1.0)).all()
    types = data.obs["label_id"].to_numpy()
    right = sum(max((types[found == one] == name).sum() for name in set(types)) for one in set(found.tolist()))
    assert right / len(types) > 0.9
    many = cell_clusters(expression, seed=1)
    assert len(set(many.tolist())) > len(set(found.tolist()))
    assert cell_clusters(expression[:2], seed=1).tolist() == [0, 1]
    assert set(cell_clusters(expression[:5], seed=1).tolist()) <= set(range(5))
    assert cell_clusters(expression[:, :1], seed=1).tolist() == [0] * 300
