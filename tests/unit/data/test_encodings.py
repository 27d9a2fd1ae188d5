"""What is promised: cells are the same whatever program wrote the file, in memory and in a store."""

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_matrix, csr_matrix

from annobench.cells.elements import Frame, values
from annobench.cells.obs_columns import obs_names, read_obs
from annobench.core.errors import DataError
from annobench.core.tables import Wanted

N, GENES = 40, 12
COUNTS = np.random.default_rng(3).poisson(0.8, (N, GENES))
TYPES = ["B cell" if i % 3 else "T cell" for i in range(N)]
DONORS: list[str | None] = [None if i % 7 == 0 else f"D{i % 2}é" for i in range(N)]
AGES = [20 + i % 5 for i in range(N)]
KEPT = [bool(i % 4) for i in range(GENES)]
NAMES = [f"cell{i}" for i in range(N)]
SYMBOLS = [f"N{i}" for i in range(GENES)]
STORAGES = ("memory", "store")
CELLS = {"donor": "donor", "columns": {"age": "age"}}


# writers: each puts a column into a group, as some program does


def modern(group: h5py.Group, name: str, column: list) -> None:
    ad.io.write_elem(group, name, pd.Series(column, dtype=object if None in column else None).to_numpy())


def vlen(group: h5py.Group, name: str, column: list) -> None:
    group.create_dataset(name, data=[str(value or "NA") for value in column], dtype=h5py.string_dtype())


def fixed(group: h5py.Group, name: str, column: list) -> None:
    group.create_dataset(name, data=np.array([str(value).encode() for value in column]))


def nullable(group: h5py.Group, name: str, column: list) -> None:
    dtype = "string" if any(isinstance(value, str) for value in column) else "Int64"
    with ad.settings.override(allow_write_nullable_strings=True):
        ad.io.write_elem(group, name, pd.array(column, dtype=dtype))


def categorical(group: h5py.Group, name: str, column: list) -> None:
    ad.io.write_elem(group, name, pd.Categorical(column))


def beside(group: h5py.Group, name: str, column: list, *, referenced: bool = True, kind: str = "i1") -> None:
    """anndata 0.7 and SeuratDisk: codes, and `__categories` with a reference to it or without."""
    whole = pd.Categorical(column)
    categories = group.require_group("__categories")
    texts = [value.item() if hasattr(value, "item") else value for value in whole.categories]
    text = isinstance(texts[0], str)
    made = categories.create_dataset(name, data=texts, dtype=h5py.string_dtype() if text else None)
    made.attrs["ordered"] = False
    codes = group.create_dataset(name, data=whole.codes.astype(kind))
    if referenced:
        codes.attrs["categories"] = made.ref


def plain(group: h5py.Group, name: str, column: list) -> None:
    group.create_dataset(name, data=column)


def big_endian(group: h5py.Group, name: str, column: list) -> None:
    group.create_dataset(name, data=np.asarray(column).astype(np.asarray(column).dtype.newbyteorder(">")))


def logical(group: h5py.Group, name: str, column: list) -> None:
    """R's logical values: an enumeration of three."""
    kind = h5py.enum_dtype({"FALSE": 0, "TRUE": 1, "NA": 2}, basetype="i1")
    group.create_dataset(name, data=np.array([2 if v is None else int(v) for v in column], dtype="i1"), dtype=kind)


def table(file: h5py.File, name: str, index: list, columns: dict, how: dict, order: Any = None) -> None:
    """A table, each column (and `_index`) written as `how` says."""
    group = file.create_group(name)
    key = "_index" if name == "obs" else "features"
    how.get("_index", vlen)(group, key, index)
    for column, of in columns.items():
        how[column](group, column, of)
    group.attrs["_index"] = key
    group.attrs["column-order"] = np.array(list(columns), dtype=object) if order is None else order
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "dataframe", "0.1.0"


def matrix(file: h5py.File, counts: np.ndarray, how: str) -> None:
    """X as some program writes it; `how` is a form, an optional type, and optional old names of the attributes."""
    form, kind, old, wide = (*how.split("-"), "", "", "")[:4]
    dense = counts.astype(kind or "f4")
    if form == "dense":
        file.create_dataset("X", data=dense)
        return
    sparse = (csr_matrix if form == "csr" else csc_matrix)(counts)
    group = file.create_group("X")
    group.create_dataset("data", data=sparse.data.astype(kind or "f4"))
    for part in ("indices", "indptr"):
        group.create_dataset(part, data=getattr(sparse, part).astype(wide or "i4"))
    if old:
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = form, counts.shape
    else:
        group.attrs["encoding-type"], group.attrs["shape"] = (
            f"{form}_matrix",
            np.array(counts.shape, dtype=wide or "i8"),
        )


