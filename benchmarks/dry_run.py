"""Time that Snakemake needs to plan a large study.

Command: `.venv/bin/python benchmarks/dry_run.py [--fits 1400]`
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml
from repository import copy_repository

SEEDS, FOLDS = 4, 10
METHODS = ["majority", "random_stratified", "nearest_centroid", "knn", "logistic_regression"]


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--fits", type=int, default=1400)
    wanted = arguments.parse_args().fits
    parts = -(-wanted // (SEEDS * FOLDS * len(METHODS)))
    study = {
        "study": "large",
        "seeds": list(range(SEEDS)),
        "methods": METHODS[2:],
        "controls": METHODS[:2],
        "evaluations": [
            {"dataset": "simulated_small", "regime": "kfold", "folds": FOLDS, "name": f"part{part}"}
            for part in range(parts)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        repository = copy_repository(Path(folder))
        (repository / "config" / "studies" / "large.yaml").write_text(yaml.safe_dump(study))
        environment = {**os.environ, "PYTHONPATH": str(repository / "scripts")}
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/local", "--dry-run"]
        command += ["--quiet", "rules", "--configfile", "config/studies/large.yaml"]
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
            times.append(time.perf_counter() - begin)
            if done.returncode:
                sys.exit(done.stdout + done.stderr)
    print(f"dry run of {parts * SEEDS * FOLDS * len(METHODS)} fits: {median(times):.1f} s (median of {len(times)})")


if __name__ == "__main__":
    main()
