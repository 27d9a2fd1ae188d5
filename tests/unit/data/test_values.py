"""What is promised: values are what the config says, are converted, or are refused with what they look like."""

import re
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from annobench.cells.features import not_genes
from annobench.cells.gene_names import strange_names
from annobench.cells.matrix import SCALE, check_log1p, to_log1p
from annobench.cells.organism import organism_of
from annobench.cells.told import told
from annobench.core.errors import DataError
from annobench.data.prepare.losses import losses
from helpers import source_h5ad

RNG = np.random.default_rng(7)
COUNTS = RNG.poisson(RNG.gamma(0.6, 2.0, 60), (80, 60)) * 1.0
COUNTS[:, 0] += 1  # no cell is empty


def scaled(counts: np.ndarray, scale: float) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True) * scale


MADE: dict[str, np.ndarray] = {
    "counts": COUNTS,
    "log1p_cp10k": np.log1p(scaled(COUNTS, 1e4)),
    "log1p_cpm": np.log1p(scaled(COUNTS, 1e6)),
    "log1p": np.log1p(scaled(COUNTS, 674.5)),
    "log2": np.log2(scaled(COUNTS, 1e6) + 1),
    "normalised": scaled(COUNTS, 1e6),
    "log10": np.log10(scaled(COUNTS, 1e4) + 1),
    "root": np.sqrt(COUNTS),
    "twice": np.log1p(np.log1p(scaled(COUNTS, 1e4))),
}
LOG = MADE["log1p_cp10k"]


@pytest.mark.parametrize("made", MADE)
def test_values_say_what_they_are(made: str) -> None:
    seen = told(csr_matrix(MADE[made].astype("float32")))
    assert seen is not None
    assert seen.kind == {"log1p_cp10k": "log1p", "log1p_cpm": "log1p"}.get(made, made)
    some = told(csr_matrix(MADE[made][:, 20:].astype("float32")))  # of some genes no sum is shared
    assert some is None or (some.kind, some.total) == (seen.kind, None)


@pytest.mark.parametrize("state", ["counts", "fractional_counts", *SCALE, "log1p", "log2", "normalised"])
@pytest.mark.parametrize("made", MADE)
def test_a_state_takes_its_own_values_and_refuses_others(prepare, tmp_path: Path, state: str, made: str) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", MADE[made])
    fits = {"fractional_counts": {"counts"}, "log1p": {"log1p", *SCALE}, "normalised": {"normalised"}}
    if made not in fits.get(state, {state}):
        with pytest.raises(DataError, match="matrix.state says"):
            prepare(file, matrix={"state": state})
        return
    cells, card, said = prepare(file, matrix={"state": state})
    counts = made == "counts"
    expected = COUNTS if counts else MADE[made] if state in SCALE else LOG
    assert np.allclose(cells.X.toarray(), expected, atol=2e-3)
    assert (
        card["matrix"]
        == cells.uns["annobench"]["matrix"]
        == ("counts" if counts else state if state in SCALE else "log1p_cp10k")
    )
    if state in ("log1p", "log2", "normalised"):
        assert card["converted"]["from"] == state
        assert any("became log1p of values per 10,000" in text for text in said)


@given(total=st.floats(50, 5e6), genes=st.integers(20, 60), kind=st.sampled_from(["log1p", "log2", "normalised"]))
@settings(max_examples=40, deadline=None)
def test_values_of_any_sum_become_log1p_of_values_per_ten_thousand(total: float, genes: int, kind: str) -> None:
    counts = COUNTS[:, :genes]
    linear = scaled(counts, total)
    made = {"log1p": np.log1p(linear), "log2": np.log2(linear + 1), "normalised": linear}[kind]
    found = to_log1p(csr_matrix(made.astype("float32")), kind, "f")
    assert np.allclose(found.toarray(), np.log1p(scaled(counts, 1e4)), rtol=1e-3, atol=1e-3)
    if kind == "log1p":
        for state, scale in SCALE.items():
            if abs(total / scale - 1) > 0.06:
                with pytest.raises(DataError, match="after expm1"):
                    check_log1p(csr_matrix(made.astype("float32")), state, "f")


def test_some_of_the_genes_of_log1p_values_are_accepted() -> None:
    check_log1p(csr_matrix(LOG[:, 10:30].astype("float32")), "log1p_cp10k", "f")
    with pytest.raises(DataError, match="log1p, but before the logarithm the cells sum to"):
        to_log1p(csr_matrix(LOG[:, 10:30].astype("float32")), "log1p", "f")


