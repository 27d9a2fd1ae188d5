"""Contrasts: differences between two methods, overall and for every class, kind of class and group of cells.

There are two answers. The paired t-test asks whether the difference exceeds chance between runs (seeds), as the paper
on the hierarchical loss does. The interval shows how much the difference would vary with other studies (see
`annobench.tables.shared.contrast_intervals`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from annobench.config.contrasts import Contrast
from annobench.score import statistics as stats
from annobench.score.audit.verdict import COSTS
from annobench.score.registry import METRICS
from annobench.score.units import PLURALS
from annobench.tables.shared.classes import node_classes, training_classes
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.contrast_intervals import (
    CLASS_METRICS,
    GROUP_METRICS,
    LABEL_SETS,
    LEAST,
    Bootstrap,
    ClassSets,
    Replicates,
)
from annobench.tables.shared.fits import Evaluation, FitFiles, Fits
from annobench.tables.shared.spec import ScoredSplit

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS = {
    "contrasts": (
        "dataset",
        "evaluation",
        "contrast",
        "base",
        "method",
        "metric",
        "label_set",
        "level",
        "group",
        "group_label",
        "base_value",
        "value",
        "difference",
        "n_runs",
        "t",
        "p_value",
        "p_holm",
        "family_size",
        "low",
        "high",
        "n_units",
        "unit_kind",
        "n_cells",
        "note",
    )
}
MEANINGS = {
    "contrast": "Name of the contrast.",
    "base": "Method that is subtracted.",
    "method": "Method that it is subtracted from.",
    "level": "`overall`, `class`, `node_class` (kind of class), or the kind of group: study, tissue, disease, ...",
    "group_label": "Name of the group.",
    "base_value": "Mean of `base` over runs.",
    "value": "Mean of `method` over runs.",
    "difference": "`value` minus `base_value`.",
    "n_runs": "Number of seeds that both methods have.",
    "t": "Statistic of the paired t-test over runs.",
    "p_value": "Its two-sided p-value.",
    "p_holm": "The p-value after Holm's correction over the groups of one level, metric and label set.",
    "family_size": "Number of groups that were tested.",
    "n_units": "Number of units with such cells, which the interval resamples.",
    "unit_kind": "What the units are: study, donor, cell or block (of cells).",
    "n_cells": "Number of test cells in a run.",
    "note": "Why a test or an interval is missing.",
}
_WHERE = ("study", "tissue", "disease", "seen_tissue", "seen_disease", "republished")
_METRICS = {
    "overall": tuple(m.name for m in METRICS.values() if m.level == "overall" and m.family not in COSTS),
    "class": CLASS_METRICS,
    "node_class": CLASS_METRICS,
    **dict.fromkeys(_WHERE, GROUP_METRICS),
}
_KINDS = {
    "internal": "internal",
    "leaf_connected": "connected leaf",
    "leaf_isolated": "isolated leaf",
    "leaf": "leaf",
}
_KEY = ["level", "metric", "label_set", "group"]
_FAMILY = _KEY[:3]


def contrasts(context: TableContext) -> pd.DataFrame:
    """Differences between pairs of methods: overall, for every class and kind of class, and for every study, tissue
    and disease of the test cells, with paired tests over seeds and intervals over studies.

    Values are means over runs; a run is a seed, its value the mean over the splits of the evaluation. Only fits that
    both methods have finished count. The family of Holm's correction: the groups of one level for one metric, in one
    contrast and evaluation.
    """
    columns, spec = list(COLUMNS["contrasts"]), context.spec
    if not spec.contrasts:
        return pd.DataFrame(columns=columns)
    scores = context.table("scores")
    compared = [method for one in spec.contrasts for method in (one.base, one.method)]
    wanted = pd.MultiIndex.from_tuples([(level, metric) for level, names in _METRICS.items() for metric in names])
    rows = scores[scores["method"].isin(compared) & (scores["status"] == "ok")]
    rows = rows[pd.MultiIndex.from_frame(rows[["level", "metric"]]).isin(wanted)]
    sets = _class_sets(context)
    weights = stats.Weights(spec.statistics.replicates, spec.statistics.confidence)
    pairs = rows.loc[rows["level"] == "overall", ["metric", "label_set"]].drop_duplicates()
    bootstrap = Bootstrap(
        context.fits,
        weights,
        min_units=spec.statistics.min_units,
        sets=sets,
        results=context.results,
        overall=pairs.itertuples(index=False, name=None),
    )
    parts = []
    for evaluation in context.fits.evaluations:
        here = _Evaluation(context.fits, evaluation, rows=rows, sets=sets, bootstrap=bootstrap)
        for one in spec.contrasts:
            parts += here.compared(one)
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _class_sets(context: TableContext) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Per dataset and split: the training classes by kind of node, all of them, and those of the later release.

    Kinds are `leaf` and those of `node_classes`; where labels are rolled up, they are taken among the true classes.
    """
    fits = context.fits
    present = {}
    for fit, counts in fits.counts.items():
        key = (fit.dataset, fit.split)
        members = counts.observed().members
        present[key] = [label for label, there in zip(fits.classes[key], members, strict=True) if there]
    later = {
        (split.dataset, split.fitted): present.get((split.dataset, split.split))
        for split in context.spec.splits
        if split.part == "query"
    }
    sets = {}
    for split in context.spec.splits:
        key = (split.dataset, split.split)
        if key in present:
            sets[key] = _sets_of(split, context, present[key], later.get((split.dataset, split.fitted)) or [])
    return sets


