"""What a study would run, and what that would take.

Expected times come from earlier run records of the same method and dataset where there are any, else from the estimate
in the method's file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from annobench.cells.spec import COUNTS
from annobench.config.census import census_source, chunk_names
from annobench.config.entities import parts_of
from annobench.config.names import STORE_CELLS
from annobench.config.results import Fit, Results
from annobench.config.schema import Document
from annobench.config.study import Study
from annobench.core.files import read_json
from annobench.core.spec import SpecError
from annobench.fit.run_record import RunRecord
from annobench.workflow.census import CELLS_A_SECOND
from annobench.workflow.resources import HEADROOM_MB, TABLE_MB_A_MILLION
from annobench.workflow.targets import Targets

_STORE_MB = 0.0045  # of a cell: 2 bytes for each of about 2,000 values, and its annotations
_SCORE_SECONDS = 0.4  # scoring one fit: measured on the default study
_SCORE_SECONDS_A_MILLION = 3.0  # test cells, for each view of a fit: measured with 164 classes
_SPLIT_SECONDS = 0.7  # splitting and balancing
Row = Sequence[str]


@dataclass(frozen=True)
class MethodPlan:
    """What one method still has to do.

    Attributes
    ----------
    fits, left
        Fits of the study, and those without a run record.
    seconds_a_fit
        Expected wall time of a fit.
    cpu_hours, gpu_hours, disk_mb
        Of the fits that are left.
    memory_mb
        Of the job around a fit.
    basis
        Where the expected time comes from.
    """

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


class History:
    """Mean seconds of earlier fits of any study, from their run records."""

    def __init__(self, results: Results) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = {}
        for path in results.runs():
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


class Plan:
    """What a study would run, given what is there.

    Parameters
    ----------
    study
        The study.
    results
        Where its results are.
    """

    def __init__(self, study: Study, results: Results) -> None:
        self.study, self.results, self.targets = study, results, Targets(study, results)

    @cached_property
    def history(self) -> History:
        """Times of earlier fits."""
        return History(self.results)

    @cached_property
    def methods(self) -> list[MethodPlan]:
        """The plan of every method that is fitted; a control that trains is not where nothing does."""
        return [self.method(name) for name in dict.fromkeys(fit.method for fit in self.study.fits())]

    def text(self) -> str:
        """Jobs of every rule, what every method takes, and the sums, for the terminal."""
        head = ["method", "fits", "left", "s a fit", "CPU hours", "GPU hours", "MB a job", "MB disk", "basis"]
        blocks = [
            [f"Study {self.study.name}"],
            _table(["rules", "jobs"], self._jobs()),
            _table(["dataset", "cells", "MB disk", "basis"], self._datasets()),
            self._downloads(),
            _table(head, [plan.cells() for plan in self.methods]),
            self._sums(),
        ]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def method(self, name: str) -> MethodPlan:
        """The plan of one method; a fit with a run record is done."""
        method = self.study.methods[name]
        fits = [fit for fit in self.study.fits() if fit.method == name]
        left = [fit for fit in fits if not Path(self.results.run(fit)).is_file()]
        seconds = {fit: self.expected_seconds(fit) for fit in fits}
        hours = sum(seconds[fit] for fit in left) / 3600
        cells = max(self._cells(fit.dataset) for fit in fits)
        known = sum(self.history.seconds(fit) is not None for fit in fits)
        return MethodPlan(
            method=name,
            fits=len(fits),
            left=len(left),
            seconds_a_fit=fmean(seconds.values()),
            cpu_hours=hours * method["resources"]["threads"],
            gpu_hours=hours * method["resources"]["gpus"] if self._on_gpu(method) else 0.0,
            memory_mb=int(method["resources"]["memory_mb"] + TABLE_MB_A_MILLION * cells / 1e6) + HEADROOM_MB,
            disk_mb=method["estimate"]["disk_mb"] * len(left),
            basis=f"{known} of {len(fits)} fits from run records" if known else "estimates of the method file",
        )

    def expected_seconds(self, fit: Fit) -> float:
        """Expected wall seconds of one fit."""
        known = self.history.seconds(fit)
        if known is not None:
            return known
        estimate = self.study.methods[fit.method]["estimate"]
        return float(estimate["seconds"] + estimate["seconds_per_1000_cells"] * self._cells(fit.dataset) / 1000)

    def store_mb(self, name: str) -> float:
        """Disk (MB) of the store of a dataset: of the one that is there, else of the expected one."""
        card = Path(self.results.card(name))
        if card.is_file():
            return float(read_json(card).get("store", {}).get("bytes", 0) / 1e6)
        dataset = self.study.datasets[name]
        parts = parts_of(dataset)
        stored = dataset["storage"] == "store"
        if dataset["storage"] == "auto":
            stored = any(self.store_mb(part) for part in parts) or _counts_of_many(dataset)
        if not stored or (parts and self._same_genes(parts)):
            return 0.0  # in memory, or the counts of its parts, linked
        return self._cells(name) * _STORE_MB

    def _cells(self, dataset: str) -> int:
        """Cells of a dataset, as its file states them."""
        return int(self.study.datasets[dataset]["resources"]["cells"])

    def _on_gpu(self, method: Document) -> bool:
        optional = method["abilities"]["gpu"] and self.study.settings["device"] == "cuda"
        return bool(method["needs"]["gpu"] or optional)

    def _same_genes(self, parts: Sequence[str]) -> bool:
        """Whether the files of all parts name the same list of genes."""
        first, *others = [(self.study.datasets[part].get("source") or {}).get("genes") for part in parts]
        return isinstance(first, Mapping) and "file" in first and all(genes == first for genes in others)

    def _drawn(self) -> int:
        """Splits to draw, each once per seed."""
        return sum(len(split.seeds) for split in self.study.all_splits())

    def _jobs(self) -> list[Row]:
        study, fits, left = self.study, sum(plan.fits for plan in self.methods), sum(plan.left for plan in self.methods)
        fitted = len({(s.dataset, s.fitted, seed) for s in study.splits.values() for seed in s.seeds})
        fetched = sum("source" in dataset for dataset in study.datasets.values())
        files = len(self.targets.downloads())
        return [
            *([["fetch_file", str(files)]] if files else []),
            *self._checkpoint_jobs(),
            *self._census_jobs(),
            ["fetch_dataset, prepare_dataset", f"{fetched}, {len(study.datasets)}"],
            ["split_dataset, balance_train", f"{self._drawn()}, {fitted}"],
            ["fit_method, score_fit", f"{fits}, {sum(1 for _ in study.scored_fits())} ({left} fits left)"],
            ["audit_evaluation", str(len(study.evaluations()))],
            ["aggregate_scores, plot_figure, render_report", f"1, {len(self.targets.figure_names)}, 1"],
        ]

    def _checkpoint_jobs(self) -> list[Row]:
        """Jobs that make checkpoints, and tokens of them."""
        kinds = [checkpoint["source"]["kind"] for checkpoint in self.study.checkpoints.values()]
        if not kinds:
            return []
        trained = kinds.count("pretrain")
        numbers = f"{len(kinds) - trained}, {trained}, {len(self.targets.tokens())}"
        return [["fetch_checkpoint, pretrain_checkpoint, tokenise_dataset", numbers]]

    def _census_jobs(self) -> list[Row]:
        """Jobs that come before fetching cells of the Census."""
        sources = [source for dataset in self.study.datasets.values() if (source := census_source(dataset))]
        releases = {(s["built"], s[key]) for s in sources for key in ("release", "new_since") if s["built"] and s[key]}
        chunks = sum(source["chunks"] for source in sources)
        rows: list[Row] = [["build_release", str(len(releases))]] if releases else []
        return rows + ([["select_census_cells, fetch_census_chunk", f"{len(sources)}, {chunks}"]] if sources else [])

    def _datasets(self) -> list[Row]:
        """Cells and disk of every dataset."""
        rows: list[Row] = []
        for name, dataset in self.study.datasets.items():
            card = Path(self.results.card(name))
            cells = read_json(card)["cells"] if card.is_file() else self._cells(name)
            basis = "prepared" if card.is_file() else "expected"
            rows.append([name, f"{cells:,}", f"{dataset['resources']['disk_mb'] + self.store_mb(name):,.0f}", basis])
        return rows

    def _downloads(self) -> list[str]:
        """What is left to download from releases of the Census that are not built here."""
        rows: list[Row] = []
        for name, dataset in self.study.datasets.items():
            source = census_source(dataset)
            if source and not source["built"]:
                chunks = [Path(self.results.chunk(name, chunk)) for chunk in chunk_names(source["chunks"])]
                left = sum(not chunk.is_dir() for chunk in chunks)
                cells = self._cells(name) * left / len(chunks)
                hours = f"{cells / CELLS_A_SECOND / 3600:.1f}"
                rows.append([name, source["release"], f"{left} of {len(chunks)}", f"{cells * _STORE_MB:,.0f}", hours])
        head = ["from the Census", "release", "chunks left", "MB to write", "hours of download, one chunk at a time"]
        return _table(head, rows) if rows else []

    def _sums(self) -> list[str]:
        left = sum(plan.left for plan in self.methods)
        splitting = self._drawn() * _SPLIT_SECONDS * (left > 0)
        overhead = (left * _SCORE_SECONDS + self._scoring_seconds() + splitting) / 3600
        stores = sum(map(self.store_mb, self.study.datasets))
        data = sum(dataset["resources"]["disk_mb"] for dataset in self.study.datasets.values()) + stores
        of_stores = f", stores {stores:.0f} MB of it" if stores else ""
        return [
            f"Left to do: {left} fits, {sum(plan.cpu_hours for plan in self.methods) + overhead:.2f} CPU hours with "
            f"scoring and splitting, {sum(plan.gpu_hours for plan in self.methods):.2f} GPU hours, "
            f"{sum(plan.disk_mb for plan in self.methods) + data:.0f} MB of disk "
            f"(of which data {data:.0f} MB{of_stores}).",
            "A fit with a run record counts as done. `make run ARGS=-n` lists what a change of code or configuration "
            "runs again.",
        ]

    def _scoring_seconds(self) -> float:
        """Seconds for scoring the cells of the views that are left, besides starting the jobs."""
        scores = ((view, self.results.scores(self.study.fit_of(view))["scores"]) for view in self.study.views())
        cells = sum(self._cells(view.dataset) for view, path in scores if not Path(path).is_file())
        return cells / 1e6 * _SCORE_SECONDS_A_MILLION


def _counts_of_many(dataset: Document) -> bool:
    """Whether a dataset has counts of more cells than are kept in memory."""
    matrix = dataset["matrix"]
    counts = matrix["state"] in COUNTS and not matrix["counts_from"]
    return "source" in dataset and counts and dataset["resources"]["cells"] > STORE_CELLS


def _table(head: Row, rows: Sequence[Row]) -> list[str]:
    """Left-aligned columns of text."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [text[0], "-" * max(map(len, text)), *text[1:]]
