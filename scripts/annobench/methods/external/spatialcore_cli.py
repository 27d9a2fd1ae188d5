"""SpatialCore's own training and annotation, as an external command: train.h5ad and test.h5ad in, predictions.csv out.

Runs its public functions train_celltypist_model and annotate_celltypist on the genes of the files (the panel) and the
labels of the training cells as they are. The other stages of its one-call pipeline are left out: they relabel cells
by text search, balance (see `balance: {policy: spatialcore}`), and draw plots. Needs spatialcore 0.5.4 in the running
Python (envs/spatialcore.yaml), or in the one that $ANNOBENCH_SPATIALCORE_PYTHON names; else it ends with status 77.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

OTHER_PYTHON = "ANNOBENCH_SPATIALCORE_PYTHON"
SKIPPED = 77  # exit status that annobench records as skipped
TOP = 5  # labels per cell


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("train", "test", "params", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    if find_spec("spatialcore") is None:
        other = os.environ.pop(OTHER_PYTHON, "")  # removed, so that it is tried once only
        if Path(other).is_file():
            # it has libraries of its own, which those on PYTHONPATH might not fit
            os.environ.pop("PYTHONPATH", None)
            os.execv(other, [other, *sys.argv])
        return skip(
            given.output,
            "spatialcore is not installed; use the environment envs/spatialcore.yaml (--sdm conda), or set "
            f"${OTHER_PYTHON} to a Python that has it",
        )
    return run(given, json.loads(given.params.read_text(encoding="utf-8")))


def skip(output: Path, reason: str) -> int:
    """Report why it cannot run; returns the exit status for a skip."""
    (output / "reason.txt").write_text(reason + "\n", encoding="utf-8")
    print(reason, file=sys.stderr)
    return SKIPPED


def run(given: argparse.Namespace, params: "dict[str, Any]") -> int:
    """Train, annotate, write predictions.csv; the files hold counts."""
    # celltypist creates a folder for models when it is imported
    os.environ["CELLTYPIST_FOLDER"] = tempfile.mkdtemp(prefix="celltypist-")
    import anndata
    import numpy as np
    from spatialcore.annotation import annotate_celltypist, train_celltypist_model

    train, test = (normalised(anndata.read_h5ad(path)) for path in (given.train, given.test))
    size = int(params.get("batch_size", 1000))
    np.random.seed(params["seed"])  # spatialcore does not seed: two of its runs differ in a tenth of the cells
    model = Path(tempfile.mkdtemp(prefix="spatialcore-")) / "model.pkl"
    train_celltypist_model(
        train,
        label_column="label_id",
        output_path=model,
        mini_batch=train.n_obs > size,  # with fewer cells than a batch it refuses mini-batches
        batch_size=size,
        batch_number=int(params.get("batch_number", 200)),
        epochs=int(params.get("epochs", 10)),
        n_jobs=params["threads"],
    )
    found = annotate_celltypist(
        test,
        custom_model_path=model,
        min_confidence=0.0,
        confidence_transform=params.get("confidence", "zscore"),
        copy=True,
    )
    write(given.output / "predictions.csv", found)
    return 0


def normalised(cells: "AnnData") -> "AnnData":
    """Cells with log1p of counts per 10,000 over the genes of the file, as SpatialCore normalises them."""
    import scanpy

    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    return cells


def write(path: Path, cells: "AnnData") -> None:
    """Write cell_id, the best labels with their decision values, and the confidence."""
    import numpy as np

    classes = np.asarray(cells.uns["cell_type_cell_types"]).astype(str)
    decision = np.asarray(cells.obsm["cell_type_decision_scores"], dtype=float)
    best = np.argsort(-decision, axis=1, kind="stable")[:, :TOP]
    numbers = range(1, best.shape[1] + 1)
    with open(path, "w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle)
        out.writerow(["cell_id", *(f"label_{i}" for i in numbers), *(f"score_{i}" for i in numbers), "confidence"])
        confidence = cells.obs["cell_type_confidence"].to_numpy()
        for i, (cell, order) in enumerate(zip(cells.obs_names, best, strict=True)):
            out.writerow([cell, *classes[order], *decision[i, order], confidence[i]])


if __name__ == "__main__":
    sys.exit(main())