def _sets_of(split: ScoredSplit, context: TableContext, present: list[str], later: list[str]) -> dict[str, list[str]]:
    """The sets of one split; `present` are its true classes, `later` those of the later release."""
    rolled = split.rollup is not None
    classes = present if rolled else training_classes(split.dataset, split.fitted, split.seeds, context.results)
    sets: dict[str, list[str]] = {}
    for label, kind in node_classes(classes, context.ontology).items():
        sets.setdefault(kind, []).append(label)
        if kind.startswith("leaf"):
            sets.setdefault("leaf", []).append(label)
    sets |= {"shared": [] if rolled else classes, "ood": later if split.part == "reference" else []}
    return {name: chosen for name, chosen in sets.items() if chosen}


class _Evaluation:
    """The contrasts of one evaluation (dataset, name, regime)."""

    def __init__(
        self,
        fits: Fits,
        evaluation: Evaluation,
        *,
        rows: pd.DataFrame,
        sets: ClassSets,
        bootstrap: Bootstrap,
    ) -> None:
        self.fits, self.evaluation, self.sets, self.bootstrap = fits, evaluation, sets, bootstrap
        splits = {fit.split for fit in fits.planned if fit.place == evaluation}
        self.rows = rows[(rows["dataset"] == evaluation[0]) & rows["split"].isin(splits)]
        self._tables: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
        self._replicates: dict[tuple[str, tuple[FitFiles, ...]], Replicates] = {}

    def compared(self, contrast: Contrast) -> list[pd.DataFrame]:
        """Rows of one contrast, in a list; none where the two share no finished fit."""
        base, method = contrast.base, contrast.method
        done = {
            m: {(f.split, f.seed): f for f in self.fits.of(m, self.evaluation) if f in self.fits.counts}
            for m in (base, method)
        }
        shared = sorted(set(done[base]) & set(done[method]))
        if not shared:
            return []
        before, after, cells = self._runs(base, method, shared)
        table = before.index.to_frame(index=False)
        table["base_value"], table["value"] = before.mean(axis=1).to_numpy(), after.mean(axis=1).to_numpy()
        change = (after - before).to_numpy()
        n, table["t"], table["p_value"] = stats.paired_t(change)
        table["n_runs"], table["difference"] = n, table["value"] - table["base_value"]
        table["n_cells"] = cells.round().astype("int64").to_numpy()
        table["p_holm"], table["family_size"] = _corrected(table)
        bounds = self._bounds([[done[m][key] for key in shared] for m in (base, method)], table)
        table["low"], table["high"], table["n_units"], table["unit_kind"], few = bounds
        table["note"] = _notes(table, few)
        table["group_label"] = [self._label(*pair) for pair in zip(table["level"], table["group"], strict=True)]
        about = {"dataset": self.evaluation[0], "evaluation": self.evaluation[1], "contrast": contrast.name}
        return [table.assign(**about, base=base, method=method)]

    def _runs(
        self, base: str, method: str, shared: Sequence[tuple[str, int]]
    ) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
        """Values of both methods, (targets, seeds), where both have one; and the number of cells, (targets,)."""
        columns = pd.MultiIndex.from_tuples(shared, names=["split", "seed"])
        (before, cells), (after, _) = (self._table(m) for m in (base, method))
        index = before.index[before.index.isin(after.index)]
        before, after = (table.reindex(index=index, columns=columns) for table in (before, after))
        known = before.notna() & after.notna()
        runs = [table.where(known).T.groupby(level="seed").mean().T for table in (before, after)]
        number = cells.reindex(index=index, columns=columns).where(known)
        per_seed = number.T.groupby(level="seed").sum(min_count=1).T
        some = known.any(axis=1).to_numpy()
        return runs[0][some], runs[1][some], per_seed[some].mean(axis=1)

    def _table(self, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Values and cells of a method by target (rows), and split and seed (columns); kinds of classes are added."""
        if method not in self._tables:
            mine = self.rows[self.rows["method"] == method]
            whole = pd.concat([mine, self._of_kinds(mine)], ignore_index=True)
            whole = whole.pivot(index=_KEY, columns=["split", "seed"], values=["value", "n"])
            levels = list(_METRICS)
            whole = whole.loc[sorted(whole.index, key=lambda target: (levels.index(target[0]), *target[1:]))]
            self._tables[method] = whole["value"], whole["n"]
        return self._tables[method]

    def _of_kinds(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Means over the classes of every kind, as further rows."""
        per_class, parts = rows[rows["level"] == "class"], []
        for split, part in per_class.groupby("split"):
            for kind, classes in self.sets.get((self.evaluation[0], str(split)), {}).items():
                chosen = part[part["group"].isin(classes)]
                if kind not in LABEL_SETS and len(chosen):
                    means = chosen.groupby([*_FAMILY, "seed"]).agg(value=("value", "mean"), n=("n", "sum"))
                    parts.append(means.reset_index().assign(level="node_class", group=kind, split=split))
        return pd.concat(parts, ignore_index=True) if parts else rows[:0]

    def _bounds(
        self, fits: Sequence[Sequence[FitFiles]], table: pd.DataFrame
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64], pd.Series, list[str], NDArray[np.bool_]]":
        """Interval of every difference, what it resamples, and where there are too few units for one."""
        first, second = (self._replicates_of(one) for one in fits)
        places = [{target: i for i, target in enumerate(one.targets)} for one in (first, second)]
        low, high = np.full(len(table), np.nan), np.full(len(table), np.nan)
        units, kinds = np.zeros(len(table), dtype=np.int64), [""] * len(table)
        for row, key in enumerate(table[_KEY].itertuples(index=False, name=None)):
            i, j = (place.get(key) for place in places)
            if i is None or j is None:
                continue
            units[row], kinds[row] = second.units[j], second.kinds[j]
            if units[row] >= LEAST:
                difference = float(table["difference"].iat[row])
                replicates = difference + second.moves[:, j] - first.moves[:, i]
                width = METRICS[key[1]].high - METRICS[key[1]].low
                level = self.bootstrap.weights.level
                low[row], high[row] = stats.interval(replicates, difference, level, (-width, width))
        resampled = np.array([bool(kind) for kind in kinds])
        number = pd.Series(units, dtype="Int64").where(resampled)
        return low, high, number, kinds, resampled & (units < LEAST)

    def _replicates_of(self, fits: Sequence[FitFiles]) -> Replicates:
        key = (fits[0].method, tuple(fits))
        if key not in self._replicates:
            self._replicates[key] = self.bootstrap.of(fits)
        return self._replicates[key]

    def _label(self, level: str, group: str) -> str:
        if level == "class":
            return self.fits.ontology.label(group)
        return _KINDS[group] if level == "node_class" else group