def source(path: Path, obs: dict, form: str = "csr", genes: dict | None = None, index: list | None = None) -> Path:
    columns = {"cell_type": TYPES, "donor": DONORS, "age": AGES}
    with h5py.File(path, "w") as file:
        matrix(file, COUNTS, form)
        table(file, "obs", NAMES if index is None else index, columns, obs)
        table(file, "var", SYMBOLS, {"kept": KEPT}, {"kept": plain} | (genes or {}))
    return path


OBS = {"cell_type": vlen, "donor": categorical, "age": plain}
LAYOUTS = {
    "today": {"cell_type": categorical, "donor": nullable, "age": nullable, "_index": nullable},
    "anndata 0.7": {"cell_type": beside, "donor": beside, "age": beside, "_index": vlen},
    "SeuratDisk": {
        "cell_type": lambda *a: beside(*a, referenced=False, kind="i4"),
        "donor": beside,
        "age": plain,
        "_index": vlen,
    },
    "fixed length": {"cell_type": fixed, "donor": categorical, "age": big_endian, "_index": fixed},
    "categories all": {"cell_type": categorical, "donor": categorical, "age": categorical, "_index": categorical},
}


def same_cells(cells: ad.AnnData, names: list[str] = NAMES) -> None:
    assert (cells.X.toarray() == COUNTS).all()
    assert list(cells.obs_names) == names
    assert list(cells.obs["label_original"]) == TYPES
    assert list(cells.obs["donor"]) == [donor or "unknown" for donor in DONORS]
    assert list(cells.obs["age"]) == [str(age) for age in AGES]
    assert list(cells.var["feature_name"]) == SYMBOLS


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_tables_of_every_layout(prepare, tmp_path: Path, layout: str, storage: str) -> None:
    cells, _, _ = prepare(source(tmp_path / "a.h5ad", LAYOUTS[layout]), storage, cells=CELLS)
    same_cells(cells)


FORMS = ["csr", "csr->f4", "csr->i8-old-i8", "csc-f8", "csc->i4-old-f8", "dense-u1", "dense->f8", "dense-?", "csr-f2"]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("form", FORMS)
def test_matrices_of_every_form(prepare, tmp_path: Path, form: str, storage: str) -> None:
    cells, _, _ = prepare(source(tmp_path / "a.h5ad", OBS, form), storage, cells=CELLS)
    expected = COUNTS > 0 if form.endswith("?") else COUNTS
    assert (cells.X.toarray() == expected).all()


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("how", [plain, big_endian, fixed, nullable])
def test_names_that_are_numbers(prepare, tmp_path: Path, how: Any, storage: str) -> None:
    numbers = list(range(100, 100 + N))
    file = source(tmp_path / "a.h5ad", OBS | {"_index": how}, index=numbers)
    same_cells(prepare(file, storage, cells=CELLS)[0], [str(number) for number in numbers])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("how", [plain, logical, vlen, categorical, lambda g, n, c: plain(g, n, [int(v) for v in c])])
def test_logical_columns_of_genes(prepare, tmp_path: Path, how: Any, storage: str) -> None:
    file = source(
        tmp_path / "a.h5ad", OBS, genes={"kept": lambda g, n, c: how(g, n, [str(v) for v in c] if how is vlen else c)}
    )
    cells, card, said = prepare(file, storage, cells=CELLS, genes={"require": ["kept"]})
    assert list(cells.var["feature_name"]) == [name for name, kept in zip(SYMBOLS, KEPT, strict=True) if kept]
    assert card["dropped"]["genes_not_required"] == KEPT.count(False)
    assert any("not required" in text for text in said)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fixed_length", [True, False])
def test_tables_of_anndata_before_0_7(prepare, tmp_path: Path, storage: str, fixed_length: bool) -> None:
    text: Any = "S12" if fixed_length else h5py.string_dtype()
    donors = pd.Categorical(DONORS)
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        matrix(file, COUNTS, "csr->f4-old")
        obs = np.zeros(N, dtype=[("index", text), ("cell_type", text), ("donor", "i1"), ("age", ">i8")])
        obs["index"], obs["cell_type"], obs["donor"], obs["age"] = NAMES, TYPES, donors.codes, AGES
        file["obs"] = obs
        var = np.zeros(GENES, dtype=[("index", text), ("kept", "?")])
        var["index"], var["kept"] = SYMBOLS, KEPT
        file["var"], file["raw.var"] = var, var
        file.create_dataset("uns/donor_categories", data=list(donors.categories), dtype=h5py.string_dtype())
        file.create_dataset("raw.X", data=COUNTS * 2)
    same_cells(prepare(tmp_path / "a.h5ad", storage, cells=CELLS)[0])
    cells, _, _ = prepare(tmp_path / "a.h5ad", storage, cells=CELLS, matrix={"slot": "raw"})
    assert (cells.X.toarray() == COUNTS * 2).all()
    assert obs_names(tmp_path / "a.h5ad") == ["index", "cell_type", "donor", "age"]
    read = read_obs(tmp_path / "a.h5ad", Wanted(ids="index", texts=["donor"]))
    assert list(read.texts["donor"].to_text())[1] == DONORS[1]


