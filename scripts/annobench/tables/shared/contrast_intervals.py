"""How far the values of a contrast would move with other studies: replicates of many values at once.

The bootstrap of `annobench.score.statistics`, but over studies where each split tests at least `min_units` of them, and
for the F1 of every class, of every kind of class, and within every study, tissue and disease (over its donors). A value
is stretched by the number of units that have cells of it: a class that three studies have rests on three, however many
studies are tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.results import Results
from annobench.core.counts import f1, ratio
from annobench.core.parquet import NOT_GIVEN, Categorical, read_columns
from annobench.score import statistics as stats
from annobench.score.truths import surroundings
from annobench.tables.shared.fits import FitFiles, Fits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Target = tuple[str, str, str, str]  # level, metric, label set, group
ClassSets = Mapping[tuple[str, str], Mapping[str, Sequence[str]]]  # (dataset, split) -> name of a set -> its classes
LEAST = 3  # units behind an interval: Student's t makes that of two eleven times as wide as their spread
LABEL_SETS = ("shared", "ood")
_RULES = (("", 0, 2), ("ontology_", 3, 4))  # start of metric names, and blocks of hits and predicted in UnitCounts


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
        factor = np.array([stats.stretch(int(n), confidence) for n in units])
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
    """

    def __init__(
        self, fits: Fits, weights: stats.Weights, *, min_units: int, sets: ClassSets, results: Results
    ) -> None:
        self.fits, self.weights, self.min_units, self.sets, self.results = fits, weights, min_units, sets, results
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
        mean.moves += moved * np.array([stats.spread(int(n)) for n in known.sum(axis=0)])
        return mean

    def _of_fit(self, fit: FitFiles, by_study: bool) -> Replicates:
        """Values of one fit, over studies or over the units that were counted; within groups over their donors."""
        counts, kind = self.fits.counts[fit], self.fits.unit_kinds[fit]
        names, table = list(counts.units), counts.values
        drawn = self.weights.of([f"unit:{fit.dataset}/{name}" for name in names])
        columns: dict[Target, tuple[Array, int, str]] = {}
        for level, groups in self._groups_of_units(fit).items() if kind == "donor" else ():
            of_level = np.array([groups.get(unit, "") for unit in names])
            for group in sorted(set(groups.values())):
                rows = np.flatnonzero(of_level == group)
                if len(rows) >= LEAST:
                    values = _of_group(level, group, table[rows], drawn[:, rows], len(counts.members))
                    columns |= {target: (value, len(rows), kind) for target, value in values.items()}
        if by_study and kind == "donor":
            studies = self._study_of_units(fit)
            of_unit = np.array([studies[unit] for unit in names])
            names, kind = sorted(set(of_unit.tolist())), "study"
            table = np.array([table[of_unit == name].sum(axis=0) for name in names])
            drawn = self.weights.of([f"unit:{fit.dataset}/{name}" for name in names])
        key = (fit.dataset, fit.split)
        whole = _of_all(table, drawn, counts.members, self.fits.classes[key], self.sets.get(key, {}))
        columns |= {target: (*value, kind) for target, value in whole.items()}
        return Replicates.of_columns(columns, self.weights.confidence)


def _of_all(
    table: "Array",
    drawn: "Array",
    members: "NDArray[np.bool_]",
    classes: Sequence[str],
    sets: Mapping[str, Sequence[str]],
) -> "dict[Target, tuple[Array, int]]":
    """Per class, per set of classes, and overall: value and replicates (1 + replicates,), and units with such cells.

    `table` is UnitCounts.values, `drawn` the weights (replicates, units).
    """
    size = len(members)
    totals = np.vstack([table.sum(axis=0), drawn @ table])  # the first row is what was observed
    blocks = [totals[:, i * size : (i + 1) * size] for i in range(5)]
    true, held = blocks[1], table[:, size : 2 * size] > 0
    present = np.flatnonzero((true[0] > 0) & members).tolist()
    values: dict[Target, tuple[Array, int]] = {}
    everywhere = int(held.any(axis=1).sum())
    for start, hits, predicted in _RULES:
        scores = f1(blocks[hits], true, blocks[predicted])
        for i in present:
            values["class", f"{start}f1", "-", classes[i]] = scores[:, i], int(held[:, i].sum())
        for name, chosen in sets.items():
            at = [i for i in present if classes[i] in set(chosen)]
            place = ("overall", f"{start}macro_f1", name, "all")
            place = place if name in LABEL_SETS else ("node_class", f"{start}f1", "-", name)
            if at:
                values[place] = scores[:, at].mean(axis=1), int(held[:, at].any(axis=1).sum())
        either = np.flatnonzero(members & ((true[0] > 0) | (blocks[predicted][0] > 0))).tolist()
        for label_set, at in (("truth", present), ("either", either)):
            values["overall", f"{start}macro_f1", label_set, "all"] = scores[:, at].mean(axis=1), everywhere
        accuracy = ratio(blocks[hits].sum(axis=1), true.sum(axis=1))
        values["overall", f"{start}accuracy", "-", "all"] = accuracy, everywhere
    mask = np.isin(np.arange(size), present)
    for name, label_set in (("balanced_accuracy", "truth"), ("hierarchical_f1_micro", "-")):
        values["overall", name, label_set, "all"] = stats.headline(name, totals, mask), everywhere
    return values


def _of_group(level: str, group: str, table: "Array", drawn: "Array", size: int) -> "dict[Target, Array]":
    """Value and replicates within one group, (1 + replicates,); only what its own classes need is multiplied."""
    present = np.flatnonzero(table[:, size : 2 * size].any(axis=0))
    parts = [table[:, present + i * size] for i in range(5)]
    true, weights = parts[1], np.vstack([np.ones(len(table)), drawn])
    cells = weights @ true.sum(axis=1)
    values: dict[Target, Array] = {}
    for start, hits, predicted in _RULES:
        # no class is without cells: the weights are never zero
        scores = (weights @ (2 * parts[hits])) / (weights @ (true + parts[predicted]))
        values[level, f"{start}accuracy", "-", group] = weights @ parts[hits].sum(axis=1) / cells
        values[level, f"{start}macro_f1", "truth", group] = scores.mean(axis=1)
    return values


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
