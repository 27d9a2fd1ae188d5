"""Answers at several levels: how deep a method goes at a wanted confidence, and how often it is then wrong.

The answers are those of the decoding `multilevel`: the most specific type that is at least as probable, by
probabilities that were calibrated on the validation cells. An answer is wrong where the true label is neither the
answer nor below it. All metrics have a value at each of several wanted confidences (level `confidence`); the overall
value, which may rank, is that at the first of them. They trade off: depth and information fall with the confidence, and
so should the error.

The information content of a type is 1 - log(types at and below it) / log(types of the release) (Seco et al. 2004): 0
for the root, 1 for a type without descendants.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.counts import ratio
from annobench.core.errors import ConfigError
from annobench.fit.decodings.graph import ClassGraph
from annobench.fit.decodings.nodes import Nodes
from annobench.fit.temperature import tempered
from annobench.ontology import Ontology
from annobench.score.evidence import Evidence
from annobench.score.metric import INFINITE, Family, Metric, Row
from annobench.score.metrics.shared.sums import mean_over_cells, total
from annobench.score.scored import Probabilities, Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """The wanted confidences; the first is that of the overall value."""

    confidences: tuple[float, ...] = (0.9, 0.8, 0.95, 0.99)


def _error(sums: "Mapping[str, Array]") -> "Array":
    return ratio(sums["wrong"], sums["answered"])


def _depth(sums: "Mapping[str, Array]") -> "Array":
    return ratio(sums["depth"], sums["answered"])


METRICS = [
    Metric(
        name="multilevel_error",
        label="error of multi-level answers",
        meaning="share of the answers that are neither the true label nor above it, at a wanted confidence",
        low=0,
        high=1,
        best=0,
        from_sums=_error,
    ),
    Metric(
        name="multilevel_coverage",
        label="cells with a multi-level answer",
        meaning="share of cells with another answer than unknown, at a wanted confidence",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
    Metric(
        name="multilevel_depth",
        label="depth of multi-level answers",
        meaning="mean depth of the answers, as the longest path from the root, at a wanted confidence",
        low=0,
        high=INFINITE,
        best=None,
        from_sums=_depth,
    ),
    Metric(
        name="multilevel_information",
        label="information of multi-level answers",
        meaning="information content of right answers relative to that of the true label (wrong ones and unknown: 0), "
        "mean over the cells, at a wanted confidence",
        low=0,
        high=1,
        best=1,
        from_sums=mean_over_cells,
    ),
]


@dataclass(frozen=True)
class Answers:
    """Answers at one wanted confidence, (n,) each.

    Parameters
    ----------
    answered
        Which cells have another answer than `unknown`.
    right
        Which answers are the true label, or above it.
    depth
        Of the answer; 0 for `unknown`.
    information
        Of a right answer, relative to that of the true label; else 0.
    """

    answered: "NDArray[np.bool_]"
    right: "NDArray[np.bool_]"
    depth: "Array"
    information: "Array"

    def sums(self, of_units: "Callable[[Array], Array]") -> "dict[str, dict[str, Array]]":
        """Metric -> part -> sum over the cells of every unit."""
        answered, wrong = self.answered.astype(float), (self.answered & ~self.right).astype(float)
        n, of_answered = of_units(np.ones(len(answered))), of_units(answered)
        return {
            "multilevel_error": {"wrong": of_units(wrong), "answered": of_answered},
            "multilevel_coverage": {"sum": of_answered, "n": n},
            "multilevel_depth": {"depth": of_units(self.depth), "answered": of_answered},
            "multilevel_information": {"sum": of_units(self.information), "n": n},
        }


def answers(
    scored: Scored, probabilities: Probabilities, temperature: float, confidences: tuple[float, ...]
) -> dict[float, Answers]:
    """Answers of the scored cells at every wanted confidence."""
    ontology = scored.ontology
    nodes = Nodes(ClassGraph(list(probabilities.classes), ontology))
    codes = {confidence: np.empty(scored.n, dtype=np.intp) for confidence in confidences}
    for cells, stored in probabilities.stored():
        p = tempered(stored, temperature)
        if probabilities.groups is not None:
            p = p @ np.equal.outer(probabilities.groups, np.arange(len(probabilities.classes))).astype(float)
        summed = np.minimum(p @ nodes.above, 1)
        for confidence in confidences:
            codes[confidence][cells] = nodes.deepest(summed, confidence - 1e-9)
    names = list(scored.names)
    above = np.array([[node == name or node in ontology.ancestors(name) for node in nodes.names] for name in names])
    above = np.column_stack([above.reshape(len(names), -1), np.zeros(len(names), dtype=bool)])  # -1 is `unknown`
    depths = np.append(nodes.depths, 0).astype(np.float64)
    of_nodes = np.array([*(information(ontology, node) for node in nodes.names), 0.0])
    of_truth = np.array([information(ontology, name) for name in names])[scored.true_codes]
    found = {}
    for confidence, chosen in codes.items():
        right = above[scored.true_codes, chosen]
        share = np.divide(of_nodes[chosen], of_truth, out=np.ones(scored.n), where=of_truth > 0)
        found[confidence] = Answers(chosen >= 0, right, depths[chosen], np.where(right, share, 0.0))
    return found


@lru_cache(maxsize=10_000)
def information(ontology: Ontology, label: str) -> float:
    """Information content of a type, 0 to 1; 1 for a label that the release does not have."""
    if label not in ontology.terms:
        return 1.0
    live = sum(not term.obsolete for term in ontology.terms.values())
    return float(1 - np.log(1 + len(ontology.descendants(label))) / np.log(max(live, 2)))


def _found(evidence: Evidence) -> dict[float, Answers]:
    """Answers at every wanted confidence; none where nothing calibrates the probabilities."""
    scored, wanted = evidence.scored, evidence.options("multilevel", Options()).confidences
    if bad := [one for one in wanted if not 0.5 < one <= 1]:
        raise ConfigError(f"metric_options.multilevel.confidences: {bad[0]:g} is not above 0.5 and at most 1")
    if scored.probabilities is None or evidence.temperature is None:
        return {}
    probabilities, temperature = scored.probabilities, evidence.temperature
    return evidence.once("multilevel", lambda: answers(scored, probabilities, temperature, wanted))


def unit_sums(evidence: Evidence) -> "Mapping[str, Mapping[str, Array]]":
    """What the metrics are made of, for every unit, at the first wanted confidence."""
    found = _found(evidence)
    return next(iter(found.values())).sums(evidence.units.sum) if found else {}


def compute(evidence: Evidence) -> Iterator[Row]:
    """Overall values at the first wanted confidence, and values at each."""
    for confidence, of_cells in _found(evidence).items():
        sums = of_cells.sums(lambda values: values.sum(keepdims=True))
        for metric in METRICS:
            assert metric.from_sums is not None
            parts, n = total(sums[metric.name]), evidence.scored.n
            if not parts.get("answered", np.ones(1)):
                continue  # what is a mean over answers has no value without any
            value = float(metric.from_sums(parts))
            if confidence == next(iter(_found(evidence))):
                yield Row("multilevel", metric.name, "-", "overall", "all", value, n)
            yield Row("multilevel", metric.name, "-", "confidence", f"{confidence:g}", value, n)


FAMILY = Family(
    "multilevel",
    tuple(METRICS),
    needs=("predictions", "temperature"),
    compute=compute,
    order=8,
    unit_sums=unit_sums,
    on_request=True,
)
