"""Time and memory of writing and scoring the predictions of a large test set.

Command: `.venv/bin/python benchmarks/scoring.py [--cells 20000 200000 1000000] [--keep auto] [--scripts PATH]`

Synthetic predictions of 164 types of the Cell Ontology for cells of 40 donors: of four cells three are right. Written
and scored in a fresh process each; the seconds of making them up are not counted. CPU is that of scoring, imports
included: what stays the same on a busy machine. `--scripts` takes the library from another checkout, to compare.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, DONORS, TOP_K = 164, 40, 5
PART = 1 << 15  # cells that are predicted at once
SETTINGS = {"unknown_truth": "drop", "calibration_bins": 15, "min_units": 4, "rollup": None, "merge": None}
IDENTITY = {"dataset": "d", "split": "s", "method": "m", "seed": 1}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--keep", choices=["auto", "true", "false"], default="auto", help="keep.probabilities")
    parser.add_argument("--scripts", type=Path, default=Path(__file__).resolve().parents[1] / "scripts")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--step", choices=["prepare", "write", "score"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        sys.path.insert(0, str(given.scripts))
        begin = time.perf_counter()
        seconds = STEPS[given.step](
            given.folder, given.cells[0], json.loads(given.keep) if given.keep != "auto" else "auto"
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        cpu = time.process_time()  # of writing, what makes the predictions up is in it
        print(json.dumps({"seconds": seconds or time.perf_counter() - begin, "cpu": cpu, "peak": peak}))
        return
    print(f"{'cells':>9}  {'step':6}  {'seconds':>8}  {'CPU':>8}  {'peak GiB':>8}  files (MB)")
    for cells in given.cells:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (given.folder or Path(temporary)) / str(cells)
            folder.mkdir(parents=True, exist_ok=True)
            for step in STEPS:
                command = [sys.executable, __file__, "--step", step, "--cells", str(cells), "--keep", given.keep]
                command += ["--scripts", str(given.scripts), "--folder", str(folder)]
                done = subprocess.run(
                    command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
                )
                if done.returncode:
                    print(f"{cells:9}  {step:6}  failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
                    break
                if step != "prepare":
                    found = json.loads(done.stdout.splitlines()[-1])
                    cpu = f"{found['cpu']:.2f}" if step == "score" else "-"
                    made = {"write": ("predictions.parquet", "probabilities.npz", "decisions.npz")}.get(step, ())
                    sizes = [f"{(folder / f).stat().st_size / 1e6:.0f}" for f in made if (folder / f).exists()]
                    numbers = f"{found['seconds']:8.2f}  {cpu:>8}  {found['peak']:8.2f}"
                    print(f"{cells:9}  {step:6}  {numbers}  {' '.join(sizes)}")


def prepare(folder: Path, cells: int, keep: Any) -> None:
    """What the rules before a fit write: observations, roles, training cells, ontology. A twentieth is validation."""
    from annobench.columns import write_columns
    from annobench.ontology.releases import from_wheel

    ontology = from_wheel("2026-03-26")
    ontology.save(folder / "ontology.json")
    live = [key for key in sorted(ontology.terms) if key in ontology and ontology.ancestors(key)]
    rng = np.random.default_rng(0)
    classes = np.sort(rng.choice(live, CLASSES, replace=False)).astype(object)
    (folder / "classes.json").write_text(json.dumps(list(classes)))
    judged = min(max(100, cells // 20), 5000)
    n = cells + judged
    truth = rng.choice(CLASSES, n, p=rng.dirichlet(np.full(CLASSES, 0.5)))
    ids = np.array([f"AAACCTGAGAAACCAT-{i}" for i in range(n)], dtype=object)
    donor = np.array([f"donor{i:02d}" for i in range(DONORS)], dtype=object)[rng.integers(0, DONORS, n)]
    study = np.array([f"study{i}" for i in range(4)], dtype=object)[rng.integers(0, 4, n)]
    role = np.where(np.arange(n) < cells, "test", "val").astype(object)
    obs = {"cell_id": ids, "label_id": classes[truth], "study": study, "donor": donor}
    write_columns(folder / "obs.parquet", obs)
    write_columns(folder / "split.parquet", {"cell_id": ids, "role": role})
    write_columns(folder / "train.parquet", {"cell_id": ids[:CLASSES], "label_id": classes})
    np.save(folder / "truth.npy", truth)


def _part(truth: np.ndarray, seed: int) -> np.ndarray:
    """Decision values, (cells, classes)."""
    rng = np.random.default_rng([seed, 7])
    values = rng.standard_normal((len(truth), CLASSES), dtype=np.float32)
    values[np.arange(len(truth)), truth] += 3.4
    return values


def write(folder: Path, cells: int, keep: Any) -> float:
    """Write the predictions as a fit does; returns the seconds beyond making them up."""
    from annobench import predictions
    from annobench.predictions import Predictions

    truth = np.load(folder / "truth.npy")
    classes = json.loads((folder / "classes.json").read_text())
    ids = [f"AAACCTGAGAAACCAT-{i}" for i in range(len(truth))]
    spent = 0.0

    def of(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal spent
        begin = time.perf_counter()
        values = np.vstack([_part(truth[i : min(i + PART, stop)], i) for i in range(start, stop, PART)])
        shares = np.exp(values - values.max(axis=1, keepdims=True), dtype=np.float64)
        shares /= shares.sum(axis=1, keepdims=True)
        spent += time.perf_counter() - begin
        return shares, values

    def predicted(start: int, stop: int) -> Any:
        shares, values = of(start, stop)
        return Predictions.from_probabilities(ids[start:stop], shares, classes, TOP_K, values)

    begin = time.perf_counter()
    try:
        from annobench.decisions import write_decisions
        from annobench.runner.writer import PredictionsWriter
    except ImportError:
        valid = predictions.validate(predicted(0, cells), ids[:cells], classes).cut(TOP_K)
        predictions.write(folder / "predictions.parquet", valid)
        kept = keep is not False
        if kept:
            predictions.write_probabilities(folder / "probabilities.npz", valid)
        predictions.write_decisions(
            folder / "decisions.npz", {"test": valid, "validation": predicted(cells, len(truth))}
        )
    else:
        with PredictionsWriter(folder, ids[:cells], classes, top_k=TOP_K, keep=keep, seed=1) as writer:
            for start in range(0, cells, PART):
                writer.add(predicted(start, min(start + PART, cells)))
        kept = writer.keeps_probabilities
        parts = {"test": writer.decisions, "validation": predicted(cells, len(truth))}
        write_decisions(folder / "decisions.npz", parts)
    run = {"status": "ok", "probabilities": kept, "confidence_is_probability": True, "decisions": True}
    (folder / "run.json").write_text(json.dumps(run))
    return time.perf_counter() - begin - spent


def score(folder: Path, cells: int, keep: Any) -> None:
    """Score them."""
    from annobench.ontology import Ontology
    from annobench.score import score_fit

    files = [folder / f"{name}.parquet" for name in ("obs", "split", "train")]
    outputs = {name: folder / f"out.{name}.parquet" for name in ("scores", "confusion", "confidence")}
    score_fit(folder, *files, Ontology.load(folder / "ontology.json"), SETTINGS, IDENTITY, outputs)


STEPS = {"prepare": prepare, "write": write, "score": score}

if __name__ == "__main__":
    main()
