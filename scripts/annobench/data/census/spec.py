"""Specs of a dataset of kind census, and of releases that are built here.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annobench.core.spec import Spec

Value = str | bool | int  # of a column of the Census's obs
Settings = Mapping[str, str | bool | int | float]  # of TileDB, for the client


@dataclass(frozen=True)
class TableColumn(Spec):
    """A column of a .csv or tab-separated table; a relative path starts at the repository."""

    file: str
    column: str


@dataclass(frozen=True)
class OutsideFile(Spec):
    """A file on this machine (`path`), or a download (`urls`, `file`)."""

    path: str | None = None
    urls: tuple[str, ...] = ()
    file: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class OntologyFile(OutsideFile):
    """A release of the Cell Ontology: a file, or without one a release of the installed ontology guide."""

    release: str


@dataclass(frozen=True)
class CellList(OutsideFile):
    """A .csv (also inside a .zip) with numbers of cells in one of its columns."""

    column: str = "soma_joinid"


@dataclass(frozen=True)
class CorpusSpec(Spec):
    """The least that a cell type must have; without `root` there are no rules. `ontology` is the study's by default."""

    root: str | None
    min_cells: int
    min_donors: int
    min_ancestors: int
    ontology: OntologyFile | None = None


@dataclass(frozen=True)
class GeneChoice(Spec):
    """Which genes are taken: those of a table, those that all chosen datasets measured, or all."""

    file: str | None = None
    column: str = "feature_id"
    measured: bool = False


@dataclass(frozen=True)
class ChunkSpec(Spec):
    """What fetching a chunk uses of a source besides the selection."""

    release: str
    uri: str | None
    built: str | None
    organism: str
    chunks: int
    tiledb: Settings


@dataclass(frozen=True)
class CensusSpec(Spec):
    """The source of a dataset of kind census; see `workflow/schemas/sources/census.yaml`."""

    kind: str
    release: str
    uri: str | None
    built: str | None
    organism: str
    filters: Mapping[str, tuple[Value, ...] | TableColumn]
    new_since: str | None
    new_since_uri: str | None
    corpus: CorpusSpec
    exclude: CellList | None
    max_cells: int | None
    seed: int
    genes: GeneChoice
    missing_genes: str
    obs: tuple[str, ...]
    chunks: int
    tiledb: Settings

    def stated(self) -> list[str]:
        """`uri`, if it is a place on this machine."""
        return [] if self.uri is None or "://" in self.uri else [self.uri]

    def chunk(self) -> ChunkSpec:
        """What fetching a chunk uses of it."""
        return ChunkSpec(self.release, self.uri, self.built, self.organism, self.chunks, self.tiledb)

    def tables(self) -> list[str]:
        """Files of this machine that say which cells and genes are taken, as the YAML names them."""
        of_filters = [values.file for values in self.filters.values() if isinstance(values, TableColumn)]
        outside = [one.path for one in (self.exclude, self.corpus.ontology) if one]
        return [file for file in (*of_filters, self.genes.file, *outside) if file]


@dataclass(frozen=True)
class SelectionFiles:
    """Where a selection lies: cells and genes (parquet), and the record (JSON)."""

    cells: Path
    genes: Path
    record: Path


@dataclass(frozen=True)
class PartSpec(Spec):
    """What census_info/datasets says of a dataset in a release that is built here.

    Parameters
    ----------
    title, collection
        Of the dataset; `collection` is one of its own where left out.
    dataset_id
        The name of the dataset where left out; a dataset of several studies becomes one for each of them.
    primary
        Whether its cells are primary data.
    """

    title: str = ""
    collection: str = ""
    dataset_id: str = ""
    primary: bool = True


@dataclass(frozen=True)
class GeneTable(Spec):
    """Table with the Ensembl ids (`id`) of symbols (`name`); a relative path starts at the repository."""

    file: str
    id: str = "feature_id"
    name: str = "feature_name"


@dataclass(frozen=True)
class ReleaseSpec(Spec):
    """A release to build: its datasets, and all datasets whose genes it knows."""

    parts: Mapping[str, PartSpec]
    family: tuple[str, ...]
    genes: GeneTable | None = None
