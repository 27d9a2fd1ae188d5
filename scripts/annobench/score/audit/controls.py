"""Labellings and confidences whose worth is known, for the same test cells that the methods annotate.

- `oracle`: the truth.
- `majority`: the most frequent training class for every cell; probabilities are the training shares.
- `random_stratified`: classes drawn by the training shares, which are the probabilities.
- `shuffled`: the true labels in random order, each claimed with certainty.
- `noise`: decision values drawn from a normal distribution.
- `merged`: the true labels with subtypes merged; no cell changes its place, the answers only say less.
- `marker_argmax`: the type whose markers are highest, of the types that the truth has.
- `unrelated_tissue`: a linear classifier trained on a dataset of another tissue.

The first knows everything; the next four know nothing of the cell; the last three are what a metric must not prefer to
the truth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.parquet import Categorical
from annobench.fit.calibration import Platt, expit, strength
from annobench.fit.decisions import KINDS, UNRELATED
from annobench.ontology import UNKNOWN
from annobench.score.confidence import by_rule
from annobench.score.metrics.base import Probabilities, Scored
from annobench.score.metrics.confidence_rules import Judged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from annobench.score.audit.tissue import TissueModel

NO_INFORMATION = ("majority", "random_stratified", "shuffled", "noise")
CONTROLS = ("oracle", *NO_INFORMATION, "merged", "marker_argmax", "unrelated_tissue")


@dataclass
class Basis:
    """What controls are made from: the scored cells of one split and seed, and the labels of the training cells.

    shares: training class, rolled up, -> share of the training cells. fine_classes: training classes before that, over
    which methods decide. `scored` carries the truth; its predictions are not used.
    """

    scored: Scored
    shares: Mapping[str, float]
    fine_classes: int
    seed: int

    def rng(self, control: str) -> "np.random.Generator":
        """Random numbers of one control."""
        return np.random.default_rng([self.seed, CONTROLS.index(control)])

    def _scored(self, labels: "NDArray[Any]", confidence: Any, probabilities: Any, classes: Sequence[str]) -> Scored:
        scored = self.scored
        labels = np.asarray(labels, dtype=object)
        return Scored.of(
            Categorical(scored.true_codes, list(scored.names)),
            labels[:, None] if labels.ndim == 1 else labels,
            scored.training,
            scored.ontology,
            scored.groups,
            confidence=confidence,
            is_probability=probabilities is not None,
            probabilities=None if probabilities is None else Probabilities(probabilities, list(classes)),
            bins=scored.bins,
        )

    def certain(self, labels: "NDArray[Any]") -> Scored:
        """A labelling that is claimed with certainty."""
        classes = sorted(set(labels) - {UNKNOWN})
        one_hot = np.equal.outer(Categorical.of(labels).recode(classes), np.arange(len(classes))).astype(float)
        return self._scored(labels, np.ones(len(labels)), one_hot, classes)

    def ranked(self, scores: "NDArray[Any]", classes: Sequence[str], k: int) -> Scored:
        """Scores of classes, (cells, classes), read as logits."""
        values = np.exp(scores - scores.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        labels = np.array(classes, dtype=object)[order]
        return self._scored(labels, values.max(axis=1), values, classes)

    def without_information(self, k: int) -> dict[str, Scored]:
        """The controls that know nothing of the cell."""
        classes = sorted(self.shares)
        shares = np.array([self.shares[c] for c in classes])
        n = self.scored.n
        constant = np.tile(shares, (n, 1))
        order = np.array(classes, dtype=object)[np.argsort(-shares, kind="stable")[:k]]
        drawn = self.rng("random_stratified").choice(np.array(classes, dtype=object), n, p=shares)
        at = {c: i for i, c in enumerate(classes)}
        return {
            "majority": self._scored(np.tile(order, (n, 1)), np.full(n, shares.max()), constant, classes),
            "random_stratified": self._scored(drawn, shares[[at[c] for c in drawn]], constant, classes),
            "shuffled": self.certain(self.rng("shuffled").permutation(self.scored.truth)),
            "noise": self.ranked(self.noise(n, len(classes)), classes, k),
        }

    def noise(self, cells: int, classes: int, stream: int = 0) -> "NDArray[np.float64]":
        """Normal decision values, (cells, classes)."""
        rng = np.random.default_rng([self.seed, CONTROLS.index("noise"), stream])
        return rng.standard_normal((cells, classes))


def merged_labels(truth: "NDArray[Any]", table: Mapping[str, str]) -> "NDArray[Any]":
    """True labels with subtypes merged."""
    return np.array([table.get(label, label) for label in truth], dtype=object)


def noise_rules(basis: Basis, scored: Scored) -> list[Judged]:
    """Every confidence rule on noise over as many classes as methods decide over; all other cells are noise as well."""
    size, classes = UNRELATED, basis.fine_classes
    parts = ("validation", *KINDS)
    values = {part: basis.noise(size, classes, i) for i, part in enumerate(parts, 1)}
    test = basis.noise(scored.n, classes)
    right = basis.rng("noise").random(size) < max(basis.shares.values())
    calibration = Platt(strength(values["validation"]), right)
    rules = {part: by_rule(v, expit(v.max(axis=1)), calibration) for part, v in values.items()}
    own = by_rule(test, expit(test.max(axis=1)), calibration)
    return [
        Judged(
            rule,
            own[rule],
            scored.correct,
            rules["validation"][rule],
            {kind: rules[kind][rule] for kind in KINDS},
        )
        for rule in own
    ]


def tissue_rules(model: "TissueModel", scored: Scored, at: "NDArray[np.intp]") -> list[Judged]:
    """Every confidence rule on the answers of a model of another tissue; its own held-out cells calibrate it."""
    calibration = Platt(strength(model.validation), model.right)
    test = by_rule(model.decisions[at], expit(model.decisions[at].max(axis=1)), calibration)
    validation = by_rule(model.validation, expit(model.validation.max(axis=1)), calibration)
    return [Judged(rule, test[rule], scored.correct, validation[rule], {}) for rule in test]
