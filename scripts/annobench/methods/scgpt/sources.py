"""Where an adapted method has its base and its tokens from: the two places that know files."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import read_json, sha256_of
from annobench.core.paths import ROOT
from annobench.methods.scgpt.backbone import BackboneShape
from annobench.methods.scgpt.batches import TokenTable

if TYPE_CHECKING:
    from anndata import AnnData
    from torch import Tensor

    from annobench.fit.method import Context

WEIGHTS, FACTS, VOCABULARY = "weights.safetensors", "checkpoint.json", "vocabulary.json"


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
        By name, as Backbone has them.
    vocabulary_sha256
        Of the file of the vocabulary.
    preprocessing
        How tokens are made for it.
    """

    place: str
    shape: BackboneShape
    weights: "Mapping[str, Tensor]"
    vocabulary_sha256: str
    preprocessing: Mapping[str, str | int | float]

    @cached_property
    def sha256(self) -> str:
        """Hash of names, shapes and values of the weights: that of what is computed with, in whatever file."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def base_of(backbone: str) -> Base:
    """The base that a parameter names.

    Parameters
    ----------
    backbone
        Name of a checkpoint, which lies below results/checkpoints, or a folder.

    Raises
    ------
    MethodSkipped
        There is no such folder.
    DataError
        A file is missing in it.
    """
    from safetensors.torch import load_file

    folder = ROOT / (f"results/checkpoints/{backbone}" if Path(backbone).name == backbone else backbone)
    if not folder.is_dir():
        raise MethodSkipped(f"parameters.backbone: there is no checkpoint {folder}; make it, or name another")
    for name in (WEIGHTS, FACTS, VOCABULARY):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: expected {WEIGHTS}, {FACTS} and {VOCABULARY}, {name} is missing")
    facts = read_json(folder / FACTS)
    return Base(
        place=str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT) else str(folder),
        shape=BackboneShape(**facts["shape"]),
        weights=load_file(folder / WEIGHTS),
        vocabulary_sha256=sha256_of(folder / VOCABULARY),
        preprocessing=facts.get("preprocessing", {}),
    )


def tokens_of(cells: "AnnData", context: "Context | None") -> TokenTable:
    """Tokens of some cells, in their order.

    Parameters
    ----------
    cells
        Any cells of the fit.
    context
        Of the fit; None for a model that was loaded, whose cells are new.

    Raises
    ------
    MethodSkipped
        The fit has no tokens.
    """
    find = getattr(context, "tokens", None)
    if find is None:
        raise MethodSkipped("this fit has no tokens: its cells were not tokenised for the vocabulary of the backbone")
    table: TokenTable = find(cells)
    return table
