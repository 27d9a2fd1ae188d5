"""The fits of a study: their files, their run records, and what was counted of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from annobench.config.results import Fit, Results
from annobench.core.errors import DataError
from annobench.core.parquet import read_columns
from annobench.fit.run_record import RunRecord
from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.metric import COUNTS, SUMS, Metric
from annobench.score.samples import FitValue, Sample, UnitSums
from annobench.tables.shared.spec import TablesSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Evaluation = tuple[str, str, str]  # dataset, evaluation, regime


@dataclass(frozen=True, kw_only=True)
class FitFiles:
    """One planned fit, or a view of one, and its files; a partial study lacks some.

    A file of scores holds the rows of all views of its fit; `rows` gives those of this view. `scored_as` is the method
    in these files, where `method` is another name for it.
    """

    dataset: str
    evaluation: str
    regime: str
    split: str
    method: str
    seed: int
    run: Path
    scores: Path
    confusion: Path
    groups: Path
    sums: Path
    confidence: Path
    attempt: Path
    scored_as: str = ""

    @property
    def key(self) -> dict[str, str | int]:
        """The columns that name a fit."""
        return {"dataset": self.dataset, "split": self.split, "method": self.method, "seed": self.seed}

    @property
    def place(self) -> Evaluation:
        """Its evaluation."""
        return (self.dataset, self.evaluation, self.regime)

    @property
    def folder(self) -> Path:
        """Folder of the fit, which several views may share."""
        return self.run.parent

    def rows(self, path: Path, columns: Sequence[str] | None = None) -> dict[str, "NDArray[np.generic]"]:
        """Columns of `scores`, `confusion`, `groups`, `sums` or `confidence` that belong to this view.

        Raises DataError for a file of scores without this view.
        """
        view = read_columns(path, ["split", "method"], categorical=["split", "method"])
        mine = (view["split"] == self.split) & (view["method"] == (self.scored_as or self.method))
        if path == self.scores and not mine.any():  # the others may be empty: a failed fit, a query without labels
            raise DataError(
                f"{path}: holds no rows of split {self.split} and method {self.method}: it was scored for another "
                f"study; score it again with --forcerun {path}"
            )
        return read_columns(path, columns, rows=mine)  # texts become Python objects for these rows alone

    @property
    def done(self) -> bool:
        """Whether the fit has a record and is scored."""
        files = (self.run, self.scores, self.confusion, self.sums, self.confidence)
        return all(path.is_file() for path in files)


def planned_fits(spec: TablesSpec, results: Results) -> list[FitFiles]:
    """All fits and views of a study, in the order of its splits, methods and seeds."""
    planned = []
    for split in spec.splits:
        for method in split.methods:
            for seed in split.seeds:
                fit = Fit(split.dataset, split.fitted, spec.methods[method].fitted, seed)
                files = {name: Path(path) for name, path in results.scores(fit).items()}
                planned.append(
                    FitFiles(
                        dataset=split.dataset,
                        evaluation=split.evaluation,
                        regime=split.regime,
                        split=split.split,
                        method=method,
                        seed=seed,
                        run=Path(results.run(fit)),
                        attempt=Path(results.attempt(fit)),
                        scores=files["scores"],
                        confusion=files["confusion"],
                        groups=files["groups"],
                        sums=files["sums"],
                        confidence=files["confidence"],
                    )
                )
    return planned


class Fits:
    """All planned fits, the run records of those that are done, and the counts of those that are ok.

    Parameters
    ----------
    planned
        Fits and views, in the order of the study.
    ontology
        The study's ontology release.

    Attributes
    ----------
    runs
        Run record of every fit that is done.
    ok
        Fits that ended well.
    evaluations
        All evaluations, in the order of the study.
    counts
        Cells per unit, true and predicted label of every fit that is ok and has labels.
    unit_kinds
        What the units of these counts are: donor, study or cell.
    classes
        (dataset, split) -> every label that any fit of the split mentions, sorted.
    """

    def __init__(self, planned: Sequence[FitFiles], ontology: Ontology) -> None:
        self.planned, self.ontology = planned, ontology
        self.runs = {fit: RunRecord.read(fit.run) for fit in planned if fit.done}
        self.ok = [fit for fit, run in self.runs.items() if run.ok]
        tables = {fit: fit.rows(fit.confusion) for fit in self.ok}
        scored = {fit: table for fit, table in tables.items() if len(table["n"])}
        self.evaluations = list(dict.fromkeys(fit.place for fit in planned))
        self.classes = _classes(scored)
        shared = {split: Classes(labels, ontology) for split, labels in self.classes.items()}
        self.counts = {fit: UnitCounts.of_table(table, shared[fit.dataset, fit.split]) for fit, table in scored.items()}
        self.unit_kinds = {fit: str(table["unit_kind"][0]) for fit, table in scored.items()}

    def samples(self, metric: Metric) -> "Mapping[FitFiles, Sample]":
        """What a metric can be resampled from, for every fit that is ok and has it."""
        if metric.basis == COUNTS:
            return self.counts
        if metric.basis == SUMS:
            return self._sums(metric)
        values: dict[FitFiles, Sample] = {}
        for fit in self.ok:
            rows = pd.DataFrame(fit.rows(fit.scores, ["metric", "label_set", "level", "group", "value"]))
            mine = rows[(rows["metric"] == metric.name) & (rows["label_set"] == metric.label_set)]
            mine = mine[(mine["level"] == metric.level) & (mine["group"] == "all")].dropna(subset=["value"])
            if len(mine):
                values[fit] = FitValue(f"{fit.split}/{fit.seed}", float(mine["value"].iloc[0]))
        return values

    def _sums(self, metric: Metric) -> dict[FitFiles, UnitSums]:
        """Sums of every fit for one metric; every part of one is a part of all."""
        tables = {fit: pd.DataFrame(fit.rows(fit.sums)) for fit in self.ok}
        tables = {fit: table[table["metric"] == metric.name] for fit, table in tables.items()}
        parts = sorted({part for table in tables.values() for part in table["part"]})
        sums = {}
        for fit, table in tables.items():
            if len(table):
                wide = table.pivot(index="unit", columns="part", values="value").reindex(columns=parts).fillna(0.0)
                self.unit_kinds.setdefault(fit, str(table["unit_kind"].iloc[0]))
                sums[fit] = UnitSums(list(wide.index), {part: wide[part].to_numpy() for part in parts})
        return sums

    def of(self, method: str, evaluation: Sequence[str]) -> list[FitFiles]:
        """Planned fits of a method in an evaluation (dataset, evaluation, regime)."""
        return [fit for fit in self.planned if fit.method == method and fit.place == tuple(evaluation)]

    def counts_of(self, fits: Iterable[FitFiles]) -> dict[stats.Key, UnitCounts]:
        """Counts of the finished ones of some fits of one dataset."""
        return {(fit.split, fit.seed): self.counts[fit] for fit in fits if fit in self.counts}


def _classes(tables: "Mapping[FitFiles, Mapping[str, NDArray[np.generic]]]") -> dict[tuple[str, str], list[str]]:
    """(dataset, split) -> every label that any fit of the split mentions, sorted."""
    mentioned: dict[tuple[str, str], set[str]] = {}
    for fit, table in tables.items():
        mentioned.setdefault((fit.dataset, fit.split), set()).update(table["true"], table["predicted"])
    return {split: sorted(labels) for split, labels in mentioned.items()}


def with_evaluation(scores: pd.DataFrame, fits: Fits) -> pd.DataFrame:
    """Rows of scores with the columns that name their evaluation."""
    place = {(fit.dataset, fit.split): fit.place for fit in fits.planned}
    places = [place[pair] for pair in zip(scores["dataset"], scores["split"], strict=True)]
    return scores.assign(evaluation=[one[1] for one in places], regime=[one[2] for one in places])