@pytest.mark.parametrize("state", ["log1p", "log2", "normalised"])
def test_counts_are_recovered_from_values_of_any_sum(prepare, tmp_path: Path, state: str) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", MADE[state], total=COUNTS.sum(axis=1))
    cells, card, _ = prepare(file, matrix={"state": state, "counts_from": "total", "tolerance": 0.05})
    assert (cells.X.toarray() == COUNTS).all()
    assert card["matrix"] == "counts"
    with pytest.raises(DataError, match="counts_from: the column holds no numbers"):
        prepare(file, matrix={"state": state, "counts_from": "cell_type"})


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_fractional_counts_are_rounded_and_counted(prepare, tmp_path: Path, storage: str) -> None:
    ambient = np.where(COUNTS > 0, np.maximum(COUNTS - RNG.random(COUNTS.shape) * 0.9, 0), 0).astype("float32")
    file = source_h5ad(tmp_path / "a.h5ad", ambient)
    with pytest.raises(DataError, match="not whole numbers.*the cells sum to .*matrix.state: fractional_counts"):
        prepare(file, storage)
    cells, card, said = prepare(file, storage, matrix={"state": "fractional_counts"})
    assert (cells.X.toarray() == np.rint(ambient)).all()
    assert card["matrix"] == "counts"
    done = card["converted"]
    assert done["values"] == np.count_nonzero(ambient)
    assert done["changed"] == (ambient != np.rint(ambient)).sum()
    assert done["lost"] == ((np.rint(ambient) == 0) & (ambient > 0)).sum() > 0
    assert done["after"] == np.rint(ambient).sum()
    assert any("fractional counts rounded" in text for text in said)
    assert card["storage"] == storage


# features that are no genes


@pytest.mark.parametrize("storage", ["memory", "store"])
@pytest.mark.parametrize("typed", [True, False])
def test_features_that_are_no_genes_are_left_out_and_counted(
    prepare, tmp_path: Path, storage: str, typed: bool
) -> None:
    others = ["CD3_TotalSeqB", "ERCC-00002", "BLANK_0001", "NegControlProbe_00042"]
    values = np.hstack([COUNTS[:, :20], np.full((80, 4), 0.5)])  # antibodies may hold anything
    source_h5ad(tmp_path / "a.h5ad", values)
    data = ad.read_h5ad(tmp_path / "a.h5ad")
    symbols = [f"GENE{i}" for i in range(20)]
    data.var_names = symbols + ([f"f{i}" for i in range(4)] if typed else others)
    if typed:
        data.var["feature_types"] = ["Gene Expression"] * 20 + ["Antibody Capture"] * 3 + ["Custom"]
    data.write_h5ad(tmp_path / "b.h5ad")
    cells, card, said = prepare(tmp_path / "b.h5ad", storage)
    assert (cells.X.toarray() == COUNTS[:, :20]).all()
    assert list(cells.var["feature_name"]) == symbols
    expected = {"Antibody Capture": 3, "Custom": 1} if typed else {"antibody": 1, "control probe": 2, "spike-in": 1}
    assert card["dropped"]["features_not_genes"] == expected
    assert any("left out 4 features that are no genes" in text for text in said)
    with pytest.raises(DataError, match="not whole numbers"):
        prepare(tmp_path / "b.h5ad", storage, genes={"features": "all"})


GENE_NAMES = """
CD4, NEGR1, HTO, ADTRP, PROTOR1, BLNK, SIRT1, ERCC1, ERCC6L2, ABCA1, H2-Ab1, mt-Nd1, SGRN, CITED2, HLA-DRA,
RP11-34P13.7, CUSTOM1, GRNA1, SPIKE1, AB019441.29, PROT1, CONTROL1, N_A, Gm1992, antisense
"""
OTHER_NAMES = """
CD3_TotalSeqB, CD19-TotalSeqC, HTO_1, ADT_CD8, Hashtag3, Hashtag_1, anti-human CD4, ERCC-00130, SIRV101,
NegControlProbe_00042, NegPrb10, Negative3, NegControlCodeword_0500, UnassignedCodeword_0001, SystemControl7,
BLANK_0001, Blank-12, FalseCode9, __no_feature, N_unmapped, Intergenic_Region_12, GAPDH_sgRNA1, gRNA-3
"""


@pytest.mark.parametrize("name", [name.strip() for name in GENE_NAMES.split(",")])
def test_genes_are_genes(name: str) -> None:
    assert not not_genes(pd.DataFrame(index=[name]), [name])[0].any()


@pytest.mark.parametrize("name", [name.strip() for name in OTHER_NAMES.split(",")])
def test_what_vendors_call_no_gene(name: str) -> None:
    assert not_genes(pd.DataFrame(index=[name]), [name])[0].all()


def test_biotypes_of_genes_are_genes() -> None:
    var = pd.DataFrame({"feature_type": ["protein_coding", "lncRNA", "IG_V_gene", "TEC"], "feature_biotype": "gene"})
    assert not not_genes(var, list("abcd"))[0].any()
    var["feature_biotype"] = ["gene", "gene", "gene", "spike-in"]
    assert not_genes(var, list("abcd"))[1] == {"spike-in": 1}
    adt = pd.DataFrame({"feature_types": ["GEX", "ADT", "ATAC"]})
    assert not_genes(adt, list("abc"))[1] == {"ADT": 1, "ATAC": 1}


def test_no_gene_at_all(prepare, tmp_path: Path) -> None:
    source_h5ad(tmp_path / "a.h5ad", COUNTS[:, :4])
    data = ad.read_h5ad(tmp_path / "a.h5ad")
    data.var["feature_types"] = "Antibody Capture"
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=r"none of the 4 features is a gene \(4 Antibody Capture\)"):
        prepare(tmp_path / "a.h5ad")


