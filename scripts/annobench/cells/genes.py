"""Identity of genes: Ensembl ids without version, else names."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


_ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{11})(\.\d+)?(_PAR_[XY])?$")


def strip_version(value: str) -> str:
    """The Ensembl id without its version (`ENSG00000141510.17`, `..._PAR_Y`); empty for any other text."""
    match = _ENSEMBL.match(value)
    return match.group(1) if match else ""


def shared_genes(parts: list["pd.DataFrame"]) -> list[list[int]]:
    """The genes that several tables share.

    Two genes are the same if both have an Ensembl id and the ids are equal, or if one of them has none and the symbols
    are equal. A symbol that could be matched to several genes is matched to none.

    Parameters
    ----------
    parts
        Tables with the columns feature_id (empty where not known) and feature_name, such as the var of prepared cells.

    Returns
    -------
    For each table the positions of the shared genes, in the order of the first table.
    """
    chosen = [[i] for i in range(len(parts[0]))]
    own_ids, own_names = (parts[0][column].tolist() for column in ("feature_id", "feature_name"))
    own = Counter(own_names)
    for table in parts[1:]:
        ids, symbols = (table[column].tolist() for column in ("feature_id", "feature_name"))
        by_id = {v: i for i, v in enumerate(ids) if v}
        names = Counter(symbols)
        by_name = {v: i for i, v in enumerate(symbols) if names[v] == 1}
        kept = []
        for positions in chosen:
            feature_id, name = own_ids[positions[0]], own_names[positions[0]]
            match = by_id.get(feature_id) if feature_id else None
            if match is None and own[name] == 1 and name in by_name:
                candidate = by_name[name]
                if not feature_id or not ids[candidate]:
                    match = candidate
            if match is not None:
                kept.append([*positions, match])
        chosen = kept
    return [list(column) for column in zip(*chosen, strict=True)] if chosen else [[] for _ in parts]


@dataclass(frozen=True)
class GeneMatch:
    """Genes of a model that other cells have as well.

    Parameters
    ----------
    own, theirs
        (matched,) positions among the genes of the model, and among those of the cells.
    by_id
        How many of them were matched by Ensembl id; the others were by symbol.
    wanted, given
        Numbers of genes of the model and of the cells.
    missing
        Names of the genes of the model that the cells lack.
    """

    own: "NDArray[np.intp]"
    theirs: "NDArray[np.intp]"
    by_id: int
    wanted: int
    given: int
    missing: list[str]

    @property
    def share(self) -> float:
        """Share of the genes of the model that the cells have."""
        return len(self.own) / self.wanted

    def counts(self) -> dict[str, int]:
        """Genes of the model that were found and that are missing, and genes of the cells that are unused."""
        found = len(self.own)
        return {
            "model": self.wanted,
            "found": found,
            "found_by_id": self.by_id,
            "found_by_symbol": found - self.by_id,
            "missing": self.wanted - found,
            "cells": self.given,
            "unused": self.given - found,
        }


def match_genes(model: "pd.DataFrame", cells: "pd.DataFrame") -> GeneMatch:
    """Match the genes of a model to those of cells by the rules of `shared_genes`.

    Parameters
    ----------
    model, cells
        Tables of genes with `feature_id` (empty where it is not known) and `feature_name`.
    """
    import numpy as np

    own, theirs = (np.asarray(found, dtype=np.intp) for found in shared_genes([model, cells]))
    ids = model["feature_id"].to_numpy()[own]
    by_id = (ids != "") & (ids == cells["feature_id"].to_numpy()[theirs])
    absent = np.setdiff1d(np.arange(len(model)), own)
    names = model["feature_name"].to_numpy()[absent].tolist()
    return GeneMatch(own, theirs, int(by_id.sum()), len(model), len(cells), names)
