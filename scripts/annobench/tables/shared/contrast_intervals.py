"""How far the values of a contrast would move with other studies: replicates of many values at once.

The bootstrap of `annobench.score.statistics`, but over studies where each split tests at least `min_units` of them, and
for the F1 of every class, of every kind of class, and within every study, tissue and disease (over its donors). A value
is stretched by the number of units that have cells of it: a class that three studies have rests on three, however many
studies are tested.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.results import Results
from annobench.core.parquet import NOT_GIVEN, Categorical, read_columns
from annobench.score import statistics as stats
from annobench.score.counts import UnitCounts
from annobench.score.metric import Metric
from annobench.score.registry import METRICS
from annobench.score.samples import evaluate
from annobench.score.truths import surroundings
from annobench.tables.shared.fits import FitFiles, Fits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Target = tuple[str, str, str, str]  # level, metric, label set, group
ClassSets = Mapping[tuple[str, str], Mapping[str, Sequence[str]]]  # (dataset, split) -> name of a set -> its classes
LEAST = 3  # units behind an interval: Student's t makes that of two eleven times as wide as their spread
LABEL_SETS = ("shared", "ood")
CLASS_METRICS = ("f1", "ontology_f1")  # of classes and of kinds of classes
GROUP_METRICS = ("accuracy", "macro_f1", "ontology_accuracy", "ontology_macro_f1")  # within studies, tissues, ...


@dataclass
class Replicates:
    """Values of a fit or method, and how they move with other units.

    Attributes
    ----------
    targets
        What the values are of.
    values
        The values, (targets,).
    moves
        Replicates minus values, (replicates, targets).
    units
        Units with cells of a target that were resampled, (targets,).
    kinds
        What these units are, (targets,).
    """

    targets: list[Target]
    values: "Array"
    moves: "Array"
    units: "NDArray[np.intp]"
    kinds: list[str]

    @classmethod
    def of_columns(cls, columns: "Mapping[Target, tuple[Array, int, str]]", confidence: float) -> "Replicates":
        """From target -> (value and replicates, number of units, what they are).

        As wide as Student's t makes it for so few units.
        """
        table = np.stack([values for values, _, _ in columns.values()])
        units = np.array([n for _, n, _ in columns.values()], dtype=np.intp)
        factor = np.array([stats.interval_factor(int(n), confidence) for n in units])
        moves = (table[:, 1:] - table[:, :1]) * factor[:, None]
        return cls(list(columns), table[:, 0], moves.T, units, [kind for _, _, kind in columns.values()])

    @classmethod
    def mean(cls, parts: "Sequence[Replicates]", *, more_units: bool) -> "tuple[Replicates, Array]":
        """Mean of several, where a target may be missing in some; and the values of all of them, (parts, targets).

        `more_units`: whether every part resamples units of its own.
        """
        targets = list(dict.fromkeys(target for part in parts for target in part.targets))
        place = {target: i for i, target in enumerate(targets)}
        values = np.full((len(parts), len(targets)), np.nan)
        moves = np.zeros((len(parts[0].moves), len(targets)))
        units = np.zeros((len(parts), len(targets)), dtype=np.intp)
        kinds: list[set[str]] = [set() for _ in targets]
        for number, part in enumerate(parts):
            at = np.array([place[target] for target in part.targets])
            values[number, at], units[number, at] = part.values, part.units
            moves[:, at] += part.moves
            for i, kind in zip(at, part.kinds, strict=True):
                kinds[i].add(kind)
        having = np.isfinite(values).sum(axis=0)
        together = units.sum(axis=0) if more_units else units.max(axis=0)
        names = [" and ".join(sorted(kind)) for kind in kinds]
        return cls(targets, np.nanmean(values, axis=0), moves / having, together, names), values


class Bootstrap:
    """Resamples the units of fits.

    Parameters
    ----------
    fits
        The fits of the study.
    weights
        Random weights of units and seeds.
    min_units
        Studies that each split must test, for studies to be resampled instead of donors.
    sets
        Sets of classes. Those that have the name of a label set are this label set, all others groups of the level
        `node_class`.
    results
        Names of the files under results/.
    overall
        Metric and label set of the overall values that are asked for.
    """

    def __init__(
        self,
        fits: Fits,
        weights: stats.Weights,
        *,
        min_units: int,
        sets: ClassSets,
        results: Results,
        overall: Iterable[tuple[str, str]],
    ) -> None:
        self.fits, self.weights, self.min_units, self.sets, self.results = fits, weights, min_units, sets, results
        self.overall = [(METRICS[name], label_set) for name, label_set in overall if METRICS[name].from_counts]
        self._groups: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def of(self, fits: Sequence[FitFiles]) -> Replicates:
        """Mean over splits of the mean over seeds, for fits of one method in one evaluation."""
        by_split: dict[str, list[FitFiles]] = {}
        for fit in fits:
            by_split.setdefault(fit.split, []).append(fit)
        studies = [self._study_of_units(of_split[0]) for of_split in by_split.values()]
        by_study = all(len(set(names.values())) >= self.min_units for names in studies)
        parts = [self._of_split(of_split, by_study) for of_split in by_split.values()]
        return Replicates.mean(parts, more_units=True)[0]

    def _groups_of_units(self, fit: FitFiles) -> dict[str, dict[str, str]]:
        """Level -> unit that is counted -> the group that all its cells belong to."""
        key = (fit.dataset, fit.split)
        if key not in self._groups:
            kind, units = self.fits.unit_kinds[fit], self.fits.counts[fit].units
            groups = {"study": {unit: unit for unit in units}} if kind == "study" else {}
            if kind == "donor":
                seeds = sorted({one.seed for one in self.fits.planned if (one.dataset, one.split) == key})
                groups = groups_of_donors(*key, seeds, self.results)
            self._groups[key] = groups
        return self._groups[key]

    def _study_of_units(self, fit: FitFiles) -> dict[str, str]:
        """Unit that is counted -> study; empty where not every unit belongs to one study."""
        studies = self._groups_of_units(fit).get("study", {})
        return studies if set(self.fits.counts[fit].units) <= set(studies) else {}

    def _of_split(self, fits: Sequence[FitFiles], by_study: bool) -> Replicates:
        """Mean over the seeds of one split; the seeds add their own spread."""
        mean, values = Replicates.mean([self._of_fit(fit, by_study) for fit in fits], more_units=False)
        known = np.isfinite(values)
        drawn = self.weights.of([f"seed:{fit.dataset}/{fit.split}/{fit.seed}" for fit in fits])
        moved = drawn @ np.where(known, values, 0) / (drawn @ known) - mean.values
        mean.moves += moved * np.array([stats.deviation_factor(int(n)) for n in known.sum(axis=0)])
        return mean

    def _of_fit(self, fit: FitFiles, by_study: bool) -> Replicates:
        """Values of one fit, over studies or over the units that were counted; within groups over their donors."""
        counts, kind = self.fits.counts[fit], self.fits.unit_kinds[fit]
        drawn = self._drawn(fit, counts)
        columns: dict[Target, tuple[Array, int, str]] = {}
        for level, groups in self._groups_of_units(fit).items() if kind == "donor" else ():
            of_level = np.array([groups.get(unit, "") for unit in counts.units])
            for group in sorted(set(groups.values())):
                rows = np.flatnonzero(of_level == group)
                if len(rows) >= LEAST:
                    values = _of_group(counts.part(rows), drawn[:, rows])
                    for (name, label_set), value in values.items():
                        columns[level, name, label_set, group] = value, len(rows), kind
        if by_study and kind == "donor":
            studies = self._study_of_units(fit)
            counts, kind = counts.grouped([studies[unit] for unit in counts.units]), "study"
            drawn = self._drawn(fit, counts)
        whole = _of_all(counts, drawn, self.sets.get((fit.dataset, fit.split), {}), self.overall)
        columns |= {target: (*value, kind) for target, value in whole.items()}
        return Replicates.of_columns(columns, self.weights.level)

    def _drawn(self, fit: FitFiles, counts: UnitCounts) -> "Array":
        """Weights of the units, (1 + replicates, units); the first row is what was observed."""
        drawn = self.weights.of([f"unit:{fit.dataset}/{name}" for name in counts.units])
        return np.vstack([np.ones(drawn.shape[1]), drawn])


def _of_all(
    units: UnitCounts,
    drawn: "Array",
    sets: Mapping[str, Sequence[str]],
    overall: Sequence[tuple[Metric, str]],
) -> "dict[Target, tuple[Array, int]]":
    """Per class, per set of classes, and overall: value and replicates (1 + replicates,), and units with such cells."""
    counts, held = units.weighted(drawn), units.true > 0
    labels = np.array(units.classes.labels, dtype=object)
    members = {name: counts.members & np.isin(labels, list(chosen)) for name, chosen in sets.items()}
    values: dict[Target, tuple[Array, int]] = {}
    for name in CLASS_METRICS:
        scores = evaluate(METRICS[name], counts)
        for i in np.flatnonzero(counts.members).tolist():
            values["class", name, "-", labels[i]] = scores[:, i], int(held[:, i].sum())
        for kind, chosen in members.items():
            if kind not in LABEL_SETS and chosen.any():
                value = scores[:, chosen].mean(axis=1)
                values["node_class", name, "-", kind] = value, int(held[:, chosen].any(axis=1).sum())
    everywhere = int(held.any(axis=1).sum())
    for metric, label_set in overall:
        if label_set in ("truth", "-"):
            values["overall", metric.name, label_set, "all"] = evaluate(metric, counts), everywhere
        elif label_set == "either":
            value = evaluate(metric, counts.over(_either(metric, units)))
            values["overall", metric.name, label_set, "all"] = value, everywhere
        elif label_set in members and (chosen := members[label_set]).any():
            value = evaluate(metric, counts.over(chosen))
            values["overall", metric.name, label_set, "all"] = value, int(held[:, chosen].any(axis=1).sum())
    return values


def _either(metric: Metric, units: UnitCounts) -> "NDArray[np.bool_]":
    """Classes that occur among the true labels, or among the predicted ones as the metric sees them."""
    predicted = units.ontology_predicted if metric.family == "ontology_aware" else units.predicted
    return ((units.true.sum(axis=0) > 0) | (predicted.sum(axis=0) > 0)) & units.classes.real


def _of_group(units: UnitCounts, drawn: "Array") -> "dict[tuple[str, str], Array]":
    """Value and replicates within one group, (1 + replicates,), by metric and label set."""
    counts = units.weighted(drawn)
    metrics = [METRICS[name] for name in GROUP_METRICS]
    return {(metric.name, metric.label_set): evaluate(metric, counts) for metric in metrics}


def groups_of_donors(dataset: str, split: str, seeds: Sequence[int], results: Results) -> dict[str, dict[str, str]]:
    """Level (study, tissue, ...) -> donor -> group, for the test cells of a split; empty where files are missing.

    Donors whose cells belong to several groups are left out, and so are all donors of these groups: the rest of such a
    group does not represent it.
    """
    obs = Path(results.obs(dataset))
    files = [path for path in (Path(results.roles(dataset, split, seed)) for seed in seeds) if path.is_file()]
    if not obs.is_file() or not files:
        return {}
    groups: dict[str, dict[str, set[str]]] = {}
    read: list[Categorical] = []
    for file in files:
        roles = read_columns(file, ["role"], categorical=["role"])["role"]
        if any(roles.names == other.names and np.array_equal(roles.codes, other.codes) for other in read):
            continue  # seeds that share a draw of the cells
        read.append(roles)
        test, names = roles == "test", ["donor", "study"]
        columns = read_columns(obs, names, categorical=names, rows=test)
        for level, column in ({"study": columns["study"]} | surroundings(obs, roles, test)).items():
            of_level = groups.setdefault(level, {})
            for donor, of_donor in columns["donor"].crosstab(column).items():
                of_level.setdefault(donor, set()).update(of_donor)
    return {level: _only_group(of_level) for level, of_level in groups.items()}


def _only_group(groups: Mapping[str, set[str]]) -> dict[str, str]:
    """Donor -> its group, where neither it nor another donor of the group belongs to several."""
    known = {donor: of_donor - {NOT_GIVEN} for donor, of_donor in groups.items() if donor != NOT_GIVEN}
    shared = {group for of_donor in known.values() if len(of_donor) > 1 for group in of_donor}
    return {donor: next(iter(of_donor)) for donor, of_donor in known.items() if of_donor and not of_donor & shared}
