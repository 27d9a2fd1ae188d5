"""Tables of a study, out of the scores and run records of its fits. Everything shown later is drawn from these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from annobench import stats
from annobench.columns import read_columns
from annobench.files import atomic, read_json
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.tree import class_tree

RUN_COLUMNS = [
    "status",
    "fit_seconds",
    "predict_seconds",
    "startup_seconds",
    "total_seconds",
    "cpu_seconds",
    "peak_rss_mb",
    "peak_gpu_mb",
    "trainable_parameters",
    "model_mb",
    "threads",
    "device",
    "host",
]
KEYS = ["dataset", "split", "method", "seed"]


@dataclass(frozen=True)
class FitFiles:
    """One planned fit and where its files are; they may be missing when tables are built from a partial study."""

    dataset: str
    regime: str
    split: str
    method: str
    seed: int
    run: Path
    scores: Path
    pairs: Path
    attempt: Path

    @property
    def key(self) -> dict[str, Any]:
        """The columns that name a fit."""
        return {"dataset": self.dataset, "split": self.split, "method": self.method, "seed": self.seed}

    @property
    def done(self) -> bool:
        """Whether the fit has a record and is scored."""
        return self.run.is_file() and self.scores.is_file() and self.pairs.is_file()


@dataclass
class StudyTables:
    """Builds every table of a study; `settings` is the resolved configuration, `methods` the resolved method files."""

    fits: Sequence[FitFiles]
    settings: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    ontology: Ontology

    def __post_init__(self) -> None:
        self.runs = {fit: read_json(fit.run) for fit in self.fits if fit.done}
        self.ok = [fit for fit, run in self.runs.items() if run["status"] == "ok"]
        self.primary = self.settings["scoring"]["primary"]
        self.weights = stats.Weights(
            self.settings["statistics"]["replicates"], self.settings["statistics"]["confidence"]
        )
        self.counts, self.unit_kinds = self._read_pairs()
        self.groups: dict[str, dict[tuple[str, str], list[FitFiles]]] = {method: {} for method in self.methods}
        self.evaluations = list(dict.fromkeys((fit.dataset, fit.regime) for fit in self.fits))
        for fit in self.fits:
            self.groups[fit.method].setdefault((fit.dataset, fit.regime), []).append(fit)

    def scores(self) -> pd.DataFrame:
        """All values of all fits, long."""
        parts = [pd.DataFrame(read_columns(fit.scores)) for fit in self.runs]
        return (
            pd.concat(parts, ignore_index=True)
            if parts
            else pd.DataFrame(
                columns=[*KEYS, "status", "family", "metric", "label_set", "level", "group", "value", "n"]
            )
        )

    def failed(self) -> pd.DataFrame:
        """Every fit that is not ok, with the reason; a fit without a record is `missing`."""
        rows = []
        for fit in self.fits:
            if fit not in self.runs:
                rows.append({**fit.key, "status": "missing", "reason": _why_missing(fit.attempt), "traceback": None})
            elif self.runs[fit]["status"] != "ok":
                run = self.runs[fit]
                trace = str(fit.run.parent / run["traceback"]) if run["traceback"] else None
                rows.append({**fit.key, "status": run["status"], "reason": run["reason"], "traceback": trace})
        return pd.DataFrame(rows, columns=[*KEYS, "status", "reason", "traceback"])

    def resources(self) -> pd.DataFrame:
        """What every fit took, one row per fit."""
        rows = [{**fit.key, "regime": fit.regime, **{c: run[c] for c in RUN_COLUMNS}} for fit, run in self.runs.items()]
        return pd.DataFrame(rows, columns=[*KEYS, "regime", *RUN_COLUMNS])

    def summary(self) -> pd.DataFrame:
        """Headline metrics with intervals: per split, per dataset and regime, and over the study.

        The value over the study is the mean over its evaluations, each counting the same; only a method with fits in
        all of them has one.
        """
        rows = []
        for method in self.methods:
            planned = self.groups[method]
            parts = {}
            for (dataset, regime), fits in planned.items():
                for split in dict.fromkeys(fit.split for fit in fits):
                    of_split = [fit for fit in fits if fit.split == split]
                    rows += self._summary_rows(
                        dataset, regime, split, method, of_split, self._values(dataset, of_split)
                    )
                parts[dataset, regime] = self._values(dataset, fits)
                rows += self._summary_rows(dataset, regime, "all", method, fits, parts[dataset, regime])
            if len(parts) == len(self.evaluations) and all(parts.values()):
                means = {
                    m: tuple(np.mean([values[m][i] for values in parts.values()], axis=0) for i in range(2))
                    for m in stats.HEADLINES
                }
                rows += self._summary_rows(
                    "all", "all", "all", method, [fit for fits in planned.values() for fit in fits], means
                )
        columns = [
            "dataset",
            "regime",
            "split",
            "method",
            "metric",
            "value",
            "low",
            "high",
            "interval_over",
            "n_units",
            "n_fits",
            "n_planned",
        ]
        return pd.DataFrame(rows, columns=columns)

    def ranking(self, summary: pd.DataFrame, resources: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
        """Methods in order, per dataset and regime and over the study (`all`).

        Order: the primary metric, then balanced accuracy, accuracy, fewer trainable parameters, less time. A method
        with fits that failed or are missing, and a control, gets no rank.
        """
        rows = []
        whole = summary[summary["split"] == "all"]
        for (dataset, regime), part in whole.groupby(["dataset", "regime"], sort=False):
            used = (
                resources
                if dataset == "all"
                else resources[(resources["dataset"] == dataset) & (resources["regime"] == regime)]
            )
            used = used[used["status"] == "ok"]
            table = part.pivot(index="method", columns="metric", values="value")
            main = part[part["metric"] == self.primary].set_index("method")
            for method in table.index:
                mine = used[used["method"] == method]
                rows.append(
                    {
                        "dataset": dataset,
                        "regime": regime,
                        "method": method,
                        "label": self.methods[method]["label"],
                        "kind": self.methods[method]["kind"],
                        "score": main.loc[method, "value"],
                        "low": main.loc[method, "low"],
                        "high": main.loc[method, "high"],
                        "interval_over": main.loc[method, "interval_over"],
                        "n_fits": main.loc[method, "n_fits"],
                        "n_planned": main.loc[method, "n_planned"],
                        **{metric: table.loc[method, metric] for metric in stats.HEADLINES},
                        "fit_seconds": mine["fit_seconds"].mean(),
                        "predict_seconds": mine["predict_seconds"].mean(),
                        "peak_rss_mb": mine["peak_rss_mb"].max(),
                        "trainable_parameters": pd.to_numeric(mine["trainable_parameters"]).mean(),
                    }
                )
        table = _rank(pd.DataFrame(rows))
        table.insert(len(table.columns), "p_against_best", _against_best(table, tests))
        return table

    def tests(self) -> pd.DataFrame:
        """Paired differences of the primary metric between all methods (controls left out), per dataset and regime."""
        rows = []
        confidence = self.settings["statistics"]["confidence"]
        methods = [m for m in self.methods if self.methods[m]["kind"] == "method"]
        for dataset, regime in self.evaluations:
            family = []
            for first, second in combinations(methods, 2):
                a, b = (self._counts_of(self.groups[m].get((dataset, regime), [])) for m in (first, second))
                shared = set(a) & set(b)
                if not shared:
                    continue
                a, b = ({key: counts[key] for key in shared} for counts in (a, b))
                difference = stats.estimate(a, self.primary) - stats.estimate(b, self.primary)
                spread = stats.replicates(a, self.primary, self.weights, dataset) - stats.replicates(
                    b, self.primary, self.weights, dataset
                )
                low, high = stats.interval(spread, difference, confidence)
                p_value = stats.swap_test(a, b, self.primary, self.weights, dataset)
                family.append(
                    {
                        "dataset": dataset,
                        "regime": regime,
                        "metric": self.primary,
                        "method_a": first,
                        "method_b": second,
                        "difference": difference,
                        "low": low,
                        "high": high,
                        "p_value": p_value,
                        "n_fits": len(shared),
                    }
                )
            corrected = stats.holm([row["p_value"] for row in family])
            name = f"{len(family)} pairs of methods on {self.primary}, {dataset}, {regime}"
            rows += [{**row, "p_holm": p, "family": name} for row, p in zip(family, corrected, strict=True)]
        columns = [
            "dataset",
            "regime",
            "metric",
            "method_a",
            "method_b",
            "difference",
            "low",
            "high",
            "p_value",
            "p_holm",
            "n_fits",
            "family",
        ]
        return pd.DataFrame(rows, columns=columns)

    def confusion(self) -> pd.DataFrame:
        """Cells per true and predicted label, summed over splits and seeds."""
        parts = []
        for fit in self.ok:
            table = pd.DataFrame(read_columns(fit.pairs, ["true", "predicted", "n"]))
            parts.append(table.assign(dataset=fit.dataset, regime=fit.regime, method=fit.method))
        keys = ["dataset", "regime", "method", "true", "predicted"]
        if not parts:
            return pd.DataFrame(columns=[*keys, "n"])
        return pd.concat(parts).groupby(keys, sort=True)["n"].sum().reset_index()

    def calibration(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Accuracy and mean confidence per confidence bin, over all fits of a method, weighted by cells."""
        bins = self._with_regime(scores[scores["level"] == "bin"])
        keys = ["dataset", "regime", "method", "group"]
        bins = bins.assign(total=bins["value"] * bins["n"])
        summed = bins.groupby([*keys, "metric"])[["total", "n"]].sum()
        table = (
            (summed["total"] / summed["n"]).unstack("metric").join(summed["n"].groupby(level=keys).max()).reset_index()
        )
        return table.rename(columns={"group": "bin"})

    def classes(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Mean precision, recall and F1 of every class, over the fits in whose test cells it occurs."""
        rows = self._with_regime(scores[scores["level"] == "class"])
        keys = ["dataset", "regime", "method", "group"]
        table = rows.pivot_table(index=keys, columns="metric", values="value", aggfunc="mean")
        cells = rows[rows["metric"] == "f1"].groupby(keys)["n"].agg(["mean", "size"])
        table = (
            table.join(cells.rename(columns={"mean": "cells", "size": "n_fits"}))
            .reset_index()
            .rename(columns={"group": "label_id"})
        )
        table.insert(4, "label", [self.ontology.label(i) for i in table["label_id"]])
        return table

    def trees(self, classes: pd.DataFrame) -> pd.DataFrame:
        """A tree of each dataset's classes under the ontology, for drawing."""
        rows = []
        for dataset, part in classes.groupby("dataset"):
            for node in class_tree(sorted(part["label_id"].unique()), self.ontology):
                rows.append({"dataset": dataset, **node})
        return pd.DataFrame(rows, columns=["dataset", "label_id", "label", "parent", "is_class"])

    def _read_pairs(self) -> tuple[dict[FitFiles, stats.UnitCounts], dict[FitFiles, str]]:
        """Counts of every finished fit, over the classes that any fit of its split mentions."""
        tables = {fit: read_columns(fit.pairs) for fit in self.ok}
        classes: dict[tuple[str, str], set[str]] = {}
        for fit, table in tables.items():
            classes.setdefault((fit.dataset, fit.split), set()).update(table["true"], table["predicted"])
        counts = {
            fit: stats.unit_counts(table, sorted(classes[fit.dataset, fit.split]), self.ontology)
            for fit, table in tables.items()
        }
        return counts, {fit: str(table["unit_kind"][0]) for fit, table in tables.items()}

    def _counts_of(self, fits: Iterable[FitFiles]) -> dict[stats.Key, stats.UnitCounts]:
        """Counts of the finished ones of some fits of one dataset."""
        return {(fit.split, fit.seed): self.counts[fit] for fit in fits if fit in self.counts}

    def _values(self, dataset: str, fits: Iterable[FitFiles]) -> dict[str, tuple[Any, Any]]:
        """Estimate and replicates of every headline metric; empty where no fit has finished."""
        counts = self._counts_of(fits)
        if not counts:
            return {}
        return {
            m: (stats.estimate(counts, m), stats.replicates(counts, m, self.weights, dataset)) for m in stats.HEADLINES
        }

    def _summary_rows(
        self,
        dataset: str,
        regime: str,
        split: str,
        method: str,
        planned: list[FitFiles],
        values: Mapping[str, tuple[Any, Any]],
    ) -> list[dict[str, Any]]:
        done = [fit for fit in planned if fit in self.counts]
        rows = []
        for metric, (value, replicates) in values.items():
            low, high = stats.interval(replicates, float(value), self.settings["statistics"]["confidence"])
            rows.append(
                {
                    "dataset": dataset,
                    "regime": regime,
                    "split": split,
                    "method": method,
                    "metric": metric,
                    "value": float(value),
                    "low": low,
                    "high": high,
                    "interval_over": " and ".join(sorted({f"{self.unit_kinds[fit]}s" for fit in done})).replace(
                        "studys", "studies"
                    ),
                    "n_units": min(len(self.counts[fit].units) for fit in done),
                    "n_fits": len(done),
                    "n_planned": len(planned),
                }
            )
        return rows

    def _with_regime(self, scores: pd.DataFrame) -> pd.DataFrame:
        regimes = {(fit.dataset, fit.split): fit.regime for fit in self.fits}
        return scores.assign(regime=[regimes[pair] for pair in zip(scores["dataset"], scores["split"], strict=True)])


def _rank(table: pd.DataFrame) -> pd.DataFrame:
    """Sort within each evaluation and number the methods that completed all their fits."""
    if table.empty:
        return table.assign(rank=[])
    order = ["score", "balanced_accuracy", "accuracy", "trainable_parameters", "fit_seconds"]
    rank: list[pd.DataFrame] = []
    for _, part in table.groupby(["dataset", "regime"], sort=False):
        part = part.sort_values(order, ascending=[False, False, False, True, True], kind="stable", na_position="last")
        counted = (part["kind"] == "method") & (part["n_fits"] == part["n_planned"])
        part.insert(2, "rank", counted.cumsum().where(counted).astype("Int64"))
        rank.append(part)
    return pd.concat(rank, ignore_index=True)


def _against_best(ranking: pd.DataFrame, tests: pd.DataFrame) -> list[Any]:
    """Holm-corrected p-value of each method against the best-ranked one; empty for that one and for controls."""
    best = {(r.dataset, r.regime): r.method for r in ranking.itertuples() if not pd.isna(r.rank) and r.rank == 1}
    found = {}
    for r in tests.itertuples():
        found[r.dataset, r.regime, frozenset((r.method_a, r.method_b))] = r.p_holm
    return [
        found.get((r.dataset, r.regime, frozenset((r.method, best.get((r.dataset, r.regime))))))
        for r in ranking.itertuples()
    ]


def _why_missing(attempt: Path) -> str:
    """What is known of a fit without a record: nothing, or an attempt that never came to its end."""
    if not attempt.is_file():
        return "has not been run"
    record = read_json(attempt)
    job = f", cluster job {record['cluster_job']}" if record.get("cluster_job") else ""
    if record["ended"] is None:
        by = f" by {record['signal']} (cancelled, preempted or out of time)" if record.get("signal") else ""
        return f"was begun on {record['host']}{job} at {record['started']}, and killed from outside{by} before its end"
    return f"ended on {record['host']}{job} at {record['ended']} ({record['status']}), but its files are gone"


def split_table(
    splits: Sequence[tuple[str, str, Mapping[str, Any]]], fits: Sequence[tuple[str, str, str, Any, list[int]]]
) -> pd.DataFrame:
    """Sizes of every split that is there: cells per role, classes, and test cells whose class no training cell has.

    `splits` lists (dataset, name, spec), `fits` lists (dataset, regime, split, methods, seeds).
    """
    specs = {(dataset, name): spec for dataset, name, spec in splits}
    rows = []
    for dataset, regime, split, _, seeds in fits:
        for seed in seeds:
            roles, train = (
                Path(f"results/{folder}/{dataset}/{split}/seed{seed}.parquet") for folder in ("splits", "train")
            )
            if not train.is_file():
                continue
            labels = read_columns(f"results/data/{dataset}/obs.parquet", ["label_id"])["label_id"].astype(str)
            role = read_columns(roles, ["role"])["role"]
            training = read_columns(train, ["label_id"])["label_id"].astype(str)
            test = labels[role == "test"]
            spec = specs[dataset, split]
            rows.append(
                {
                    "dataset": dataset,
                    "split": split,
                    "regime": regime,
                    "seed": seed,
                    **{key: spec.get(key) for key in ("fold", "fraction", "held_out")},
                    "train": len(training),
                    **{name: int((role == name).sum()) for name in ("val", "test", "unused")},
                    "classes_train": len(set(training)),
                    "classes_test": len(set(test) - {UNKNOWN}),
                    "unseen": int((~np.isin(test, training) & (test != UNKNOWN)).sum()),
                    "unknown": int((test == UNKNOWN).sum()),
                }
            )
    return pd.DataFrame(rows)


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table, numbers with 6 significant digits."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
