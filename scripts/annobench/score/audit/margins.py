"""How sure it is that a control loses: intervals of margins, by resampling what intervals of metrics resample.

A margin is how much worse than the truth, or than the best method, a control is: its loss minus theirs. Both are
resampled together: with the same weights of the test cells, donors or studies where the metric comes from counts or
sums over them, else over the same seeds or splits.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.audit.controls import made_for
from annobench.score.audit.verdict import HALF, METHODS, TRUTH
from annobench.score.counts import Classes, UnitCounts
from annobench.score.evidence import Evidence
from annobench.score.metric import COUNTS, FITS, INFINITE, Metric
from annobench.score.registry import METRICS, runnable
from annobench.score.samples import FitValue, Sample, UnitSums
from annobench.score.units import OF_CELLS, Units

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

REPLICATES = 400
Reading = tuple[str, str, str, str]  # family, metric, variant, rule
Labelling = tuple[str, str]  # kind and name
Values = dict[Reading, dict[Labelling, dict[stats.Key, float]]]


class Samples:
    """What metrics of the labellings of one evaluation can be resampled from."""

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self._counts: dict[Labelling, dict[stats.Key, UnitCounts]] = {}
        self._members: dict[tuple[Labelling, stats.Key, str], NDArray[np.bool_]] = {}
        self._sums: dict[tuple[Labelling, str], dict[stats.Key, Sample]] = {}
        self._classes: dict[tuple[str, ...], Classes] = {}

    def add(self, labelling: Labelling, key: stats.Key, evidence: Evidence, units: Units) -> None:
        """Count the predictions of a labelling on one split with one seed."""
        scored = evidence.scored
        labels = tuple(scored.classes)
        classes = self._classes.setdefault(labels, Classes(labels, self.ontology))
        counts = UnitCounts(
            units.names,
            units.codes,
            scored.true_codes,
            scored.predicted_codes,
            cells=np.ones(scored.n),
            classes=classes,
            of_cells=units.kind in OF_CELLS,
        )
        self._counts.setdefault(labelling, {})[key] = counts
        for variant in scored.label_sets:
            for predicted in ("predicted", "ontology_predicted"):
                members = scored.over(variant, getattr(scored.counts, predicted)).members
                self._members[labelling, key, f"{variant} {predicted}"] = members
        for family in runnable(evidence, None):
            if family.unit_sums and family.units is None:
                for metric, parts in evidence.sums(family.name, family.unit_sums).items():
                    self._sums.setdefault((labelling, metric), {})[key] = UnitSums(units.names, parts)

    def of(self, labelling: Labelling, metric: Metric, variant: str) -> Mapping[stats.Key, Sample]:
        """Counts or sums of a labelling for one reading of a metric; empty where there are none."""
        if metric.basis != COUNTS:
            return self._sums.get((labelling, metric.name), {})
        found: dict[stats.Key, UnitCounts] = {}
        predicted = "ontology_predicted" if metric.family == "ontology_aware" else "predicted"
        for key, one in self._counts.get(labelling, {}).items():
            found[key] = copy(one)  # whose tables are let go of afterwards
            if (labelling, key, f"{variant} {predicted}") in self._members:
                found[key].__dict__["members"] = self._members[labelling, key, f"{variant} {predicted}"]
        return found


class Margins:
    """Margins of the controls of one evaluation.

    Parameters
    ----------
    values
        Reading -> labelling -> split and seed -> value.
    samples
        What the labellings are resampled from.
    kind
        What their units are.
    level
        Coverage of the intervals.
    """

    def __init__(self, values: Values, samples: Samples, kind: str, level: float) -> None:
        self.values, self.samples, self.kind, self.level = values, samples, kind, level
        self.weights = stats.Weights(REPLICATES, level)
        self._replicates: dict[tuple[Labelling, Reading], tuple[Array | None, str]] = {}

    def rows(self) -> Iterator[tuple[str, str, str, str, str, str, float, float, float, str]]:
        """Family, metric, variant, rule, control, what the margin is against, margin, interval, what was resampled."""
        for reading, of_labellings in self.values.items():
            metric = METRICS[reading[1]]
            if reading[1].startswith("accepted_"):
                yield (*reading, reading[1].removeprefix("accepted_"), HALF, *self._below_half(reading))
            if metric.best is None:
                continue
            means = {one: mean_of(of_key) for one, of_key in of_labellings.items()}
            methods = {one: value for one, value in means.items() if one[0] == "method" and np.isfinite(value)}
            best = min(methods, key=lambda one: metric.loss(methods[one]), default=None)
            references = {METHODS: best, TRUTH: ("control", "oracle") if ("control", "oracle") in means else None}
            for name in made_for(metric.family):
                control = ("control", name)
                if name == "oracle" or control not in means:
                    continue
                for against, reference in references.items():
                    if reference is not None and np.isfinite(means[control]) and np.isfinite(means[reference]):
                        yield (*reading, name, against, *self._margin(reading, metric, control, reference))

    def _margin(
        self, reading: Reading, metric: Metric, control: Labelling, reference: Labelling
    ) -> tuple[float, float, float, str]:
        values = self.values[reading]
        margin = metric.loss(mean_of(values[control])) - metric.loss(mean_of(values[reference]))
        (mine, over), (theirs, _) = (self._drawn(one, reading) for one in (control, reference))
        if mine is None or theirs is None:
            return margin, np.nan, np.nan, ""
        moved = _losses(metric, mine) - _losses(metric, theirs)
        return (margin, *stats.interval(moved, margin, self.level, (-INFINITE, INFINITE)), over)

    def _below_half(self, reading: Reading) -> tuple[float, float, float, str]:
        """How far the share that the median method accepts lies below a half."""
        methods = [one for one in self.values[reading] if one[0] == "method"]
        means = [mean_of(self.values[reading][one]) for one in methods]
        margin = 0.5 - float(np.median(means)) if means else np.nan
        drawn = [self._drawn(one, reading) for one in methods]
        known = [replicates for replicates, _ in drawn if replicates is not None]
        if not known or len(known) < len(methods):
            return margin, np.nan, np.nan, ""
        moved = 0.5 - np.median(known, axis=0)
        return (margin, *stats.interval(moved, margin, self.level, (-INFINITE, INFINITE)), drawn[0][1])

    def _drawn(self, labelling: Labelling, reading: Reading) -> "tuple[Array | None, str]":
        """Replicates of a value, and what was resampled; None where there is only one value."""
        if (labelling, reading) not in self._replicates:
            self._replicates[labelling, reading] = self._draw(labelling, reading)
        return self._replicates[labelling, reading]

    def _draw(self, labelling: Labelling, reading: Reading) -> "tuple[Array | None, str]":
        metric, of_key = METRICS[reading[1]], self.values[reading][labelling]
        samples = self.samples.of(labelling, metric, reading[2]) if metric.basis != FITS and reading[3] == "-" else {}
        if samples and set(samples) == set(of_key):
            # metrics of the same counts are computed together, which share their weighted sums
            alike = self._alike(labelling, metric, reading, set(of_key))
            drawn = stats.replicates_of(samples, [METRICS[one[1]] for one in alike], self.weights, "")
            for one in alike:
                self._replicates[labelling, one] = drawn[one[1]], self.kind
            return self._replicates[labelling, reading]
        over, fits = stats.of_fits({key: FitValue("/".join(map(str, key)), value) for key, value in of_key.items()})
        if over == stats.ONE_VALUE:
            return None, ""
        return stats.replicates(fits, metric, self.weights, ""), over

    def _alike(self, labelling: Labelling, metric: Metric, reading: Reading, keys: set[stats.Key]) -> list[Reading]:
        """Readings that come from the same counts as this one, itself first."""
        if metric.basis != COUNTS:
            return [reading]
        others = [
            one
            for one, of in self.values.items()
            if one != reading
            and METRICS[one[1]].basis == COUNTS
            and one[2:] == reading[2:]
            and (METRICS[one[1]].family == "ontology_aware") == (metric.family == "ontology_aware")
            and set(of.get(labelling, {})) == keys
        ]
        return [reading, *others]


def _losses(metric: Metric, values: "Array") -> "Array":
    return np.array([metric.loss(value) for value in values.tolist()])


def mean_of(values: Mapping[stats.Key, float]) -> float:
    """Mean over splits of the mean over seeds."""
    by_split: dict[str, list[float]] = {}
    for (split, _), value in values.items():
        by_split.setdefault(split, []).append(value)
    return float(np.mean([np.mean(of) for of in by_split.values()])) if by_split else np.nan


def values_of(rows: Iterable[tuple[object, ...]]) -> Values:
    """The rows `metrics` of an audit, by reading and labelling; values that are not numbers are left out."""
    values: Values = {}
    for split, seed, _, kind, name, family, metric, variant, rule, value in rows:
        if np.isfinite(float(str(value))):
            reading = (str(family), str(metric), str(variant), str(rule))
            of_labelling = values.setdefault(reading, {}).setdefault((str(kind), str(name)), {})
            of_labelling[str(split), int(str(seed))] = float(str(value))
    return values
