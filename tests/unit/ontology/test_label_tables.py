"""What is promised: the curated tables are complete, live, and nowhere contradict the names they map."""

import re
from pathlib import Path

import pytest

from annobench.core.paths import ROOT
from annobench.methods.celltypist_pretrained import class_ids
from annobench.methods.shared.celltypist_model import read_model
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import COLUMNS, read_table

FILES = sorted((ROOT / "config" / "labels").glob("*.tsv"))
T, B_LINEAGE, NK, CD4, CD8 = "CL:0000084", "CL:0000945", "CL:0000623", "CL:0000624", "CL:0000625"
LYMPHOCYTE, MYELOID, DC, PDC, CDC = "CL:0000542", "CL:0000763", "CL:0000451", "CL:0000784", "CL:0000990"
MONOCYTE, MACROPHAGE, PHAGOCYTE, LEUKOCYTE = "CL:0000576", "CL:0000235", "CL:0000113", "CL:0000738"
ENDOTHELIAL, EPITHELIAL, HEMATOPOIETIC = "CL:0000115", "CL:0000066", "CL:0000988"
CD4_NAME = r"CD4(?!\d)|helper|T[hH]\d|Tfh"
CD8_NAME = r"CD8(?!\d)|^(?!.*CD4).*cytotoxic T"
B_NAME = r"\bB cells?\b|^B(_|$)|^(Naive|Memory) B"
T_NAME = r"(?<![/&] )\bT cells?\b|CD[48]_T|^T cell|Treg|^T_|\bT helper|MAIT|NKT|^Trm|^Tem|^Tnaive|^Tgd|^gdT|Tfh"

# what a name says, and the terms of which the id must be one or lie under one
MUST = [
    (r"^(?!.*(doublet|NK)).*(" + T_NAME + ")", {T}),
    (r"^(?!.*(doublet|cycling GC / B|[Pp]ro-B)).*(" + B_NAME + ")", {B_LINEAGE}),
    (r"\bNK\b|NK_|_NK|NK cell", {NK, LYMPHOCYTE}),
    (r"(?<!cDC/)[Mm]onocyte(?!-derived)(?!.*([Pp]recursor|granulocyte))|_mono$", {MONOCYTE}),
    (r"[Mm]acrophage|^TAM|Kupffer|Hofbauer", {MACROPHAGE}),
    (r"\bp?DCs?\b(?!.*precursor)|\bDC[123]?\b|^c?DC[0-9_]", {DC, PHAGOCYTE, "CL:0002031"}),
    (r"\bpDC\b(?! precursor)", {PDC}),
    (r"(?i)plasma(?!cytoid)", {"CL:0000946"}),
    (r"(?i)^mast|mast cells$", {"CL:0000097"}),
    (r"(?i)neutrophil(?!-)", {"CL:0000775"}),
    (r"(?i)endothelial|(?<!peri)vasc|lymphatic", {ENDOTHELIAL}),
    (r"(?i)epithelial|enterocyte|goblet|tuft|paneth|cell type [12]", {EPITHELIAL}),
    (r"(?<![Mm]yo)[Ff]ibroblast", {"CL:0000057"}),
    (r"HSC|HSPC|CMP|GMP|ME[MP]P?$|progenitor|Progenitor(?!$)", {"CL:0008001", EPITHELIAL, CD8}),
    (r"(?i)regulatory t|t regulatory|^tregs?$|regulatory$", {"CL:0000815"}),
]
# what a name says, and the terms under which its id must not lie
MUST_NOT = [
    (CD4_NAME, {CD8}),
    (CD8_NAME, {CD4}),
    (r"CD[48](?!\d)", {B_LINEAGE, NK, MYELOID, EPITHELIAL}),
    (B_NAME, {T, NK, MYELOID}),
    (T_NAME, {B_LINEAGE, NK, MYELOID, EPITHELIAL}),
    (r"(?i)mono|macro|neutro|\bMNP", {LYMPHOCYTE, DC}),
    (r"\bNK(?!T)", {MYELOID, B_LINEAGE}),
    (r"cDC|^DC[123]$", {PDC}),
    (r"pDC", {CDC}),
    (r"(?i)epithelial|fibroblast|stromal|endothelial|muscle|pericyte|enterocyte|goblet|tuft", {HEMATOPOIETIC}),
    (r"(?i)memory", {"CL:0000898", "CL:0000788"}),
    (r"(?i)naive|immature", {"CL:0000813", "CL:0000787"}),
    (r"(?i)^(?!.*non).*classical", {"CL:0000875"}),
    (r"(?i)non-?classical|CD16 ?_?mono", {"CL:0000860"}),
    (r"IgA", {"CL:0000985", "CL:0000986"}),
    (r"IgG", {"CL:0000987", "CL:0000986"}),
]

