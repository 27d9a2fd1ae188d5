"""Published values that are drawn as references: the files that a study names, and which data they are of.

Imported while the Snakefile is parsed: standard library and errors only. `annobench.tables.marks` reads the values.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annobench.errors import ConfigError, nearest


def mark_files(named: str | list[str] | None, root: Path, source: str = "config") -> list[Path]:
    """Files of config/published that `marks` names; raises ConfigError for one that is not there."""
    folder = root / "config" / "published"
    found = []
    for name in [named] if isinstance(named, str) else named or []:
        path = folder / f"{name}.tsv"
        if not path.is_file():
            known = [file.stem for file in folder.glob("*.tsv")]
            raise ConfigError(f"{source}: marks: no file config/published/{name}.tsv{nearest(name, known)}")
        found.append(path)
    return found


def marked_datasets(files: Iterable[Path]) -> list[str]:
    """Names of the datasets that published values are of, sorted."""
    found: set[str] = set()
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            lines = (line for line in file if not line.startswith("#"))
            found |= {row["dataset"] for row in csv.DictReader(lines, delimiter="\t") if row.get("dataset")}
    return sorted(found)


def release_settings(study: Any, root: Path) -> dict[str, Any]:
    """What figures of the regime `release` use of a study (annobench.config.Study): see annobench.figures.releases."""
    parts = {"reference": "id", "query": "ood"}
    views = {
        f"{split.dataset}/{split.evaluation}": parts[split.spec["part"]]
        for split in study.splits.values()
        if split.regime == "release"
    }
    methods = {
        name: {
            **{key: method[key] for key in ("label", "kind", "fitted", "decoding")},
            **{"model": method["implementation"], "loss": method["parameters"].get("loss")},
        }
        for name, method in study.methods.items()
    }
    return {
        "views": views,
        "methods": methods,
        "contrasts": study.settings["contrasts"],
        "confidence": study.settings["statistics"]["confidence"],
        "marked": marked_datasets(mark_files(study.settings["marks"], root)),
        "simulated": sorted({split.dataset for split in study.splits.values() if _simulated(study, split.dataset)}),
    }


def _simulated(study: Any, name: str) -> bool:
    """Whether no cell of a dataset is real."""
    pair = study.datasets[name].get("pair")
    parts = [*pair["references"], pair["query"]] if pair else [name]
    return all((study.datasets[part].get("source") or {}).get("kind") == "simulate" for part in parts)


def other_data(study: Any, root: Path) -> str:
    """A sentence for captions that names the datasets which published values are not of; empty where there are none."""
    marked = marked_datasets(mark_files(study.settings["marks"], root))
    shown = dict.fromkeys(split.dataset for split in study.splits.values() if split.regime == "release")
    others = [str(study.datasets[name]["label"]) for name in shown if name not in marked]
    return f"Drawn from {'; '.join(others)}: not the data of the paper." if marked and others else ""
