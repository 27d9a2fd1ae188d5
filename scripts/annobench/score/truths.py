"""True labels of the cells that a fit is scored on: only scoring and the audit read them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.parquet import NOT_GIVEN, Categorical, column_names, read_columns, take
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Truths:
    """The test cells of a split with their true labels, as they are scored, and what else scoring takes of the dataset.

    ids: Arrow text (n,). labels: rolled up. known: (n,) whether the label is known. columns: study and donor; tissue
    and disease where the dataset has them, seen_tissue and seen_disease where some are new to the training cells, and
    republished where some are.
    places: (n,) positions in the dataset, which has `cells` cells. validation: ids and labels of the validation cells.
    training: classes of the training cells, rolled up. unlabelled: test cells whose own label is unknown, before
    rolling up.
    """

    ids: Any
    labels: Categorical
    known: "NDArray[np.bool_]"
    columns: Mapping[str, Categorical]
    places: "NDArray[np.intp]"
    cells: int
    validation: tuple[Any, Categorical]
    training: list[str]
    rollup: Rollup | None
    unlabelled: int = 0
    ood: list[str] | None = None

    def of(self, cells: "NDArray[np.intp]") -> "Truths":
        """Some of the test cells."""
        if len(cells) == len(self.known):
            return self
        found = {
            "ids": take(self.ids, cells),
            "labels": self.labels[cells],
            "known": self.known[cells],
            "columns": {name: values[cells] for name, values in self.columns.items()},
            "places": self.places[cells],
        }
        return replace(self, **found)


def read_truths(obs: Path, split: Path, train: Path, ontology: Ontology, rollup: Mapping[str, Any] | None) -> Truths:
    """True labels of the test and validation cells, rolled up where the evaluation says so."""
    rule = Rollup.from_config(rollup, ontology) if rollup else None
    roles = read_columns(split, ["role"], categorical=["role"])["role"]
    test = roles == "test"
    text = ("label_id", "study", "donor")
    columns = read_columns(obs, ["cell_id", *text], categorical=text, texts=["cell_id"], rows=test)
    judged = read_columns(obs, ["cell_id", "label_id"], categorical=text, texts=["cell_id"], rows=roles == "val")
    labels = rolled_codes(columns["label_id"], rule, ontology)
    fine = read_columns(train, ["label_id"], categorical=["label_id"])["label_id"]
    return Truths(
        ids=columns["cell_id"],
        labels=labels,
        known=~(labels == UNKNOWN),
        columns={name: columns[name] for name in ("study", "donor")} | surroundings(obs, roles, test),
        places=np.flatnonzero(test),
        cells=len(test),
        validation=(judged["cell_id"], rolled_codes(judged["label_id"], rule, ontology)),
        training=sorted(set(rolled_codes(fine, rule, ontology).counts()) - {UNKNOWN}),
        rollup=rule,
        unlabelled=int((columns["label_id"] == UNKNOWN).sum()),
    )


def surroundings(obs: Path, roles: Categorical, test: "NDArray[np.bool_]") -> dict[str, Categorical]:
    """Tissue and disease of the test cells, whether any training cell has them (`seen` or `unseen`), and republished.

    `obs` is the table of all cells, `roles` what each is, `test` which are meant. Where nothing is unseen there is
    nothing to tell apart, and no such column.
    """
    train = roles == "train"
    found: dict[str, Categorical] = {}
    for column in (name for name in ("tissue", "disease") if name in column_names(obs)):
        values = read_columns(obs, [column], categorical=[column])[column]
        found[column] = values[test]
        trained = np.zeros(len(values.names) + 1, dtype=bool)  # the last one stands for a missing text
        trained[values.codes[train]] = True
        known = {name for name, there in zip(values.names, trained[:-1], strict=True) if there} - {NOT_GIVEN}
        seen = {name: "seen" if name in known else "unseen" for name in values.names} | {NOT_GIVEN: NOT_GIVEN}
        if known and any(seen[name] == "unseen" for name in found[column].counts()):
            found[f"seen_{column}"] = found[column].renamed(seen.__getitem__)
    if "republished" in column_names(obs):  # cells of the training studies that came again under another name
        again = read_columns(obs, ["republished"], categorical=["republished"], rows=test)["republished"]
        if again.counts().get("true"):
            found["republished"] = again
    return found


def rolled(labels: "NDArray[Any]", rule: Rollup | None, ontology: Ontology) -> "NDArray[Any]":
    """Labels rolled up by a rule; as they are without one."""
    if rule is None:
        return labels
    return rolled_codes(Categorical.of(labels.ravel()), rule, ontology).to_text().reshape(labels.shape)


def rolled_codes(labels: Categorical, rule: Rollup | None, ontology: Ontology) -> Categorical:
    """The same for labels by number."""
    return labels if rule is None else labels.renamed(lambda label: rule.of(label, ontology))
