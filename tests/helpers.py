"""Small builders, so that each test states only what matters to it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from annobench.core.paths import ROOT
from annobench.data.sources.simulate import simulate
from annobench.fit.job import FitJob
from annobench.fit.run_record import RunRecord
from annobench.ontology import Ontology, Term
from annobench.score.evidence import Evidence
from annobench.score.scored import Probabilities, Scored
from annobench.workflow.call import Call, Named

KEEP = {"model": True, "probabilities": True, "decisions": True, "embedding": True, "embedding_roles": ["test"]}
FILES = ("cells", "split", "train", "ontology", "panel", "unrelated")
TYPES = ["CL:0000084", "CL:0000624", "CL:0000236", "CL:0000623", "CL:0000860"]


def toy_ontology() -> Ontology:
    """cell -> A -> {A1, A2 -> A2x}; cell -> B; and A2x is also under B: a graph, not a tree."""
    terms = {
        "CL:0000000": Term("cell"),
        "A": Term("a", ("CL:0000000",)),
        "B": Term("b", ("CL:0000000",)),
        "A1": Term("a one", ("A",)),
        "A2": Term("a two", ("A",)),
        "A2x": Term("a two x", ("A2", "B")),
        "OLD": Term("old a one", obsolete=True, replaced_by="A1"),
        "GONE": Term("gone", obsolete=True),
    }
    return Ontology("2000-01-01", terms)


def scored(truth: Sequence[str], predicted: Sequence[str], ontology: Ontology | None = None, **more: Any) -> Scored:
    """Test cells with one predicted label each; the training classes are those of the truth."""
    labels = np.asarray(predicted, dtype=object)
    labels = labels[:, None] if labels.ndim == 1 else labels
    more.setdefault("training", sorted(set(truth)))
    classes = more.pop("probability_classes", None)
    if classes is not None:
        more["probabilities"] = Probabilities(more["probabilities"], list(classes))
    return Scored.of(truth, labels, ontology=ontology or toy_ontology(), **more)


def rows_of_family(module: Any, data: Scored) -> list[Any]:
    """What a metric family makes of predictions."""
    return list(module.FAMILY.compute(Evidence(data)))


def values(rows: Any) -> dict[tuple[str, str, str], float]:
    """(metric, label set, group) -> value."""
    return {(row.metric, row.label_set, row.group): row.value for row in rows}


def cells(ontology: Ontology, **more: Any) -> ad.AnnData:
    """Prepared cells: counts, label_id, study, donor; as cells.h5ad has them."""
    parameters: dict[str, Any] = {"types": TYPES, "cells": 200, "genes": 80, "seed": 1} | more
    raw = simulate(**parameters, ontology=ontology)
    obs = pd.DataFrame(
        {
            "label_id": raw.obs["cell_type_ontology_term_id"].astype(str),
            "study": raw.obs["study"].astype(str),
            "donor": raw.obs["donor_id"].astype(str),
        }
    )
    ids = list(raw.var["ensembl_id"])
    var = pd.DataFrame({"feature_id": ids, "feature_name": list(raw.var_names)}, index=ids)
    prepared = ad.AnnData(raw.X, obs=obs, var=var)
    prepared.uns["annobench"] = {"matrix": "counts", "ontology": ontology.release}
    return prepared


def source_h5ad(path: Path, matrix: Any = None, **obs: Any) -> Path:
    """A file as authors publish it: six cells, four genes, two types, unless told otherwise."""
    matrix = np.arange(24).reshape(6, 4) % 5 if matrix is None else matrix
    n = matrix.shape[0]
    columns = {"cell_type": ["B cell", "T cell"] * (n // 2) + ["B cell"] * (n % 2)} | obs
    frame = pd.DataFrame(columns, index=[f"c{i}" for i in range(n)])
    var = pd.DataFrame(index=[f"G{i}" for i in range(matrix.shape[1])])
    ad.AnnData(csr_matrix(np.asarray(matrix, dtype="float32")), obs=frame, var=var).write_h5ad(path)
    return path


def fit_job(files: dict[str, str], implementation: str, **changes: Any) -> FitJob:
    """A job on these files; `changes` are fields of any part of it, `needs` and `abilities` as mappings."""
    method = {"implementation": implementation, "parameters": {}, "exec": None, "environment": "core"}
    method |= {"needs": {}, "abilities": {}, "uses": {}}
    settings = {"device": "auto", "top_k": 3, "training": "panel", "keep": KEEP}
    job = {
        "identity": {"dataset": "d", "split": "s", "method": implementation, "seed": 1},
        "limits": {"memory_mb": 2000, "seconds": 60},
        "facts": {"data_sha256": "0" * 64, "code": "abc", "downloads": {}},
        "threads": 1,
        "downloads": {},
    }
    files = files | {key: changes.pop(key) for key in list(changes) if key in FILES}
    for part in (method, settings, job["identity"]):
        part |= {key: changes.pop(key) for key in list(changes) if key in part}
    return FitJob.from_params({**job, "files": files, "settings": {**settings, "method": method}, **changes})


def call(script: Path, **params: Any) -> Call:
    """What Snakemake would tell a script."""
    nothing = Named()
    return Call(
        script=str(script),
        rule="a_rule",
        input=nothing,
        output=nothing,
        params=Named(params.values(), params),
        wildcards=nothing,
        log=nothing,
        resources=nothing,
        threads=1,
        config={},
    )


def run_record(path: Path, **changes: Any) -> None:
    """A run.json of a fit that went well, but for the changes."""
    identity = {"dataset": "d", "split": "s", "method": "m", "seed": 1}
    RunRecord(**identity | {"outputs": ("predictions",)} | changes).write(path)


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A real server on this machine; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def clone(folder: Path) -> Path:
    """A copy of the repository as a user would have it, without results and environments."""
    target = folder / "repo"
    skip = shutil.ignore_patterns(".git", ".venv*", ".snakemake", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, target, ignore=lambda place, names: skip(place, names) | ignored_results(place, names))
    return target


def ignored_results(place: str, names: list[str]) -> set[str]:
    """Everything under results but its README."""
    return {name for name in names if Path(place) == ROOT / "results" and name != "README.md"}


def annobench(
    folder: Path, *arguments: str, before: Sequence[str] = (), **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run `python -m annobench` in a clone, as make does, or by the command `before`."""
    command = [*before, sys.executable, "-m", "annobench", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder / "scripts")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, **more)
