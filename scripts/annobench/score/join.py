"""Predictions and truths joined by cell id, rolled up where the evaluation says so."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.parquet import NOT_GIVEN, Categorical, positions
from annobench.fit import predictions_file
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.score.scored import Probabilities, Scored
from annobench.score.truths import Truths, rolled_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_scored(
    fit: Path, run: RunRecord, truths: Truths, ontology: Ontology, *, bins: int, decoding: str = "argmax"
) -> Scored:
    """Join truth and predictions by cell id.

    Rolled up, the prediction for a cell is the target of its first label, and its probability the sum over the classes
    of that target.

    Parameters
    ----------
    fit
        Folder of the fit.
    run
        Its record.
    truths
        The cells to score; each must have a prediction.
    ontology
        Relates the labels.
    bins
        Number of confidence bins.
    decoding
        Which of the labels that a fit has written are meant.

    Raises
    ------
    DataError
        Where a test cell has no prediction, or a file that the record names is not there.
    """
    answers = predictions_file.read_answers(fit / "predictions.parquet", decoding)
    rows = positions(truths.ids, answers.cell_ids)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise DataError(
            f"{fit}/predictions.parquet: {len(missing)} test cells have no prediction (such as "
            f"{truths.ids[int(missing[0])]}); fit again with --forcerun {fit}/run.json"
        )
    probabilities = None
    if run.has("probabilities") and decoding == "argmax":
        if not (fit / "probabilities.npz").is_file():
            raise DataError(f"{fit}/probabilities.npz: is missing; fit again with --forcerun {fit}/run.json")
        matrix, classes = predictions_file.map_probabilities(fit / "probabilities.npz", len(answers.cell_ids))
        probabilities = Probabilities(matrix, classes, None if np.array_equal(rows, np.arange(len(matrix))) else rows)
    scored = Scored.of(
        truths.labels,
        [labels[rows] for labels in answers.labels],
        truths.training,
        ontology,
        groups={name: values for name, values in truths.columns.items() if set(values.counts()) - {NOT_GIVEN}},
        confidence=None if answers.confidence is None else answers.confidence[rows],
        is_probability=run.confidence_is_probability and decoding == "argmax",
        ood=truths.ood,
        probabilities=probabilities,
        bins=bins,
    )
    return scored if truths.rollup is None else rolled_up(scored, truths.rollup)


def rolled_up(scored: Scored, rule: Rollup) -> Scored:
    """Predictions as the targets that they belong to; the truth is rolled up already.

    Without the probabilities of all classes the probability of a target is unknown: the confidence then orders the
    cells, but is not a probability.
    """
    names = list(scored.names)
    ranked = [Categorical(codes, names) for codes in scored.label_codes.T]
    labels = without_repeats([rolled_codes(one, rule, scored.ontology) for one in ranked])
    confidence, probabilities = scored.confidence, scored.probabilities
    if probabilities is not None:
        groups = rolled_codes(Categorical.of(probabilities.classes), rule, scored.ontology)
        targets = sorted(groups.names)
        probabilities = replace(probabilities, classes=targets, groups=groups.recode(targets))
        if scored.is_probability and confidence is not None:
            confidence = _of_answer(probabilities, labels[0].recode(targets), confidence)
    return Scored.of(
        Categorical(scored.true_codes, names),
        labels,
        scored.training,
        scored.ontology,
        scored.groups,
        confidence=confidence,
        is_probability=scored.is_probability and probabilities is not None,
        probabilities=probabilities,
        bins=scored.bins,
        ood=scored.ood,
    )


def without_repeats(ranked: list[Categorical]) -> list[Categorical]:
    """Labels of every rank without repeats: a target that comes again is not a second guess.

    Later labels move up, and `unknown` fills the last ranks.
    """
    names = list(dict.fromkeys([*(name for one in ranked for name in one.names), UNKNOWN]))
    codes = np.stack([one.recode(names) for one in ranked], axis=1)
    again = np.zeros(codes.shape, dtype=bool)
    for rank in range(1, len(ranked)):
        again[:, rank] = (codes[:, :rank] == codes[:, [rank]]).any(axis=1)
    cells = np.flatnonzero(again.any(axis=1))
    order = np.argsort(again[cells], axis=1, kind="stable")
    moved = np.take_along_axis(codes[cells], order, axis=1)
    moved[np.take_along_axis(again[cells], order, axis=1)] = names.index(UNKNOWN)
    codes[cells] = moved
    return [Categorical(column, names) for column in codes.T]


def _of_answer(
    probabilities: Probabilities, answer: "NDArray[np.int32]", otherwise: "NDArray[np.floating]"
) -> "NDArray[np.float64]":
    """Probability of the class that is predicted for every cell (a number), or `otherwise` where it is -1."""
    chosen = np.array(otherwise, dtype=np.float64)
    for cells, values in probabilities.blocks():
        own = answer[cells]
        known = np.flatnonzero(own >= 0)
        chosen[cells.start + known] = np.clip(values[known, own[known]], 0, 1)
    return chosen