# the organism


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_the_organism_stands_on_the_card_with_a_warning(prepare, tmp_path: Path, storage: str) -> None:
    source_h5ad(tmp_path / "a.h5ad", COUNTS[:, :30])
    data = ad.read_h5ad(tmp_path / "a.h5ad")
    data.var_names = [f"ENSMUSG{i:011d}.3" for i in range(30)]
    data.write_h5ad(tmp_path / "a.h5ad")
    _, card, said = prepare(tmp_path / "a.h5ad", storage, cells={"columns": {"organism": "=Homo sapiens"}})
    assert card["organism"]["told"] == "Mus musculus"
    assert "says 'Homo sapiens', but Ensembl ids tell Mus musculus" in card["organism"]["warning"]
    assert any(text.startswith("warning: cells.columns.organism") for text in said)
    for stated in ("=mouse", "=Mus musculus", "=NCBITaxon:10090"):
        _, card, _ = prepare(tmp_path / "a.h5ad", storage, cells={"columns": {"organism": stated}})
        assert "warning" not in card["organism"]


def test_the_organism_by_the_case_of_symbols() -> None:
    def by(names: list[str]) -> Any:
        return organism_of(pd.DataFrame({"feature_id": "", "feature_name": names}))

    human = [f"ABC{i}" for i in range(30)]
    assert by(human).organism == "Homo sapiens"
    assert by(human).contradicts("mouse")
    assert not by(human).contradicts("Macaca mulatta")  # who are written alike
    assert by([name.capitalize() for name in human]).organism == "Mus musculus"
    assert not by([name.capitalize() for name in human]).contradicts("rat")
    assert by([name.lower() for name in human]).organism == "Danio rerio"
    assert by(human[:15] + [name.capitalize() for name in human[15:]]).organism is None
    assert by(human[:5]).organism is None


@pytest.mark.parametrize("storage", ["memory", "store"])
@pytest.mark.parametrize(
    ("rename", "part"),
    [
        (["1-Mar", "Sep-02", "2021-03-01"], "3 names of genes .1-Mar, Sep-02, 2021-03-01. are dates"),
        ([str(900 + i) for i in range(60)], "60 names of genes .900, 901, 902, .... are numbers .Entrez"),
        ([f"G{i}_ENSG{i:011d}.3" for i in range(60)], "join a symbol and an Ensembl id"),
        ([f"{'GRCh38_' if i % 2 else 'mm10___'}G{i}" for i in range(60)], "begin with a genome"),
    ],
)
def test_names_of_genes_that_are_none_are_told(
    prepare, tmp_path: Path, storage: str, rename: list[str], part: str
) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", COUNTS)
    cells = ad.read_h5ad(file)
    names = [*rename, *(f"GENE{i}" for i in range(60))][: cells.n_vars]
    cells.var = pd.DataFrame(index=names)
    cells.write_h5ad(file)
    _, card, said = prepare(file, storage)
    assert len(card["gene_names"]) == 1
    assert re.search(part, card["gene_names"][0])
    assert f"warning: {card['gene_names'][0]}" in said
    assert card["gene_names"][0] in losses(card)


def test_usual_names_of_genes_are_not_strange() -> None:
    names = ["MARCHF1", "SEPTIN2", "DEC1", "7SK", "5S_rRNA", "HLA-DRA", "1700001C02Rik", "Mt-nd1", "mm9", "AC004.1"]
    genes = pd.DataFrame({"feature_id": "", "feature_name": names})
    assert strange_names(genes) == []
    numbers = pd.DataFrame({"feature_id": [f"ENSG{i:011d}" for i in range(9)], "feature_name": list("123456789")})
    assert strange_names(numbers) == []  # Ensembl ids are known


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_whole_numbers_that_became_floats_are_whole_numbers(prepare, tmp_path: Path, storage: str) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", COUNTS)
    cells = ad.read_h5ad(file)
    cells.obs["donor"] = [np.nan if i % 8 == 0 else float(i % 3) for i in range(cells.n_obs)]
    cells.obs["dose"] = [0.5 if i % 2 else 1.0 for i in range(cells.n_obs)]
    cells.write_h5ad(file)
    found, card, _ = prepare(file, storage, cells={"donor": "donor", "columns": {"dose": "dose"}})
    assert set(card["donors"]) == {"0", "1", "2", "unknown"}
    assert set(found.obs["dose"].astype(str)) == {"0.5", "1.0"}


def test_a_label_table_with_other_labels_is_named(prepare, tmp_path: Path) -> None:
    file = source_h5ad(tmp_path / "a.h5ad", COUNTS)
    cells = ad.read_h5ad(file)
    cells.obs["cell_type"] = ["t CELLS", "b CELLS"] * (cells.n_obs // 2)
    cells.write_h5ad(file)
    with pytest.raises(DataError, match="the label table lists others .B cell, T cell.: write the labels there as"):
        prepare(file, cells={"label": "cell_type", "label_table": "x"})