@pytest.mark.parametrize("storage", STORAGES)
def test_what_nobody_needs_may_be_unreadable(prepare, tmp_path: Path, storage: str) -> None:
    file = source(tmp_path / "a.h5ad", OBS)
    with h5py.File(file, "r+") as opened:
        for name in ("uns/odd", "obsm/spatial", "layers/odd", "obs/odd", "var/odd"):
            opened[name] = np.zeros(GENES)
            opened[name].attrs["encoding-type"] = "of tomorrow"
        opened["obs"].attrs["column-order"] = ["cell_type", "donor", "age", "odd"]
        opened["var"].attrs["column-order"] = ["kept", "odd"]
    cells, card, said = prepare(file, storage, cells=CELLS)
    same_cells(cells)
    assert "obsm['spatial']" in card["coordinates_left_out"]
    assert any("coordinates are left out" in text for text in said)
    with pytest.raises(DataError, match=r"obs\['odd'\]: has the encoding 'of tomorrow'"):
        prepare(file, storage, cells=CELLS | {"donor": "odd"})


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("empty", ["absent", "null", "zero"])
def test_other_matrices_are_named_where_x_holds_none(prepare, tmp_path: Path, empty: str, storage: str) -> None:
    file = source(tmp_path / "a.h5ad", OBS)
    with h5py.File(file, "r+") as opened:
        opened.move("X", "layers/umis")
        if empty == "null":
            opened["X"] = h5py.Empty("f4")
        if empty == "zero":
            opened["X"] = np.zeros((N, GENES), dtype="f4")
    message = "all values of X are zero" if empty == "zero" else "there is no matrix X"
    for _ in range(2):  # a second run meets the same error
        with pytest.raises(DataError, match=f"{message}.*layers/umis"):
            prepare(file, storage, cells=CELLS)
    same_cells(prepare(file, storage, cells=CELLS, matrix={"slot": "layers/umis"})[0])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_matrix_that_is_turned_round(prepare, tmp_path: Path, storage: str) -> None:
    file = source(tmp_path / "a.h5ad", OBS)
    with h5py.File(file, "r+") as opened:
        opened["X"].attrs["shape"] = (GENES, N)
    with pytest.raises(DataError, match="X has the shape 12 x 40, but there are 40 cells .* turned round"):
        prepare(file, storage, cells=CELLS)


@given(
    column=st.one_of(
        st.lists(st.one_of(st.none(), st.text("aé x", min_size=1, max_size=3)), min_size=1, max_size=20),
        st.lists(st.integers(-100, 100), min_size=1, max_size=20),
        st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=20),
    ),
    start=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_part_of_a_column_is_that_part_of_all(tmp_path: Path, column: list, start: int, data: st.DataObject) -> None:
    given_all = [value for value in column if value is not None]
    hows = [nullable, categorical, beside] if given_all else [nullable]
    if len(given_all) == len(column):
        hows += [modern] if isinstance(column[0], str) else [modern, plain, big_endian]
    how = data.draw(st.sampled_from(hows))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("obs")
        how(group, "c", column)
        found = pd.Series(values(group["c"], slice(start, start + 7))).astype(object)
    expected = column[start : start + 7]
    assert [None if pd.isna(value) else value for value in found] == expected
    assert [str(value) for value in found[found.notna()]] == [str(value) for value in expected if value is not None]


def test_codes_that_no_category_has(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("obs")
        vlen(group, "_index", ["a", "b"])
        beside(group, "c", ["x", "y"])
        group["c"][1] = 7
        with pytest.raises(DataError, match="has the code 7, but there are 2 categories"):
            Frame(group, "f: obs").table()
        nullable(group, "d", ["x", None])
        group.attrs["_index"] = "d"
        with pytest.raises(DataError, match="1 row names are missing"):
            Frame(group, "f: obs").index()
