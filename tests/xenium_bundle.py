"""Writes Xenium output bundles as 10x lays them out, byte by byte where that is short: no code of the reader is used.

Layout: the public description of the output files of Xenium Onboard Analysis. Zarr is written by hand (version 2,
chunks without compression), HDF5 with h5py, Matrix Market, CSV and JSON as text, Parquet with pyarrow.
"""

import gzip
import json
import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FORMS = ("h5", "zarr.zip", "zarr", "mtx")
# name, type in HDF5 and Matrix Market, type in Zarr
CONTROLS = [
    ("NegControlProbe_00042", "Negative Control Probe", "negative_control_probe"),
    ("antisense_PROKR2", "Negative Control Probe", "negative_control_probe"),
    ("NegControlCodeword_0500", "Negative Control Codeword", "negative_control_codeword"),
    ("UnassignedCodeword_0001", "Unassigned Codeword", "unassigned_codeword"),
    ("DeprecatedCodeword_0003", "Deprecated Codeword", "deprecated_codeword"),
    ("Intergenic_Region_1", "Genomic Control", "genomic_control"),
    ("CD3E_protein", "Protein Expression", "protein_expression"),
]


@dataclass
class Content:
    """What a bundle says: `counts` is features x cells; genes first, then controls."""

    counts: np.ndarray
    ids: list[str]
    names: list[str]
    types: list[str]
    zarr_types: list[str]
    prefixes: np.ndarray
    suffix: int
    cells: pd.DataFrame
    experiment: dict
    panel: dict

    @property
    def genes(self) -> int:
        return self.types.count("Gene Expression")

    @property
    def barcodes(self) -> list[str]:
        return [barcode(int(prefix), self.suffix) for prefix in self.prefixes]


def barcode(prefix: int, suffix: int) -> str:
    """Eight hexadecimal digits, moved from 0-9a-f to a-p."""
    return f"{prefix:08x}".translate(str.maketrans("0123456789abcdef", "abcdefghijklmnop")) + f"-{suffix}"


def content(data: ad.AnnData, spatial: np.ndarray, ids: list[str] | None = None, seed: int = 0) -> Content:
    """Real counts (X of `data`, cells x genes) with controls at the rate that real sections have."""
    rng = np.random.default_rng(seed)
    genes = np.asarray(data.X.todense()).T.astype(int)
    controls = rng.poisson(0.02, (len(CONTROLS), data.n_obs))
    controls[0, 0] = 1  # every type has counts
    n = data.n_obs
    prefixes = rng.choice(2**32, size=n, replace=False).astype("uint32")
    prefixes[:2] = [0, 2**32 - 1]
    suffix = 1
    cells = pd.DataFrame(
        {
            "cell_id": [barcode(int(prefix), suffix) for prefix in prefixes],
            "x_centroid": spatial[:, 0].astype(float),
            "y_centroid": spatial[:, 1].astype(float),
            "transcript_counts": genes.sum(axis=0),
            "control_probe_counts": controls[:2].sum(axis=0),
            "genomic_control_counts": controls[5],
            "control_codeword_counts": controls[2],
            "unassigned_codeword_counts": controls[3],
            "deprecated_codeword_counts": controls[4],
            "total_counts": genes.sum(axis=0) + controls[:6].sum(axis=0),
            "cell_area": rng.gamma(5, 20, n),
            "nucleus_area": np.where(rng.random(n) < 0.05, np.nan, rng.gamma(5, 6, n)),
            "nucleus_count": np.ones(n, dtype=int),
            "segmentation_method": ["Segmented by boundary stain (ATP1A1+CD45+E-Cadherin)"] * n,
        }
    )
    names = list(data.var_names.astype(str))
    ids = ids or [f"ENSG{i:011d}" for i in rng.permutation(len(names)) + 1]
    targets = [target("gene", name, gene_id) for name, gene_id in zip(names, ids, strict=True)]
    targets += [target("negative_control_probe", CONTROLS[0][0], CONTROLS[0][0])]
    return Content(
        counts=np.vstack([genes, controls]),
        ids=[*ids, *(name for name, _, _ in CONTROLS)],
        names=[*names, *(name for name, _, _ in CONTROLS)],
        types=["Gene Expression"] * len(names) + [kind for _, kind, _ in CONTROLS],
        zarr_types=["gene"] * len(names) + [kind for _, _, kind in CONTROLS],
        prefixes=prefixes,
        suffix=suffix,
        cells=cells,
        experiment={
            "major_version": 5,
            "minor_version": 2,
            "run_name": "a run",
            "region_name": "Region_1",
            "panel_name": "a panel",
            "num_cells": n,
            "pixel_size": 0.2125,
            "analysis_sw_version": "xenium-3.0.0.15",
            "images": {"morphology_filepath": "morphology.ome.tif"},
        },
        panel={
            "metadata": {},
            "payload": {
                "panel": {"identity": {"design_id": "hPanel_v1", "name": "A panel"}, "num_gene_targets": len(names)},
                "targets": targets,
            },
        },
    )


