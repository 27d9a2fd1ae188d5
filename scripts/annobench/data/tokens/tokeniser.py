"""From counts to tokens: genes of the vocabulary with their values, the token of the cell first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from annobench.core.errors import DataError
from annobench.data.checkpoints.spec import InputSpec
from annobench.data.tokens.bins import binned
from annobench.data.tokens.genes import GeneTokens, gene_tokens

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Tokens:
    """Cells as tokens, one after another.

    Parameters
    ----------
    offsets
        (cells + 1,) int64, where the tokens of each cell begin.
    ids
        (tokens,) int32, numbers of tokens; the first of a cell stands for the cell.
    values
        (tokens,) int16.
    known
        (cells,) genes of each cell that have a token, before any were left out.
    """

    offsets: "NDArray[np.int64]"
    ids: "NDArray[np.int32]"
    values: "NDArray[np.int16]"
    known: "NDArray[np.int64]"

    @property
    def lengths(self) -> "NDArray[np.int64]":
        """(cells,) tokens of each cell."""
        return np.diff(self.offsets)


class Tokeniser:
    """Turns cells of a dataset into tokens of a vocabulary.

    Parameters
    ----------
    given
        How cells become tokens.
    vocabulary
        Token -> number.
    var
        Table of the genes of the dataset: `feature_id` and `feature_name`.
    organism
        Of the vocabulary.
    dataset
        Named in messages.

    Raises
    ------
    DataError
        The dataset has too few of the genes (`input.least_known`).
    """

    def __init__(
        self, given: InputSpec, vocabulary: Mapping[str, int], var: "pd.DataFrame", *, organism: str, dataset: str
    ) -> None:
        self.input, self._cls, self._dataset = given, vocabulary[given.cls], dataset
        self.genes: GeneTokens = gene_tokens(var, vocabulary, organism)
        if self.genes.known == 0 or self.genes.share < given.least_known:
            raise DataError(
                f"{dataset}: {self.genes.known:,} of its {self.genes.genes:,} genes are among the "
                f"{self.genes.vocabulary:,} of the vocabulary, which is {self.genes.share:.1%} of the smaller of the "
                f"two; expected at least {given.least_known:.1%} (input.least_known of the checkpoint). Genes are "
                f"matched by symbol and Ensembl id; the dataset has {', '.join(map(str, var['feature_name'][:3]))}"
            )

    def check_state(self, state: str) -> None:
        """Raise DataError for values that cannot become tokens as the checkpoint wants them."""
        if self.input.values == "counts" and state != "counts":
            raise DataError(
                f"{self._dataset}: holds {state}, but the checkpoint reads counts (input.values); take a dataset with "
                "counts, or a checkpoint that reads bins"
            )

    def tokens(self, matrix: "csr_matrix") -> Tokens:
        """Tokens of some cells; they depend on nothing but the values of the cell and the input of the checkpoint.

        Parameters
        ----------
        matrix
            Values (cells, genes) in the state of the dataset.
        """
        from scipy.sparse import csr_matrix

        known = csr_matrix(matrix[:, self.genes.columns])
        known.sort_indices()
        known.eliminate_zeros()
        starts = known.indptr.astype(np.int64)
        ids = self.genes.tokens[known.indices].astype(np.int32)
        values = self._values(known.data, starts)
        kept = self._sample(ids, values, starts)
        number = np.diff(starts)
        lengths = np.minimum(number, self.input.max_length - 1) + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        all_ids, all_values = np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1], dtype=np.int16)
        genes = np.ones(len(all_ids), dtype=bool)
        genes[offsets[:-1]] = False
        all_ids[~genes], all_values[~genes] = self._cls, self.input.cls_value
        all_ids[genes], all_values[genes] = ids[kept], values[kept]
        return Tokens(offsets, all_ids, all_values, number)

    def _values(self, values: "NDArray[np.floating]", starts: "NDArray[np.int64]") -> "NDArray[np.int16]":
        if self.input.values == "counts":
            return np.minimum(values, self.input.clip).astype(np.int16)
        found = np.empty(len(values), dtype=np.int16)
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            found[start:end] = binned(values[start:end], self.input.bins)
        return found

    def _sample(
        self, ids: "NDArray[np.int32]", values: "NDArray[np.int16]", starts: "NDArray[np.int64]"
    ) -> "NDArray[np.bool_]":
        """Which tokens of genes are kept: of a cell that has too many a draw of its own.

        It follows from the tokens of the cell, and not from its id, which a model does not see of new cells.
        """
        kept = np.ones(len(ids), dtype=bool)
        most = self.input.max_length - 1
        long = np.flatnonzero(np.diff(starts) > most)
        largest = int(ids.max(initial=-1))
        for cell in long.tolist():
            genes = slice(starts[cell], starts[cell + 1])
            # by token, so that the order of the genes in the file does not matter
            order = np.argsort(ids[genes])
            seed = crc32(ids[genes][order].tobytes() + values[genes][order].tobytes())
            lots = np.random.default_rng([self.input.seed, seed]).random(largest + 1)[ids[genes]]
            kept[genes] = False
            kept[starts[cell] + np.argpartition(lots, most)[:most]] = True
        return kept
