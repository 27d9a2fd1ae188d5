"""Where an adapted method has its base and its tokens from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.panel import measured
from annobench.cells.stored_cells import is_stored
from annobench.core.errors import DataError
from annobench.core.paths import ROOT
from annobench.data.checkpoints.spec import Shape
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.data.tokens.genes import check_organism
from annobench.data.tokens.stored import StoredTokens
from annobench.data.tokens.tokeniser import Tokeniser
from annobench.methods.transformer.batches import TokenTable

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from torch import Tensor

    from annobench.fit.method import Context


@dataclass(frozen=True)
class Base:
    """A backbone as it was before it is adapted.

    Parameters
    ----------
    place
        Its folder, relative to the repository where it lies in it.
    shape
        Sizes.
    weights
        By name, as the module of the shape has them.
    vocabulary_sha256
        Of the file of the vocabulary.
    preprocessing
        How tokens are made for it, and these an embedding.
    medians_sha256
        Of the file of medians, where cells are ranked.
    """

    place: str
    shape: Shape
    weights: "Mapping[str, Tensor]"
    vocabulary_sha256: str
    preprocessing: Mapping[str, object]
    medians_sha256: str | None = None

    @cached_property
    def sha256(self) -> str:
        """Hash of names, shapes and values of the weights: that of what is computed with, in whatever file."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def base_of(folder: str | Path) -> Base:
    """The base of a checkpoint.

    Parameters
    ----------
    folder
        That of the checkpoint, absolute or relative to the repository.

    Raises
    ------
    DataError
        It holds no checkpoint, or files that differ from its record.
    """
    import torch

    folder = ROOT / folder
    stored = StoredCheckpoint.open(folder)
    return Base(
        place=str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else str(folder),
        shape=stored.shape,
        weights={name: torch.from_numpy(values) for name, values in stored.weights().items()},
        vocabulary_sha256=str(stored.record.vocabulary_sha256),
        preprocessing=stored.input.to_params(),
        medians_sha256=stored.record.medians_sha256,
    )


def tokens_of(cells: "AnnData", context: "Context | None", base: Base) -> TokenTable:
    """Tokens of some cells, in their order: those of the fit where it has them, else made here from their values.

    Parameters
    ----------
    cells
        Any cells of the fit, or new ones.
    context
        Of the fit; None for a model that was loaded.
    base
        Whose vocabulary they are of.

    Raises
    ------
    DataError
        New cells are of another organism, have too few genes of the vocabulary, or values that it does not read.
    """
    names = cells.obs_names.to_numpy(dtype=object)
    if context is not None:
        assert context.tokens is not None
        stored = StoredTokens.open(context.tokens)
        if stored.has(names):
            made = stored.tokens
            return TokenTable(made.offsets, made.ids, made.values, places=stored.rows(names))
    return _made(cells, base)


def known_genes(var: "pd.DataFrame", base: Base) -> "NDArray[np.bool_]":
    """Which genes of new cells have a token, (genes,).

    Raises
    ------
    DataError
        They are of another organism, or too few that were measured are in the vocabulary.
    """
    return _tokeniser(var, {}, base)[1]


def _tokeniser(var: "pd.DataFrame", organisms: Mapping[str, int], base: Base) -> "tuple[Tokeniser, NDArray[np.bool_]]":
    """What makes tokens of the measured genes of new cells, and which genes these are that have one."""
    stored, what = StoredCheckpoint.open(ROOT / base.place), "the cells"
    check_organism(var, organisms, stored.record.organism, what)
    there = measured(var, None)
    made = Tokeniser.of(stored, var[there], what)
    known = np.zeros(len(var), dtype=bool)
    known[np.flatnonzero(there)[made.genes.columns]] = True
    return made, known


def _made(cells: "AnnData", base: Base) -> TokenTable:
    """Tokens of cells that have none yet."""
    from scipy.sparse import csr_matrix

    if is_stored(cells) or cells.X is None:
        raise DataError("the cells have neither tokens nor values to make them of; tokenise the dataset again")
    declared = {} if "organism" not in cells.obs else cells.obs["organism"].astype(str).value_counts().to_dict()
    tokeniser, _ = _tokeniser(cells.var, declared, base)
    tokeniser.check_state(str(cells.uns["annobench"]["matrix"]))
    there = measured(cells.var, None)
    made = tokeniser.tokens(csr_matrix(cells.X if there.all() else cells.X[:, there]))
    return TokenTable(made.offsets, made.ids.astype(np.int32), made.values)
