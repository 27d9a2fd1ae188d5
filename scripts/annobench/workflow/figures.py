"""What the rules of figures.smk ask for."""

from pathlib import Path
from typing import Any

from annobench.config.plugins import about
from annobench.config.published import published_datasets, published_files
from annobench.core.codehash import code_hash
from annobench.workflow.common import Chapter, canonical


class FigureRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def tables(self, wildcards: Any) -> dict[str, str]:
        """The tables that a figure is drawn from."""
        return self.targets.tables(about(wildcards.figure)["TABLES"])

    def settings(self, wildcards: Any) -> str:
        """What figures use of the study."""
        datasets = {name: d["label"] for name, d in self.study.datasets.items()}
        used = {"primary": self.study.settings["scoring"]["primary"], "datasets": datasets}
        published = self.study.settings["published"]
        place = published and {key: published[key] for key in ("dataset", "evaluation")}
        if "release" in about(wildcards.figure)["REGIMES"]:
            used["release"] = release_settings(self.study, self.root)
        return canonical(used | {"evaluations": self.evaluation_names(), "published": place})

    def caption(self, wildcards: Any) -> str:
        """Caption of a figure, for Snakemake's report."""
        return self.caption_of(wildcards.figure)

    def caption_of(self, figure: str) -> str:
        """What a figure says of itself; of the regime release also on what other data than the paper's it is drawn."""
        said = about(figure)
        note = other_data(self.study, self.root) if "release" in said["REGIMES"] else ""
        return f"{said['CAPTION']} {note}".strip()

    def code(self, wildcards: Any) -> str:
        """Hash of the file of a figure and all that it imports."""
        return code_hash(f"annobench.figures.{wildcards.figure}")


def release_settings(study: Any, root: Path) -> dict[str, Any]:
    """What figures of the regime `release` use of a study: see annobench.figures.shared.releases."""
    parts = {"reference": "id", "query": "ood"}
    views = {f"{split.dataset}/{split.evaluation}": parts[split.part] for split in study.splits.values() if split.part}
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
        "published_datasets": published_datasets(published_files(study.settings["published_values"], root)),
        "simulated": sorted({split.dataset for split in study.splits.values() if _simulated(study, split.dataset)}),
    }


def _simulated(study: Any, name: str) -> bool:
    """Whether no cell of a dataset is real."""
    pair = study.datasets[name].get("pair")
    parts = [*pair["references"], pair["query"]] if pair else [name]
    return all((study.datasets[part].get("source") or {}).get("kind") == "simulate" for part in parts)


def other_data(study: Any, root: Path) -> str:
    """A sentence for captions that names the datasets which published values are not of; empty where there are none."""
    known = published_datasets(published_files(study.settings["published_values"], root))
    shown = dict.fromkeys(split.dataset for split in study.splits.values() if split.regime == "release")
    others = [str(study.datasets[name]["label"]) for name in shown if name not in known]
    return f"Drawn from {'; '.join(others)}: not the data of the paper." if known and others else ""