def target(descriptor: str, name: str, gene_id: str) -> dict:
    return {
        "codewords": [1],
        "source": {"category": "current"},
        "type": {"data": {"id": gene_id, "name": name}, "descriptor": descriptor},
    }


def of_pbmc(cells: int = 80, genes: int = 120) -> Content:
    """Real blood cells of scanpy's packaged data; counts are recovered from its log1p values."""
    import scanpy

    file = Path(scanpy.__file__).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
    whole = ad.read_h5ad(file)
    raw = whole.raw.to_adata()
    counts = np.expm1(np.asarray(raw.X.todense(), dtype=float)) * whole.obs["n_counts"].to_numpy()[:, None] / 1e4
    raw.X = type(whole.raw.X)(np.rint(counts))
    first = raw[:cells, :genes].copy()
    grid = np.random.default_rng(1).uniform(0, 5000, (cells, 2))
    return content(first, grid)


def of_merfish(file: Path) -> Content:
    """All cells of a real section of human lung cancer, with their real places."""
    data = ad.read_h5ad(file)
    return content(data, np.asarray(data.obsm["spatial"], dtype=float))


def keep_cells(made: Content, kept: list[int]) -> Content:
    return replace(
        made,
        counts=made.counts[:, kept],
        prefixes=made.prefixes[kept],
        cells=made.cells.iloc[kept].reset_index(drop=True),
        experiment=made.experiment | {"num_cells": len(kept)},
    )


def write(folder: Path, made: Content, *forms: str, cells: str = "parquet", types: bool = True) -> Path:
    """Write a bundle with these forms of the matrix (all where none is named) and of the table of cells."""
    folder.mkdir(parents=True, exist_ok=True)
    for form in forms or FORMS:
        if form == "h5":
            write_h5(folder / "cell_feature_matrix.h5", made, types)
        elif form == "mtx":
            write_mtx(folder / "cell_feature_matrix", made, types)
        else:
            write_zarr(folder / "cell_feature_matrix.zarr", made, types)
            if form == "zarr.zip":
                zipped(folder / "cell_feature_matrix.zarr", folder / "cell_feature_matrix.zarr.zip", zipfile.ZIP_STORED)
                if "zarr" not in (forms or FORMS):
                    shutil.rmtree(folder / "cell_feature_matrix.zarr")
    write_cells(folder, made.cells, cells)
    (folder / "experiment.xenium").write_text(json.dumps(made.experiment))
    (folder / "gene_panel.json").write_text(json.dumps(made.panel))
    (folder / "morphology.ome.tif").write_bytes(b"not read")
    return folder


def write_cells(folder: Path, table: pd.DataFrame, form: str = "parquet") -> None:
    if form == "parquet":
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "cells.parquet")
    elif form == "csv":
        lines = [",".join(f'"{name}"' for name in table)]
        for row in table.itertuples(index=False):
            lines.append(
                ",".join(
                    "" if value != value else f'"{value}"' if isinstance(value, str) else repr(value)
                    for value in (v.item() if hasattr(v, "item") else v for v in row)
                )
            )
        with gzip.open(folder / "cells.csv.gz", "wt") as handle:
            handle.write("\n".join(lines) + "\n")


