"""What the rules of tables.smk ask for."""

from pathlib import Path

from annobench.config.contrasts import Contrast
from annobench.config.factors import MethodFactors
from annobench.config.method_factors import method_factors
from annobench.config.plugins import plugins
from annobench.config.published import published_files
from annobench.config.split import Split
from annobench.config.tables import table_facts
from annobench.core.codehash import code_hash
from annobench.core.paths import from_here
from annobench.score.spec import RollupRule
from annobench.tables.shared.spec import (
    PublishedTable,
    ScoredSplit,
    Scoring,
    Statistics,
    StudyMethod,
    TablesSpec,
    balance_name,
)
from annobench.workflow.common import Chapter, Wildcards


class TableRules(Chapter):
    """Inputs, params and resources of tables.smk."""

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of building the tables of all fits; a few columns of the largest dataset are read at a time."""
        cells = max(dataset["resources"]["cells"] for dataset in self.study.datasets.values())
        return int((1500 + 3 * sum(1 for _ in self.study.scored_fits()) + cells / 40_000) * attempt)

    def inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """Everything that tables are built from; with `partial`, what of it is there."""
        return {
            **self.fit_files(),
            "audit": [path for files in self.targets.audit().values() for path in files],
            "splits": self.targets.splits(),
            "train": self.targets.train(),
            "obs": self.targets.obs(),
            "published": self.published_files(),
        }

    def made(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """What a whole study keeps besides its tables: a file of it that is gone is made again."""
        predictions = [self.results.predictions(fit) for fit in self.study.scored_fits()]
        return {
            **self.inputs(wildcards),
            "predictions": self.targets.there(predictions),
            "cells": self.targets.there(self.targets.data()),
        }

    def fit_files(self) -> dict[str, list[str]]:
        """Run records, scores and counts of all fits; with `partial`, of those that are there."""
        files: dict[str, list[str]] = {"run": []}
        for fit in self.study.scored_fits():  # a file of scores holds all views of its fit
            run = self.results.run(fit)
            if not self.study.settings["partial"] or Path(run).is_file():
                for key, path in {"run": run, **self.results.scores(fit)}.items():
                    files.setdefault(key, []).append(path)
        return files

    def published_files(self) -> list[str]:
        """The published table that results are compared with, and the files of published values."""
        settings = self.study.settings
        table = settings["published"] and settings["published"]["table"]
        names = (table, settings["published_values"])
        return [from_here(path) for named in names for path in published_files(named, self.root)]

    def spec(self, wildcards: Wildcards | None = None) -> TablesSpec:
        """What the tables need to know of the study."""
        settings = self.study.settings
        scoring = settings["scoring"]
        rolled = dict.fromkeys(split.rollup for split in self.study.splits.values() if split.rollup)
        merge, factors = self.rollup(scoring["merge"]), method_factors(self.study)
        return TablesSpec(
            study=self.study.name,
            splits=tuple(map(scored_split, self.study.splits.values())),
            methods={
                name: StudyMethod(
                    **{key: self.study.methods[name][key] for key in ("label", "kind", "fitted", "decoding")},
                    factors=factors.get(name, MethodFactors()),
                )
                for name in self.study.shown_methods()
            },
            scoring=Scoring(scoring["primary"], tuple(scoring["metrics"]), tuple(scoring["baselines"])),
            statistics=Statistics.from_params(settings["statistics"]),
            contrasts=tuple(map(Contrast.from_params, settings["contrasts"])),
            merge=RollupRule.from_params(merge) if merge else None,
            rollups={name: RollupRule.from_params(self.rollup(name) or {}) for name in rolled},
            published=self._published(),
            published_values=self._in_repository(settings["published_values"]),
        )

    def _published(self) -> PublishedTable | None:
        published = self.study.settings["published"]
        if published is None:
            return None
        return PublishedTable.from_params({**published, "table": self._in_repository(published["table"])[0]})

    def params(self, wildcards: Wildcards) -> dict[str, object]:
        """The spec, as the driver reads it."""
        return self.spec(wildcards).to_params()

    def _in_repository(self, names: str | list[str] | None) -> tuple[str, ...]:
        """Files of config/published as paths in the repository."""
        return tuple(path.relative_to(self.root).as_posix() for path in published_files(names, self.root))

    def labels(self, table: str) -> dict[str, str]:
        """What Snakemake's own report says of a table."""
        return {"table": table, "content": table_facts(table).meaning}

    def code(self, wildcards: Wildcards) -> str:
        """Hash of the code of all tables."""
        return code_hash("aggregate_scores", *(f"annobench.tables.{name}" for name in plugins("tables")))


def scored_split(split: Split) -> ScoredSplit:
    """What tables use of a split."""
    return ScoredSplit(
        dataset=split.dataset,
        evaluation=split.evaluation,
        regime=split.regime,
        split=split.name,
        fitted=split.fitted,
        methods=split.methods,
        seeds=split.seeds,
        part=split.part,
        rollup=split.rollup,
        panel=split.genes.panel,
        training=split.genes.training,
        balance=balance_name(split.balance),
        other_settings=split.other_settings(),
        label=split.settings.label(),
        within_evaluation=split.within_evaluation(),
        settings=split.settings.to_params(),
        pooled=split.settings.POOLED,
    )
