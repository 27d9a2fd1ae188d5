"""Which gene of a dataset is which token: by its symbol, its Ensembl id, or another symbol of it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.genes import strip_version
from annobench.core.errors import DataError
from annobench.core.paths import ROOT
from annobench.core.records import Records
from annobench.data.checkpoints.spec import ANY_ORGANISM, GENE_TABLES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

HUMAN = "Homo sapiens"
_PREFIX = {HUMAN: "ENSG", "Mus musculus": "ENSMUSG"}
_ID = re.compile(r"(ENS[A-Z]*G)\d{11}")
_SPECIAL = re.compile(r"<.*>")


@dataclass(frozen=True)
class GeneTokens:
    """Genes of a dataset that have a token.

    Parameters
    ----------
    columns, tokens
        (known,) positions of genes, and the numbers of their tokens, which rise.
    by_symbol, by_id, by_other_symbol
        How many were found by the same symbol, by an Ensembl id that is itself a token, and by a further symbol of the
        same gene.
    taken
        Genes without a token because another gene of the dataset has it.
    genes, vocabulary
        Genes of the dataset, and tokens that stand for genes.
    """

    columns: "NDArray[np.int64]"
    tokens: "NDArray[np.int64]"
    by_symbol: int
    by_id: int
    by_other_symbol: int
    taken: int
    genes: int
    vocabulary: int

    @property
    def known(self) -> int:
        """How many genes have a token."""
        return len(self.columns)

    @property
    def share(self) -> float:
        """Known genes, as a share of the genes of the dataset or of the vocabulary, whichever has fewer."""
        return self.known / max(min(self.genes, self.vocabulary), 1)


def gene_tokens(var: "pd.DataFrame", vocabulary: Mapping[str, int], organism: str) -> GeneTokens:
    """Find the token of every gene.

    A token goes to one gene: the first in the order of the dataset that has it by its symbol, else by its Ensembl id,
    else by a further symbol. Further symbols are those that config/genes lists for the Ensembl id of a human gene; the
    id of a gene that the dataset knows by symbol only comes from there as well. A symbol that several genes of the
    dataset have stands for none of them, unless their ids tell them apart.

    Parameters
    ----------
    var
        Table of the genes, with `feature_id` (empty where not known) and `feature_name`.
    vocabulary
        Token -> number; tokens in angle brackets stand for no gene.
    organism
        Of the vocabulary.
    """
    tokens = {
        strip_version(name) or name: number for name, number in vocabulary.items() if not _SPECIAL.fullmatch(name)
    }
    ids, symbols = (var[column].astype(str).tolist() for column in ("feature_id", "feature_name"))
    often = Counter(symbols)
    known_ids = human_ids() if organism == HUMAN else {}
    ids = [one or (known_ids.get(name, "") if often[name] == 1 else "") for one, name in zip(ids, symbols, strict=True)]
    by_gene: dict[str, int] = {}  # Ensembl id -> token whose symbol is one of that gene
    for name, number in tokens.items():
        if gene := known_ids.get(name):
            by_gene.setdefault(gene, number)
    asked = [tokens.get(name) if often[name] == 1 else None for name in symbols]
    chosen = _Chosen()
    by_symbol = chosen.add(asked)
    by_id = chosen.add([tokens.get(one) if one else None for one in ids])
    by_other_symbol = chosen.add([by_gene.get(one) for one in ids])
    columns = sorted(chosen.token, key=lambda i: chosen.token[i])  # tokens come in one order, whatever the file's
    return GeneTokens(
        np.array(columns, dtype=np.int64),
        np.array([chosen.token[i] for i in columns], dtype=np.int64),
        by_symbol,
        by_id,
        by_other_symbol,
        len(chosen.rejected - set(chosen.token)),
        len(ids),
        len(tokens),
    )


class _Chosen:
    """Tokens of genes so far: gene -> token, and genes that asked for the token of another one."""

    def __init__(self) -> None:
        self.token: dict[int, int] = {}
        self.rejected: set[int] = set()
        self._given: set[int] = set()

    def add(self, asked: Sequence[int | None]) -> int:
        """Give each gene without a token the one that it asks for, if that is free; returns how many got one."""
        before = len(self.token)
        for gene, token in enumerate(asked):
            if token is None or gene in self.token:
                continue
            if token in self._given:
                self.rejected.add(gene)
            else:
                self.token[gene] = token
                self._given.add(token)
        return len(self.token) - before


@cache
def human_ids() -> dict[str, str]:
    """Symbol of a human gene, of today or retired -> its Ensembl id; a symbol of several genes is left out."""
    found: dict[str, set[str]] = {}
    for table in GENE_TABLES:
        for _, (name, feature_id) in Records.read(ROOT / table).table(["feature_name", "feature_id"]):
            found.setdefault(name, set()).add(feature_id)
    return {symbol: next(iter(ids)) for symbol, ids in found.items() if len(ids) == 1}


def check_organism(var: "pd.DataFrame", declared: "Mapping[str, int]", organism: str, dataset: str) -> None:
    """Raise DataError for cells of another organism than that of a checkpoint.

    `declared` holds the organisms that the dataset states for its cells (column `organism`), and how many cells each
    has; without any, the kind of most Ensembl ids decides.
    """
    if organism == ANY_ORGANISM:
        return
    what = f"the vocabulary is of {organism}; take a checkpoint of the organism of the cells"
    if others := {name: n for name, n in declared.items() if name not in (organism, "unknown")}:
        name, n = max(others.items(), key=lambda one: one[1])
        raise DataError(f"{dataset}: {n:,} cells are of {name} (obs column 'organism'), but {what}")
    kinds = Counter(match[1] for one in var["feature_id"].astype(str) if (match := _ID.fullmatch(one)))
    expected = _PREFIX.get(organism)
    if kinds and expected and (most := max(kinds, key=lambda one: kinds[one])) != expected:
        raise DataError(
            f"{dataset}: {kinds[most]:,} of {len(var):,} genes have Ensembl ids that begin {most}, but {what} "
            f"({expected})"
        )
