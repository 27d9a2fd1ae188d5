"""The job of a fit: everything that it is made from.

Light at import: the Snakefile builds the part of a job that comes from configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annobench.config.method_facts import Abilities, Needs
from annobench.core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Command(Spec):
    """Command line of an external method, and the format of the cells that it reads (`h5ad` or `mtx`)."""

    command: str
    format: str


@dataclass(frozen=True, kw_only=True)
class Use(Spec):
    """Fits of other methods that a fit reads.

    Parameters
    ----------
    output
        What it reads of them, a key of `OUTPUTS`.
    methods
        Whose fits they are.
    several
        Whether it reads several, and does without those that did not succeed.
    """

    output: str
    methods: tuple[str, ...]
    several: bool = False


@dataclass(frozen=True, kw_only=True)
class MethodSettings(Spec):
    """What a fit uses of a method file.

    Parameters
    ----------
    implementation
        Name of a file in annobench/methods.
    parameters
        Keyword arguments of its class; `download:<name>` means the path of that file.
    exec
        Of an external method only.
    needs, abilities
        What its class and its file state.
    environment
        Name of its conda file in envs, of whose packages the versions are recorded.
    uses
        Fits of other methods that it reads, by the name by which it knows them.
    """

    implementation: str
    parameters: Mapping[str, Any]
    exec: Command | None
    needs: Needs
    abilities: Abilities
    environment: str
    uses: Mapping[str, Use] = field(default_factory=dict)

    @property
    def uses_gpu(self) -> bool:
        """Whether it runs on a CUDA device where there is one."""
        return self.needs.gpu or self.abilities.gpu


@dataclass(frozen=True, kw_only=True)
class Keep(Spec):
    """Which optional files of a fit are kept; see `keep` in the schema of a study."""

    model: bool
    probabilities: bool | str
    decisions: bool
    embedding: bool
    embedding_roles: tuple[str, ...]
    doublets: bool = False


@dataclass(frozen=True, kw_only=True)
class FitSettings(Spec):
    """The part of a job that comes from configuration: the params of its rule.

    Parameters
    ----------
    method
        What is used of the method's file.
    device
        `cpu`, `cuda` or `auto`.
    keep
        Optional files.
    top_k
        Labels kept per cell.
    training
        Genes of the training cells where a panel measures only some: `all`, or the genes of the panel (`panel`).
    """

    method: MethodSettings
    device: str
    keep: Keep
    top_k: int
    training: str


@dataclass(frozen=True, kw_only=True)
class FitFiles(Spec):
    """Absolute paths of what a fit reads: `panel` and `unrelated` (cells of another tissue) where there are any.

    `uses` holds the folders of fits of other methods, by method; `tokens` and `weights` are the folders of tokens of
    the cells and of their checkpoint, where there are any.
    """

    cells: str
    split: str
    train: str
    ontology: str
    panel: str | None = None
    unrelated: str | None = None
    tokens: str | None = None
    weights: str | None = None
    uses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Identity(Spec):
    """Names of a fit."""

    dataset: str
    split: str
    method: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Limits(Spec):
    """What a fit may use: memory (MB) of all its processes, and seconds."""

    memory_mb: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Facts(Spec):
    """Facts for the run record that a fit itself does not know.

    Parameters
    ----------
    data_sha256, code
        Hashes of the prepared cells and of the code of the fit.
    gene_overlap
        Of a pair: genes of each part, and how many are shared.
    downloads
        Name -> file, sha256 and url.
    """

    data_sha256: str
    code: str
    gene_overlap: Mapping[str, Any] | None = None
    downloads: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class FitJob(Spec):
    """Everything that a fit is made from.

    Parameters
    ----------
    settings
        What comes from configuration.
    identity, facts
        What the run record takes over unchanged.
    files
        What is read.
    downloads
        Path of every file that the method declares, by name.
    missing
        Why one of them is missing; the fit is then skipped.
    limits
        Enforced by the parent process.
    threads, gpus
        What the method may use; with several GPUs a method that can (`abilities.parallel`) trains on all of them.
    processes
        Processes that train together; by default one for each GPU.
    on_failure
        `record`, or `raise` to end the job with an error after the record is written.
    checkpoint
        Folder for what a long training needs to go on after a kill; set by the parent process.
    """

    settings: FitSettings
    identity: Identity
    files: FitFiles
    limits: Limits
    facts: Facts
    threads: int
    gpus: int = 1
    downloads: Mapping[str, str]
    missing: str | None = None
    on_failure: str = "record"
    processes: int | None = None
    checkpoint: str | None = None

    @property
    def method(self) -> MethodSettings:
        """What is used of the method's file."""
        return self.settings.method

    @property
    def needs(self) -> Needs:
        """What the method cannot do without."""
        return self.settings.method.needs

    @property
    def abilities(self) -> Abilities:
        """What the method gives."""
        return self.settings.method.abilities

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return self.identity.seed
