"""Tokens: genes find their token, bins follow scGPT's rule, and the same cell gives the same tokens from anywhere."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.core.errors import DataError
from annobench.core.files import write_json
from annobench.core.parquet import to_arrow
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.spec import InputSpec
from annobench.data.tokens.bins import binned
from annobench.data.tokens.genes import check_organism, gene_tokens, human_ids
from annobench.data.tokens.stored import StoredTokens, TokensCard
from annobench.data.tokens.tokenise import tokenise_dataset
from annobench.data.tokens.tokeniser import Tokeniser, Tokens
from checkpoint_folders import spec_of, vocabulary_of, write_folder

HUMAN = "Homo sapiens"


def var(*genes: tuple[str, str]) -> pd.DataFrame:
    """A table of genes: symbol and Ensembl id."""
    return pd.DataFrame({"feature_id": [one[1] for one in genes], "feature_name": [one[0] for one in genes]})


# genes


def test_genes_are_matched_by_symbol_by_id_and_by_another_symbol() -> None:
    table = var(
        ("CD3E", "ENSG00000198851"),
        ("unnamed", "ENSG00000000003"),  # the vocabulary has the id of this one
        ("ATP5PF", "ENSG00000154723"),  # which the vocabulary knows as ATP5J
        ("DDX58", ""),  # by symbol only; the vocabulary knows it as RIGI
        ("NOVEL", "ENSG00000999999"),
    )
    vocabulary = vocabulary_of(["ATP5J", "RIGI", "CD3E", "ENSG00000000003", "CD4"])
    found = gene_tokens(table, vocabulary, HUMAN)
    names = table["feature_name"].to_numpy()[found.columns]
    assert dict(zip(names, found.tokens.tolist(), strict=True)) == {"ATP5PF": 0, "DDX58": 1, "CD3E": 2, "unnamed": 3}
    assert (np.diff(found.tokens) > 0).all()
    assert (found.by_symbol, found.by_id, found.by_other_symbol, found.taken) == (1, 1, 2, 0)
    assert (found.genes, found.vocabulary, found.known, found.share) == (5, 5, 4, 4 / 5)


def test_a_token_goes_to_one_gene_and_an_ambiguous_symbol_to_none() -> None:
    table = var(("ATP5PF", "ENSG00000154723"), ("ATP5J", ""), ("TWIN", "ENSG00000000001"), ("TWIN", "ENSG00000000002"))
    found = gene_tokens(table, vocabulary_of(["ATP5J", "TWIN"]), HUMAN)
    assert (found.columns.tolist(), found.tokens.tolist()) == ([1], [0])  # the symbol itself comes first
    assert found.taken == 1
    assert gene_tokens(table, vocabulary_of(["ATP5J"]), "any").known == 1


def test_symbols_of_human_genes_are_of_one_gene_each() -> None:
    ids = human_ids()
    assert ids["ATP5J"] == ids["ATP5PF"] == "ENSG00000154723"
    assert ids["RIGI"] == ids["DDX58"] == "ENSG00000107201"
    assert ids["SEPT7"] == ids["SEPTIN7"]
    assert len(ids) > 19_000


@pytest.mark.parametrize(
    ("table", "declared", "organism", "message"),
    [
        (var(("Actb", "ENSMUSG00000029580")), {}, HUMAN, "1 of 1 genes have Ensembl ids that begin ENSMUSG"),
        (var(("ACTB", "ENSG00000075624")), {}, "Mus musculus", "begin ENSG, but the vocabulary is of Mus musculus"),
        (
            var(("ACTB", "")),
            {HUMAN: 5, "Mus musculus": 3},
            HUMAN,
            "mixed: 3 cells are of Mus musculus (obs column 'organism'), but the vocabulary is of Homo sapiens",
        ),
    ],
)
def test_cells_of_another_organism_are_refused(
    table: pd.DataFrame, declared: dict[str, int], organism: str, message: str
) -> None:
    with pytest.raises(DataError) as error:
        check_organism(table, declared, organism, "mixed")
    assert message in str(error.value)
    check_organism(table, declared, "any", "mixed")


def test_cells_of_the_organism_pass() -> None:
    check_organism(var(("ACTB", "ENSG00000075624"), ("x", "")), {HUMAN: 3, "unknown": 2}, HUMAN, "d")


# bins


def test_bins_of_a_cell_by_hand() -> None:
    """Five bins: edges at the quantiles 0, 1/3, 2/3 and 1, which are 1, 2, 3, 4."""
    assert binned(np.array([1.0, 2, 3, 4]), 5).tolist() == [1, 2, 3, 4]
    # 1, 1, 1, 9: edges 1, 1, 1, 9; ones may be in the bins 1 to 3, of which 2 is the middle one
    assert binned(np.array([1.0, 9, 1, 1]), 5).tolist() == [2, 4, 2, 2]
    # of equal values all edges are equal: bins 1 to 4, middle 2.5, rounded down
    assert binned(np.array([7.0, 7]), 5).tolist() == [2, 2]
    assert binned(np.array([3.0]), 51).tolist() == [25]
    assert binned(np.empty(0), 51).tolist() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=80), st.integers(3, 60))
def test_bins_are_among_those_that_scgpt_may_draw(values: list[int], bins: int) -> None:
    """scGPT draws ceil(u * (right - left) + left) with u in [0, 1), of two calls of numpy.digitize."""
    cell, rising = np.array(values, dtype=float), sorted(values)
    places = [Fraction(number * (len(values) - 1), bins - 2) for number in range(bins - 1)]  # without rounding
    above = [min(int(place) + 1, len(values) - 1) for place in places]
    edges = np.array(
        [
            float(rising[int(p)] + (p - int(p)) * (rising[a] - rising[int(p)]))
            for p, a in zip(places, above, strict=True)
        ]
    )
    assert edges == pytest.approx(np.quantile(cell, np.linspace(0, 1, bins - 1)))
    upper, lower = np.digitize(cell, edges), np.digitize(cell, edges, right=True)
    found = binned(cell, bins)
    assert (np.minimum(lower + 1, upper) <= found).all()
    assert (found <= upper).all()
    assert (binned(np.log1p(cell), bins) == found).all()  # only the order of values matters
    order = np.argsort(cell, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


# cells


def tokeniser(table: pd.DataFrame, vocabulary: dict[str, int], **changes: Any) -> Tokeniser:
    chosen = replace(InputSpec(least_known=0.0), **changes)
    return Tokeniser(chosen, vocabulary, table, organism="any", dataset="d")


TABLE = var(*((f"G{i}", "") for i in range(5)))
VOCABULARY = vocabulary_of(["G4", "G1", "G0", "other"])  # ids 0, 1, 2; <pad> 4, <cls> 5


def cells_of(tokens: Tokens) -> list[list[tuple[int, int]]]:
    pairs = list(zip(tokens.ids.tolist(), tokens.values.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


def test_tokens_of_three_cells_by_hand() -> None:
    counts = csr_matrix(np.array([[3, 40, 9, 0, 1], [0, 0, 6, 6, 0], [0, 0, 0, 0, 2]], dtype=np.float32))
    made = tokeniser(TABLE, VOCABULARY, values="counts", clip=13, cls_value=-2).tokens(counts)
    assert cells_of(made) == [[(5, -2), (0, 1), (1, 13), (2, 3)], [(5, -2)], [(5, -2), (0, 2)]]
    assert made.known.tolist() == [3, 0, 1]
    made = tokeniser(TABLE, VOCABULARY, bins=5, cls_value=0).tokens(counts)
    assert cells_of(made)[0] == [(5, 0), (0, 1), (1, 4), (2, 2)]  # edges of 1, 3, 40: 1, 2.3, 15.3, 40


def test_long_cells_are_cut_by_a_draw_of_their_own() -> None:
    rng = np.random.default_rng(0)
    table = var(*((f"G{i}", "") for i in range(40)))
    vocabulary = vocabulary_of([f"G{i}" for i in range(40)])
    counts = csr_matrix(rng.integers(1, 9, (30, 40)).astype(np.float32))
    short = tokeniser(table, vocabulary, max_length=11)
    made, whole = short.tokens(counts), tokeniser(table, vocabulary).tokens(counts)
    assert made.lengths.tolist() == [11] * 30
    assert made.known.tolist() == [40] * 30
    every = [dict(cell) for cell in cells_of(whole)]
    assert all(set(cell) <= set(all_.items()) for cell, all_ in zip(cells_of(made), every, strict=True))
    # cells differ, each gene comes about as often (7.5 of 30 expected), and another seed is another draw
    kept = np.array([np.isin(np.arange(40), [token for token, _ in cell]) for cell in cells_of(made)])
    assert len({tuple(one) for one in kept.tolist()}) == 30
    assert 1 <= kept.sum(axis=0).min() <= kept.sum(axis=0).max() <= 16
    assert cells_of(tokeniser(table, vocabulary, max_length=11, seed=1).tokens(counts)) != cells_of(made)
    # a cell alone, and with its genes in another order, is the same
    alone = short.tokens(counts[[7]])
    assert cells_of(alone)[0] == cells_of(made)[7]
    turned = tokeniser(table.iloc[::-1].reset_index(drop=True), vocabulary, max_length=11)
    assert cells_of(turned.tokens(counts[:, ::-1].tocsr())) == cells_of(made)


def test_batches_are_padded_and_of_like_length() -> None:
    counts = csr_matrix(np.array([[3, 40, 9, 0, 1], [0, 0, 6, 6, 0], [0, 0, 0, 0, 2]], dtype=np.float32))
    names = np.array(["a", "b", "c"], dtype=object)
    made = tokeniser(TABLE, VOCABULARY, values="counts").tokens(counts)
    stored = StoredTokens(made, to_arrow(names), "tokens")
    assert stored.rows(np.array(["c", "a"], dtype=object)).tolist() == [2, 0]
    with pytest.raises(DataError, match="tokens: has no tokens of 1 of 2 cells, such as 'x'"):
        stored.rows(np.array(["a", "x"], dtype=object))
    batch = stored.padded(np.array([2, 0]), pad=4)
    assert batch.genes.tolist() == [[5, 0, 4, 4], [5, 0, 1, 2]]
    assert batch.values.tolist() == [[-2, 2, 0, 0], [-2, 1, 40, 3]]
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    rows = np.array([1, 2, 0, 2, 1])
    found = [one.tolist() for one in stored.buckets(rows, tokens=4)]
    assert found == [[2], [1, 3], [0, 4]]  # lengths 4, 2 and 2, 1 and 1
    assert [one.tolist() for one in stored.buckets(rows, tokens=1)] == [[2], [1], [3], [0], [4]]


# datasets


def checkpoint(folder: Path, genes: list[str], **given: Any) -> Path:
    write_folder(folder / "theirs", genes)
    spec = spec_of({"kind": "local", "path": str(folder / "theirs")}, HUMAN, **given)
    fetch_checkpoint("tiny", spec, folder / "checkpoint", lock_file=folder / "lock.yaml")
    return folder / "checkpoint"


def prepared(folder: Path, counts: Any, table: pd.DataFrame, state: str = "counts", **obs: Any) -> tuple[Path, Path]:
    """cells.h5ad and card.json."""
    names = [f"cell{i}" for i in range(len(counts))]
    cells = ad.AnnData(csr_matrix(np.asarray(counts, dtype=np.float32)), obs=pd.DataFrame(obs, index=names))
    cells.var = table.set_index(table["feature_name"], drop=False).rename_axis(None)
    cells.uns["annobench"] = {"matrix": state, "ontology": "x"}
    cells.write_h5ad(folder / "cells.h5ad")
    write_json(folder / "card.json", {"sha256": "1" * 64})
    return folder / "cells.h5ad", folder / "card.json"


def made(
    folder: Path, counts: Any, table: pd.DataFrame = TABLE, state: str = "counts", **given: Any
) -> tuple[TokensCard, list[str]]:
    """The card of the tokens of these cells, and what was said."""
    genes, obs = given.pop("genes", ["G4", "G1", "G0"]), given.pop("obs", {})
    said: list[str] = []
    cells, card = prepared(folder, counts, table, state, **obs)
    target = checkpoint(folder, genes, **given)
    tokenise_dataset("d", cells, card, target, folder / "tokens", parts=["d", "e"], report=said.append)
    return TokensCard.read(folder / "tokens"), said


COUNTS = [[3, 40, 9, 0, 1], [0, 0, 6, 6, 0], [0, 0, 0, 0, 2]]


def test_the_card_says_how_well_genes_and_vocabulary_fit(tmp_path: Path) -> None:
    card, said = made(tmp_path, COUNTS)
    assert card.status == "ok"
    names = ("dataset", "vocabulary", "known", "by_symbol", "by_id", "by_other_symbol", "lost", "taken")
    assert [card.genes[name] for name in names] == [5, 3, 3, 3, 0, 0, 2, 0]
    assert card.lost_expression == pytest.approx(21 / 67, abs=1e-6)
    assert [(one.feature_name, one.share) for one in card.most_lost] == [
        ("G2", pytest.approx(15 / 67, abs=1e-6)),
        ("G3", pytest.approx(6 / 67, abs=1e-6)),
    ]
    assert card.cells == {"total": 3, "without_known_gene": 1, "cut": 0}
    assert card.such_as == ("cell1",)
    assert card.length == {"mean": 2.33, "median": 2.0, "largest": 4}
    assert "d, tiny: 3 of 5 genes are among the 3 of the vocabulary (3 by symbol" in said[0]
    assert "the others hold 31.3% of the expression" in said[0]
    assert "1 of 3 cells have no known gene, such as cell1; they all get the same embedding" in said[1]
    tokens = StoredTokens.open(tmp_path / "tokens")
    assert (len(tokens), tokens.rows(np.array(["cell2"], dtype=object)).tolist()) == (3, [2])
    assert tokens.padded(np.array([1]), 3).genes.tolist() == [[4]]  # the token of the cell alone
    assert card.pretrained_on == ()
    first = (tmp_path / "tokens" / "tokens.npz").read_bytes()
    made(tmp_path, COUNTS)
    assert (tmp_path / "tokens" / "tokens.npz").read_bytes() == first


def test_expression_of_logarithmic_values_is_that_before_the_logarithm(tmp_path: Path) -> None:
    card, _ = made(tmp_path, np.log1p(COUNTS), state="log1p_cp10k")
    assert card.lost_expression == pytest.approx(21 / 67, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"genes": ["G0", "A", "B", "C"]}, "d: 1 of its 5 genes are among the 4 of the vocabulary, which is 25.0%"),
        ({"genes": ["A", "B"], "least_known": 0.0}, "d: 0 of its 5 genes are among the 2 of the vocabulary"),
        (
            {"genes": ["G0"], "values": "counts", "state": "log1p_cpm"},
            "d: holds log1p_cpm, but the checkpoint reads counts",
        ),
        ({"obs": {"organism": ["Mus musculus"] * 3}}, "3 cells are of Mus musculus (obs column 'organism')"),
        ({"cls": "[CLS]"}, "there is no checkpoint: vocab.json: has no token '[CLS]'"),
        ({"state": "none"}, "the dataset has no expression (matrix.state: none)"),
    ],
)
def test_what_cannot_become_tokens_has_a_card_that_says_why(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    card, said = made(tmp_path, COUNTS, **given)
    assert card.status == "failed"
    assert message in str(card.reason)
    assert said == [f"d, tiny: {card.reason}; fits that read these tokens are skipped"]
    with pytest.raises(DataError, match="there are no tokens"):
        StoredTokens.open(tmp_path / "tokens")
    assert [path.name for path in (tmp_path / "tokens").iterdir()] == ["card.json"]
