"""A file of cells on this machine; linked and hashed, or converted to h5ad once."""

import os
from dataclasses import dataclass
from pathlib import Path

from annobench.cells.not_h5ad import not_h5ad
from annobench.core.errors import DataError
from annobench.core.files import expanded, sha256_of
from annobench.core.progress import Report
from annobench.data.sources.shared.foreign import H5AD, converted, files_of
from annobench.data.sources.shared.paths import stated_path
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`path` is relative to the folder of the run; ~ and variables are expanded.

    `format` says what it is; `genes` whether rows or columns of a table of counts are genes; `observations` is a table
    of the cells. The last two are of formats that are converted.
    """

    path: str
    sha256: str | None = None
    format: str = H5AD
    genes: str = "rows"
    observations: str | None = None

    def files(self) -> list[Path]:
        """The file, or those of the folder, and the table of the cells."""
        paths = [expanded(self.path), *([expanded(self.observations)] if self.observations else [])]
        return [file for path in paths if path.exists() for file in files_of(path)]

    def memory_mb(self, stated: int) -> int:
        """Memory (MB) of fetching: a file that is converted is read."""
        return super().memory_mb(stated) if self.format == H5AD else max(stated, super().memory_mb(stated))

    def stated(self) -> list[str]:
        """`path`."""
        return [self.path]

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Make a symbolic link: the file may be large, and it is the user's own. Other formats are converted."""
        path = stated_path(self.path)
        if not path.exists():
            raise DataError(f"source.path: no file '{path}' (from '{self.path}'); relative paths start at {Path.cwd()}")
        if self.format != H5AD:
            table = stated_path(self.observations) if self.observations else None
            target = folder / f"{path.name.removesuffix('.gz').removesuffix('.h5ad')}.h5ad"
            step = converted(path, target, self.format, genes=self.genes, observations=table, report=report)
            if self.sha256 and path.is_file() and sha256_of(path) != self.sha256:
                raise DataError(
                    f"source.sha256: {path} has sha256 {sha256_of(path)}; it is not the file that was declared"
                )
            return Fetched(target, [{"step": "local", "path": str(path.resolve())}, step])
        if self.observations:
            raise DataError("source.observations: is of formats that are converted; add the columns to obs of the h5ad")
        if path.is_dir():
            raise not_h5ad(path)
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(_target(path.resolve(), folder.resolve()))
        return Fetched(link, [{"step": "local", "path": str(path.resolve())}], self.sha256)


def _target(file: Path, folder: Path) -> str:
    """What a link in a folder says: a relative path where both lie in the checkout, which may move."""
    here = Path.cwd()
    inside = file.is_relative_to(here) and folder.is_relative_to(here)
    return os.path.relpath(file, folder) if inside else str(file)