def write_h5(path: Path, made: Content, types: bool = True) -> None:
    indptr, indices, data = sparse(made.counts.T)  # the columns of the matrix are cells
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(made.barcodes, dtype="S")
        group.create_dataset("data", data=data.astype("int32"), chunks=True, compression="gzip")
        group.create_dataset("indices", data=indices.astype("int64"), chunks=True, compression="gzip")
        group["indptr"] = indptr.astype("int64")
        group["shape"] = np.array(made.counts.shape, dtype="int32")
        features = group.create_group("features")
        features["_all_tag_keys"] = np.array(["genome"], dtype="S")
        features["id"] = np.array([value.encode() for value in made.ids])
        features["name"] = np.array([value.encode() for value in made.names])
        features["genome"] = np.array(["GRCh38"] * len(made.ids), dtype="S")
        if types:
            features["feature_type"] = np.array(made.types, dtype="S")


def write_mtx(folder: Path, made: Content, types: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    lines = ["%%MatrixMarket matrix coordinate integer general", '%metadata_json: {"format_version": 2}']
    lines.append(f"{made.counts.shape[0]} {made.counts.shape[1]} {np.count_nonzero(made.counts)}")
    for cell in range(made.counts.shape[1]):
        for feature in np.flatnonzero(made.counts[:, cell]):
            lines.append(f"{feature + 1} {cell + 1} {made.counts[feature, cell]}")
    columns = [made.ids, made.names, made.types][: 3 if types else 2]
    texts = {
        "matrix.mtx.gz": lines,
        "features.tsv.gz": ["\t".join(row) for row in zip(*columns, strict=True)],
        "barcodes.tsv.gz": made.barcodes,
    }
    for name, rows in texts.items():
        with gzip.open(folder / name, "wt", encoding="utf-8") as handle:
            handle.write("\n".join(rows) + "\n")


def write_zarr(folder: Path, made: Content, types: bool = True) -> None:
    """Rows are features; one of the aggregates that Zarr has beyond the other forms is not written."""
    group = folder / "cell_features"
    group.mkdir(parents=True)
    for place in (folder, group):
        (place / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    about = {"feature_ids": made.ids, "feature_keys": made.names, "feature_types": made.zarr_types}
    about |= {"number_cells": len(made.prefixes), "number_features": len(made.ids), "major_version": 3}
    if not types:
        del about["feature_types"]
    (group / ".zattrs").write_text(json.dumps(about))
    indptr, indices, data = sparse(made.counts)
    codes = np.stack([made.prefixes, np.full_like(made.prefixes, made.suffix)], axis=1)
    for name, values, dtype, chunk in (
        ("indptr", indptr, "<u4", 50),
        ("indices", indices, "<u4", 700),
        ("data", data, "<u4", 700),
        ("cell_id", codes, "<u4", 30),
    ):
        zarr_array(group / name, values.astype(dtype), chunk)


def zarr_array(folder: Path, values: np.ndarray, chunk: int) -> None:
    """An array of Zarr version 2 in chunks of rows, each a file of plain bytes; the last one is padded with zeros."""
    folder.mkdir()
    shape = [chunk, *values.shape[1:]]
    about = {"zarr_format": 2, "shape": list(values.shape), "chunks": shape, "dtype": values.dtype.str, "order": "C"}
    about |= {"compressor": None, "fill_value": 0, "filters": None}
    (folder / ".zarray").write_text(json.dumps(about))
    for number, start in enumerate(range(0, len(values), chunk)):
        block = np.zeros(shape, dtype=values.dtype)
        part = values[start : start + chunk]
        block[: len(part)] = part
        (folder / ".".join([str(number), *("0" for _ in values.shape[1:])])).write_bytes(block.tobytes())


def sparse(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row starts, columns and values of what is not zero."""
    rows, columns = np.nonzero(dense)
    starts = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    return starts, columns, dense[rows, columns]


def zipped(folder: Path, archive: Path, method: int = zipfile.ZIP_DEFLATED, top: str = "") -> Path:
    """A zip of a folder, under the folder `top` of the archive."""
    with zipfile.ZipFile(archive, "w", method) as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.write(path, Path(top) / path.relative_to(folder))
    return archive