# every model at hand: file, table (None: its own names do), classes, and how many of them stay unknown
MODELS = [
    ("New_Models_CT_98_Models_98_f_model_0.pkl", "celltypist_immune98", 98, 0),
    ("New_Models_CT_98_Models_98_f_model_6.pkl", "celltypist_immune98", 98, 0),
    ("New_Models_CT_45_Models_ct_f_model_0.pkl", "celltypist_immune45", 45, 3),
    ("New_Models_CT_45_Models_ct_f_model_6.pkl", "celltypist_immune45", 45, 3),
    ("New_Models_COV_PBMC_Models_COV_f_model_0.pkl", "celltypist_covid_pbmc", 51, 0),
    ("New_Models_COV_PBMC_Models_COV_f_model_6.pkl", "celltypist_covid_pbmc", 51, 0),
    ("New_Models_LuCA_Models_LuCA_f_model_0.pkl", None, 33, 0),
    ("Final_Models_LuCA_full.pkl", None, 33, 0),
    ("New_Models_HBCA_Models_HBCA_f_model_0.pkl", None, 39, 0),
    ("New_Models_HBCA_Models_HBCA_f_model_6.pkl", None, 39, 0),
    ("New_Models_HuBMAP_Models_HuBMAP_f_model_0.pkl", None, 16, 0),
    ("New_Models_HuBMAP_Models_HuBMAP_f_model_6.pkl", None, 16, 0),
    ("Final_Models_Bassez_Model_bassez_full.pkl", "celltypist_bassez", 37, 0),
    ("Final_Models_Brown_full.pkl", "celltypist_brown", 7, 0),
    ("Final_Models_Cheong_full.pkl", "celltypist_cheong", 10, 0),
    ("Final_Models_Niec_LI_full.pkl", "celltypist_niec_large_intestine", 28, 2),
    ("Final_Models_Niec_SI_full.pkl", "celltypist_niec_small_intestine", 26, 1),
    ("Final_Models_g_full.pkl", "celltypist_g", 22, 0),
]


def rows() -> list[tuple[str, str, str]]:
    """(table, original, label_id) of all tables."""
    found = []
    for file in FILES:
        for line in file.read_text(encoding="utf-8").splitlines()[1:]:
            original, label_id, *_ = line.split("\t")
            found.append((file.stem, original, label_id))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_form(file: Path, ontology: Ontology) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    lines = [line.split("\t") for line in text.splitlines()]
    assert lines[0] == COLUMNS
    assert {len(line) for line in lines} == {3}
    assert all(part == part.strip() for line in lines for part in line)
    assert all(comment for *_, comment in lines[1:])
    assert len(read_table(file, ontology)) == len(lines) - 1  # live ids, no label twice


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_comments_open_with_the_name_of_the_term(file: Path, ontology: Ontology) -> None:
    """So that a wrong digit in an id is seen by whoever reads the table, and by this test."""
    for line in file.read_text(encoding="utf-8").splitlines()[1:]:
        _, label_id, comment = line.split("\t")
        if label_id != UNKNOWN and file.stem != "merfish_lung":
            assert comment.startswith(ontology.label(label_id)), line


@pytest.mark.parametrize(("pattern", "terms"), MUST)
def test_what_a_name_says_holds_for_its_term(pattern: str, terms: set[str], ontology: Ontology) -> None:
    hits = [row for row in rows() if row[2] != UNKNOWN and re.search(pattern, row[1])]
    assert hits
    wrong = [(*row, ontology.label(row[2])) for row in hits if not terms & (ontology.ancestors(row[2]) | {row[2]})]
    assert wrong == []


@pytest.mark.parametrize(("pattern", "terms"), MUST_NOT)
def test_no_term_contradicts_its_name(pattern: str, terms: set[str], ontology: Ontology) -> None:
    hits = [row for row in rows() if row[2] != UNKNOWN and re.search(pattern, row[1])]
    assert hits
    wrong = [(*row, ontology.label(row[2])) for row in hits if terms & (ontology.ancestors(row[2]) | {row[2]})]
    assert wrong == []


def test_one_name_has_one_meaning_within_a_source(ontology: Ontology) -> None:
    """The reference of 45 types is part of that of 98: where names are equal, ids are."""
    one, other = (read_table(ROOT / f"config/labels/celltypist_immune{n}.tsv", ontology) for n in (98, 45))
    shared = set(one) & set(other)
    assert len(shared) > 10
    assert {name: one[name] for name in shared} == {name: other[name] for name in shared}


def test_every_table_for_a_model_belongs_to_one_listed_here() -> None:
    found = {file.stem for file in FILES if file.stem.startswith("celltypist_")}
    assert found == {t for _, t, *_ in MODELS if t} | {"celltypist_lung_atlas"}  # that model has to be downloaded


def test_no_model_at_hand_is_left_out(real_data: Path) -> None:
    folder = real_data / "celltypist_models" / "adams_celltypist"
    assert {file.name for file in folder.glob("*.pkl")} == {name for name, *_ in MODELS}


@pytest.mark.parametrize(("name", "table", "classes", "unknown"), MODELS, ids=lambda value: str(value))
def test_every_class_of_a_model_is_mapped(
    real_data: Path, ontology: Ontology, name: str, table: str | None, classes: int, unknown: int
) -> None:
    model = read_model(real_data / "celltypist_models" / "adams_celltypist" / name)
    if table:
        assert set(model.classes) == set(read_table(ROOT / f"config/labels/{table}.tsv", ontology))
    ids = class_ids(model, table, ontology)
    assert len(ids) == classes
    assert ids.count(UNKNOWN) == unknown
    assert 1 - unknown / classes > 0.92
