"""What `annobench annotate` is asked to do. Light, because the command line imports it whatever the command."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from annobench.core.errors import AnnobenchError, ConfigError

STATES = ("counts", "fractional_counts", "log1p_cp10k", "log1p_cpm", "log1p", "log2", "normalised")
FORMATS = (".h5ad", ".parquet", ".csv")
BLOCK = 16_384  # cells that are annotated at a time
_PREFIX = re.compile(r"[A-Za-z0-9_.-]*")


class OutputError(AnnobenchError):
    """A file cannot be written."""


@dataclass(frozen=True)
class ReadOptions:
    """How a file of new cells is read.

    Parameters
    ----------
    slot
        `X`, `raw` or `layers/NAME`.
    state
        What its values are, one of STATES; None to tell from the values.
    gene_id, gene_name
        Columns of var with Ensembl ids and symbols (`index` for its index); `auto` to look for them.
    min_overlap
        Share of the genes of the model that the cells must have.
    """

    slot: str = "X"
    state: str | None = None
    gene_id: str | None = "auto"
    gene_name: str = "auto"
    min_overlap: float = 0.5


@dataclass(frozen=True)
class DecodingOptions:
    """Labels that are chosen beside those of the method.

    Parameters
    ----------
    decodings
        Names of decodings (docs/decodings.md).
    confidence
        Wanted confidence of those that have one; None for their default.
    max_error
        Wanted error: cells below the cut for it become unknown; None for no cut.
    clusters
        Column of obs with clusters, or `leiden`, within which the decoding `clusters` takes the majority.
    allowed
        File with the ids of the types that can be there, for the decoding `allowed`.
    """

    decodings: tuple[str, ...] = ()
    confidence: float | None = None
    max_error: float | None = None
    clusters: str | None = None
    allowed: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All decodings that are wanted."""
        more = {"clusters": self.clusters, "allowed": self.allowed}
        return tuple(dict.fromkeys((*self.decodings, *(name for name, value in more.items() if value is not None))))


@dataclass(frozen=True)
class AnnotateJob:
    """What is annotated by what.

    Parameters
    ----------
    model
        Folder of a fit, or its folder `model`.
    cells
        An h5ad file.
    out
        The file to write; its ending says the format. A report lies beside it as `<out>.json`.
    read
        How the cells are read.
    decode
        Labels that are chosen beside those of the method.
    prefix
        What the names of new columns of obs begin with.
    force
        Overwrite what is there.
    device, threads
        `cpu` or `cuda`, and threads that the method may use.
    block
        Cells that are annotated at a time.
    """

    model: Path
    cells: Path
    out: Path
    read: ReadOptions = field(default_factory=ReadOptions)
    decode: DecodingOptions = field(default_factory=DecodingOptions)
    prefix: str = ""
    force: bool = False
    device: str = "cpu"
    threads: int = 1
    block: int = BLOCK

    def check(self) -> None:
        """Raise an error for what would fail at the end: the file to write, and options."""
        if self.out.suffix not in FORMATS:
            raise OutputError(f"{self.out}: ends in '{self.out.suffix}', expected one of {', '.join(FORMATS)}")
        if self.out.exists() and self.cells.exists() and self.out.samefile(self.cells):
            raise OutputError(f"{self.out}: is the file with the cells, which is never overwritten; name another")
        if self.out.is_dir():
            raise OutputError(f"{self.out}: is a folder; name a file")
        for path in (self.out, self.report):
            if path.exists() and not self.force:
                raise OutputError(f"{path}: exists; name another file, or overwrite it by --force")
        if self.read.state not in (None, *STATES):
            raise ConfigError(f"--state is '{self.read.state}', expected one of {', '.join(STATES)}")
        if not 0 < self.read.min_overlap <= 1:
            raise ConfigError(f"--min-overlap is {self.read.min_overlap:g}, expected a share above 0 and at most 1")
        if self.decode.max_error is not None and not 0 < self.decode.max_error < 1:
            raise ConfigError(f"--max-error is {self.decode.max_error:g}, expected a share above 0 and below 1")
        if not _PREFIX.fullmatch(self.prefix):
            raise ConfigError(f"--prefix is '{self.prefix}', expected letters, digits, dots, hyphens and underscores")

    @property
    def report(self) -> Path:
        """Where the report lies."""
        return self.out.with_name(f"{self.out.name}.json")
