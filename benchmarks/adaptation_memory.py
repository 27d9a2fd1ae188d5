"""Memory of an adapted model over many cells: annotation of a file, and a fit whose test cells lie in a store."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

UNKNOWN, EXPRESSED, TRAIN, BLOCK = 9001, 600, 2000, 10_000  # genes beside the vocabulary, non-zeros of a cell, cells
LABELS = ("CL:0000084", "CL:0000236", "CL:0000623")

FIT = """
import sys
from pathlib import Path
from annobench.core.files import read_json
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
folder = Path(sys.argv[1])
run_fit(FitJob.from_params(read_json(folder / "job.json")), folder / "fit", folder / "attempt.json")
"""
ANNOTATE = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(THREADS)
from annobench.fit.annotate import annotate
from annobench.fit.annotate_job import AnnotateJob
annotate(AnnotateJob(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), threads=THREADS), say=lambda text: None)
# the peak that getrusage knows is at least that of the process that started this one
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(int(status["VmHWM"].removesuffix("kB")) * 1024 / 1e6))
"""


def environment() -> dict[str, str]:
    """Of processes that find what this one finds."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def counts(cells: int, genes: int, seed: int) -> csr_matrix:
    """Counts of cells, EXPRESSED genes each."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, genes, cells)[:, None]
    step = rng.choice([17, 19, 23, 29], cells)[:, None]  # all over the genes, none twice
    indices = ((first + step * np.arange(EXPRESSED)) % genes).astype(np.int32)
    values = rng.poisson(0.7, (cells, EXPRESSED)).astype(np.float32) + 1
    indptr = np.arange(cells + 1, dtype=np.int64) * EXPRESSED
    made = csr_matrix((values.ravel(), indices.ravel(), indptr), shape=(cells, genes))
    made.sort_indices()
    return made


