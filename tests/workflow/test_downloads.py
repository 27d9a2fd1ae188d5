"""What is promised: files of methods are fetched by a rule of their own, and one that is missing skips one method."""

import hashlib
import json
import pickle
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from helpers import annobench, http_server
from repo import Repo


def model_of(cells: Path) -> bytes:
    """A CellTypist model file, trained on prepared cells, with the names of the Cell Ontology as classes."""
    data = ad.read_h5ad(cells)
    known = data[data.obs["label_id"] != "unknown"]
    counts = known.X.toarray().astype(float)
    logged = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    scaler = StandardScaler().fit(logged)
    model = LogisticRegression(max_iter=200).fit(np.minimum(scaler.transform(logged), 10), known.obs["label"])
    model.classes_ = np.array(list(map(str, model.classes_)), dtype=object)
    model.features = np.array(list(map(str, known.var["feature_name"])), dtype=object)
    return pickle.dumps({"Model": model, "Scaler_": scaler, "description": {}})


def declare(repo: Repo, name: str, **download: object) -> None:
    method = {"label": name, "summary": "s", "citation": "c", "licence": "l", "implementation": "celltypist_pretrained"}
    method |= {"downloads": {"model": {"file": "m.pkl"} | download}, "parameters": {"model": "download:model"}}
    (repo.folder / "config" / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(method))


@pytest.mark.slow
def test_models_are_fetched_and_those_that_are_missing_skip_their_own_method(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANNOBENCH_SPATIALCORE_PYTHON", raising=False)
    repo.snakemake("data")
    content = model_of(repo.folder / "results/data/simulated_small/cells.h5ad")
    sha256 = hashlib.sha256(content).hexdigest()
    pages = {"/there/m.pkl": content}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path not in pages:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(pages[handler.path])))
        handler.end_headers()
        handler.wfile.write(pages[handler.path])

    with http_server(answer) as address:
        entry = {"filename": "m.pkl", "url": f"{address}/there/m.pkl", "version": "v1"}
        pages["/models.json"] = json.dumps({"models": [entry]}).encode()
        declare(repo, "by_name", index=f"{address}/models.json")
        declare(repo, "later", urls=[f"{address}/later/m.pkl"])
        declare(repo, "wrong", urls=[f"{address}/there/m.pkl"], sha256="0" * 64)
        repo.study("tiny", methods=["nearest_centroid", "by_name", "later", "wrong", "spatialcore"])
        printed = repo.run()
        failed = {row["method"]: (row["status"], row["reason"]) for row in repo.table("failed")}
        assert set(failed) == {"later", "wrong", "spatialcore"}
        assert failed["spatialcore"][1].startswith("spatialcore is not installed; use the environment")
        assert {status for status, _ in failed.values()} == {"skipped"}
        assert "HTTP status 404" in failed["later"][1]
        assert f"sha256 is {sha256}, expected {'0' * 64}" in failed["wrong"][1]
        assert "1 x later: skipped: m.pkl: could not be downloaded." in printed
        assert {row["method"] for row in repo.table("ranking") if row["rank"]} == {"nearest_centroid", "by_name"}
        run = json.loads((repo.folder / "results/fits/simulated_small/holdout/by_name/seed1/run.json").read_text())
        assert run["downloads"]["model"] == {"file": "m.pkl", "sha256": sha256, "url": entry["url"]}
        assert run["parameters"]["model"] == "download:model"
        lock = yaml.safe_load((repo.folder / "config" / "sources.lock.yaml").read_text())
        assert lock == {"methods/by_name": {"m.pkl": sha256}}
        assert repo.jobs() == {}  # a recorded failure is a result

        pages["/later/m.pkl"] = content
        done = annobench(repo.folder, "retry", "--study", "tiny", timeout=300)
        assert done.returncode == 0, done.stderr
        assert sorted(row["method"] for row in repo.table("failed")) == ["spatialcore", "wrong"]

    declare(repo, "later", urls=["http://127.0.0.1:9/moved/m.pkl"], sha256=sha256)  # only the declaration changes
    jobs = repo.jobs()
    assert (jobs["fetch_file"], jobs["fit_method"]) == (1, 1)
