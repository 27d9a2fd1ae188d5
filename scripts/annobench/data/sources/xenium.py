"""A 10x Xenium output bundle becomes one h5ad: gene counts, coordinates in micrometres, controls removed and counted.

A bundle is a folder, or a zip of it. Read are the cell-feature matrix (HDF5, else Zarr, else Matrix Market), the table
of cells (Parquet, else CSV), and where they are there `experiment.xenium` and `gene_panel.json`. The result does not
depend on the forms that were read: cells are in the order of the table of cells, genes in the order of their ids.
"""

import re
import shutil
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.core.files import atomic, expanded, sha256_of
from annobench.core.progress import Report
from annobench.data.sources.shared.paths import stated_path
from annobench.data.sources.shared.xenium_files import Json, Matrix, read_cells, read_json, read_matrix
from annobench.data.spec import Fetched, Given, SourceSpec, Step

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

GENE = "Gene Expression"
_MTX = "cell_feature_matrix"
_H5, _ZARR_ZIP, _ZARR = f"{_MTX}.h5", f"{_MTX}.zarr.zip", f"{_MTX}.zarr"
_MTX_FILES = [f"{_MTX}/{name}" for name in ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz")]
_CELLS = ("cells.parquet", "cells.csv.gz")
_EXPERIMENT, _PANEL = "experiment.xenium", "gene_panel.json"
# in the first bundles features have no type, or the type of a gene; no gene has such a name
_PREFIXES = {
    "BLANK_": "Blank Codeword",
    "NegControlProbe_": "Negative Control Probe",
    "NegControlCodeword_": "Negative Control Codeword",
    "antisense_": "Negative Control Probe",
    "UnassignedCodeword_": "Unassigned Codeword",
    "DeprecatedCodeword_": "Deprecated Codeword",
    "Intergenic_Region_": "Genomic Control",
}
_ABOUT = (
    *("run_name", "region_name", "panel_name", "panel_design_id", "panel_organism", "panel_tissue_type"),
    *("preservation_method", "num_cells", "pixel_size", "analysis_sw_version", "instrument_sw_version"),
)


@dataclass(frozen=True)
class Source(SourceSpec):
    """A bundle on this machine (`path`), or a download of its zip (`urls`, `file`)."""

    path: str | None = None
    urls: tuple[str, ...] = ()
    file: str | None = None
    sha256: str | None = None

    def files(self) -> list[Path]:
        """The files of the bundle that are read, or its zip."""
        return bundle_files(expanded(self.path)) if self.path else []

    def stated(self) -> list[str]:
        """`path`, if that is where the bundle is."""
        return [self.path] if self.path else []

    def unverified(self) -> str | None:
        """The download, where no hash is stated."""
        return None if self.sha256 else self.file

    def memory_mb(self, stated: int) -> int:
        """That of preparing the dataset: the bundle is read whole."""
        return stated

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Write the bundle as one h5ad."""
        from annobench.data.download.http import verified_file

        steps: list[Step] = []
        unverified = None
        if self.path:
            bundle = stated_path(self.path)
            if not bundle.exists():
                raise DataError(
                    f"source.path: no folder or zip '{bundle}' (from '{self.path}'); relative paths start at "
                    f"{Path.cwd()}"
                )
            steps.append({"step": "local", "path": str(bundle.resolve())})
        else:
            assert self.file is not None  # the schema asks for it beside `urls`
            bundle, received = verified_file(self.urls, self.file, self.sha256, report)
            steps.append({**received})
            unverified = None if self.sha256 else (self.file, received["sha256"])
        report(f"{bundle.name}: reading the bundle")
        file = folder / "xenium.h5ad"
        return Fetched(file, [*steps, write_bundle(bundle, file)], unverified=unverified)


def bundle_files(path: Path) -> list[Path]:
    """The files of a bundle that are read, or its zip: a change of them fetches the dataset again."""
    if path.is_file():
        return [path]
    return [path / name for name in _chosen(_names(path))]


def write_bundle(bundle: Path, destination: Path) -> Step:
    """Read a bundle (folder or zip), write it to `destination` (h5ad), and return the record of what was done.

    X: counts, CSR float32, genes only. obs: counts and areas of the table of cells. var: gene_ids, feature_name.
    obsm: spatial (x, y in micrometres). Raises DataError where the files do not belong together or are damaged.
    """
    if bundle.is_dir():
        return _write(bundle, bundle, destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=destination.parent, prefix=".bundle") as folder:
        _unpack(bundle, Path(folder))
        return _write(Path(folder), bundle, destination)


def _write(folder: Path, shown: Path, destination: Path) -> Step:
    """Write the bundle in `folder`; `shown` is what the user calls it."""
    from scipy.sparse import csr_matrix

    names = _chosen(_names(folder))
    _check_complete(names, shown)
    form = _MTX if names[0] in _MTX_FILES else _ZARR if names[0].startswith(f"{_ZARR}/") else names[0]
    matrix = read_matrix(folder / form)
    cells = next(name for name in names if name in _CELLS)
    table = read_cells(folder / cells)
    order = _match_cells(matrix, table, cells)
    experiment = read_json(folder / _EXPERIMENT) if _EXPERIMENT in names else {}
    _check_number(experiment, matrix)
    panel = _panel(read_json(folder / _PANEL), matrix) if _PANEL in names else {}
    types = [_type(given, name) for given, name in zip(matrix.types, matrix.names, strict=True)]
    genes = sorted((i for i, kind in enumerate(types) if kind == GENE), key=lambda i: (matrix.ids[i], matrix.names[i]))
    if not genes:
        raise DataError(
            f"{matrix.file}: no feature is of type '{GENE}' (found: {', '.join(sorted(set(types)))}); without genes "
            "nothing can be annotated, check that this is the bundle you mean"
        )
    counts = csr_matrix(matrix.counts[order])
    kept = csr_matrix(counts[:, genes])
    kept.sort_indices()
    adata = _assemble(kept, table, [matrix.ids[i] for i in genes], [matrix.names[i] for i in genes])
    with atomic(destination) as path:
        adata.write_h5ad(path)
    return {
        "step": "xenium",
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names
        },
        "experiment": {key: experiment[key] for key in _ABOUT if key in experiment},
        "panel": panel,
        "cells": adata.n_obs,
        "genes": adata.n_vars,
        "cells_with_other_totals": _other_totals(adata),
        "control_features": _removed(counts, types),
    }


# which files


def _names(folder: Path) -> list[str]:
    """Names, relative to the bundle, of all files that could be read."""
    single = [_H5, _ZARR_ZIP, *_MTX_FILES, *_CELLS, _EXPERIMENT, _PANEL]
    chunks = (path for path in sorted((folder / _ZARR).rglob("*")) if path.is_file())
    return [name for name in single if (folder / name).is_file()] + [str(path.relative_to(folder)) for path in chunks]


def _chosen(names: Collection[str]) -> list[str]:
    """The names that are read: one form of the matrix, one of the cells, and the descriptions."""
    chunks = [name for name in names if name.startswith(f"{_ZARR}/")]
    forms = [[_H5], [_ZARR_ZIP], chunks, _MTX_FILES]
    matrix = next((form for form in forms if any(name in names for name in form)), [])
    cells = [name for name in _CELLS if name in names][:1]
    return [name for name in (*matrix, *cells, _EXPERIMENT, _PANEL) if name in names]


def _check_complete(names: list[str], shown: Path) -> None:
    if not any(name.startswith(_MTX) for name in names):
        there = ", ".join(names) or "none of the files of a Xenium bundle"
        raise DataError(
            f"{shown}: holds no matrix; expected {_H5}, {_ZARR_ZIP}, {_ZARR}/ or {_MTX}/ (matrix.mtx.gz, "
            f"features.tsv.gz, barcodes.tsv.gz) in it, found {there}; name the output folder of the run"
        )
    missing = [name for name in _MTX_FILES if name not in names]
    if 0 < len(missing) < len(_MTX_FILES):
        raise DataError(f"{shown}: {_MTX}/ is not complete: {', '.join(missing)} is missing; copy the bundle again")
    if not any(name in _CELLS for name in names):
        raise DataError(
            f"{shown}: holds no table of cells; expected {' or '.join(_CELLS)} beside the matrix; copy the bundle again"
        )


def _unpack(archive: Path, folder: Path) -> None:
    """Bring the files of a zipped bundle that are read into `folder`, wherever in the zip the bundle lies."""
    size = archive.stat().st_size
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info.filename for info in opened.infolist() if not info.is_dir()]
            for member in members:
                if (
                    member.startswith(("/", "\\"))
                    or re.match("[A-Za-z]:", member)
                    or ".." in re.split(r"[/\\]", member)
                ):
                    raise DataError(
                        f"{archive}: member '{member}' points outside of the archive; a bundle has no such member, do "
                        "not trust this file"
                    )
            root = _root(archive, members)
            inside = {member.removeprefix(root): member for member in members if member.startswith(root)}
            for name in _chosen(inside):
                with opened.open(inside[name]) as reader, atomic(folder / name) as path, open(path, "wb") as writer:
                    shutil.copyfileobj(reader, writer)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"{archive}: not a readable zip archive ({size} bytes; {error}); it may be cut off: delete it and fetch or "
            "copy it again"
        ) from error


def _root(archive: Path, members: Sequence[str]) -> str:
    """The folder of a zip, as a prefix, in which the bundle lies."""
    pattern = re.compile(rf"(?:(.*)/)?{re.escape(_MTX)}(?:\.h5|\.zarr\.zip|\.zarr/.+|/matrix\.mtx\.gz)")
    folders = {match.group(1) or "" for match in map(pattern.fullmatch, members) if match}
    roots = sorted(root for root in folders if not root.startswith("__MACOSX"))
    depth = min((root.count("/") + bool(root) for root in roots), default=0)
    roots = [root for root in roots if root.count("/") + bool(root) == depth]
    if len(roots) > 1:
        raise DataError(
            f"{archive}: holds {len(roots)} bundles ({', '.join(roots[:3])}); unpack it and name one folder in "
            "source.path"
        )
    return f"{roots[0]}/" if roots and roots[0] else ""


# do the files belong together


def _match_cells(matrix: Matrix, table: "pd.DataFrame", file: str) -> list[int]:
    """Rows of the matrix in the order of the table; raises DataError unless both hold the same cells."""
    row = {cell: i for i, cell in enumerate(matrix.cells)}
    known = set(table.index)
    without = [cell for cell in matrix.cells if cell not in known]
    unknown = [cell for cell in table.index if cell not in row]
    if without or unknown:
        ways = [
            f"{len(cells)} of {total} cells of {here} are not in {there} (such as {cells[0]})"
            for cells, total, here, there in (
                (without, len(row), matrix.file, file),
                (unknown, len(known), file, matrix.file),
            )
            if cells
        ]
        raise DataError(
            f"{file}: {'; '.join(ways)}; matrix and table must be of the same run and hold the same cells, copy both "
            "from one bundle"
        )
    return [row[cell] for cell in table.index]


def _check_number(experiment: Json, matrix: Matrix) -> None:
    number = experiment.get("num_cells")
    if number is not None and number != len(matrix.cells):
        raise DataError(
            f"{_EXPERIMENT}: num_cells is {number}, but {matrix.file} has {len(matrix.cells)} cells; the files are of "
            "different runs or the matrix was cut: copy the bundle again"
        )


def _panel(document: Json, matrix: Matrix) -> Step:
    """Record of the panel; raises DataError where the matrix lacks genes of it (neither id nor name is there)."""
    try:
        payload = document["payload"]
        targets = [target["type"] for target in payload["targets"]]
        genes = [target["data"] for target in targets if target["descriptor"] == "gene"]
        pairs = [(str(gene.get("id", "")), str(gene["name"])) for gene in genes]
        about = payload.get("panel", {})
        identity = about.get("identity", {})
        named = {"name": identity.get("name"), "design_id": identity.get("design_id")}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{_PANEL}: is not a panel as 10x writes it ({type(error).__name__}: {error}); expected payload.targets "
            "with type.descriptor and type.data; copy it again, or take it out of the bundle"
        ) from error
    ids, names = set(matrix.ids), set(matrix.names)
    missing = [name for gene_id, name in pairs if gene_id not in ids and name not in names]
    if missing:
        raise DataError(
            f"{_PANEL}: {len(missing)} of its {len(pairs)} genes are not in {matrix.file} (such as "
            f"{', '.join(missing[:3])}); the matrix is of another panel or was cut. Copy the bundle again; where genes "
            f"were left out on purpose, take {_PANEL} out of the bundle"
        )
    return {**{key: value for key, value in named.items() if value}, "gene_targets": len(pairs)}


# the result


def _type(given: str, name: str) -> str:
    """Feature type in the words of the HDF5 form; Zarr has `gene` and `negative_control_probe`."""
    kind = GENE if given in ("", "gene") else given.replace("_", " ").title() if "_" in given else given
    if kind == GENE:
        return next((control for prefix, control in _PREFIXES.items() if name.startswith(prefix)), GENE)
    return kind


def _removed(counts: "csr_matrix", types: list[str]) -> dict[str, dict[str, int]]:
    """Numbers of features and counts of every type other than genes."""
    totals = counts.sum(axis=0, dtype=float).A1
    return {
        kind: {
            "features": types.count(kind),
            "counts": round(sum(total for total, each in zip(totals, types, strict=True) if each == kind)),
        }
        for kind in sorted(set(types) - {GENE})
    }


def _assemble(counts: "csr_matrix", table: "pd.DataFrame", ids: list[str], names: list[str]) -> "AnnData":
    import pandas as pd
    from anndata import AnnData
    from anndata.utils import make_index_unique

    var = pd.DataFrame({"gene_ids": ids, "feature_name": names}, index=make_index_unique(pd.Index(ids)))
    adata = AnnData(counts, obs=table.drop(columns=["x_centroid", "y_centroid"]), var=var)
    adata.obsm["spatial"] = table[["x_centroid", "y_centroid"]].to_numpy(dtype=float)
    return adata


def _other_totals(adata: "AnnData") -> int | None:
    """Number of cells whose gene counts do not sum to what the table states; None if it states nothing."""
    if "transcript_counts" not in adata.obs:
        return None
    return int((adata.obs["transcript_counts"].to_numpy() != adata.X.sum(axis=1).A1).sum())
