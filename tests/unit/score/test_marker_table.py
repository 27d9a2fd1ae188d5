"""What is promised: the marker table is well formed, fits the panels it is meant for, and holds on real cells."""

import csv
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy.sparse import csc_matrix

from annobench.cells.expression import log_normalised
from annobench.core.errors import DataError
from annobench.core.paths import ROOT
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.marker_table import read_markers
from helpers import toy_ontology

TABLE = ROOT / "config" / "markers" / "canonical.tsv"
HEADER = "label_id\tgene\tcomment\n"
# label ids that the copies of the files leave open, by original label
OPEN = {"Vascular": "CL:0000115"}
LINEAGES = ["CL:0000066", "CL:0000057", "CL:0000542", "CL:0000766", "CL:0000097", "CL:0000786", "CL:0000115"]


@pytest.fixture(scope="module")
def markers(ontology: Ontology) -> dict[str, list[str]]:
    return read_markers(TABLE, ontology)


def test_rows_are_grouped_and_ordered_as_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "m.tsv"
    file.write_text(f"{HEADER}A1\tCD3E\tx\nB\tHLA-DRA\t\nA1\tC20orf85\t\n")
    assert read_markers(file, toy_ontology()) == {"A1": ["CD3E", "C20orf85"], "B": ["HLA-DRA"]}


def test_tables_as_spreadsheets_save_them(tmp_path: Path) -> None:
    file = tmp_path / "m.tsv"
    file.write_bytes("label_id;gene;comment\r\nA1;CD3E;x\r\nB;CD2\r\n;;\r\n".encode("utf-16"))
    assert read_markers(file, toy_ontology()) == {"A1": ["CD3E"], "B": ["CD2"]}


