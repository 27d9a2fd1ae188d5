"""What is promised: markers of one organism score cells of another by one-to-one partners, in both directions."""

import numpy as np
import pytest

from annobench.core.errors import DataError
from annobench.core.progress import heard_by
from annobench.score.metrics.markers import MarkerSet
from annobench.score.orthologues import OrthologuePairs

GENES = ["CD3E", "CD2", "CD3D", "MS4A1", "CD79A", "CD19", "CD14", "LYZ", "NKG7"]
PAIRS = [(gene, gene.capitalize()) for gene in GENES if gene != "LYZ"]
MARKERS = {"T": ["CD3E", "CD2"], "B": ["MS4A1", "CD79A"], "monocyte": ["CD14", "LYZ"]}
OF_MOUSE = {"T": ["Cd3e", "Cd2"], "B": ["Ms4a1", "Cd79a"], "monocyte": ["Cd14"]}
MOUSE = [gene.capitalize() for gene in GENES]


def table(pairs: list[tuple[str, str]] = PAIRS, name: str = "pairs.csv") -> OrthologuePairs:
    return OrthologuePairs(name, ("human", "mouse"), pairs)


def test_human_markers_find_genes_of_mouse_cells() -> None:
    said: list[str] = []
    with heard_by(said.append):
        carried = table(name="of_mouse_cells.csv").carried(MARKERS, MOUSE)
    assert carried == OF_MOUSE
    assert said == [
        "of_mouse_cells.csv: 5 of 6 markers are carried over from human to mouse; 1 have no one-to-one partner and are "
        "left out: LYZ"
    ]
    measured = MarkerSet.measured(carried, MOUSE)
    assert set(measured.genes) == {"T", "B"}  # of the monocyte one marker is left
    assert np.array(MOUSE)[measured.genes["T"]].tolist() == ["Cd3e", "Cd2"]


def test_mouse_markers_find_genes_of_human_cells() -> None:
    assert table().carried(OF_MOUSE, GENES) == {**MARKERS, "monocyte": ["CD14"]}


def test_the_order_of_columns_does_not_matter() -> None:
    turned = OrthologuePairs("pairs.csv", ("mouse", "human"), [(b, a) for a, b in PAIRS])
    assert turned.carried(MARKERS, MOUSE) == OF_MOUSE


@pytest.mark.parametrize("symbols", [GENES, ["GENE1", "GENE2"], []])
def test_cells_of_the_organism_of_the_markers_or_of_none_keep_them_all(symbols: list[str]) -> None:
    assert table().carried(MARKERS, symbols) == MARKERS


def test_organisms_that_share_some_symbols() -> None:
    pairs = [("CD3E", "CD3E"), ("CD2", "CD2"), ("MS4A1", "MS4A1L"), ("CD79A", "CD79A")]
    of_monkey = ["CD3E", "CD2", "MS4A1L"]
    assert table(pairs).carried(MARKERS, of_monkey)["B"] == ["MS4A1L", "CD79A"]


@pytest.mark.parametrize(
    ("pairs", "markers", "part"),
    [
        ([("TP53", "Trp53")], MARKERS, "none of 6 markers, such as CD3E, .* is in its columns human or mouse"),
        ([("CD3E", "CD3E")], MARKERS, "each hold 1 of 6 markers, so that their organism cannot be told"),
    ],
)
def test_tables_that_do_not_tell_are_refused(
    pairs: list[tuple[str, str]], markers: dict[str, list[str]], part: str
) -> None:
    with pytest.raises(DataError, match=part):
        table(pairs).carried(markers, MOUSE)
