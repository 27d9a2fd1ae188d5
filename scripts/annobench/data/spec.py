"""Specs of what is fetched: sources of datasets, panels, orthologues, the ontology, and files that methods declare.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from annobench.core.files import expanded
from annobench.core.progress import Report
from annobench.core.spec import Spec

if TYPE_CHECKING:
    from annobench.config.results import Results

Given = Mapping[str, Sequence[Path]]  # files that the inputs of a rule name
Step = dict[str, object]  # one entry of `steps` in source.json
LINK_MB = 2000  # memory (MB) of fetching a file that is not read


@dataclass(frozen=True)
class Surroundings:
    """What a source may ask for as input."""

    dataset: str
    ontology: str  # JSON of the study's ontology release
    results: "Results"


@dataclass(frozen=True)
class Fetched:
    """What a source brought.

    Parameters
    ----------
    file
        What `prepare` reads: a file, or the folder of a store.
    steps
        How it came here, for the record.
    expected
        SHA-256 that the dataset states for `file`; None where it states none.
    unverified
        Name and SHA-256 of a download for which the dataset states none: recorded once and enforced from then on.
    """

    file: Path
    steps: list[Step]
    expected: str | None = None
    unverified: tuple[str, str] | None = None


@dataclass(frozen=True)
class SourceSpec(Spec, ABC):
    """Where the cells of a dataset come from: `source` of its YAML.

    Every kind is one module `annobench.data.sources.<kind>` with a class `Source` derived from this, and one schema
    `workflow/schemas/sources/<kind>.yaml`. The Snakefile imports the module: what is heavy is imported inside `fetch`.
    """

    kind: str

    real: ClassVar[bool] = True  # false for simulated cells, whose genes mark nothing

    @classmethod
    def variant(cls, params: Mapping[str, Any]) -> type[Self]:
        """The `Source` of the kind that `params` name."""
        if cls is not SourceSpec:
            return cls
        source: type[Self] = import_module(f"annobench.data.sources.{params['kind']}").Source
        return source

    def files(self) -> list[Path]:
        """Files of this machine that are read and exist; the source is fetched again when one of them changes."""
        return []

    def stated(self) -> list[str]:
        """Places of this machine that are named, as written, whether they exist or not."""
        return []

    def inputs(self, near: Surroundings) -> dict[str, list[str]]:
        """Files that other rules must have made first, by the name under which `fetch` is given them."""
        return {}

    def unverified(self) -> str | None:
        """Name of the download whose hash the dataset does not state; None where there is none."""
        return None

    def expecting(self, sha256: str) -> "SourceSpec":
        """The same with the hash of that download."""
        return replace(self, sha256=sha256)  # type: ignore[call-arg]

    def memory_mb(self, stated: int) -> int:
        """Memory (MB) of fetching; `stated` is that of preparing the dataset."""
        return LINK_MB

    @abstractmethod
    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Bring the files into `folder`.

        Parameters
        ----------
        folder
            Exists, and is that of this source alone.
        given
            The files behind `inputs` and `files`.
        report
            Says one line of progress.

        Raises
        ------
        DataError, DownloadError
        """


def has_real_cells(dataset: Mapping[str, Any]) -> bool:
    """Whether the cells of a plain dataset were measured; a simulation has no markers and nothing published."""
    return "source" not in dataset or SourceSpec.variant(dataset["source"]).real


@dataclass(frozen=True)
class PanelColumns(Spec):
    """Columns of a panel's table: gene symbols, and Ensembl ids where it has them."""

    name: str
    id: str | None = None


@dataclass(frozen=True)
class PanelSpec(Spec):
    """What fetching a gene panel uses of its file in config/panels."""

    source: SourceSpec
    columns: PanelColumns


@dataclass(frozen=True)
class OrthologueSpec(Spec):
    """What fetching a table of orthologues uses of its file in config/orthologues: `columns` are the two of symbols."""

    source: SourceSpec
    columns: tuple[str, ...]


@dataclass(frozen=True)
class OntologySpec(Spec):
    """A release of the Cell Ontology: `ontology` of a study."""

    source: str
    release: str
    path: str | None = None
    urls: tuple[str, ...] = ()
    file: str | None = None
    sha256: str | None = None

    def files(self) -> list[str]:
        """The OBO or OWL file of this machine that is read, if it exists."""
        file = expanded(self.path) if self.source == "obo" and self.path else None
        return [str(file)] if file and file.is_file() else []

    def stated(self) -> list[str]:
        """The place of that file as written."""
        return [self.path] if self.source == "obo" and self.path else []


@dataclass(frozen=True)
class DownloadSpec(Spec):
    """A file that a method declares under `downloads`.

    With a `distribution` it is the `member` of the `archive`, a file of that distribution of the Python package index.
    """

    file: str
    urls: tuple[str, ...] = ()
    index: str | None = None
    version: str | None = None
    sha256: str | None = None
    distribution: str | None = None
    archive: str = ""
    archive_sha256: str | None = None
    member: str = ""
