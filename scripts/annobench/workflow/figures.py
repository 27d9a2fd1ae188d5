"""What the rule of figures.smk asks for."""

from pathlib import Path
from typing import Any

from annobench.config.published import mark_files, marked_datasets


def release_settings(study: Any, root: Path) -> dict[str, Any]:
    """What figures of the regime `release` use of a study (annobench.config.Study): see annobench.figures.shared.releases."""
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
