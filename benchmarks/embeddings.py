"""Scores of embeddings: probes against cz-benchmarks, and what 100,000 cells take.

Commands:
`.venv/bin/python benchmarks/embeddings.py [--peer PYTHON] [--threads 2]`: 20,000 cells, 50 dimensions, 20 classes, 4
batches; every task in a process of its own, start-up included. `--peer` is the Python of an environment with
cz-benchmarks 0.15.1, which then does the same tasks.
`.venv/bin/python benchmarks/embeddings.py --cells 100000`: clustering, silhouettes and neighbourhoods.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from repository import machine

CLASSES, BATCHES, DIMENSIONS, SEED = 20, 4, 50, 42

DATA = f"""
import json, resource, numpy as np
n, threads = CELLS, THREADS
rng = np.random.default_rng(0)
labels, batches = rng.integers(0, {CLASSES}, n), rng.integers(0, {BATCHES}, n)
points = rng.normal(size=({CLASSES}, {DIMENSIONS}))[labels] * 0.5
points += rng.normal(size=({BATCHES}, {DIMENSIONS}))[batches] * 0.3
points = (points + rng.normal(size=(n, {DIMENSIONS}))).astype(np.float32)
"""
REPORT = """
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({**found, "cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1e3}))
"""
OURS = {
    "probes": f"""
from annobench.score.metrics.probes import SCORES, probe
done = probe(points, labels, seed={SEED}, threads=threads)
found = {{name: done.mean(name) for name in SCORES}}
""",
    "clustering": f"""
from annobench.score.metrics.clustering import clustering
from annobench.cells.neighbours import nearest_neighbours
found = clustering(nearest_neighbours(points, 14), labels, seeds=[{SEED}])[1.0][{SEED}]
""",
    "silhouettes": """
from annobench.score.metrics.shared.silhouettes import label_silhouettes, within_labels
found = {"label": label_silhouettes(points, labels).mean(), "batch": within_labels(points, labels, batches)[0].mean()}
""",
    "neighbourhoods": """
from annobench.score.metrics.integration import connectivities, entropies, mixing, purity
from annobench.cells.neighbours import nearest_neighbours
near = nearest_neighbours(points)
found = {"entropy": entropies(near, batches).mean(), "ilisi": mixing(near, batches), "clisi": purity(near, labels)}
found["graph_connectivity"] = connectivities(near, labels).mean()
""",
}
PEER = {
    "probes": """
from czbenchmarks.tasks import MetadataLabelPredictionTask
from czbenchmarks.tasks.label_prediction import MetadataLabelPredictionTaskInput
import pandas as pd
given = MetadataLabelPredictionTaskInput(labels=pd.Series(labels.astype(str)))
rows = MetadataLabelPredictionTask().run(points, given)
means = [row for row in rows if row.params["classifier"].startswith("MEAN")]
found = {"probe_" + row.metric_type.value[10:]: row.value for row in means}
""",
    "silhouettes": """
from scib_metrics import silhouette_batch, silhouette_label
found = {"label": float(silhouette_label(points, labels)), "batch": float(silhouette_batch(points, labels, batches))}
""",
    "neighbourhoods": """
from czbenchmarks.metrics.utils import compute_entropy_per_cell
found = {"entropy": float(compute_entropy_per_cell(points, batches.astype(str)))}
""",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", type=Path, help="Python of an environment with cz-benchmarks")
    arguments = parser.parse_args()
    print(machine())
    for task, code in OURS.items():
        if task == "probes" and arguments.cells > 50_000:
            continue
        ours = run(Path(sys.executable), code, arguments)
        print(f"{task}: {described(ours)}")
        if arguments.peer and task in PEER:
            theirs = run(arguments.peer, PEER[task], arguments)
            print(f"  cz-benchmarks: {described(theirs)}; {theirs['seconds'] / ours['seconds']:.1f} times ours")


def run(python: Path, code: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a task in a process of its own."""
    data = DATA.replace("CELLS", str(arguments.cells)).replace("THREADS", str(arguments.threads))
    scripts = str(Path(__file__).resolve().parents[1] / "scripts")
    threads = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    begin = time.perf_counter()
    done = subprocess.run(
        [python, "-c", data + code + REPORT],
        env={**os.environ, **threads, "PYTHONPATH": scripts},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr)
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def described(found: dict[str, float]) -> str:
    """Seconds, processor seconds, memory and values."""
    taken = ("seconds", "cpu_s", "rss_mb")
    values = ", ".join(f"{name} {value:.4f}" for name, value in found.items() if name not in taken)
    return f"{found['seconds']:.1f} s, {found['cpu_s']:.1f} s of processor time, {found['rss_mb']:,.0f} MB; {values}"


if __name__ == "__main__":
    main()
