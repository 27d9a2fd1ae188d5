"""From counts to tokens: genes of the vocabulary with their values or by their rank, special tokens around them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from annobench.core.errors import DataError
from annobench.data.checkpoints.spec import InputSpec
from annobench.data.checkpoints.stored import StoredCheckpoint
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
        (tokens,) int32, numbers of tokens; those of special tokens stand around the genes.
    values
        (tokens,) int16; where cells are ranked the place of the token in the cell, from 0.
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
    medians
        Token of a gene -> its median expression, where `given` ranks genes; tokens without one stand for no gene.
    pad
        Number of the token that a cell without any other is.

    Raises
    ------
    DataError
        The dataset has too few of the genes (`input.least_known`).
    """

    def __init__(
        self,
        given: InputSpec,
        vocabulary: Mapping[str, int],
        var: "pd.DataFrame",
        *,
        organism: str,
        dataset: str,
        medians: Mapping[str, float] | None = None,
        pad: int = 0,
    ) -> None:
        self.input, self._dataset, self._pad = given, dataset, pad
        self._before, self._behind = (
            [] if name is None else [vocabulary[name]] for name in (given.cls, given.eos)
        )  # special tokens: one or none
        named = vocabulary if medians is None else {name: vocabulary[name] for name in medians}
        self.genes: GeneTokens = gene_tokens(var, named, organism)
        if medians is not None:
            of = {vocabulary[name]: median for name, median in medians.items()}
            self._medians = np.array([of[token] for token in self.genes.tokens.tolist()])
        if self.genes.known == 0 or self.genes.share < given.least_known:
            raise DataError(
                f"{dataset}: {self.genes.known:,} of its {self.genes.genes:,} genes are among the "
                f"{self.genes.vocabulary:,} of the vocabulary, which is {self.genes.share:.1%} of the smaller of the "
                f"two; expected at least {given.least_known:.1%} (input.least_known of the checkpoint). Genes are "
                f"matched by symbol and Ensembl id; the dataset has {', '.join(map(str, var['feature_name'][:3]))}"
            )

    @classmethod
    def of(cls, checkpoint: StoredCheckpoint, var: "pd.DataFrame", dataset: str) -> "Tokeniser":
        """That of a checkpoint, for the genes of a dataset."""
        return cls(
            checkpoint.input,
            checkpoint.vocabulary,
            var,
            organism=checkpoint.record.organism,
            dataset=dataset,
            medians=checkpoint.medians,
            pad=checkpoint.shape.pad,
        )

    @property
    def most(self) -> int:
        """Genes of a cell that have room."""
        return self.input.max_length - len(self._before) - len(self._behind)

    def check_state(self, state: str) -> None:
        """Raise DataError for values that cannot become tokens as the checkpoint wants them."""
        if self.input.values != "bins" and state != "counts":
            raise DataError(
                f"{self._dataset}: holds {state}, but the checkpoint reads counts (input.values: {self.input.values}); "
                "take a dataset with counts, or a checkpoint that reads bins"
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
        ranked = self.input.values == "ranks"
        if ranked:
            ids, kept = self._ranked(ids, known, starts)
            values = np.zeros(len(ids), dtype=np.int16)  # places, below
        else:
            values = self._values(known.data, starts)
            kept = self._sample(ids, values, starts)
        number = np.diff(starts)
        before, behind = len(self._before), len(self._behind)
        full = np.minimum(number, self.most) + before + behind
        lengths = np.maximum(full, 1)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        all_ids, all_values = np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1], dtype=np.int16)
        genes = np.ones(len(all_ids), dtype=bool)
        for special, places in (
            (self._before, offsets[:-1]),
            (self._behind, offsets[1:] - 1),
            ([self._pad], offsets[:-1][full == 0]),
        ):
            if special:
                genes[places], all_ids[places] = False, special[0]
                all_values[places] = self.input.cls_value
        all_ids[genes], all_values[genes] = ids[kept], values[kept]
        if ranked:
            all_values = (np.arange(len(all_ids)) - np.repeat(offsets[:-1], lengths)).astype(np.int16)
        return Tokens(offsets, all_ids, all_values, number)

    def _ranked(
        self, ids: "NDArray[np.int32]", known: "csr_matrix", starts: "NDArray[np.int64]"
    ) -> "tuple[NDArray[np.int32], NDArray[np.bool_]]":
        """Tokens of genes by their rank, and which are kept.

        Genes of equal rank are in the order of their tokens. Geneformer divides by the counts of the cell first, which
        changes no order.
        """
        cells = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        order = np.lexsort((-known.data.astype(np.float64) / self._medians[known.indices], cells))
        return ids[order], np.arange(len(ids)) - starts[cells] < self.most

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
        most = self.most
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
