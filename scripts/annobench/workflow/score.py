"""What the rules of score.smk ask for."""

from pathlib import Path

from annobench.config.decodings import decoding_facts
from annobench.config.names import ARGMAX, LEIDEN, SAMPLE, STORE_CELLS
from annobench.config.results import Fit
from annobench.config.split import Split
from annobench.core.paths import from_here
from annobench.core.spec import Params
from annobench.score.spec import AuditedSplit, AuditSpec, RollupRule, ScoreSpec, ViewSpec
from annobench.workflow.common import Chapter, Wildcards


class ScoreRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of jobs that read the observations of a dataset and the predictions of a fit."""
        dataset = self.study.datasets[wildcards.dataset]
        looked_at = "perturbation" in dataset or self._clusters(wildcards)
        dense = dataset["resources"]["memory_mb"] if looked_at else 0
        return int((1500 + dense + dataset["resources"]["cells"] / 2500) * attempt)

    def measured_cells(self, wildcards: Wildcards) -> dict[str, str]:
        """The cells, where predicted expression is compared with theirs, or where they are clustered."""
        if "perturbation" not in self.study.datasets[wildcards.dataset] and not self._clusters(wildcards):
            return {}
        return {"cells": self.results.cells(wildcards.dataset), "store": self.results.store(wildcards.dataset)}

    def _clusters(self, wildcards: Wildcards) -> bool:
        """Whether the test cells of a fit are clustered when it is scored: a view asks for it."""
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        return any(
            split.columns.clusters == LEIDEN
            and any(
                "clusters" in decoding_facts(decoding).needs
                for decoding in self._decodings(split, wildcards.method).values()
                if decoding != ARGMAX
            )
            for split in scored
        )

    def scored_roles(self, wildcards: Wildcards) -> list[str]:
        """Roles of the splits that a fit is scored on, in the order of `ScoreSpec.views`."""
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        return [self.results.roles(split.dataset, split.name, int(wildcards.seed)) for split in scored]

    def score_spec(self, wildcards: Wildcards) -> Params:
        """How a fit is scored."""
        scoring = self.study.settings["scoring"]
        views = [
            ViewSpec(
                split=split.name,
                part=split.part,
                methods=self._decodings(split, wildcards.method),
                families=split.metric_families,
                options=split.metric_options,
                columns=split.columns,
            )
            for split in self.study.scored_on(wildcards.dataset, wildcards.split)
        ]
        return ScoreSpec(
            dataset=wildcards.dataset,
            seed=int(wildcards.seed),
            views=tuple(views),
            unknown_truth=scoring["unknown_truth"],
            bins=scoring["calibration_bins"],
            min_units=self.study.settings["statistics"]["min_units"],
            rollup=self._rollup(self.study.split(wildcards.dataset, wildcards.split).rollup),
            merge=self._rollup(scoring["merge"]),
            decoding_options={
                name: options
                for name, options in self.study.settings["decoding_options"].items()
                if any(name in view.methods.values() for view in views)
            },
            allowed=self._allowed(wildcards.dataset, views),
        ).to_params()

    def _allowed(self, dataset: str, views: list[ViewSpec]) -> tuple[str, ...] | None:
        """Types that can be in a dataset, where a view looks at them."""
        used = {decoding for view in views for decoding in view.methods.values()} - {ARGMAX}
        listed = self.study.datasets[dataset]["allowed_labels"]
        return tuple(listed) if listed and any("allowed" in decoding_facts(one).needs for one in used) else None

    def _decodings(self, split: Split, fitted: str) -> dict[str, str]:
        """The methods of a split that score the fit of a method, and which labels of it."""
        methods = ((name, self.study.methods[name]) for name in split.methods)
        return {name: method["decoding"] for name, method in methods if method["fitted"] == fitted}

    def _rollup(self, name: str | None) -> RollupRule | None:
        rule = self.rollup(name)
        return RollupRule.from_params(rule) if rule else None

    def audit_inputs(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """What the audit of an evaluation reads; with `partial`, the fits and splits that are there."""
        splits = self.study.evaluations()[wildcards.dataset, wildcards.evaluation]
        dataset = wildcards.dataset
        fits = [
            Fit(dataset, split.fitted, method, seed)
            for split in splits
            for method in self._audited(split)
            for seed in split.seeds
        ]
        pairs = [(split, seed) for split in splits for seed in split.seeds]
        panels = {panel for split in splits if (panel := split.genes.panel)}
        unrelated, markers = self.unrelated(wildcards), self._markers()
        there = self.targets.there
        return {
            "cells": self.results.cells(dataset),
            "store": self.results.store(dataset),
            "obs": self.results.obs(dataset),
            "run": there([self.results.run(fit) for fit in fits]),
            "predictions": there([self.results.predictions(fit) for fit in fits]),
            "roles": there([self.results.roles(dataset, split.name, seed) for split, seed in pairs]),
            "train": there([self.results.train(dataset, split.fitted, seed) for split, seed in pairs]),
            "panel": [self.targets.panel(panel) for panel in sorted(panels)],
            "other": [
                *([unrelated, str(Path(unrelated).with_name("store"))] if unrelated else []),
                *([from_here(self.root / markers)] if markers else []),
                *([orthologues] if (orthologues := self._orthologues()) else []),
            ],
        }

    def _audited(self, split: Split) -> tuple[str, ...]:
        return tuple(method for method in split.methods if self.study.methods[method]["kind"] == "method")

    def _markers(self) -> str | None:
        """The marker table of the study, a path in the repository."""
        name = self.study.settings["scoring"]["markers"]
        return f"config/markers/{name}.tsv" if name else None

    def _orthologues(self) -> str | None:
        """The orthologues of the study that its markers are carried over by."""
        name = self.study.settings["scoring"]["orthologues"]
        return self.results.orthologues(name) if name and self._markers() else None

    def audit_spec(self, wildcards: Wildcards) -> Params:
        """How an evaluation is audited."""
        splits = self.study.evaluations()[wildcards.dataset, wildcards.evaluation]
        scoring = self.study.settings["scoring"]
        audited = [
            AuditedSplit(
                split=split.name,
                fitted=split.fitted,
                seeds=split.seeds,
                methods=self._audited(split),
                panel=self.targets.panel(split.genes.panel) if split.genes.panel else None,
            )
            for split in splits
        ]
        return AuditSpec(
            dataset=wildcards.dataset,
            splits=tuple(audited),
            bins=scoring["calibration_bins"],
            min_units=self.study.settings["statistics"]["min_units"],
            level=self.study.settings["statistics"]["confidence"],
            primary=scoring["primary"],
            rollup=self._rollup(splits[0].rollup),
            merge=self._rollup(scoring["merge"]),
            unrelated=self.unrelated(wildcards),
            markers=self._markers(),
            orthologues=self._orthologues(),
            families=splits[0].metric_families,
            options=splits[0].metric_options,
            columns=splits[0].columns,
        ).to_params()

    def audit_memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of an audit: a sample of the test cells is dense for a while."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"]
        return int((2000 + min(cells, SAMPLE) / 5 + min(cells, STORE_CELLS) / 50 + cells / 2500) * attempt)
