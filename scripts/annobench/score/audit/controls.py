"""Controls: labellings and confidences whose worth is known, for the same test cells that the methods annotate.

- `oracle`: the truth.
- `majority`: the most frequent training class for every cell; probabilities are the training shares.
- `random_stratified`: classes drawn by the training shares, which are the probabilities.
- `shuffled`: the true labels in random order, each claimed with certainty.
- `noise`: decision values drawn from a normal distribution.
- `merged`: the true labels with subtypes merged; no cell changes its place, the answers only say less.
- `marker_argmax`: the type whose markers are highest, of the types that the truth has (made with the marker metrics).
- `unrelated_tissue`: a linear classifier trained on a dataset of an unrelated tissue.
- `batch_alone`, `depth_alone`: embeddings of nothing but the batch, or the depth, of a cell.

The first knows everything; the next four know nothing of the cell; the others are what a metric must not prefer to the
truth. `oracle`, `shuffled` and `noise` are embeddings as well (see embeddings.py). A control is an entry of `CONTROLS`
here, with a name for people in `annobench.config.controls`.

Controls of predicted expression are made in `annobench.score.audit.perturbations`.

Where nothing trains (regime zero_shot) the shares are those of the tested labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.parquet import Categorical
from annobench.fit.calibration import Platt, expit, strength
from annobench.fit.decisions import KINDS, UNRELATED
from annobench.ontology import UNKNOWN
from annobench.ontology.rollup import Rollup, siblings_merged
from annobench.score.audit.embeddings import (
    EmbeddingMaker,
    batches_alone,
    cells_exchanged,
    depth_alone,
    labels_alone,
    nothing_but_noise,
)
from annobench.score.audit.tissue import TissueModel, train_on
from annobench.score.confidence import by_rule
from annobench.score.confidence_rules import RuleConfidences
from annobench.score.join import rolled_up
from annobench.score.registry import FAMILIES
from annobench.score.scored import Probabilities, Scored

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

RANKS = 5  # labels of a control for every cell


@dataclass
class Basis:
    """What controls are made from: the scored cells of one split and seed, and the labels of the training cells.

    Parameters
    ----------
    scored
        The cells with their truth; the predictions are not used.
    shares
        Training class, rolled up -> share of the training cells.
    fine_classes
        Number of training classes before rolling up, over which methods decide.
    seed
        Of all random numbers.
    rollup, merge
        Rules that labels are rolled up by, and that `merged` merges by (None for the tree of classes).
    unrelated, query
        A file with cells of an unrelated tissue, and the cells to annotate; None where there are none.
    """

    scored: Scored
    shares: Mapping[str, float]
    fine_classes: int
    seed: int
    rollup: Rollup | None = None
    merge: Rollup | None = None
    unrelated: Path | None = None
    query: "AnnData | None" = None

    def rng(self, control: str) -> "np.random.Generator":
        """Random numbers of one control."""
        return np.random.default_rng([self.seed, CONTROLS[control].stream])

    def noise(self, cells: int, classes: int, stream: int = 0) -> "NDArray[np.float64]":
        """Normal decision values, (cells, classes)."""
        rng = np.random.default_rng([self.seed, CONTROLS["noise"].stream, stream])
        return rng.standard_normal((cells, classes))

    @cached_property
    def classes(self) -> list[str]:
        """Training classes, rolled up."""
        return sorted(self.shares)

    @cached_property
    def class_shares(self) -> "NDArray[np.float64]":
        """Their shares, in the same order."""
        return np.array([self.shares[c] for c in self.classes])

    @cached_property
    def tissue(self) -> TissueModel | None:
        """A model of an unrelated tissue; None where there are no such cells, or they share no genes with the query."""
        if self.unrelated is None or self.query is None:
            return None
        return train_on(self.unrelated, self.query, self.seed)

    def labelled(
        self,
        labels: "NDArray[np.object_]",
        confidence: "NDArray[np.float64]",
        probabilities: "NDArray[np.float64]",
        classes: Sequence[str],
    ) -> Scored:
        """The cells with other predictions: (n,) or (n, k) labels, (n,) confidences, (n, classes) probabilities."""
        scored, labels = self.scored, np.asarray(labels, dtype=object)
        return Scored.of(
            Categorical(scored.true_codes, list(scored.names)),
            labels[:, None] if labels.ndim == 1 else labels,
            scored.training,
            scored.ontology,
            scored.groups,
            confidence=confidence,
            is_probability=True,
            probabilities=Probabilities(probabilities, list(classes)),
            bins=scored.bins,
        )

    def certain(self, labels: "NDArray[np.object_]") -> Scored:
        """A labelling that is claimed with certainty."""
        classes = sorted(set(labels) - {UNKNOWN})
        one_hot = np.equal.outer(Categorical.of(labels).recode(classes), np.arange(len(classes))).astype(float)
        return self.labelled(labels, np.ones(len(labels)), one_hot, classes)

    def ranked(self, scores: "NDArray[np.float64]", classes: Sequence[str], k: int = RANKS) -> Scored:
        """Scores of classes, (cells, classes), read as logits."""
        values = np.exp(scores - scores.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        labels = np.array(classes, dtype=object)[order]
        return self.labelled(labels, values.max(axis=1), values, classes)


def _oracle(basis: Basis) -> Scored:
    return basis.certain(basis.scored.truth)


def _majority(basis: Basis) -> Scored:
    n, shares = basis.scored.n, basis.class_shares
    order = np.array(basis.classes, dtype=object)[np.argsort(-shares, kind="stable")[:RANKS]]
    return basis.labelled(np.tile(order, (n, 1)), np.full(n, shares.max()), np.tile(shares, (n, 1)), basis.classes)


def _random_stratified(basis: Basis) -> Scored:
    n, shares = basis.scored.n, basis.class_shares
    drawn = basis.rng("random_stratified").choice(np.array(basis.classes, dtype=object), n, p=shares)
    own = shares[Categorical.of(drawn).recode(basis.classes)]
    return basis.labelled(drawn, own, np.tile(shares, (n, 1)), basis.classes)


def _shuffled(basis: Basis) -> Scored:
    return basis.certain(basis.rng("shuffled").permutation(basis.scored.truth))


def _noise(basis: Basis) -> Scored:
    return basis.ranked(basis.noise(basis.scored.n, len(basis.classes)), basis.classes)


def _merged(basis: Basis) -> Scored | None:
    """None where nothing can be merged."""
    truth, ontology = basis.scored.truth, basis.scored.ontology
    table = basis.merge.table(truth, ontology) if basis.merge else {}
    if all(key == value for key, value in table.items()):  # nothing to merge by that rule
        table = siblings_merged(sorted(set(truth) - {UNKNOWN}), ontology)
    if all(key == value for key, value in table.items()):
        return None
    return basis.certain(merged_labels(truth, table))


def merged_labels(truth: "NDArray[np.object_]", table: Mapping[str, str]) -> "NDArray[np.object_]":
    """True labels with subtypes merged."""
    return np.array([table.get(label, label) for label in truth], dtype=object)


def _unrelated_tissue(basis: Basis) -> Scored | None:
    if basis.tissue is None:
        return None
    scored = basis.ranked(basis.tissue.decisions, basis.tissue.classes)
    return rolled_up(scored, basis.rollup) if basis.rollup else scored


def noise_rules(basis: Basis, scored: Scored) -> list[RuleConfidences]:
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
        RuleConfidences(
            rule,
            own[rule],
            scored.correct,
            rules["validation"][rule],
            {kind: rules[kind][rule] for kind in KINDS},
        )
        for rule in own
    ]


def tissue_rules(model: TissueModel, scored: Scored) -> list[RuleConfidences]:
    """Every confidence rule on what a model of an unrelated tissue predicts, calibrated on its own held-out cells."""
    calibration = Platt(strength(model.validation), model.right)
    test = by_rule(model.decisions, expit(model.decisions.max(axis=1)), calibration)
    validation = by_rule(model.validation, expit(model.validation.max(axis=1)), calibration)
    return [RuleConfidences(rule, test[rule], scored.correct, validation[rule], {}) for rule in test]


def _rules_of_tissue(basis: Basis, scored: Scored) -> list[RuleConfidences]:
    return tissue_rules(basis.tissue, scored) if basis.tissue else []


@dataclass(frozen=True)
class Control:
    """One control.

    Parameters
    ----------
    stream
        Number of its random stream; never changed, or its labels would be others.
    rule
        The rule of the verdict that it decides; None for the truth.
    blind
        Whether it knows nothing of these cells: a metric that it wins, or ties, is not evidence. Else it is only to be
        no better than the truth.
    make
        Makes its labelling, or None where it cannot be made. None for a control that is made with the marker metrics,
        or is no labelling.
    embed
        Makes its embedding, or None where it cannot be made. None for a control that is no embedding.
    rules
        The confidence rules on its answers, where they say something.
    families
        Metric families that it is made for, of a control that is no labelling; empty for labellings.
    """

    stream: int
    rule: str | None
    blind: bool = False
    make: Callable[[Basis], Scored | None] | None = None
    embed: EmbeddingMaker | None = None
    rules: Callable[[Basis, Scored], list[RuleConfidences]] | None = None
    families: tuple[str, ...] = ()


NOTHING_KNOWN = "no information"
PERTURBATIONS = ("perturbation", "perturbation_published")  # see annobench.score.audit.perturbations
CONTROLS = {
    "oracle": Control(0, None, make=_oracle, embed=labels_alone),
    "majority": Control(1, NOTHING_KNOWN, blind=True, make=_majority),
    "random_stratified": Control(2, NOTHING_KNOWN, blind=True, make=_random_stratified),
    "shuffled": Control(3, NOTHING_KNOWN, blind=True, make=_shuffled, embed=cells_exchanged),
    "noise": Control(4, NOTHING_KNOWN, blind=True, make=_noise, embed=nothing_but_noise, rules=noise_rules),
    "merged": Control(5, "merging", make=_merged),
    "marker_argmax": Control(6, "circular"),
    "unrelated_tissue": Control(7, "unrelated tissue", blind=True, make=_unrelated_tissue, rules=_rules_of_tissue),
    "batch_alone": Control(8, "batch alone", blind=True, embed=batches_alone),
    "depth_alone": Control(9, "depth alone", blind=True, embed=depth_alone),
    "control_mean": Control(20, "no effect", blind=True, families=PERTURBATIONS),
    "perturbed_mean": Control(21, "mean effect", blind=True, families=PERTURBATIONS),
    "shuffled_conditions": Control(22, "wrong condition", blind=True, families=PERTURBATIONS),
    "sign_flipped": Control(23, "wrong direction", blind=True, families=PERTURBATIONS),
}
NO_INFORMATION = tuple(name for name, control in CONTROLS.items() if control.rule == NOTHING_KNOWN)


def made_for(family: str) -> dict[str, Control]:
    """The controls of a metric family: its own, with the truth, or those that are embeddings, or labellings."""
    own = {name: control for name, control in CONTROLS.items() if family in control.families}
    if own:
        return {"oracle": CONTROLS["oracle"], **own}
    others = {name: control for name, control in CONTROLS.items() if not control.families}
    if "embedding" in FAMILIES[family].needs:
        return {name: control for name, control in others.items() if control.embed}
    return {name: control for name, control in others.items() if control.make or not control.embed}


def made(basis: Basis) -> dict[str, Scored]:
    """The labellings of all controls that can be made."""
    labellings = {name: control.make(basis) for name, control in CONTROLS.items() if control.make}
    return {name: scored for name, scored in labellings.items() if scored is not None}
