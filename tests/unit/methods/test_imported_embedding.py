"""Embeddings made elsewhere are read from every kind of file, joined by id, and refused where they are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from annobench.cells.obs_columns import read_obs
from annobench.config.entities import available, load_method
from annobench.config.plugins import method_facts
from annobench.core.errors import AnnobenchError, ConfigError, DataError, MethodSkipped, PredictionError
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT
from annobench.core.tables import Wanted
from annobench.fit.embedding import read_embedding, write_embedding
from annobench.fit.embedding_checks import Geometry, effective_rank
from annobench.fit.method import Context
from annobench.methods.imported_embedding import ImportedEmbedding
from annobench.methods.shared import embedding_files
from annobench.ontology import Ontology
from helpers import toy_ontology

CELLS = ["a", "b", "c", "d", "e"]
VALUES = np.arange(15, dtype=np.float32).reshape(5, 3) ** 2
ROW = dict(zip(CELLS, VALUES, strict=True))
TYPES = ["T cell", "T cell", "B cell", "T cell", "B cell"]


def method(path: Path | str, ontology: Ontology | None = None, **parameters: Any) -> ImportedEmbedding:
    made = ImportedEmbedding(path=str(path), **parameters)
    made.fit(query([]), Context(seed=1, classes=[], ontology=ontology or toy_ontology(), dataset="mine"))
    return made


def query(names: list[str]) -> ad.AnnData:
    """Cells as a method with `needs.cells: none` gets them: without a matrix."""
    return ad.AnnData(obs=pd.DataFrame(index=names))


def embedded(made: ImportedEmbedding, names: list[str]) -> np.ndarray:
    parts = list(made.embed(query(names)))
    assert [cell for part in parts for cell in part.cell_ids] == names
    return np.concatenate([part.values for part in parts])


def as_npy(folder: Path) -> dict[str, Any]:
    np.save(folder / "e.npy", VALUES)
    (folder / "ids.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*CELLS, ""]).encode())
    return {"path": str(folder / "e.npy"), "ids": str(folder / "ids.txt")}


def as_npy_with_a_table(folder: Path) -> dict[str, Any]:
    np.save(folder / "e.npy", VALUES.astype(np.float64))
    pd.DataFrame({"barcode": CELLS, "n": range(5)}).to_csv(folder / "ids.csv", index=False)
    return {"path": str(folder / "e.npy"), "ids": str(folder / "ids.csv"), "cell_id": "barcode"}


def as_npz(folder: Path) -> dict[str, Any]:
    np.savez_compressed(folder / "e.npz", values=VALUES, names=np.array(CELLS), other=np.ones(2))
    return {"path": str(folder / "e.npz"), "key": "values", "cell_id": "names"}


def as_own_file(folder: Path) -> dict[str, Any]:
    ids = np.array(CELLS, dtype=object)
    with pytest.MonkeyPatch.context():
        from annobench.fit.embedding import Embedding

        write_embedding(folder / "embedding.npz", {"test": ids}, [Embedding(ids, VALUES)])
    return {"path": str(folder / "embedding.npz"), "key": "embedding", "cell_id": "cell_ids"}


def as_obsm(folder: Path, values: Any = VALUES, **obs: Any) -> dict[str, Any]:
    frame = pd.DataFrame({"cell_type": TYPES, "barcode": [f"x{c}" for c in CELLS]} | obs, index=CELLS)
    cells = ad.AnnData(csr_matrix(np.ones((5, 2))), obs=frame, obsm={"X_uce": values, "X_pca": np.ones((5, 2))})
    cells.write_h5ad(folder / "e.h5ad")
    return {"path": str(folder / "e.h5ad"), "key": "X_uce"}


def as_sparse_obsm(folder: Path) -> dict[str, Any]:
    return as_obsm(folder, csr_matrix(VALUES))


def as_table_in_obsm(folder: Path) -> dict[str, Any]:
    return as_obsm(folder, pd.DataFrame(VALUES, index=CELLS, columns=["1", "2", "3"]))


def as_parquet(folder: Path) -> dict[str, Any]:
    frame = pd.DataFrame(VALUES, columns=["0", "1", "2"]).assign(cell=CELLS, cell_type=TYPES)
    frame.to_parquet(folder / "e.parquet")
    return {"path": str(folder / "e.parquet"), "cell_id": "cell", "ignore": ["cell_type"]}


def as_csv_of_geneformer(folder: Path) -> dict[str, Any]:
    """Row names that count, dimensions, then columns of labels."""
    frame = pd.DataFrame(VALUES, columns=[0, 1, 2]).assign(cell=CELLS, cell_type=TYPES)
    frame.to_csv(folder / "e.csv.gz")
    return {"path": str(folder / "e.csv.gz"), "cell_id": "cell", "ignore": ["cell_type"]}


def as_tsv_with_row_names(folder: Path) -> dict[str, Any]:
    pd.DataFrame(VALUES, index=CELLS).to_csv(folder / "e.tsv", sep="\t")
    return {"path": str(folder / "e.tsv")}


FORMATS = [
    *(as_npy, as_npy_with_a_table, as_npz, as_own_file, as_obsm, as_sparse_obsm, as_table_in_obsm, as_parquet),
    *(as_csv_of_geneformer, as_tsv_with_row_names),
]


@pytest.mark.parametrize("block", [2, 8192])
@pytest.mark.parametrize("write", FORMATS)
def test_every_kind_of_file_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], dict[str, Any]], block: int
) -> None:
    monkeypatch.setattr(embedding_files, "_BLOCK", block)
    made = method(**write(tmp_path))
    for names in (["d", "a", "c"], ["b"], CELLS[::-1]):
        found = embedded(made, names)
        assert found.dtype == np.float32
        assert found.tolist() == [ROW[name].tolist() for name in names]


def test_what_is_large_lies_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_files, "_IN_MEMORY", 0)
    matrix = embedding_files.read_matrix(Path(as_npy(tmp_path)["path"]), None, None, [])
    found = embedding_files.gathered(matrix, np.array([4, -1, 0]))
    assert isinstance(found, np.memmap)
    assert np.isnan(found[1]).all()
    assert found[[0, 2]].tolist() == VALUES[[4, 0]].tolist()


def test_ids_may_be_a_column_or_have_a_prefix(tmp_path: Path) -> None:
    made = as_obsm(tmp_path)
    assert embedded(method(**made, cell_id="barcode"), ["xc"]).tolist() == [ROW["c"].tolist()]
    assert embedded(method(**made, prefix="lung:"), ["lung:c"]).tolist() == [ROW["c"].tolist()]


def test_notes_count_cells_over_all_roles(tmp_path: Path) -> None:
    file = as_obsm(tmp_path)
    made = method(**file, missing="mean", made_with={"layer": -1, "pooling": "mean"})
    embedded(made, ["a", "b"])
    found = embedded(made, ["c", "x"])
    assert found[1].tolist() == found[0].tolist()  # the mean of one cell
    assert made.notes == {
        "file": file["path"],
        "sha256": {file["path"]: sha256_of(file["path"])},
        "where": "e.h5ad: obsm['X_uce']",
        "type": "float32",
        "made_with": {"layer": -1, "pooling": "mean"},
        "join": "by cell id",
        "cells": 5,
        "cells_joined": 3,
        "cells_missing": 1,
        "missing": ("x",),
        "cells_surplus": 2,
        "surplus": ("d", "e"),
    }


def test_missing_cells_are_an_error_or_lie_at_the_mean(tmp_path: Path) -> None:
    file = as_obsm(tmp_path)
    with pytest.raises(DataError, match=r"e.h5ad: obs: 2 of 4 cells are missing \(x, y\), and `missing` is error"):
        embedded(method(**file), ["a", "x", "b", "y"])
    found = embedded(method(**file, missing="mean"), ["a", "x", "b", "y"])
    assert found[[1, 3]].tolist() == [((ROW["a"] + ROW["b"]) / 2).tolist()] * 2


# rows joined by their order


def ordered(folder: Path, **changes: Any) -> dict[str, Any]:
    """A file whose cells have no ids, as TranscriptFormer writes it, and the file that it was made of."""
    as_obsm(folder)
    (folder / "e.h5ad").rename(folder / "cells.h5ad")
    parameters = as_obsm(folder, **changes) | {"ids": str(folder / "cells.h5ad")}
    cells = ad.read_h5ad(folder / "e.h5ad")
    cells.obs_names = [str(i) for i in range(5)]
    cells.write_h5ad(folder / "e.h5ad")
    return parameters


def test_rows_may_be_joined_by_their_order_where_a_column_agrees(tmp_path: Path) -> None:
    made = method(**ordered(tmp_path), join="order", checked="cell_type")
    assert embedded(made, ["d", "b"]).tolist() == [ROW["d"].tolist(), ROW["b"].tolist()]
    assert made.notes is not None
    assert made.notes["join"] == f"in the order of {tmp_path / 'cells.h5ad'}, each row checked by 'cell_type'"


def test_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    parameters = ordered(tmp_path, cell_type=TYPES[::-1])
    message = "obs, row 1: 'cell_type' is 'B cell', but 'T cell' in cells.h5ad: obs, and 2 of 5 rows differ"
    with pytest.raises(DataError, match=message):
        embedded(method(**parameters, join="order", checked="cell_type"), ["a"])


def test_a_table_may_be_joined_by_its_order(tmp_path: Path) -> None:
    parameters = as_parquet(tmp_path)
    as_obsm(tmp_path)
    made = {"path": parameters["path"], "ids": str(tmp_path / "e.h5ad"), "ignore": ["cell"]}
    assert embedded(method(**made, join="order", checked="cell_type"), ["e"]).tolist() == [ROW["e"].tolist()]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"join": "order"}, "parameters.join is order: name in `ids` .* and in `checked`"),
        ({"join": "order", "ids": "x.txt"}, "parameters.join is order"),
        ({"checked": "cell_type"}, "parameters.checked has no effect with `join: id`"),
    ],
)
def test_an_order_needs_a_check(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImportedEmbedding(path="e.h5ad", **parameters)


# what is refused


def saved(folder: Path, values: Any, ids: list[str] | None = None, **more: Any) -> dict[str, Any]:
    np.save(folder / "e.npy", values, **more)
    (folder / "ids.txt").write_text("\n".join(CELLS if ids is None else ids) + "\n")
    return {"path": str(folder / "e.npy"), "ids": str(folder / "ids.txt")}


def with_value(value: float) -> np.ndarray:
    values = VALUES.astype(np.float64)
    values[1, 2] = value
    return values


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda f: saved(f, with_value(np.nan)),
            "e.npy, row 2: cell 'b' has the value nan in dimension 3, expected a finite",
        ),
        (lambda f: saved(f, with_value(1e39)), "e.npy, row 2: cell 'b' has the value inf in dimension 3"),
        (lambda f: saved(f, VALUES[:4]), "e.npy: has 4 rows, but ids.txt lists 5 cells; expected the same number"),
        (
            lambda f: saved(f, VALUES, ["A", "B", "C", "D", "E"]),
            "ids.txt: none of its 5 cells .such as 'A'. is among the 5",
        ),
        (lambda f: saved(f, VALUES, ["a", "b", "c", "d", "a"]), "line 5: cell 'a' is listed twice, first in line 1"),
        (lambda f: saved(f, VALUES, ["a", "", "c", "d", "e"]), "ids.txt, line 2, column 'index': '' is not a cell id"),
        (lambda f: saved(f, np.array([["1", "2"]] * 5)), "e.npy: holds values of type <U1, expected numbers"),
        (
            lambda f: saved(f, VALUES.astype(object), allow_pickle=True),
            "e.npy: is not a readable .npy file .*save numbers",
        ),
        (lambda f: saved(f, VALUES[:, 0]), r"e.npy: has shape \(5,\), expected \(cells, dimensions\)"),
        (
            lambda f: as_obsm(f) | {"key": "X_ucee"},
            "e.h5ad: obsm has no key 'X_ucee'; did you mean 'X_uce'",
        ),
        (
            lambda f: as_obsm(f) | {"key": None},
            "e.h5ad: obsm has the keys X_pca, X_uce; name one in `key`",
        ),
        (lambda f: as_npz(f) | {"key": "value"}, "e.npz: has no array 'value'; did you mean 'values'"),
        (lambda f: as_npz(f) | {"key": None}, "e.npz: has the arrays values, names, other; name that of the values"),
        (lambda f: as_npz(f) | {"cell_id": "other"}, "e.npz: the ids have shape .2,. and type float64"),
        (lambda f: as_npy(f) | {"key": "x"}, "parameters.key is 'x', but e.npy is no .h5ad or .npz file"),
        (lambda f: as_npy(f) | {"ids": None}, "parameters.ids: e.npy has no ids; name a file"),
        (lambda f: as_parquet(f) | {"ignore": []}, "e.parquet: column 'cell_type' holds .*string, expected numbers"),
        (lambda f: as_csv_of_geneformer(f) | {"ignore": []}, "'T cell' is not a number.*are named in `ignore`"),
        (lambda f: as_parquet(f) | {"ignore": ["type"]}, "e.parquet: there is no column 'type'"),
        (lambda f: as_obsm(f) | {"cell_id": "barcod"}, "there is no column 'barcod'; did you mean 'barcode'"),
        (lambda f: as_obsm(f) | {"dimensions": 1280}, "has 3 dimensions, expected 1280 .parameters.dimensions"),
        (lambda f: as_obsm(f) | {"sha256": "0" * 64}, "e.h5ad: has the sha256 .*, expected 000"),
    ],
)
def test_what_is_no_embedding_of_the_cells_is_refused(
    tmp_path: Path, write: Callable[[Path], dict[str, Any]], message: str
) -> None:
    with pytest.raises(AnnobenchError, match=message):
        embedded(method(**write(tmp_path)), CELLS)


@pytest.mark.parametrize("name", ["e.npy", "e.npz", "e.h5ad", "e.rds"])
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text")
    (tmp_path / "ids.txt").write_text("a\n")
    with pytest.raises(DataError, match=f"{name}: (is not a readable|ends in '.rds', expected one of .npy)"):
        embedded(method(tmp_path / name, ids=str(tmp_path / "ids.txt")), ["a"])


def test_a_constant_embedding_is_refused_when_it_is_written(tmp_path: Path) -> None:
    made = method(**saved(tmp_path, np.full((5, 3), 0.3)))
    with pytest.raises(PredictionError, match="the embedding is the same for every cell"):
        write_embedding(tmp_path / "out.npz", {"test": np.array(CELLS, dtype=object)}, made.embed(query(CELLS)))


def test_a_missing_file_makes_the_fit_skipped_and_says_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(MethodSkipped, match="there is no file 'no/mine.h5ad'. How to make it: run it, then this"):
        embedded(method("no/{dataset}.h5ad", how="run it,\n  then this\n"), CELLS)
    with pytest.raises(MethodSkipped, match="there is no file 'no/mine.h5ad'; make it, or name another"):
        embedded(method("no/{dataset}.h5ad"), CELLS)
    parameters = as_npy(tmp_path) | {"ids": str(tmp_path / "{dataset}.txt")}
    with pytest.raises(MethodSkipped, match=r"mine.txt'"):
        embedded(method(**parameters), CELLS)


def test_what_the_class_states() -> None:
    facts = method_facts("imported_embedding")
    assert facts.needs.cells == "none"
    assert (facts.abilities.predictions, facts.abilities.embedding, facts.abilities.trains) == (False, True, False)
    assert facts.files_of({"path": "e.npy", "ids": "i.txt"}) == ["e.npy", "i.txt"]
    assert facts.files_of({"path": "e.h5ad", "ids": None}) == ["e.h5ad"]


MODELS = [m for m in available("methods", ROOT) if load_method(m, ROOT, "")["implementation"] == "imported_embedding"]


def test_the_models_of_the_field_are_declared() -> None:
    wanted = {"aido_cell_3m", "geneformer_12l_95m_i4096", "scgpt_human", "scvi_census_2023_12_15", "uce_4l", "uce_33l"}
    assert {*wanted, *(f"transcriptformer_{one}" for one in ("exemplar", "metazoa", "sapiens"))} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_file_is_missing_is_skipped_with_the_way_to_make_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOBENCH_DATA", str(tmp_path))
    parameters = load_method(name, ROOT, "")["parameters"]
    with pytest.raises(MethodSkipped, match=r"there is no file .* How to make it: .*\S"):
        embedded(method(**parameters), CELLS)


def test_the_embedding_of_another_fit_can_be_read(tmp_path: Path) -> None:
    file = as_own_file(tmp_path)
    write_embedding(
        tmp_path / "again.npz", {"test": np.array(CELLS[::-1], dtype=object)}, method(**file).embed(query(CELLS[::-1]))
    )
    assert read_embedding(tmp_path / "again.npz").values.tolist() == VALUES[::-1].tolist()


def test_a_real_embedding_of_real_cells(real_data: Path) -> None:
    """TranscriptFormer's own embedding of its 1,000 heart nuclei."""
    path = real_data / "fm_embeddings" / "transcriptformer_heart" / "heart_1000_counts_tfsapiens.h5ad"
    if not path.is_file():
        pytest.skip(f"there is no {path.name}")
    names = [str(name) for name in read_obs(path, Wanted(ids="index")).ids.to_pylist()]
    found = embedded(method(path, key="X_tf_sapiens", dimensions=2048), names[::-1])
    geometry = Geometry.of(found)
    assert (geometry.cells, geometry.collapsed_dimensions, geometry.unit_norm) == (1000, 0, False)
    centred = found - found.mean(axis=0, dtype=np.float64)
    squares = np.linalg.eigvalsh(centred @ centred.T)[1:]  # of cells; the smallest is that of the mean
    assert geometry.effective_rank == pytest.approx(effective_rank(np.sqrt(squares)), rel=1e-3)  # 424.8
