"""What a dataset lost while it was prepared, in sentences."""

import pytest

from annobench.data.prepare.losses import losses

WHOLE = {
    "dataset": "d",
    "cells": 1000,
    "genes": 900,
    "cells_with_unknown_label": 0,
    "labels_unmapped": {},
    "dropped": {},
}


def test_nothing_lost_is_nothing_said() -> None:
    assert losses(WHOLE) == []
    assert losses(WHOLE | {"dropped": {"duplicated_genes": 3, "genes_not_required": 100}}) == []
    assert losses(WHOLE | {"cells_with_unknown_label": 1000}) == []  # a query without labels


def test_unmapped_labels_are_named_with_their_cells() -> None:
    counts = {"a": 5, "b": 60, "c": 30, "d": 20, "e": 15, "f": 10}
    unmapped = {label: f"{n} cells: no native id" for label, n in counts.items()}
    unmapped["b"] += "; 40 cells: native id 'CL:1' is not in Cell Ontology 2026-03-26"
    (text,) = losses(WHOLE | {"cells_with_unknown_label": 180, "labels_unmapped": unmapped})
    assert text.startswith("180 of 1,000 cells (18%) have an unknown label and are not scored; not mapped: 'b' (100), ")
    assert "'c' (30), 'd' (20), 'e' (15), 'f' (10) and 1 more. Map them in the label table" in text


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"genes": 400, "dropped": {"genes_not_required": 500, "duplicated_genes": 100}},
            "600 of 1,000 genes are left out (500 not required, 100 duplicates)",
        ),
        ({"cells_without": {"donor": 7}}, "7 of 1,000 cells have no donor"),
        ({"organism": {"organism": "Mus musculus", "warning": "genes tell Mus musculus"}}, "genes tell Mus musculus"),
    ],
)
def test_other_losses(more: dict[str, object], text: str) -> None:
    assert losses(WHOLE | more) == [text]
