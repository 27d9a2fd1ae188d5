"""From a source file to the cells contract: cells.h5ad, obs.parquet and card.json.

obs.parquet repeats the observations alone, so that splitting and scoring need not open the matrix.
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.columns import NOT_GIVEN
from annobench.errors import DataError, nearest
from annobench.files import atomic, read_json, sha256_of, write_json
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.labels import MappedLabels, map_labels, read_table
from annobench.prepare import NO_LABELS
from annobench.prepare.genes import gene_table, keep_one_each
from annobench.prepare.matrix import check_counts, check_finite, check_log1p, recover_counts, take_slot

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray


def prepare_dataset(
    name: str,
    dataset: dict[str, Any],
    source: Path,
    record: Path,
    ontology: Ontology,
    label_table: Path | None,
    outputs: dict[str, Path],
) -> None:
    """Prepare a plain dataset.

    `source` is the fetched file, `record` its provenance; `outputs` has the keys cells, obs and card. Raises DataError.
    """
    fetched = read_json(record)
    if sha256_of(source) != fetched["sha256"]:
        raise DataError(
            f"{source}: changed since it was fetched (sha256 differs from {record}); fetch it again with --forcerun "
            "fetch_dataset"
        )
    adata = read_h5ad(source)
    file = source.name
    _check_cells(adata, dataset["cells"], file)
    matrix, var = take_slot(adata, dataset["matrix"]["slot"], file)
    check_finite(matrix, file)
    state = dataset["matrix"]["state"]
    if dataset["matrix"]["counts_from"]:
        totals = _column(adata.obs, dataset["matrix"]["counts_from"], "matrix.counts_from", file).to_numpy()
        matrix, state = recover_counts(matrix, state, totals, dataset["matrix"]["tolerance"], file), "counts"
    elif state == "counts":
        matrix = check_counts(matrix, dataset["matrix"]["tolerance"], file)
    else:
        check_log1p(matrix, state, file)

    genes = gene_table(var, dataset["genes"], file)
    required = [
        _flags(_column(var, column, "genes.require", file), column, file) for column in dataset["genes"]["require"]
    ]
    kept = [all(flags) for flags in zip(*required, strict=True)] if required else [True] * len(genes)
    genes, matrix = genes[kept].reset_index(drop=True), matrix[:, kept]
    keep, duplicates = keep_one_each(genes, matrix.sum(axis=0).A1)
    genes, matrix = genes.iloc[keep].reset_index(drop=True), matrix[:, keep]
    genes.index = _gene_index(genes)

    obs, mapping = _observations(name, adata, dataset["cells"], ontology, label_table, file)
    cells = _assemble(matrix, obs, genes, state, ontology)
    if "spatial" in adata.obsm:
        cells.obsm["spatial"] = adata.obsm["spatial"]
    dropped = {"genes_not_required": len(kept) - sum(kept), "duplicated_genes": duplicates}
    for step in fetched.get("steps", []):  # what the reader of a bundle has left out before
        dropped |= {key: step[key] for key in ("control_features",) if key in step}
    write_cells(
        name,
        cells,
        outputs,
        ontology,
        {
            "source": fetched,
            "dropped": dropped,
            "labels_unmapped": mapping.unmapped,
            "labels_replaced": mapping.replaced,
        },
    )


def read_h5ad(path: Path) -> "AnnData":
    """Read an h5ad file; raises DataError where it is none, is cut off, or is empty."""
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that stand twice are dealt with below, as an error or a rule
            adata = anndata.read_h5ad(path)
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # whatever h5py and anndata raise on broken files
        size = path.stat().st_size
        raise DataError(
            f"{path.name}: not a readable h5ad file ({size} bytes; {error}); it may be cut off or of another format, "
            "fetch it again"
        ) from error
    except MemoryError as error:
        raise DataError(
            f"{path.name}: does not fit into memory ({path.stat().st_size / 1e6:.0f} MB on disk)"
        ) from error
    except Exception as error:  # anndata wraps errors of elements in its own classes
        raise DataError(f"{path.name}: not a readable h5ad file: {error}; fetch it again") from error
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise DataError(f"{path.name}: is empty ({adata.n_obs} cells, {adata.n_vars} genes)")
    return adata


def _column(table: "pd.DataFrame", column: str, key: str, file: str) -> "pd.Series":
    if column not in table.columns:
        raise DataError(f"{file}: {key}: there is no column '{column}'{nearest(column, table.columns)}")
    return table[column]


def _flags(column: "pd.Series", name: str, file: str) -> "NDArray[np.bool_]":
    """A column of true and false; text that says so is taken for it."""
    words = column.astype(str).str.lower()
    if not words.isin(["true", "false"]).all():
        other = words[~words.isin(["true", "false"])].iloc[0]
        raise DataError(f"{file}: genes.require: column '{name}' holds '{other}', expected true or false")
    return (words == "true").to_numpy()


def _check_cells(adata: "AnnData", settings: dict[str, Any], file: str) -> None:
    names = adata.obs_names
    if not names.is_unique:
        if settings["duplicated_ids"] == "suffix":
            adata.obs_names_make_unique()
        else:
            examples = ", ".join(names[names.duplicated()].unique()[:3])
            raise DataError(
                f"{file}: {int(names.duplicated().sum())} cell ids stand twice (such as {examples}); cells are "
                "matched by id. "
                "Repair the file, or set cells.duplicated_ids to suffix"
            )


def _gene_index(genes: "pd.DataFrame") -> list[str]:
    """Unique names for var: the Ensembl id, else the symbol, numbered where a symbol of one is the id of another."""
    seen: Counter[str] = Counter()
    index = []
    for feature_id, feature_name in zip(genes["feature_id"], genes["feature_name"], strict=True):
        key = feature_id or feature_name
        seen[key] += 1
        index.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return index


def _observations(
    name: str, adata: "AnnData", settings: dict[str, Any], ontology: Ontology, label_table: Path | None, file: str
) -> Any:
    import pandas as pd

    def text(key: str) -> list[str] | None:
        value = settings[key]
        if value is None:
            return None
        if value.startswith("="):
            return [value[1:]] * adata.n_obs
        column = _column(adata.obs, value, f"cells.{key}", file)
        found = list(column.astype(object).where(column.notna(), NOT_GIVEN).astype(str))
        return _renamed(found, settings["rename"].get(key, {}), f"cells.rename.{key}", file)

    declared = settings["label"] not in NO_LABELS
    original = (text("label") if declared else None) or [NOT_GIVEN] * adata.n_obs
    if declared:
        table = read_table(label_table, ontology) if label_table else None
        mapping = map_labels(original, text("label_id"), table, ontology)
    else:
        reason = f"{adata.n_obs} cells: no labels, as cells.label declares"
        mapping = MappedLabels([UNKNOWN] * adata.n_obs, {NOT_GIVEN: reason}, {})
    obs = pd.DataFrame(index=pd.Index(adata.obs_names.astype(str), name="cell_id"))
    obs["label_id"] = mapping.label_ids
    obs["label"] = [UNKNOWN if i == UNKNOWN else ontology.label(i) for i in mapping.label_ids]
    obs["label_original"] = original
    obs["study"] = text("study") or [name] * adata.n_obs
    obs["donor"] = text("donor") or [NOT_GIVEN] * adata.n_obs
    obs["batch"] = text("batch") or list(obs["study"])
    for key in ("assay", "tissue", "disease"):
        obs[key] = text(key) or [NOT_GIVEN] * adata.n_obs
    if declared and (obs["label_id"] == UNKNOWN).all():
        raise DataError(
            f"{file}: no label could be mapped to Cell Ontology {ontology.release} (labels: "
            f"{', '.join(sorted(set(original))[:5])}); add a table in config/labels and name it in cells.label_table, "
            "or declare with `cells.label: null` that there are no labels"
        )
    return obs, mapping


def _renamed(values: list[str], names: dict[str, str], key: str, file: str) -> list[str]:
    """Values under their new names; a name that no cell has is an error, since it was meant to change something."""
    absent = sorted(set(names) - set(values))
    if absent:
        raise DataError(f"{file}: {key}: no cell has '{absent[0]}'{nearest(absent[0], set(values))}")
    return [names.get(value, value) for value in values] if names else values


def _assemble(matrix: Any, obs: "pd.DataFrame", genes: "pd.DataFrame", state: str, ontology: Ontology) -> "AnnData":
    from anndata import AnnData

    cells = AnnData(matrix, obs=obs, var=genes)
    cells.uns["annobench"] = {"matrix": state, "ontology": ontology.release}
    return cells


def write_cells(
    name: str,
    cells: "AnnData",
    outputs: dict[str, Path],
    ontology: Ontology,
    notes: dict[str, Any],
) -> None:
    """Write cells.h5ad, obs.parquet and, last, card.json."""
    labels = cells.obs["label_id"].value_counts()
    table = cells.obs.reset_index(names="cell_id").astype(str)
    with atomic(outputs["cells"]) as path:
        cells.write_h5ad(path)
    with atomic(outputs["obs"]) as path:
        table.to_parquet(path, index=False)
    write_json(
        outputs["card"],
        {
            "dataset": name,
            "matrix": str(cells.uns["annobench"]["matrix"]),
            "ontology": ontology.release,
            "cells": cells.n_obs,
            "genes": cells.n_vars,
            "genes_with_ensembl_id": int((cells.var["feature_id"] != "").sum()),
            "cells_without_counts": int((cells.X.sum(axis=1) == 0).sum()),
            "labels": {str(i): {"label": ontology.label(str(i)), "cells": int(n)} for i, n in labels.items()},
            "cells_with_unknown_label": int(labels.get(UNKNOWN, 0)),
            "studies": {str(k): int(v) for k, v in cells.obs["study"].value_counts().items()},
            "donors": {str(k): int(v) for k, v in cells.obs["donor"].value_counts().items()},
            "sha256": sha256_of(outputs["cells"]),
            **notes,
        },
    )
