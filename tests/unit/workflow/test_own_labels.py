"""What is promised: labels of any file become a label table that datasets can name, and what is not sure is said."""

import gzip
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from annobench.__main__ import main
from annobench.core.errors import ConfigError, DataError
from annobench.core.records import Records
from annobench.data.definitions import read_definitions
from annobench.data.spec import OntologySpec
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import COLUMNS, read_table
from annobench.workflow.own.labels import Knowledge, Proposal, count_labels, propose, read_labels
from helpers import source_h5ad

LABELS = ["NK", "NK", "weird type of cell", "unassigned", None, "B cells"]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.usual()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return source_h5ad(tmp_path / "my.h5ad", annotation=LABELS, depth=np.linspace(0.5, 1, 6))


def test_a_table_is_written_that_datasets_read(file: Path, ontology: Ontology, tmp_path: Path) -> None:
    out = tmp_path / "my.tsv"
    text = propose(str(file), "annotation", str(out))
    assert "my.h5ad, annotation: 4 labels of 6 cells" in text
    assert "sure: 2 labels of 3 cells" in text
    assert "to decide: 1 label of 1 cell\n  weird type of cell (1 cell)" in text
    assert "without a label: 1 cell" in text
    assert text.endswith(f"wrote {out}; fill in label_id of 1 row, `{UNKNOWN}` where no term fits")
    found = read_table(out, ontology)
    assert found == {"NK": "CL:0000623", "B cells": "CL:0000236", "unassigned": UNKNOWN, "weird type of cell": UNKNOWN}
    records = Records.read(out)
    assert records.names == [*COLUMNS, "cells", "candidates"]
    rows = {fields[0]: fields[1:] for _, fields in records}
    assert rows["NK"] == ["CL:0000623", "natural killer cell (common name)", "2", ""]
    assert rows["weird type of cell"][:3] == ["", "to decide", "1"]
    with pytest.raises(ConfigError, match="my.tsv: exists; choose another name, or overwrite it by --force"):
        propose(str(file), "annotation", str(out))
    assert propose(str(file), "annotation", str(out), force=True) == text


def test_without_a_place_nothing_is_written(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(file.parent.iterdir())
    assert main(["labels", str(file), "annotation"]) == 0
    assert "add --out NAME" in capsys.readouterr().out
    assert sorted(file.parent.iterdir()) == before


def test_candidates_come_with_their_definitions(knowledge: Knowledge) -> None:
    found = Proposal.of({"Delta cells": 3}, knowledge.matcher)
    definition = knowledge.definitions[found.matches["Delta cells"].candidates[0].label_id]
    assert definition[:20] in found.text(knowledge)
    assert definition[:20] in found.table(knowledge)
    narrow = found.text(knowledge, 60)
    assert max(map(len, narrow.splitlines())) <= 80


def test_labels_with_tabs_quotes_and_blanks_come_back(knowledge: Knowledge, ontology: Ontology, tmp_path: Path) -> None:
    labels = {'"naive" T\tcell': 2, "B cell ": 1, "B cell": 1, "a 'b'": 1, '"T cell': 1}
    found = Proposal.of(labels, knowledge.matcher)
    assert found.cells["B cell"] == 2
    assert "1 label with blanks here and none there, such as 'B cell'" in found.text(knowledge)
    (tmp_path / "t.tsv").write_text(found.table(knowledge))
    assert set(read_table(tmp_path / "t.tsv", ontology)) == {'"naive" T cell', "B cell", "a 'b'", '"T cell'}


def test_columns_that_hold_no_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"where: holds numbers such as 0.5, expected labels"):
        count_labels(pd.Series([0.5, 1.0]), "where")
    with pytest.raises(DataError, match=r"holds 200 different values in 200 cells, expected labels"):
        count_labels(pd.Series([f"cell{i}" for i in range(200)]), "where")
    with pytest.raises(DataError, match="no cell has a value"):
        count_labels(pd.Series([None, None], dtype=object), "where")
    assert count_labels(pd.Series([1.0, 2.0, 2.0, np.nan]), "where") == ({"2": 2, "1": 1}, 1)
    assert count_labels(pd.Series(pd.Categorical(["a", "", "a"], categories=["a", "", "b"])), "where") == ({"a": 2}, 1)


