"""What the rules of tables.smk ask for."""

from pathlib import Path
from typing import Any

from annobench.config.published import published_files
from annobench.workflow.common import Chapter, canonical


class TableRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of building the tables of all fits; a few columns of the largest dataset are read at a time."""
        cells = max(dataset["resources"]["cells"] for dataset in self.study.datasets.values())
        return int((1500 + 3 * sum(1 for _ in self.study.fits()) + cells / 40_000) * attempt)

    def fit_files(self, wildcards: Any) -> dict[str, list[str]]:
        """Run records, scores and counts of all fits; with `partial`, of those that are there."""
        found: dict[str, list[str]] = {"run": [], "scores": [], "confusion": [], "confidence": []}
        for fit in self.study.fits():  # a file of scores holds all views of its fit
            run = self.results.run(fit)
            if not self.study.settings["partial"] or Path(run).is_file():
                for key, path in {"run": run, **self.results.scores(fit)}.items():
                    found[key].append(path)
        return found

    def audit_files(self, wildcards: Any) -> dict[str, list[str]]:
        """Tables of the audits of all evaluations."""
        return {f"audit_{table}": files for table, files in self.targets.audit().items()}

    def _published(self) -> dict[str, Any] | None:
        """The published table beside which results are set: its path, and which method stands for which column."""
        found = self.study.settings["published"]
        return found and {**found, "table": str(self.root / "config" / "published" / f"{found['table']}.tsv")}

    def published_values(self) -> list[str]:
        """Files of published values that figures draw as references."""
        return [str(path) for path in published_files(self.study.settings["published_values"], self.root)]

    def study_settings(self, wildcards: Any) -> str:
        """What the tables use of the study."""
        settings = self.study.settings
        about = ("label", "kind", "fitted", "decoding")
        methods = {name: {key: m[key] for key in about} for name, m in self.study.methods.items()}
        splits = [
            {
                **{key: getattr(split, key) for key in ("dataset", "evaluation", "regime", "fitted")},
                "spec": {
                    **split.settings.to_params(),
                    **{"genes": split.genes.to_params(), "balance": split.balance.to_params(), "rollup": split.rollup},
                },
                **{"split": split.name, "methods": list(split.methods), "seeds": list(split.seeds)},
            }
            for split in self.study.splits.values()
        ]
        used = {key: settings[key] for key in ("scoring", "statistics", "partial", "contrasts")}
        used |= {"merge": self.rollup(settings["scoring"]["merge"]), "published": self._published()}
        return canonical(used | {"methods": methods, "splits": splits, "published_values": self.published_values()})

    def resolved_study(self, wildcards: Any) -> str:
        """The whole configuration, as resolved."""
        study = self.study
        return canonical({"settings": study.settings, "datasets": study.datasets, "methods": study.methods})
