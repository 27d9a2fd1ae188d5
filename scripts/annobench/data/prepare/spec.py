"""Specs of what is prepared.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from annobench.cells.spec import GenesSpec, MatrixSpec
from annobench.core.spec import Spec


@dataclass(frozen=True)
class CellsSpec(Spec):
    """Columns of obs: each the name of a column, `=text` for the same text on every cell, or None.

    Parameters
    ----------
    columns
        Name in the prepared data -> column: what else is kept of obs.
    rename
        Column -> old text -> new text.
    duplicated_ids
        What to do with duplicate cell ids: `error`, or `suffix` to number them.
    """

    label: str | None
    label_id: str | None
    label_table: str | None
    study: str | None
    donor: str | None
    batch: str | None
    assay: str | None
    tissue: str | None
    disease: str | None
    republished: str | None
    rename: Mapping[str, Mapping[str, str]]
    duplicated_ids: str
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def extra(self) -> dict[str, str]:
        """The columns that obs has only where they are declared."""
        return ({"republished": self.republished} if self.republished else {}) | dict(self.columns)


@dataclass(frozen=True)
class PerturbationSpec(Spec):
    """What was done to the cells: `perturbation` of a dataset file, whose schema describes the fields."""

    condition: str
    control: str
    separator: str = "+"
    no_gene: tuple[str, ...] = ()
    pairs: str | None = None

    @property
    def facts(self) -> dict[str, object]:
        """What methods are told of it, in `uns["annobench"]`."""
        return {"control": self.control, "separator": self.separator, "no_gene": list(self.no_gene)}


@dataclass(frozen=True)
class PairSpec(Spec):
    """How the references and the query of a pair are joined."""

    references: tuple[str, ...]
    query: str
    genes: str
    values: str
    min_genes: int

    @property
    def parts(self) -> tuple[str, ...]:
        """The datasets, the query last."""
        return (*self.references, self.query)


@dataclass(frozen=True)
class CombinedSpec(Spec):
    """How the cells of several datasets become one dataset."""

    datasets: tuple[str, ...]
    genes: str
    values: str
    min_genes: int


@dataclass(frozen=True)
class DatasetSpec(Spec):
    """What preparing uses of a dataset file: no prose, no resources, nothing that only other steps use."""

    matrix: MatrixSpec
    storage: str
    genes: GenesSpec
    cells: CellsSpec
    pair: PairSpec | None = None
    perturbation: PerturbationSpec | None = None
    combined: CombinedSpec | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The datasets that it is made of, the query of a pair last; none where it has a source of its own."""
        if self.combined:
            return self.combined.datasets
        return self.pair.parts if self.pair else ()

    @classmethod
    def of(cls, dataset: Mapping[str, object]) -> Self:
        """From a validated dataset file."""
        return cls.from_params({f.name: dataset[f.name] for f in fields(cls) if f.name in dataset})