def test_tables_of_other_organisms(tmp_path: Path) -> None:
    file = tmp_path / "m.tsv"
    file.write_text(f"{HEADER}A1\tCd3e\t\nB\tH2-Eb1\t\nB\t1700001C02Rik\t\n")
    assert read_markers(file, toy_ontology()) == {"A1": ["Cd3e"], "B": ["H2-Eb1", "1700001C02Rik"]}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", r"expected the columns label_id, gene, comment \(tab-separated\), found $"),
        ("label\tgene\tcomment\nA1\tCD3E\t\n", "expected the columns label_id, gene, comment"),
        (HEADER, "has no markers"),
        (f"{HEADER}A1\n", "line 2: '' is not an HGNC symbol"),
        (f"{HEADER}A1\tCD2\tx\nA1\tCD3E\tx\ty\n", "line 3: has 4 fields, expected 3"),
        (f"{HEADER}A1\tCD3E\t\n\nA1\tCD3E\t\n", "line 4: gene 'CD3E' of A1 is listed twice"),
        (f"{HEADER}OLD\tCD3E\t\n", "line 2: 'OLD' is obsolete in Cell Ontology 2000-01-01; use its successor A1"),
        (f"{HEADER}unknown\tCD3E\t\n", "line 2: 'unknown' is not a term of"),
        (f"{HEADER}A1\tCD3E\t\nA1\tCD3E\t\n", "line 3: gene 'CD3E' of A1 is listed twice"),
        (f"{HEADER}A1\t\t\n", "line 2: '' is not an HGNC symbol"),
        (f"{HEADER}A1\tCD3E CD3D\t\n", "line 2: 'CD3E CD3D' is not an HGNC symbol"),
        (f"{HEADER}A1\tCD2\t\nA1\tCd3e\t\n", "line 3: 'Cd3e' is not an HGNC symbol"),
        (f"{HEADER}A1\tCd3e\t\nA1\tCd2 Cd4\t\nB\tH2-Eb1\t\n", "line 3: 'Cd2 Cd4' is not a gene symbol"),
        (f"{HEADER}A1\tCD3E,\t\n", "is not an HGNC symbol"),
        (f"{HEADER}A1\tENSG00000198851\t\n", "line 2: 'ENSG00000198851' is an Ensembl id; write the symbol"),
        (f"{HEADER}A1\t1-Mar\t\n", "line 2: '1-Mar' is a date, which a spreadsheet made of"),
        (f"{HEADER}A1\t916\t\n", "line 2: '916' is a number"),
    ],
)
def test_malformed_tables_are_refused_with_their_line(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "m.tsv"
    file.write_text(text)
    with pytest.raises(DataError, match=part):
        read_markers(file, toy_ontology())


def test_every_type_has_enough_genes_and_every_row_a_source(markers: dict[str, list[str]], ontology: Ontology) -> None:
    assert len(markers) > 60
    assert {key: genes for key, genes in markers.items() if not 4 <= len(genes) <= 10} == {}
    with open(TABLE, encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            name, _, source = row["comment"].partition(": ")
            assert name == ontology.label(row["label_id"]), row  # a wrong digit in an id shows
            assert "textbook" in source or " et al. 20" in source, row


def test_the_types_of_the_label_tables_have_markers(markers: dict[str, list[str]], ontology: Ontology) -> None:
    from annobench.ontology.labels import read_table

    for name in ("pbmc68k", "openproblems_pancreas", "merfish_lung", "lung_maynard"):
        ids = set(read_table(ROOT / f"config/labels/{name}.tsv", ontology).values()) - {UNKNOWN}
        assert ids <= set(markers), name


def test_every_lineage_has_four_genes_on_each_panel(real_data: Path, markers: dict[str, list[str]]) -> None:
    panels = {}
    for name in ("hLung", "hIO"):
        with open(real_data / "xenium_panels" / f"{name}.csv", encoding="utf-8", newline="") as handle:
            panels[name] = {row[0] for row in csv.reader(handle)}
    panels["merfish"] = set((real_data / "xenium_panels" / "merfish_lung_479.txt").read_text().split())
    for panel, genes in panels.items():
        assert {key: len(genes & set(markers[key])) for key in LINEAGES if len(genes & set(markers[key])) < 4} == {}, (
            panel
        )


def logged(path: Path) -> ad.AnnData:
    """A file of the development data as log1p CP10k; one of them holds log1p CPM."""
    data = ad.read_h5ad(path)
    data.uns["annobench"] = {"matrix": "log1p_cpm" if "X_normalisation" in data.uns else "counts"}
    data.X = log_normalised(data)
    return data


@pytest.mark.parametrize(
    ("file", "types"),
    [
        ("lung_multistudy/travaglini2020_lca_1000.h5ad", 23),
        ("lung_multistudy/tabula_sapiens_lung_1000.h5ad", 16),
        ("lung_multistudy/maynard2020_nsclc_3000.h5ad", 25),
        ("spatial/merfish_human_lung_cancer_3177.h5ad", 7),
        ("pbmc_multistudy/pbmc3k_2638.h5ad", 11),
        ("pbmc_multistudy/pbmc68k_reduced_700_counts.h5ad", 13),
        ("pbmc_multistudy/kang2018_ifnb_1556.h5ad", 9),
        ("pancreas/human_pancreas_4studies_counts.h5ad", 13),
    ],
)
def test_markers_are_higher_in_their_type(
    real_data: Path, markers: dict[str, list[str]], ontology: Ontology, file: str, types: int
) -> None:
    data = logged(real_data / file)
    values, position = csc_matrix(data.X), {gene: i for i, gene in enumerate(data.var_names)}
    originals = data.obs["cell_type_original" if "cell_type_original" in data.obs else "cell_type"].astype(str)
    given = data.obs["cell_type_ontology_term_id"].astype(str)
    ids = [OPEN.get(text) or ontology.resolve(key) for text, key in zip(originals, given, strict=True)]
    tested, failed = 0, {}
    for label_id, genes in markers.items():
        inside = np.array([i is not None and (i == label_id or label_id in ontology.ancestors(i)) for i in ids])
        open_ = np.array([i is None or i in ontology.ancestors(label_id) for i in ids])
        outside = ~inside & ~open_
        present = [gene for gene in genes if gene in position]
        if inside.sum() < 20 or outside.sum() < 20 or not present:
            continue
        part = values[:, [position[gene] for gene in present]].toarray()
        higher = part[inside].mean(axis=0) > part[outside].mean(axis=0)
        tested += 1
        if higher.mean() < 0.75:
            failed[ontology.label(label_id)] = [g for g, up in zip(present, higher, strict=True) if not up]
    assert failed == {}
    assert tested == types