def write_cells(path: Path, symbols: list[str], cells: int) -> None:
    """An h5ad file, written in blocks."""
    names = [f"c{i}" for i in range(cells)]
    labels = np.array(LABELS, dtype=object)[np.arange(cells) % len(LABELS)]
    obs = pd.DataFrame({"cell_type": pd.Categorical(labels), "study": "s", "donor": "d"}, index=names)
    empty = csr_matrix((cells, len(symbols)), dtype=np.float32)
    ad.AnnData(empty, obs=obs, var=pd.DataFrame(index=symbols)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        matrix = file["X"]
        for name, kind in (("data", "f4"), ("indices", "i4")):
            del matrix[name]
            matrix.create_dataset(name, (cells * EXPRESSED,), kind)
        for start in range(0, cells, BLOCK):
            made = counts(min(BLOCK, cells - start), len(symbols), start)
            part = slice(start * EXPRESSED, start * EXPRESSED + made.nnz)
            matrix["data"][part], matrix["indices"][part] = made.data, made.indices
        del matrix["indptr"]
        matrix["indptr"] = np.arange(cells + 1, dtype=np.int64) * EXPRESSED


def fit(folder: Path, checkpoint: Path, cells: int, *, storage: str, threads: int) -> dict[str, float]:
    """Prepare cells and tokens, train on TRAIN cells and predict the others; returns what the run record says."""
    from annobench.config.plugins import method_facts
    from annobench.config.schema import validate
    from annobench.core.files import sha256_of, write_json
    from annobench.core.parquet import read_columns, write_columns
    from annobench.data.checkpoints.fetch import fetch_checkpoint
    from annobench.data.checkpoints.spec import CheckpointSpec
    from annobench.data.ontology import from_wheel
    from annobench.data.prepare.dataset import prepare_dataset
    from annobench.data.prepare.spec import DatasetSpec
    from annobench.data.prepare.task import PreparedFiles
    from annobench.data.tokens.stored import TokensCard
    from annobench.data.tokens.tokenise import tokenise_dataset
    from annobench.fit.run_record import RunRecord

    folder.mkdir()
    vocabulary = [gene for gene in json.loads((checkpoint / "vocab.json").read_text()) if not gene.startswith("<")]
    write_cells(folder / "cells.h5ad", [*vocabulary, *(f"other{i}" for i in range(UNKNOWN))], cells)
    ontology = from_wheel("2026-03-26")
    ontology.save(folder / "cl.json")
    about: dict[str, object] = dict.fromkeys(("label", "summary", "citation", "licence"), "of a benchmark")
    text = about | {"source": {"kind": "local", "path": "x"}, "storage": storage}
    text["cells"] = {"label_id": "cell_type", "study": "study", "donor": "donor"}
    write_json(folder / "source.json", {"sha256": sha256_of(folder / "cells.h5ad"), "file": "cells.h5ad"})
    files = PreparedFiles.within(folder / "prepared")
    spec = DatasetSpec.of(validate(text, "dataset", "d"))
    prepare_dataset("d", spec, folder / "cells.h5ad", folder / "source.json", files, ontology=ontology)
    source = {"kind": "local", "path": str(checkpoint.resolve())}
    values = {"values": "counts", "clip": 13, "cls_value": 0, "max_length": 1000}
    text = about | {"organism": "any", "source": source, "input": values}
    wanted = CheckpointSpec.of(validate(text, "checkpoint", "c"))
    fetch_checkpoint("c", wanted, folder / "weights", lock_file=folder / "lock.yaml")
    tokenise_dataset("d", files.cells, files.card, folder / "weights", folder / "tokens")
    obs = read_columns(files.obs)
    roles = np.array(["test"] * cells, dtype=object)
    roles[: TRAIN + TRAIN // 4] = "val"
    roles[:TRAIN] = "train"
    write_columns(folder / "split.parquet", {"cell_id": obs["cell_id"], "role": roles})
    chosen = {"cell_id": obs["cell_id"][:TRAIN], "label_id": obs["label_id"][:TRAIN], "source": obs["study"][:TRAIN]}
    write_columns(folder / "train.parquet", chosen)
    facts = method_facts("adapted")
    recipe = {"steps": 20, "validate_every": 10, "learning_rates": [1e-3]}
    method = {
        "implementation": "adapted",
        "parameters": {"strategy": "lora", "recipe": recipe},
        "exec": None,
        "environment": "core",
        "needs": facts.needs.to_params(),
        "abilities": facts.abilities.to_params(),
        "uses": {},
    }
    keep = {"model": True, "probabilities": "auto", "decisions": True, "embedding": True, "embedding_roles": ["test"]}
    job = {
        "identity": {"dataset": "d", "split": "s", "method": "adapted", "seed": 1},
        "limits": {"memory_mb": 32_000, "seconds": 7200},
        "facts": {
            "data_sha256": TokensCard.read(folder / "tokens").data_sha256,
            "code": "-",
            "downloads": {},
        },
        "threads": threads,
        "downloads": {},
        "settings": {"device": "cpu", "top_k": 3, "training": "panel", "keep": keep, "method": method},
        "files": {
            "cells": str(files.cells),
            "split": str(folder / "split.parquet"),
            "train": str(folder / "train.parquet"),
            "ontology": str(folder / "cl.json"),
            "tokens": str(folder / "tokens"),
            "weights": str(folder / "weights"),
        },
    }
    write_json(folder / "job.json", job)
    # in a process of its own: to the peak of a fit counts at least that of the process that starts it
    subprocess.run([sys.executable, "-c", FIT, str(folder)], env=environment(), stdout=subprocess.DEVNULL, check=True)
    record = RunRecord.read(folder / "fit" / "run.json")
    if record.status != "ok":
        raise SystemExit(f"the fit {record.status}: {record.reason}")
    return {"peak_mb": float(record.peak_rss_mb or 0), "predict_s": float(record.predict_seconds or 0)}


def measure(checkpoint: Path, sizes: list[int], threads: int) -> None:
    """Print peak memory and time for every number of cells."""
    genes = f"{EXPRESSED} values each"
    with tempfile.TemporaryDirectory(prefix="annobench_memory_") as name:
        folder = Path(name)
        for cells in sizes:
            found = fit(folder / f"fit{cells}", checkpoint, cells, storage="store", threads=threads)
            print(
                f"a fit, {cells:9,} cells in a store, {genes}: {found['peak_mb']:7,.0f} MB, "
                f"{found['predict_s']:6.1f} s for the predictions",
                flush=True,
            )
        model = folder / f"fit{sizes[0]}" / "fit" / "model"
        for cells in sizes:
            for end in ("parquet", "h5ad"):
                out = folder / f"out{cells}.{end}"
                command = [sys.executable, "-c", ANNOTATE.replace("THREADS", str(threads)), str(model)]
                command += [str(folder / f"fit{cells}" / "cells.h5ad"), str(out)]
                begin = time.perf_counter()
                done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
                print(
                    f"annotate, {cells:9,} cells of an h5ad file to {end}: {json.loads(done.stdout):7,.0f} MB, "
                    f"{time.perf_counter() - begin:6.1f} s",
                    flush=True,
                )
                out.unlink()