def _corrected(table: pd.DataFrame) -> "tuple[NDArray[np.float64], NDArray[np.intp]]":
    """Holm's correction within families, and their sizes.

    What was tested without a p-value (see `stats.paired_t`) counts with p = 1; what could not be tested does not count.
    """
    p, tested = table["p_value"].to_numpy(), table["n_runs"].to_numpy() > 1
    corrected, sizes = np.full(len(table), np.nan), np.zeros(len(table), dtype=np.intp)
    for rows in table.groupby(_FAMILY, sort=False).indices.values():
        counted = rows[tested[rows]]
        corrected[counted] = stats.holm(np.nan_to_num(p[counted], nan=1.0))
        sizes[rows] = len(counted)
    return np.where(np.isnan(p), np.nan, corrected), sizes


def _notes(table: pd.DataFrame, few: "NDArray[np.bool_]") -> list[str]:
    """Why a test or an interval is missing or limited."""
    notes = []
    columns = [table[name] for name in ("level", "n_runs", "t", "n_units", "unit_kind")]
    for level, runs, t, units, kind, missing in zip(*columns, few, strict=True):
        parts = [f"{runs} run: no test"] if runs < 2 else []
        parts += ["identical"] if t == 0 else []
        parts += ["the same difference in all runs: no p-value"] if np.isinf(t) else []
        if missing:
            parts.append(f"known from {units} {kind if units == 1 else PLURALS.get(kind, kind)}: no interval")
        elif level in _WHERE and not kind:
            parts.append("fewer than 3 donors, or some of other groups too: no interval")
        notes.append("; ".join(parts))
    return notes
