"""What preparing a dataset reads and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from annobench.core.errors import AnnobenchError
from annobench.core.progress import Report
from annobench.data.prepare.conditions import Conditions
from annobench.data.prepare.observations import Observations
from annobench.data.prepare.spec import DatasetSpec
from annobench.ontology import Ontology

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.source import StoreFile

    Coordinates: TypeAlias = h5py.Dataset | NDArray[np.floating]


@dataclass(frozen=True)
class PreparedFiles:
    """Where a prepared dataset lies: cells.h5ad, obs.parquet and card.json, all in one folder."""

    cells: Path
    obs: Path
    card: Path

    @classmethod
    def within(cls, folder: Path) -> "PreparedFiles":
        """The files of a dataset in its folder."""
        return cls(folder / "cells.h5ad", folder / "obs.parquet", folder / "card.json")

    @property
    def store(self) -> Path:
        """The store, where the counts lie in one."""
        return self.cells.parent / "store"

    @property
    def begun(self) -> Path:
        """Where the store is written until it is finished.

        It is not an output of a rule, so that Snakemake leaves it alone and a writer that was killed resumes there.
        """
        return self.cells.parent / "store.part"


@dataclass(frozen=True)
class Task:
    """A plain dataset to prepare.

    Parameters
    ----------
    name
        Of the dataset, which is the study of its cells where none is given.
    spec
        What its YAML says.
    source
        The fetched file, or the folder of a store.
    fetched
        Its record, source.json.
    ontology
        The release that labels are mapped to.
    label_table
        A table of config/labels.
    outputs
        Where everything goes.
    report
        Says one line of progress.
    """

    name: str
    spec: DatasetSpec
    source: Path
    fetched: Mapping[str, object]
    ontology: Ontology
    label_table: Path | None
    outputs: PreparedFiles
    report: Report

    @property
    def file(self) -> str:
        """Name of the source, for messages."""
        return self.source.name

    def facts(self, matrix: str) -> dict[str, object]:
        """What the cells contract keeps in `uns["annobench"]`; `matrix` is what the values are."""
        done = self.spec.perturbation
        return {"matrix": matrix, "ontology": self.ontology.release, **(done.facts if done else {})}

    def coordinates(self, file: "H5adFile | StoreFile") -> "tuple[Coordinates | None, dict[str, object]]":
        """Coordinates of the cells, read in parts; and what the card says where there are some that cannot be read."""
        try:
            return file.coordinates(), {}
        except (AnnobenchError, OSError, KeyError) as error:
            self.report(f"warning: coordinates are left out: {error}")
            return None, {"coordinates_left_out": str(error)}

    def observations(self, columns: Sequence[str]) -> Observations:
        """The mapping of a source's obs with these columns."""
        done = self.spec.perturbation
        conditions = None if done is None else Conditions(done, columns, self.source)
        return Observations(
            self.name,
            self.spec.cells,
            columns,
            ontology=self.ontology,
            label_table=self.label_table,
            file=self.file,
            conditions=conditions,
        )
