"""What the rules of figures.smk ask for."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from annobench.config.contrasts import Contrast
from annobench.config.entities import parts_of
from annobench.config.figures import figure_facts
from annobench.config.losses import losses
from annobench.config.metrics import metric_facts
from annobench.config.published import published_datasets, published_files
from annobench.config.study import Study
from annobench.core.codehash import code_hash
from annobench.data.spec import has_real_cells
from annobench.figures.shared.settings import (
    FigureSettings,
    MetricWords,
    ReleaseMethod,
    ReleaseSettings,
    ReleaseView,
)
from annobench.workflow.common import Chapter, Wildcards

_PARTS = {"reference": "id", "query": "ood"}  # part of a split -> as figures call it


class FigureRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def tables(self, wildcards: Wildcards) -> dict[str, str]:
        """The tables that a figure is drawn from."""
        return self.targets.tables(figure_facts(wildcards.figure).tables)

    def settings(self, wildcards: Wildcards) -> FigureSettings:
        """What a figure uses of the study."""
        facts = figure_facts(wildcards.figure)
        published = self.study.settings["published"]
        return FigureSettings(
            title=facts.title,
            primary=self.study.settings["scoring"]["primary"],
            metrics=metric_words(),
            datasets={name: dataset["label"] for name, dataset in self.study.datasets.items()},
            evaluations=self.evaluation_names(),
            units=coordinate_units(self.study),
            published=(published["dataset"], published["evaluation"]) if published else None,
            level=self.study.settings["statistics"]["confidence"],
            release=release_settings(self.study, self.root) if "release" in facts.regimes else None,
        )

    def params(self, wildcards: Wildcards) -> dict[str, object]:
        """The settings, as the driver reads them."""
        return self.settings(wildcards).to_params()

    def caption(self, wildcards: Wildcards) -> str:
        """Caption of a figure, for Snakemake's report."""
        return self.caption_of(wildcards.figure)

    def caption_of(self, figure: str) -> str:
        """Caption of a figure; in the regime release it names the datasets that are not those of the paper."""
        facts = figure_facts(figure)
        note = other_data(self.study, self.root) if "release" in facts.regimes else ""
        return f"{facts.caption} {note}".strip()

    def code(self, wildcards: Wildcards) -> str:
        """Hash of the file of a figure and all that it imports."""
        return code_hash(f"annobench.figures.{wildcards.figure}")


def metric_words() -> dict[str, MetricWords]:
    """What metrics are called, which way is better, and their bounds."""

    def bound(value: float) -> float | None:
        return value if isfinite(value) else None

    return {
        name: MetricWords(facts.label, facts.lower_is_better, bound(facts.low), bound(facts.high))
        for name, facts in metric_facts().items()
    }


def coordinate_units(study: Study) -> dict[str, str]:
    """Dataset -> the unit of the coordinates of its cells; of a pair, of those of its query. Others are left out."""
    units = {}
    for name, dataset in study.datasets.items():
        located = study.datasets[parts_of(dataset)[-1]] if dataset.get("pair") else dataset
        if located["spatial"] and located["spatial_unit"]:
            units[name] = str(located["spatial_unit"])
    return units


def release_settings(study: Study, root: Path) -> ReleaseSettings:
    """What figures of the regime `release` use of a study."""
    splits = study.splits.values()
    return ReleaseSettings(
        views=tuple(ReleaseView(s.dataset, s.evaluation, _PARTS[s.part]) for s in splits if s.part),
        methods=tuple(_release_method(name, study.methods[name]) for name in study.shown_methods()),
        contrasts=tuple(Contrast(**contrast) for contrast in study.settings["contrasts"]),
        level=study.settings["statistics"]["confidence"],
        published_datasets=tuple(_published_datasets(study, root)),
        simulated=tuple(sorted({s.dataset for s in splits if _simulated(study, s.dataset)})),
    )


def _release_method(name: str, method: Mapping[str, Any]) -> ReleaseMethod:
    loss = losses().get(method["parameters"].get("loss"))
    return ReleaseMethod(
        name=name,
        label=method["label"],
        kind=method["kind"],
        model=method["implementation"],
        loss=loss.name if loss else None,
        loss_label=loss.label if loss else None,
        loss_order=loss.order if loss else -1,
        decoding=method["decoding"],
    )


def _simulated(study: Study, name: str) -> bool:
    """Whether no cell of a dataset is real."""
    parts = parts_of(study.datasets[name]) or [name]
    return not any(has_real_cells(study.datasets[part]) for part in parts)


def _published_datasets(study: Study, root: Path) -> list[str]:
    """Datasets that the published values of a study are of."""
    return published_datasets(published_files(study.settings["published_values"], root))


def other_data(study: Study, root: Path) -> str:
    """A sentence that names the datasets which the published values are not of; empty where there are none."""
    known = _published_datasets(study, root)
    shown = dict.fromkeys(split.dataset for split in study.splits.values() if split.regime == "release")
    others = [str(study.datasets[name]["label"]) for name in shown if name not in known]
    return f"Drawn from {'; '.join(others)}: not the data of the paper." if known and others else ""
