"""What a dataset lost while it was prepared, in sentences: for the terminal and the first screen of the report."""

import re
from collections.abc import Mapping

_SHOWN = 5  # names in a sentence
_FEW_GENES = 0.5  # below this share of its genes a dataset is worth a word
_CELLS = re.compile(r"(\d+) cells:")  # of a label that could not be mapped: how many cells, and why
_WHY = {
    "genes_not_required": "not required",
    "duplicated_genes": "duplicates",
    "genes_without_name_and_id": "without name and id",
}


def losses(card: Mapping[str, object]) -> list[str]:
    """What a reader of results must know of a dataset.

    Parameters
    ----------
    card
        As written by `prepare_dataset`.

    Returns
    -------
    Sentences without the name of the dataset; empty where nothing of weight was lost.
    """
    cells = _number(card, "cells")
    found = [*_labels(card, cells), *_genes(card)]
    found += [f"{n:,} of {cells:,} cells have no {key}" for key, n in _part(card, "cells_without").items()]
    strange = card.get("gene_names")
    found += map(str, strange) if isinstance(strange, list) else []
    warning = _part(card, "organism").get("warning")
    return [*found, str(warning)] if warning else found


def _number(card: Mapping[str, object], key: str) -> int:
    value = card.get(key, 0)
    return value if isinstance(value, int) else 0


def _part(card: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = card.get(key)
    return part if isinstance(part, Mapping) else {}


def _labels(card: Mapping[str, object], cells: int) -> list[str]:
    unknown = _number(card, "cells_with_unknown_label")
    if not unknown or unknown == cells:  # without any label: an unlabelled query
        return []
    text = f"{unknown:,} of {cells:,} cells ({unknown / cells:.0%}) have an unknown label and are not scored"
    counts = {label: sum(map(int, _CELLS.findall(str(why)))) for label, why in _part(card, "labels_unmapped").items()}
    if not counts:
        return [text]
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    names = ", ".join(f"'{label}' ({n:,})" for label, n in most[:_SHOWN])
    more = f" and {len(most) - _SHOWN} more" if len(most) > _SHOWN else ""
    return [f"{text}; not mapped: {names}{more}. Map them in the label table (cells.label_table, config/labels)"]


def _genes(card: Mapping[str, object]) -> list[str]:
    dropped = _part(card, "dropped")
    lost = {why: _number(dropped, key) for key, why in _WHY.items()}
    left, whole = sum(lost.values()), _number(card, "genes") + sum(lost.values())
    if left <= (1 - _FEW_GENES) * whole:
        return []
    each = ", ".join(f"{n:,} {why}" for why, n in lost.items() if n)
    return [f"{left:,} of {whole:,} genes are left out ({each})"]