def test_any_format_that_datasets_read(file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.h5ad.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    cells = ad.read_h5ad(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format of zarr
        cells.write_zarr(tmp_path / "cells.zarr")
    cells.obs.to_csv(tmp_path / "obs.csv")
    cells.obs.astype({"annotation": str}).to_parquet(tmp_path / "obs.parquet")
    wanted = read_labels(file, "annotation")
    assert wanted.cells == {"NK": 2, "weird type of cell": 1, "unassigned": 1, "B cells": 1}
    for other in (packed, tmp_path / "cells.zarr", tmp_path / "obs.csv"):
        assert read_labels(other, "annotation") == wanted, other.name
    assert read_labels(tmp_path / "obs.parquet", "annotation").cells["NK"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<html><title>Sign in</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS"),
        (b"a,b\nx,y\n", "cannot be read as such"),
    ],
)
def test_files_that_hold_no_cells_are_refused_in_a_line(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.h5ad").write_bytes(content)
    assert main(["labels", str(tmp_path / "x.h5ad"), "cell_type"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_wrong_use_is_said_in_a_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        ([str(tmp_path / "no.h5ad"), "x"], "there is no such file"),
        ([str(file), "annotations"], "obs has no column 'annotations'; did you mean 'annotation'?"),
        ([str(file), "depth"], "holds numbers such as 0.5"),
        ([str(file), "annotation", "--out", str(tmp_path / "no" / "x.tsv")], "there is no folder"),
        ([str(file), "annotation", "--out", "../x"], "'../x' is neither a name (lower-case letters"),
    ):
        assert main(["labels", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("annobench: ")
        assert error.count("\n") == 1


def test_definitions_of_an_obo_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cl.obo"
    path.write_text(
        "format-version: 1.2\ndata-version: releases/2000-01-01\n\n[Term]\nid: CL:0000000\nname: cell\n"
        'def: "A thing that lives." [X:1]\n\n[Term]\nid: CL:0000001\nname: blue cell\nis_a: CL:0000000\n'
    )
    spec = OntologySpec.from_params({"source": "obo", "release": "2000-01-01", "path": str(path)})
    assert read_definitions(spec) == {"CL:0000000": "A thing that lives."}


@pytest.mark.parametrize(
    ("file", "column", "sure", "labels"),
    [
        ("lung_multistudy/maynard2020_nsclc_3000.h5ad", "cell_type_original", 18, 21),
        ("lung_multistudy/tabula_sapiens_lung_1000.h5ad", "cell_type_original", 30, 33),
        ("pbmc_multistudy/kang2018_ifnb_1556.h5ad", "cell_type_original", 5, 5),
        ("pbmc_multistudy/pbmc3k_2638.h5ad", "cell_type_original", 7, 8),
        ("pancreas/human_pancreas_4studies_counts.h5ad", "cell_type", 9, 9),
    ],
)
def test_sure_labels_of_real_files_are_those_of_their_authors(
    real_data: Path, knowledge: Knowledge, file: str, column: str, sure: int, labels: int
) -> None:
    found = Proposal.of(read_labels(real_data / file, column).cells, knowledge.matcher)
    assert len(found.cells) == labels
    assert len(found.chosen("sure")) >= sure
    obs = ad.read_h5ad(real_data / file, backed="r").obs
    ontology = knowledge.ontology
    other = []
    for label in found.chosen("sure"):
        given = ontology.resolve(
            obs["cell_type_ontology_term_id"][obs[column].astype(str).str.strip() == label].iloc[0]
        )
        mine = str(found.matches[label].label_id)
        assert given is not None
        if mine not in ontology.ancestors(given) | ontology.descendants(given) | {given}:
            other.append(label)
    assert other in ([], ["nk cell"])  # of which one file says that it is an NK T cell
