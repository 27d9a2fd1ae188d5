"""What is promised: a layered drawing keeps parents left of children, gives every node its room, and crosses little."""

import itertools
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annobench.figures.shared.layered import components, crossings, place
from annobench.figures.shared.short_names import in_lines, short_names, text_width


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]]]:
    """A connected graph without cycles: every node but the first is below one before it, some below others too."""
    size = draw(st.integers(2, 14))
    edges = {(draw(st.integers(0, node - 1)), node) for node in range(1, size)}
    for _ in range(draw(st.integers(0, 6))):
        low = draw(st.integers(0, size - 2))
        edges.add((low, draw(st.integers(low + 1, size - 1))))
    return list(range(size)), sorted(edges)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_edges_lead_right_and_nodes_keep_their_room(graph: tuple[list[int], list[tuple[int, int]]]) -> None:
    nodes, edges = graph
    room = {node: 1 + node % 3 for node in nodes}
    laid = place(nodes, edges, room, 0.5)
    level = {node: i for i, layer in enumerate(laid.layers) for node in layer}
    assert {n for n in level if not isinstance(n, tuple)} == set(nodes)
    assert all(level[parent] < level[child] for parent, child in edges)
    for chain in laid.chains.values():
        assert [level[b] - level[a] for a, b in itertools.pairwise(chain)] == [1] * (len(chain) - 1)
    for layer in laid.layers:
        for above, below in itertools.pairwise(layer):
            needed = (room.get(above, 0.5) + room.get(below, 0.5)) / 2
            assert laid.heights[below] - laid.heights[above] >= needed - 1e-9
    assert min(laid.heights.values()) == pytest.approx(0)
    assert place(nodes, edges, room, 0.5) == laid


def test_a_tree_has_no_crossings_and_parents_stand_beside_their_children() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "e"), ("b", "f"), ("c", "g"), ("c", "h")]
    laid = place(list("ahgfedcb"), edges, dict.fromkeys("abcdefgh", 1.0), 0.5)
    links = [pair for chain in laid.chains.values() for pair in itertools.pairwise(chain)]
    assert crossings(laid.layers, links) == 0
    y = laid.heights
    assert y["b"] == pytest.approx((y["d"] + y["f"]) / 2, abs=0.3)
    assert y["a"] == pytest.approx((y["b"] + y["c"]) / 2, abs=0.3)


def test_crossings_are_counted_by_pairs() -> None:
    layers = [["a", "b", "c"], ["x", "y", "z"]]
    links = [("a", "z"), ("b", "y"), ("c", "x"), ("c", "z")]
    assert crossings(layers, links) == 3  # az-by, az-cx, by-cx; az and cz share an end


def test_parts_come_by_size_and_hold_their_nodes_in_order() -> None:
    assert components(list("abcdef"), [("e", "b"), ("b", "c")]) == [["b", "c", "e"], ["a"], ["d"], ["f"]]


def test_short_names_are_different_and_say_the_type() -> None:
    labels = ["effector memory CD8-positive, alpha-beta T cell, terminally differentiated", "T cell"]
    assert short_names(labels) == ["EM CD8+, αβ T cell, term. diff.", "T cell"]
    same = ["naive thymus-derived CD4-positive, alpha-beta T cell", "naive CD4-positive, alpha-beta T cell"]
    assert len(set(short_names(same, 99))) == 2  # both would be the same
    assert short_names(["x" * 60], 20) == ["x" * 19 + "…"]


def test_lines_are_even_and_few() -> None:
    assert in_lines("alveolar type 2 fibroblast cell", 20) == "alveolar type 2\nfibroblast cell"
    assert in_lines("club cell", 20) == "club cell"
    assert in_lines("basal cell of epithelium of trachea", 15).count("\n") == 2
    assert in_lines("a " * 60, 10).endswith("…")
    assert text_width("a\nlonger line", 7) == text_width("longer line", 7) > text_width("a", 7)


def test_the_164_classes_of_the_paper_have_different_short_names(real_data: Path) -> None:
    labels = pd.read_csv(real_data / "hce" / "cell_types_164.csv")["label"]
    names = short_names(list(labels))
    assert len(set(names)) == 164
    assert max(map(len, names)) <= 44
