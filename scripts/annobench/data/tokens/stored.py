"""Tokens as the rule keeps them: tokens.npz, mapped into memory, the ids of the cells, and a card."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import read_json, write_json
from annobench.core.npz import mapped
from annobench.core.parquet import positions, read_columns, to_arrow
from annobench.core.spec import Spec
from annobench.data.tokens.tokeniser import Tokens

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

TOKENS, CELLS, CARD = "tokens.npz", "cells.parquet", "card.json"


@dataclass(frozen=True, kw_only=True)
class LostGene(Spec):
    """A gene without a token, and its share of all expression."""

    feature_id: str
    feature_name: str
    share: float


@dataclass(frozen=True, kw_only=True)
class TokensCard(Spec):
    """card.json: how well the genes of a dataset and the vocabulary of a checkpoint fit.

    Parameters
    ----------
    dataset, checkpoint
        What was made into tokens, and of which vocabulary.
    status, reason
        `ok`, or `failed` and why; methods that read the tokens are then skipped.
    genes
        `dataset`, `vocabulary`, `known`, of these `by_symbol`, `by_id` and `by_other_symbol`; `lost`, of these `taken`,
        whose token another gene of the dataset has.
    lost_expression
        Share of all counts (of the values before the logarithm, where there are no counts) in genes without a token.
    most_lost
        The ten of these with the largest share.
    cells
        `total`; `without_known_gene`, which are the token of the cell alone; `cut`, which had more genes than fit.
    such_as
        Some of the cells without a known gene.
    length
        `mean`, `median` and `largest` number of tokens of a cell.
    rules
        How values became tokens, in words.
    pretrained_on
        Datasets among this one and its parts whose cells the backbone was trained on here.
    data_sha256, weights_sha256, vocabulary_sha256, input
        Of the prepared cells, and of the checkpoint.
    """

    dataset: str
    checkpoint: str
    status: str = "ok"
    reason: str | None = None
    genes: Mapping[str, int] = field(default_factory=dict)
    lost_expression: float | None = None
    most_lost: tuple[LostGene, ...] = ()
    cells: Mapping[str, int] = field(default_factory=dict)
    such_as: tuple[str, ...] = ()
    length: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    pretrained_on: tuple[str, ...] = ()
    data_sha256: str | None = None
    weights_sha256: str | None = None
    vocabulary_sha256: str | None = None
    input: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> "TokensCard":
        """The card of a folder of results/tokens."""
        return cls.from_params(read_json(Path(folder) / CARD))

    def write(self, folder: Path) -> None:
        """Write it into a folder, last of its files."""
        write_json(folder / CARD, self.to_params())


@dataclass(frozen=True)
class PaddedTokens:
    """Some cells as a batch.

    Parameters
    ----------
    genes
        (cells, length) int64, numbers of tokens; the padding token where a cell has fewer.
    values
        (cells, length) float32.
    mask
        (cells, length) where the tokens of the cell are.
    """

    genes: "NDArray[np.int64]"
    values: "NDArray[np.float32]"
    mask: "NDArray[np.bool_]"


class StoredTokens:
    """Tokens of the cells of a dataset, read where they are needed.

    Parameters
    ----------
    tokens
        Of all cells.
    cells
        (cells,) their ids.
    where
        Named in messages.
    """

    def __init__(self, tokens: Tokens, cells: "pa.Array", where: str) -> None:
        self.tokens, self._cells, self._where = tokens, cells, where
        self.lengths = tokens.lengths

    @classmethod
    def open(cls, folder: str | Path) -> "StoredTokens":
        """Open a folder; raises DataError where the tokens could not be made."""
        folder = Path(folder)
        card = TokensCard.read(folder)
        if card.status != "ok":
            raise DataError(f"{folder}: there are no tokens: {card.reason}")
        arrays = (mapped(folder / TOKENS, name) for name in ("offsets", "ids", "values", "known"))
        cells = read_columns(folder / CELLS, ["cell_id"], texts=["cell_id"])["cell_id"]
        return cls(Tokens(*arrays), cells, str(folder))

    def __len__(self) -> int:
        return len(self.lengths)

    def rows(self, cell_ids: "NDArray[np.object_]") -> "NDArray[np.int64]":
        """Rows of cells by their ids, (n,); raises DataError for a cell that has no tokens."""
        wanted = to_arrow(cell_ids)
        rows = positions(wanted, self._cells)
        if absent := int((rows < 0).sum()):
            raise DataError(
                f"{self._where}: has no tokens of {absent} of {len(rows)} cells, such as "
                f"'{cell_ids[int(np.flatnonzero(rows < 0)[0])]}'; delete the folder and run again"
            )
        return rows

    def padded(self, rows: "NDArray[np.int64]", pad: int) -> PaddedTokens:
        """Some cells as a batch, as long as the longest of them; `pad` is the number of the padding token."""
        lengths = self.lengths[rows]
        mask = np.arange(int(lengths.max(initial=1))) < lengths[:, None]
        genes, values = np.full(mask.shape, pad, dtype=np.int64), np.zeros(mask.shape, dtype=np.float32)
        begins = self.tokens.offsets[rows]
        cells, places = np.nonzero(mask)
        taken = begins[cells] + places
        genes[mask], values[mask] = self.tokens.ids[taken], self.tokens.values[taken]
        return PaddedTokens(genes, values, mask)

    def buckets(self, rows: "NDArray[np.int64]", tokens: int) -> "Iterator[NDArray[np.int64]]":
        """Positions among `rows` in batches of cells of like length, the longest first.

        A batch has at most `tokens` tokens, with those that fill it up, and at least one cell.
        """
        lengths = self.lengths[rows]
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            size = max(tokens // int(lengths[order[start]]), 1)
            yield order[start : start + size]
            start += size
