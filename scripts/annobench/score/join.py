"""Predictions and truths joined by cell id, rolled up where the evaluation says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.decodings import decoding_facts
from annobench.config.names import ARGMAX
from annobench.core.errors import DataError, PredictionError
from annobench.core.parquet import NOT_GIVEN, Categorical, positions
from annobench.fit import predictions_file
from annobench.fit.decisions import read_temperature
from annobench.fit.decoded import decode_given
from annobench.fit.decodings.given import Given
from annobench.fit.decodings.graph import ClassGraph
from annobench.fit.predictions_file import Answers
from annobench.fit.run_record import RunRecord
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.score.scored import Probabilities, Scored
from annobench.score.truths import Truths, rolled_codes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import pyarrow as pa
    from numpy.typing import NDArray

    from annobench.config.values import Value

    Clusters: TypeAlias = Callable[[pa.Array], Categorical]


def read_scored(
    fit: Path,
    run: RunRecord,
    truths: Truths,
    ontology: Ontology,
    *,
    bins: int,
    decoding: str = ARGMAX,
    options: "Mapping[str, Value] | None" = None,
    clusters: "Clusters | None" = None,
    allowed: Sequence[str] | None = None,
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
        How its labels are chosen: `argmax`, or a decoding.
    options
        Options of the decoding that differ from the defaults.
    clusters
        Ids of cells -> cluster of each; for a decoding that looks at clusters.
    allowed
        Types that can be there; for a decoding that asks.

    Raises
    ------
    DataError
        Where a test cell has no prediction, or a file that the record names is not there.
    """
    later = decoding != ARGMAX and not decoding_facts(decoding).at_fit
    answers = predictions_file.read_answers(fit / "predictions.parquet", ARGMAX if later else decoding)
    if later:
        answers = _decoded(fit, run, ontology, answers, (decoding, options or {}, clusters, allowed))
    rows = positions(truths.ids, answers.cell_ids)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise DataError(
            f"{fit}/predictions.parquet: {len(missing)} test cells have no prediction (such as "
            f"{truths.ids[int(missing[0])]}); fit again with --forcerun {fit}/run.json"
        )
    probabilities = None
    if run.has("probabilities") and decoding == ARGMAX:
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
        is_probability=run.confidence_is_probability and decoding == ARGMAX,
        ood=truths.ood,
        probabilities=probabilities,
        bins=bins,
    )
    return scored if truths.rollup is None else rolled_up(scored, truths.rollup)


def _decoded(
    fit: Path,
    run: RunRecord,
    ontology: Ontology,
    answers: Answers,
    how: "tuple[str, Mapping[str, Value], Clusters | None, Sequence[str] | None]",
) -> Answers:
    """Answers of a fit by a decoding that is made now, from what the fit left."""
    decoding, options, clusters, allowed = how
    needs = decoding_facts(decoding).needs
    graph = matrix = temperature = None
    if "probabilities" in needs and run.has("probabilities"):
        matrix, classes = predictions_file.map_probabilities(fit / "probabilities.npz", len(answers.cell_ids))
        graph = ClassGraph(classes, ontology)
    if "temperature" in needs and run.has("decisions"):
        temperature = read_temperature(fit / "decisions.npz")
    given = Given(
        labels=answers.labels[0],
        confidence=answers.confidence,
        graph=graph,
        probabilities=matrix,
        temperature=temperature,
        clusters=clusters(answers.cell_ids) if clusters and "clusters" in needs else None,
        allowed=allowed,
    )
    try:
        chosen = decode_given(decoding, given, options)
    except PredictionError as error:
        raise PredictionError(f"{fit}: {error}") from None
    return Answers(answers.cell_ids, [chosen.labels], np.nan_to_num(chosen.confidence))  # `unknown` is never right


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
