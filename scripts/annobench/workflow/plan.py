"""What a study would run and take, before anything runs.

Expected times come from earlier run records of the same method and dataset where there are any, else from the estimate
in the method's file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from annobench.config.census import census_source, chunk_names
from annobench.config.names import STORE_CELLS
from annobench.config.results import Fit, Results
from annobench.config.study import Study
from annobench.core.files import read_json
from annobench.core.spec import SpecError
from annobench.fit.run_record import RunRecord
from annobench.workflow.census import CELLS_A_SECOND
from annobench.workflow.resources import HEADROOM_MB, TABLE_MB_A_MILLION
from annobench.workflow.targets import Targets

_STORE_MB = 0.0045  # of a cell: 2 bytes for each of some 2,000 values, and its annotations
_SCORE_SECONDS = 0.4  # scoring one fit: measured on the default study
_SCORE_SECONDS_A_MILLION = 3.0  # test cells, for each view of a fit: measured with 164 classes
_SPLIT_SECONDS = 0.7  # splitting and balancing


@dataclass(frozen=True)
class MethodPlan:
    """What one method still has to do: fits, seconds a fit, hours, memory of a job (MB), disk (MB)."""

    method: str
    fits: int
    left: int
    seconds_a_fit: float
    cpu_hours: float
    gpu_hours: float
    memory_mb: int
    disk_mb: float
    basis: str

    def cells(self) -> list[str]:
        """The plan as a row of the printed table."""
        hours = [f"{self.cpu_hours:.3f}", f"{self.gpu_hours:.2f}"]
        counts = [str(self.fits), str(self.left), f"{self.seconds_a_fit:.1f}"]
        return [self.method, *counts, *hours, str(self.memory_mb), f"{self.disk_mb:.0f}", self.basis]


def describe(study: Study) -> str:
    """Jobs per rule and method, expected CPU hours, memory and disk, as text."""
    history = History()
    plans = [plan_method(study, name, history) for name, method in study.methods.items() if method["fitted"] == name]
    fits, left = sum(plan.fits for plan in plans), sum(plan.left for plan in plans)
    drawn = sum(len(split.seeds) for split in study.all_splits())
    fitted = len({(s.dataset, s.fitted, seed) for s in study.splits.values() for seed in s.seeds})
    fetched = sum("source" in dataset for dataset in study.datasets.values())
    files = len(Targets(study).downloads())
    jobs = [
        *([["fetch_file", str(files)]] if files else []),
        *_census_jobs(study),
        ["fetch_dataset, prepare_dataset", f"{fetched}, {len(study.datasets)}"],
        ["split_dataset, balance_train", f"{drawn}, {fitted}"],
        ["fit_method, score_fit", f"{fits}, {fits} ({left} fits left)"],
        ["audit_evaluation", str(len(study.evaluations()))],
        ["aggregate_scores, plot_figure, render_report", f"1, {len(Targets(study).figure_names)}, 1"],
    ]
    overhead = (left * _SCORE_SECONDS + _scoring_seconds(study) + drawn * _SPLIT_SECONDS * (left > 0)) / 3600
    stores = sum(store_mb(study, name) for name in study.datasets)
    data = sum(dataset["resources"]["disk_mb"] for dataset in study.datasets.values()) + stores
    head = ["method", "fits", "left", "s a fit", "CPU hours", "GPU hours", "MB a job", "MB disk", "basis"]
    lines = [f"Study {study.name}", "", *_table(["rules", "jobs"], jobs), "", *_datasets(study), "", *_census(study)]
    lines += [*_table(head, [plan.cells() for plan in plans]), ""]
    of_stores = f", stores {stores:.0f} MB of it" if stores else ""
    lines.append(
        f"Left to do: {left} fits, {sum(plan.cpu_hours for plan in plans) + overhead:.2f} CPU hours with scoring and "
        f"splitting, {sum(plan.gpu_hours for plan in plans):.2f} GPU hours, "
        f"{sum(plan.disk_mb for plan in plans) + data:.0f} MB of disk (of which data {data:.0f} MB{of_stores}).\n"
        "A fit with a record counts as done; what changes of code or configuration do again, `make run ARGS=-n` says."
    )
    return "\n".join(lines)


def _on_gpu(study: Study, method: Mapping[str, Any]) -> bool:
    return bool(method["needs"]["gpu"] or (method["abilities"]["gpu"] and study.settings["device"] == "cuda"))


def _scoring_seconds(study: Study) -> float:
    """Seconds for scoring the cells of the views that are left, besides starting the jobs."""
    results = Results()
    left = [view for view in study.views() if not Path(results.scores(study.fit_of(view))["scores"]).is_file()]
    million = sum(study.datasets[view.dataset]["resources"]["cells"] for view in left) / 1e6
    return million * _SCORE_SECONDS_A_MILLION


def _datasets(study: Study) -> list[str]:
    """Cells and disk of every dataset."""
    rows = []
    for name, dataset in study.datasets.items():
        card = Path(Results().card(name))
        cells = read_json(card)["cells"] if card.is_file() else dataset["resources"]["cells"]
        known = "prepared" if card.is_file() else "expected"
        rows.append([name, f"{cells:,}", f"{dataset['resources']['disk_mb'] + store_mb(study, name):,.0f}", known])
    return _table(["dataset", "cells", "MB disk", "basis"], rows)


def _census_jobs(study: Study) -> list[list[str]]:
    """Rows of the jobs that come before fetching cells of the Census."""
    sources = [source for dataset in study.datasets.values() if (source := census_source(dataset))]
    releases = {(s["built"], s[key]) for s in sources for key in ("release", "new_since") if s["built"] and s[key]}
    chunks = sum(source["chunks"] for source in sources)
    rows = [["build_release", str(len(releases))]] if releases else []
    return rows + ([["select_census_cells, fetch_census_chunk", f"{len(sources)}, {chunks}"]] if sources else [])


def _census(study: Study) -> list[str]:
    """What is left to download from releases of the Census that are not built here."""
    rows = []
    for name, dataset in study.datasets.items():
        source = census_source(dataset)
        if source and not source["built"]:
            chunks = [Path(Results().chunk(name, chunk)) for chunk in chunk_names(source["chunks"])]
            left = sum(not chunk.is_dir() for chunk in chunks)
            cells = dataset["resources"]["cells"] * left / len(chunks)
            hours = f"{cells / CELLS_A_SECOND / 3600:.1f}"
            rows.append([name, source["release"], f"{left} of {len(chunks)}", f"{cells * _STORE_MB:,.0f}", hours])
    if not rows:
        return []
    head = ["from the Census", "release", "chunks left", "MB to write", "hours of download, one chunk at a time"]
    return [*_table(head, rows), ""]


def store_mb(study: Study, name: str) -> float:
    """Disk (MB) of the store of a dataset: what it has, else what so many cells are expected to take."""
    card = Path(Results().card(name))
    if card.is_file():
        return float(read_json(card).get("store", {}).get("bytes", 0) / 1e6)
    dataset = study.datasets[name]
    pair = dataset.get("pair")
    parts = [*pair["references"], pair["query"]] if pair else []
    stored = dataset["storage"] == "store"
    if dataset["storage"] == "auto":
        stored = any(store_mb(study, part) for part in parts) or _counts_of_many(dataset)
    if not stored or (parts and _same_genes(study, parts)):
        return 0.0  # in memory, or the counts of its parts, linked
    return float(dataset["resources"]["cells"] * _STORE_MB)


def _same_genes(study: Study, parts: Sequence[str]) -> bool:
    """Whether all parts say that they have the genes of one list."""
    first, *others = [(study.datasets[part].get("source") or {}).get("genes") for part in parts]
    return isinstance(first, Mapping) and "file" in first and all(genes == first for genes in others)


def _counts_of_many(dataset: Mapping[str, Any]) -> bool:
    matrix = dataset["matrix"]
    counts = matrix["state"] == "counts" and not matrix["counts_from"]
    return not dataset.get("pair") and counts and dataset["resources"]["cells"] > STORE_CELLS


def plan_method(study: Study, method: str, history: "History") -> MethodPlan:
    """The plan of one method; a fit with a run record is done."""
    file = study.methods[method]
    fits = [fit for fit in study.fits() if fit.method == method]
    left = [fit for fit in fits if not Path(Results().run(fit)).is_file()]
    seconds = {fit: expected_seconds(study, fit, history) for fit in fits}
    hours = sum(seconds[fit] for fit in left) / 3600
    cells = max(study.datasets[fit.dataset]["resources"]["cells"] for fit in fits)
    known = sum(history.seconds(fit) is not None for fit in fits)
    return MethodPlan(
        method=method,
        fits=len(fits),
        left=len(left),
        seconds_a_fit=fmean(seconds.values()),
        cpu_hours=hours * file["resources"]["threads"],
        gpu_hours=hours * file["resources"]["gpus"] if _on_gpu(study, file) else 0.0,
        memory_mb=int(file["resources"]["memory_mb"] + TABLE_MB_A_MILLION * cells / 1e6) + HEADROOM_MB,
        disk_mb=file["estimate"]["disk_mb"] * len(left),
        basis=f"{known} of {len(fits)} fits from run records" if known else "estimates of the method file",
    )


class History:
    """Mean seconds of earlier fits, from the run records under results/fits."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = {}
        for path in Results().runs():
            try:
                run = RunRecord.read(path)
            except SpecError:
                continue  # of another version of annobench
            if run.ok and run.total_seconds is not None:
                for key in ((run.method, run.dataset, _kind(run.split)), (run.method, run.dataset)):
                    self._seconds.setdefault(key, []).append(run.total_seconds)

    def seconds(self, fit: Fit) -> float | None:
        """Mean of the most similar fits: same method, dataset and kind of split, else the same method and dataset."""
        for key in ((fit.method, fit.dataset, _kind(fit.split)), (fit.method, fit.dataset)):
            if key in self._seconds:
                return fmean(self._seconds[key])
        return None


def _kind(split: str) -> str:
    """A split without its number: `kfold_3` -> `kfold`."""
    return re.sub(r"_\d+$", "", split)


def expected_seconds(study: Study, fit: Fit, history: History) -> float:
    """Expected wall seconds of one fit."""
    known = history.seconds(fit)
    if known is not None:
        return known
    estimate = study.methods[fit.method]["estimate"]
    cells: Mapping[str, Any] = study.datasets[fit.dataset]["resources"]
    return float(estimate["seconds"] + estimate["seconds_per_1000_cells"] * cells["cells"] / 1000)


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Left-aligned columns of text."""
    lines = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [text[0], "-" * max(map(len, text)), *text[1:]]
