"""Any file of cells that a dataset could name: opened, or converted for the time being."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.cells.not_h5ad import not_h5ad
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.manifest import MANIFEST
from annobench.cells.store.source import StoreFile
from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.core.progress import Report, silent
from annobench.core.scratch import scratch_folder
from annobench.data.prepare.columns import coded
from annobench.data.prepare.storage import opened
from annobench.data.sources.shared.foreign import H5AD, converted

if TYPE_CHECKING:
    import pandas as pd

_SAYS_FORMAT = re.compile(r"source\.format: (\w+)")


@dataclass(frozen=True)
class OwnFile:
    """A file of cells that can be read.

    Parameters
    ----------
    given
        As it was named.
    path
        What is read: the file, the folder of a store, or the h5ad that it was converted to.
    format
        `source.format` of a dataset that names it.
    """

    given: Path
    path: Path
    format: str

    @property
    def name(self) -> str:
        """For messages."""
        return self.given.name

    def open(self, slot: str | None = None) -> H5adFile | StoreFile:
        """Values of a slot, or observations only; use it as a context manager. Raises DataError."""
        return opened(self.path, "X" if slot and (self.path / MANIFEST).is_file() else slot)


@contextmanager
def own_file(file: str | Path, report: Report = silent) -> Iterator[OwnFile]:
    """A file in any format that datasets read; another one than h5ad is converted into a temporary file.

    Raises DataError for anything else, which says what it is and what to do.
    """
    path = expanded(str(file))
    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    format_ = format_of(path)
    if format_ == H5AD:
        yield OwnFile(path, path, format_)
        return
    with scratch_folder() as folder:
        target = folder / f"{path.name.removesuffix('.gz').removesuffix('.h5ad')}.h5ad"
        try:
            converted(path, target, format_, report=report)
        except DataError as error:
            said = str(error).replace(
                f"source.format says {format_}, but it cannot", f"looks like {format_}, but cannot"
            )
            raise DataError(said) from error
        yield OwnFile(path, target, format_)


def format_of(path: Path) -> str:
    """`source.format` of a file; raises DataError for what datasets cannot read."""
    if (path / MANIFEST).is_file():
        return H5AD
    try:
        with opened(path, None):
            return H5AD
    except AnnobenchError as error:
        said = _SAYS_FORMAT.search(str(error) if "source.format" in str(error) else str(not_h5ad(path)))
        if said is None:
            raise
        return said[1]


def stated_path(path: Path, root: Path = ROOT) -> str:
    """A path as files of config/ name it: relative to the repository, $ANNOBENCH_DATA or ~ where it lies in one.

    Runs are started in the repository.
    """
    whole = path.absolute()
    data = os.environ.get("ANNOBENCH_DATA")
    with suppress(ValueError):
        return str(whole.relative_to(root))
    if data:
        with suppress(ValueError):
            return f"$ANNOBENCH_DATA/{whole.relative_to(Path(data).absolute())}"
    with suppress(ValueError, RuntimeError):
        return f"~/{whole.relative_to(Path.home())}"
    return str(whole)


def text_counts(column: "pd.Series") -> dict[str, int]:
    """How many cells have each value, as the text that `prepare_dataset` makes of it; the most frequent first."""
    import pandas as pd

    counts = pd.Series(coded(column).to_text()).value_counts()
    return {str(text): int(n) for text, n in counts.items()}
