"""Metrics of the geometry of an embedding, on cases that are worked out by hand."""

import numpy as np
import pytest

from annobench.score.evidence import Evidence
from annobench.score.metrics import geometry
from helpers import scored


def values(embedding: np.ndarray) -> dict[str, float]:
    evidence = Evidence(scored(["A"] * len(embedding), ["A"] * len(embedding)))
    evidence.embedding = embedding.astype(np.float32)
    rows = list(geometry.FAMILY.compute(evidence))
    assert {(row.family, row.level, row.group, row.n) for row in rows} == {
        ("geometry", "overall", "all", len(embedding))
    }
    return {row.metric: row.value for row in rows}


def test_a_cross_with_arms_of_three_and_one() -> None:
    cross = np.array([[3, 0, 4], [-3, 0, 4], [0, 1, 4], [0, -1, 4]])
    # the third dimension is constant; singular values 3 sqrt 2 and sqrt 2: shares 3/4 and 1/4
    assert values(cross) == {
        "dimensions": 3,
        "collapsed_dimensions": 1,
        "effective_rank": pytest.approx(4 / 3**0.75),
    }


def test_cells_on_a_line_have_rank_one() -> None:
    assert values(np.outer(np.arange(5), [1, 2, 3]))["effective_rank"] == pytest.approx(1, abs=1e-5)


def test_cells_at_one_point_have_none() -> None:
    assert values(np.ones((4, 2))) == {"dimensions": 2, "collapsed_dimensions": 2, "effective_rank": 0}


def test_one_cell_has_dimensions_only() -> None:
    assert values(np.ones((1, 2))) == {"dimensions": 2}


def test_no_value_is_better_than_another() -> None:
    assert [metric.best for metric in geometry.METRICS] == [None] * 3
    assert "embedding" in geometry.FAMILY.needs
