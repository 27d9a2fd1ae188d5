"""A consensus of finished fits of other methods on the same split: nothing is trained."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from annobench.core.counts import macro_f1_of_codes
from annobench.core.errors import ConfigError, DataError, MethodSkipped, nearest
from annobench.core.parquet import Categorical, positions, to_arrow
from annobench.fit.decisions import read_decisions
from annobench.fit.method import Abilities, Context, FinishedFit, Method, Needs, Notes
from annobench.fit.predictions import Predictions
from annobench.fit.predictions_file import read
from annobench.fit.run_record import OUTPUTS
from annobench.methods.shared.consensus import consensus
from annobench.ontology import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Texts = NDArray[np.object_]

_SHOWN = 3  # names that a message gives as examples


class Vote(Method):
    """Votes of the members, which are named in the YAML file (`uses: {votes: [...]}`), cell by cell.

    The confidence is the share of all votes that the label has. A member whose fit did not succeed does not vote, and
    the run record names it; without two members there is no vote.

    Parameters
    ----------
    scheme
        `labels`: the label with most votes. `ontology`: the deepest type with a majority, where every label votes for
        the types above it too; see `annobench.methods.shared.consensus`.
    weights
        `equal`, or `validation`: the macro F1 of each member on the validation cells. Members that left no predictions
        of these have the mean weight of the others.
    majority
        Share of the votes that a type must exceed, for `scheme: ontology`.
    leave_out
        A member that does not vote; None for none.
    """

    needs = Needs(cells="none")
    abilities = Abilities(probabilities=False, closed_labels=False)
    uses: ClassVar[Mapping[str, tuple[str, ...]]] = {"votes": ("predictions",)}
    trainable_parameters = 0

    def __init__(
        self,
        *,
        scheme: Literal["labels", "ontology"] = "labels",
        weights: Literal["equal", "validation"] = "equal",
        majority: float = 0.5,
        leave_out: str | None = None,
    ) -> None:
        if not 0 <= majority < 1:
            raise ConfigError(f"parameters.majority: expected a share from 0 to below 1, found {majority}")
        self.scheme, self.weights, self.majority, self.leave_out = scheme, weights, majority, leave_out

    def fit(self, train: "AnnData", context: Context) -> None:
        self._members = self._voting(context)
        self._ontology, self._top_k = context.ontology, context.top_k
        labels = None if context.validation is None else context.validation.obs["label_id"].astype(str)
        found = [_Answers(member) for member in self._members]
        self._answers = found
        scores = [None if labels is None else answers.score(labels) for answers in found]
        self._weights = self._weighed(scores)
        self.notes: Notes = {
            "members": tuple(fit.run.method for fit in self._members),
            "members_absent": len(context.absent),
            "weights": {f.run.method: round(w, 4) for f, w in zip(self._members, self._weights, strict=True)},
        }
        warnings = [f"'{name}' does not vote: {why}" for name, why in context.absent.items()]
        if self.weights == "validation" and None in scores:
            lacking = [f.run.method for f, score in zip(self._members, scores, strict=True) if score is None]
            warnings.append(
                f"{', '.join(lacking)}: no predictions of validation cells; the mean weight of the others counts"
            )
        if warnings:
            self.notes["warnings"] = tuple(warnings)
        for text in warnings:
            print(text, flush=True)

    def _voting(self, context: Context) -> tuple[FinishedFit, ...]:
        """The members that vote; in the order of their names, which changes nothing."""
        fits = {fit.run.method: fit for fit in context.uses["votes"]}
        known = [*fits, *context.absent]
        if self.leave_out is not None and self.leave_out not in known:
            raise ConfigError(
                f"parameters.leave_out: '{self.leave_out}' is no member{nearest(self.leave_out, known)}; the members "
                f"(uses.votes) are {', '.join(known)}"
            )
        voting = tuple(fits[name] for name in sorted(fits) if name != self.leave_out)
        if len(voting) < 2:
            why = "; ".join(f"'{name}': {reason}" for name, reason in context.absent.items())
            raise MethodSkipped(
                f"{len(voting)} of {len(known)} members can vote, expected two or more" + (f" ({why})" if why else "")
            )
        return voting

    def _weighed(self, scores: list[float | None]) -> list[float]:
        """Weight of every vote, from the validation scores where these are wanted."""
        if self.weights == "equal":
            return [1.0] * len(scores)
        known = [score for score in scores if score is not None]
        if not any(known):
            raise MethodSkipped(
                "weights: validation, and no member left right predictions of validation cells; set keep.decisions to "
                "true, have validation cells (val_fraction), or set weights to equal"
            )
        return [float(np.mean(known)) if score is None else score for score in scores]

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        ids = query.obs_names.to_numpy(dtype=object)
        labels = np.stack([answers.of(ids) for answers in self._answers])
        found = consensus(
            labels,
            self._weights,
            self._ontology,
            scheme=self.scheme,
            majority=self.majority,
            top_k=self._top_k,
        )
        if self.notes is not None and "ties" not in self.notes:  # of the test cells, which are predicted first
            self.notes |= self._counts(labels, found.labels[:, 0]) | {"ties": int(found.tied.sum())}
        yield Predictions(ids, found.labels, found.shares, found.shares[:, 0])

    def _counts(self, labels: "Texts", chosen: "Texts") -> Notes:
        """For each member, the share of cells in which it agrees, and in which the others alone would say otherwise."""
        names = [fit.run.method for fit in self._members]
        notes: Notes = {
            "agrees": {name: _share(own == chosen) for name, own in zip(names, labels, strict=True)},
            "cells_unknown": int((chosen == UNKNOWN).sum()),
        }
        if len(names) > 2:
            notes["changes_without"] = {
                name: _share(self._without(labels, i) != chosen) for i, name in enumerate(names)
            }
        return notes

    def _without(self, labels: "Texts", member: int) -> "Texts":
        """The consensus of the other members, (n,)."""
        weights = [0.0 if i == member else weight for i, weight in enumerate(self._weights)]
        if not any(weights):
            return np.full(labels.shape[1], UNKNOWN, dtype=object)
        kept = consensus(labels, weights, self._ontology, scheme=self.scheme, majority=self.majority)
        return kept.labels[:, 0]


class _Answers:
    """Labels that a member gave test cells and, where it left them, validation cells."""

    def __init__(self, fit: FinishedFit) -> None:
        self._fit = fit
        predicted = read(fit.path)
        ids, labels = [predicted.cell_ids], [predicted.labels[:, 0]]
        self._validation: tuple[Texts, Texts] | None = None
        if fit.run.has("decisions"):
            given = read_decisions(fit.folder / OUTPUTS["decisions"])
            judged = given["part"] == "validation"
            if judged.any():
                self._validation = given["cell_ids"][judged], given["labels"][judged]
                ids.append(self._validation[0])
                labels.append(self._validation[1])
        self._ids, self._labels = to_arrow(np.concatenate(ids)), np.concatenate(labels)

    def of(self, cells: "Texts") -> "Texts":
        """Labels of cells, in their order."""
        rows = positions(to_arrow(cells), self._ids)
        if absent := int((rows < 0).sum()):
            raise DataError(
                f"{self._fit.path}: '{self._fit.run.method}' left no label for {absent} of {len(cells)} cells, such as "
                f"{', '.join(cells[rows < 0][:_SHOWN])}"
            )
        return self._labels[rows]

    def score(self, labels: "pd.Series") -> float | None:
        """Macro F1 over the validation cells with a known label; None where it left no predictions of them."""
        if self._validation is None:
            return None
        ids, predicted = self._validation
        truth = labels.reindex(ids).fillna(UNKNOWN).to_numpy(dtype=object)
        known = truth != UNKNOWN
        if not known.any():
            return None
        names = sorted({*truth[known], *predicted[known]})
        true, guessed = (Categorical.of(of[known]).recode(names) for of in (truth, predicted))
        return macro_f1_of_codes(true, guessed)


def _share(values: "NDArray[np.bool_]") -> float:
    return round(float(np.mean(values)), 4)
