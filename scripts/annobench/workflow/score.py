"""What the rules of score.smk ask for."""

from pathlib import Path
from typing import Any

from annobench.config.names import STORE_CELLS
from annobench.config.results import Fit
from annobench.config.split import Split
from annobench.workflow.common import Chapter, canonical
from annobench.workflow.resources import SAMPLE


class ScoreRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of jobs that read the observations of a dataset and the predictions of a fit."""
        return int((1500 + self.study.datasets[wildcards.dataset]["resources"]["cells"] / 2500) * attempt)

    def scored_roles(self, wildcards: Any) -> list[str]:
        """Roles of the splits that a fit is scored on, in the order of `scoring_settings`."""
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        return [self.results.roles(split.dataset, split.name, int(wildcards.seed)) for split in scored]

    def settings(self, wildcards: Any) -> str:
        """What scoring a fit uses of the study; `views` says as what it is scored: split -> method -> decoding."""
        scoring = self.study.settings["scoring"]
        used = {key: scoring[key] for key in ("unknown_truth", "calibration_bins")}
        rollup = self.study.split(wildcards.dataset, wildcards.split).rollup
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        used["views"] = [
            {"split": s.name, "part": s.part, "methods": self._decodings(s, wildcards.method)} for s in scored
        ]
        used |= {"rollup": self.rollup(rollup), "merge": self.rollup(scoring["merge"])}
        return canonical(used | {"min_units": self.study.settings["statistics"]["min_units"]})

    def _decodings(self, split: Split, fitted: str) -> dict[str, str]:
        """The methods of a split that score the fit of a method, and which labels of it."""
        methods = ((name, self.study.methods[name]) for name in split.methods)
        return {name: method["decoding"] for name, method in methods if method["fitted"] == fitted}

    def audit_inputs(self, wildcards: Any) -> dict[str, Any]:
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
        unrelated, markers = self.unrelated(wildcards), self.audit_markers(wildcards)
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
                path for path in (unrelated, unrelated and str(Path(unrelated).with_name("store")), markers) if path
            ],
        }

    def _audited(self, split: Split) -> list[str]:
        return [method for method in split.methods if self.study.methods[method]["kind"] == "method"]

    def audit_markers(self, wildcards: Any) -> str | None:
        """The marker table of an audit."""
        name = self.study.settings["scoring"]["markers"]
        return str(self.root / "config" / "markers" / f"{name}.tsv") if name else None

    def audit_settings(self, wildcards: Any) -> str:
        """What the audit of an evaluation uses of the study."""
        splits = self.study.evaluations()[wildcards.dataset, wildcards.evaluation]
        scoring = self.study.settings["scoring"]
        return canonical(
            {
                "dataset": wildcards.dataset,
                "splits": [
                    {
                        **{"split": split.name, "fitted": split.fitted},
                        "seeds": list(split.seeds),
                        "methods": self._audited(split),
                        "panel": split.genes.panel and self.targets.panel(split.genes.panel),
                    }
                    for split in splits
                ],
                "rollup": self.rollup(splits[0].rollup),
                "merge": self.rollup(scoring["merge"]),
                "bins": scoring["calibration_bins"],
            }
        )

    def audit_memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of an audit: a sample of the test cells is dense for a while."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"]
        return int((2000 + min(cells, SAMPLE) / 5 + min(cells, STORE_CELLS) / 50 + cells / 2500) * attempt)
