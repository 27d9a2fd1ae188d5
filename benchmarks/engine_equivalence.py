"""Scores of the atlas engine against those of the plain in-memory path before it, on small real data.

    git worktree add ../before <a commit before the engine>
    .venv/bin/python benchmarks/engine_equivalence.py ../before

Each seed holds out 30 % of the cells, of each class its share, and 15 % of the others for early stopping; both sides
get the same cells. Printed are the mean macro F1 of both and the paired difference with a 95 % interval (Student's t).
Needs the development data (ANNOBENCH_DATA, by default ../shared/data).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ANNOBENCH_DATA", ROOT.parent / "shared" / "data"))
FILES = {
    "lung": "lung_multistudy/travaglini2020_lca_1000.h5ad",
    "pancreas": "pancreas/human_pancreas_4studies_counts.h5ad",
}
LABELS = "cell_type_ontology_term_id"


def fit_all(name: str, implementation: str, parameters: dict[str, Any], seeds: int) -> list[dict[str, float]]:
    """Macro F1 and seconds of every seed, with the library that is on the path."""
    import anndata as ad

    from annobench.core.counts import macro_f1_of_codes
    from annobench.data.ontology import from_wheel
    from annobench.fit.method import Context
    from annobench.fit.registry import load_class

    cells = ad.read_h5ad(DATA / FILES[name])
    cells.obs["label_id"] = cells.obs[LABELS].astype(str)
    frequent = cells.obs["label_id"].value_counts()
    cells = cells[cells.obs["label_id"].isin(frequent.index[frequent >= 10])].copy()
    cells.uns["annobench"] = {"matrix": "counts"}
    ontology, found = from_wheel("2026-03-26"), []
    for seed in range(seeds):
        test, validation, train = parts(cells.obs["label_id"].to_numpy(), seed)
        begin = time.perf_counter()
        method = load_class(implementation)(**parameters)
        method.fit(
            cells[train].copy(),
            Context(seed=seed, classes=[], ontology=ontology, validation=cells[validation].copy(), threads=1),
        )
        predicted = method.predict(cells[test].copy()).labels[:, 0].astype(str)
        seconds = time.perf_counter() - begin
        truth = cells.obs["label_id"].to_numpy()[test].astype(str)
        codes = np.unique(np.concatenate([truth, predicted]), return_inverse=True)[1]
        score = macro_f1_of_codes(codes[: len(truth)], codes[len(truth) :])
        found.append({"f1": score, "seconds": seconds, "best_epoch": method.best_epoch})
    return found


def parts(labels: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    """Positions of test, validation and training cells."""
    rng = np.random.default_rng(seed)
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = (rng.permutation(len(members)) + 0.5) / len(members)
    return tuple(np.flatnonzero((rank >= low) & (rank < high)) for low, high in ((0, 0.3), (0.3, 0.405), (0.405, 1)))


def run(checkout: Path, *arguments: str) -> list[dict[str, float]]:
    """The figures of one side."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", *arguments],
        env=os.environ | {"PYTHONPATH": str(checkout / "scripts"), "ANNOBENCH_DATA": str(DATA.resolve())},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(before: Path, seeds: int, methods: list[str], names: list[str]) -> None:
    """Print one line for each dataset and method."""
    from scipy import stats
    from yaml import safe_load

    print("data      method       before  engine  difference  95 % interval       seconds before, engine")
    for name in names:
        for method in methods:
            file = safe_load((ROOT / "config" / "methods" / f"{method}.yaml").read_text())
            arguments = (name, file["implementation"], json.dumps(file["parameters"]), str(seeds))
            old, new = run(before, *arguments), run(ROOT, *arguments)
            f1, seconds = (np.array([[fit[key] for fit in side] for side in (old, new)]) for key in ("f1", "seconds"))
            difference = f1[1] - f1[0]
            half = stats.t.ppf(0.975, seeds - 1) * difference.std(ddof=1) / np.sqrt(seeds)
            print(
                f"{name:9s} {method:11s} {f1[0].mean():7.4f} {f1[1].mean():7.4f} {difference.mean():+11.4f}  "
                f"[{difference.mean() - half:+.4f}, {difference.mean() + half:+.4f}]  "
                f"{np.median(seconds[0]):.2f}, {np.median(seconds[1]):.2f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(fit_all(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), int(sys.argv[5]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("before", type=Path, help="a checkout with the path before the engine")
        parser.add_argument("--seeds", type=int, default=8)
        parser.add_argument("--methods", nargs="+", default=["linear_ce", "linear_hce", "mlp_ce", "mlp_hce"])
        parser.add_argument("--data", nargs="+", default=list(FILES))
        options = parser.parse_args()
        compare(options.before.resolve(), options.seeds, options.methods, options.data)
