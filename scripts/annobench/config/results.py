"""Where the files of a study lie."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from annobench.config import Fit

AUDIT = ("metrics", "types", "degs", "spatial")


def audited_splits(dataset: str, splits: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The splits and seeds of an audit with the files that they need; fits and splits that are not there are left out.

    `splits` has split, fitted, seeds, methods and panel (a file or None).
    """
    found = []
    for split in splits:
        for seed in split["seeds"]:
            roles, train = role_file(dataset, split["split"], seed), train_file(dataset, split["fitted"], seed)
            folders = {
                m: Path(fit_paths(Fit(dataset, split["fitted"], m, seed))["run"]).parent for m in split["methods"]
            }
            fits = {m: str(folder) for m, folder in folders.items() if (folder / "run.json").is_file()}
            if Path(roles).is_file() and Path(train).is_file():
                files = {"roles": roles, "train": train, "panel": split["panel"], "fits": fits}
                found.append({"split": split["split"], "seed": seed, **files})
    return found


def role_file(dataset: str, split: str, seed: int) -> str:
    """Roles of the cells in a split."""
    return f"results/splits/{dataset}/{split}/seed{seed}.parquet"


def train_file(dataset: str, fitted: str, seed: int) -> str:
    """Training selection of a split that is fitted."""
    return f"results/train/{dataset}/{fitted}/seed{seed}.parquet"


def fit_paths(fit: Fit) -> dict[str, str]:
    """Where the files of a fit lie."""
    place = f"{fit.dataset}/{fit.split}/{fit.method}/seed{fit.seed}"
    return {
        "run": f"results/fits/{place}/run.json",
        "scores": f"results/scores/{place}.parquet",
        "confusion": f"results/scores/{place}.confusion.parquet",
        "confidence": f"results/scores/{place}.confidence.parquet",
        "attempt": f"results/logs/fit_method/{place}.attempt.json",
    }
