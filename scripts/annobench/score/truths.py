"""True labels of the cells that a fit is scored on: only scoring and the audit read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical, column_names, read_columns, take
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.rollup import Rollup
from annobench.score.spec import RollupRule

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass
class Truths:
    """The test cells of a split with their true labels, as they are scored, and what else scoring takes of the dataset.

    Parameters
    ----------
    ids
        Ids of the test cells, Arrow text (n,).
    labels
        Their labels, rolled up, (n,).
    known
        Whether the label is known, (n,).
    columns
        study and donor; tissue and disease where the dataset has them, seen_tissue and seen_disease where some are new
        to the training cells, and republished where some are; (n,) each.
    places
        Positions of the test cells in the dataset, (n,).
    cells
        Number of cells of the dataset.
    validation
        Ids and labels of the validation cells.
    training
        Classes of the training cells, rolled up. Where no cell trains (regime zero_shot), those of the tested labels.
    class_sizes
        Training cells by label, before rolling up. Where no cell trains, tested cells by label.
    trained
        Whether any cell trains.
    rollup
        The rule that labels are rolled up by.
    unlabelled
        Test cells whose own label is unknown, before rolling up.
    ood
        Classes of the cells of another release, on which the same fit is scored.
    """

    ids: "pa.Array"
    labels: Categorical
    known: "NDArray[np.bool_]"
    columns: Mapping[str, Categorical]
    places: "NDArray[np.intp]"
    cells: int
    validation: "tuple[pa.Array, Categorical]"
    training: list[str]
    class_sizes: Mapping[str, int]
    trained: bool = True
    rollup: Rollup | None = None
    unlabelled: int = 0
    ood: list[str] | None = None

    @property
    def unknown(self) -> int:
        """Test cells whose label, rolled up, is unknown."""
        return len(self.known) - int(self.known.sum())

    def of(self, cells: "NDArray[np.intp]") -> "Truths":
        """Some of the test cells."""
        if len(cells) == len(self.known):
            return self
        part = {
            "ids": take(self.ids, cells),
            "labels": self.labels[cells],
            "known": self.known[cells],
            "columns": {name: values[cells] for name, values in self.columns.items()},
            "places": self.places[cells],
        }
        return replace(self, **part)


def rollup_of(rule: RollupRule | None, ontology: Ontology) -> Rollup | None:
    """The rule of a spec, checked against the ontology; None for None."""
    return Rollup.from_config(rule.to_params(), ontology) if rule else None


def read_truths(
    obs: Path,
    roles_file: Path,
    train: Path,
    ontology: Ontology,
    rule: Rollup | None = None,
    *,
    groups: Sequence[str] = (),
) -> Truths:
    """True labels of the test and validation cells, rolled up where the evaluation says so.

    Parameters
    ----------
    obs
        Observations of the dataset.
    roles_file
        Roles of its cells.
    train
        Training cells, with their labels.
    ontology, rule
        How labels are rolled up.
    groups
        Further columns of obs to read. Raises DataError where obs has no such column.
    """
    roles = read_columns(roles_file, ["role"], categorical=["role"])["role"]
    test = roles == "test"
    text = ("label_id", "study", "donor")
    columns = read_columns(obs, ["cell_id", *text], categorical=text, texts=["cell_id"], rows=test)
    validation = read_columns(obs, ["cell_id", "label_id"], categorical=text, texts=["cell_id"], rows=roles == "val")
    labels = rolled_codes(columns["label_id"], rule, ontology)
    trained = read_columns(train, ["label_id"], categorical=["label_id"])["label_id"]
    fine = trained if len(trained) else columns["label_id"]
    return Truths(
        ids=columns["cell_id"],
        labels=labels,
        known=~(labels == UNKNOWN),
        columns={name: columns[name] for name in ("study", "donor")}
        | surroundings(obs, roles, test)
        | _named(obs, groups, test),
        places=np.flatnonzero(test),
        cells=len(test),
        validation=(validation["cell_id"], rolled_codes(validation["label_id"], rule, ontology)),
        training=sorted(set(rolled_codes(fine, rule, ontology).counts()) - {UNKNOWN}),
        class_sizes={label: n for label, n in fine.counts().items() if label != UNKNOWN},
        trained=len(trained) > 0,
        rollup=rule,
        unlabelled=int((columns["label_id"] == UNKNOWN).sum()),
    )


def _named(obs: Path, names: Sequence[str], test: "NDArray[np.bool_]") -> dict[str, Categorical]:
    """Columns of the test cells that the evaluation names."""
    known = column_names(obs)
    for name in names:
        if name not in known:
            raise DataError(
                f"{obs}: columns.groups: there is no column '{name}'{nearest(name, known)}; cells.columns of the "
                "dataset keeps further ones"
            )
    return {name: read_columns(obs, [name], categorical=[name], rows=test)[name] for name in names}


def surroundings(obs: Path, roles: Categorical, test: "NDArray[np.bool_]") -> dict[str, Categorical]:
    """Tissue and disease of the test cells, whether any training cell has them (`seen` or `unseen`), and republished.

    Parameters
    ----------
    obs
        Observations of all cells.
    roles
        Role of every cell.
    test
        Which cells are wanted.

    Returns
    -------
    Column -> values of these cells. Where nothing is unseen there is no such column.
    """
    train = roles == "train"
    of_cells: dict[str, Categorical] = {}
    for column in (name for name in ("tissue", "disease") if name in column_names(obs)):
        values = read_columns(obs, [column], categorical=[column])[column]
        of_cells[column] = values[test]
        trained = np.zeros(len(values.names) + 1, dtype=bool)  # the last one is for a missing text
        trained[values.codes[train]] = True
        known = {name for name, there in zip(values.names, trained[:-1], strict=True) if there} - {NOT_GIVEN}
        seen = {name: "seen" if name in known else "unseen" for name in values.names} | {NOT_GIVEN: NOT_GIVEN}
        if known and any(seen[name] == "unseen" for name in of_cells[column].counts()):
            of_cells[f"seen_{column}"] = of_cells[column].renamed(seen.__getitem__)
    if "republished" in column_names(obs):  # cells of the training studies that came again under another name
        again = read_columns(obs, ["republished"], categorical=["republished"], rows=test)["republished"]
        if again.counts().get("true"):
            of_cells["republished"] = again
    return of_cells


def rolled(labels: "NDArray[np.object_]", rule: Rollup | None, ontology: Ontology) -> "NDArray[np.object_]":
    """Labels rolled up by a rule; as they are without one."""
    if rule is None:
        return labels
    return rolled_codes(Categorical.of(labels.ravel()), rule, ontology).to_text().reshape(labels.shape)


def rolled_codes(labels: Categorical, rule: Rollup | None, ontology: Ontology) -> Categorical:
    """Labels rolled up by a rule; as they are without one."""
    return labels if rule is None else labels.renamed(lambda label: rule.of(label, ontology))
