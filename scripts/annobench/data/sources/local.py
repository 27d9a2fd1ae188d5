"""An h5ad file on this machine; linked and hashed but not copied."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import expanded
from annobench.core.progress import Report
from annobench.data.sources.shared.paths import stated_path
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`path` is relative to the folder of the run; ~ and variables are expanded."""

    path: str
    sha256: str | None = None

    def files(self) -> list[Path]:
        """The file."""
        path = expanded(self.path)
        return [path] if path.is_file() else []

    def stated(self) -> list[str]:
        """`path`."""
        return [self.path]

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Make a symbolic link: the file may be large, and it is the user's own."""
        path = stated_path(self.path)
        if not path.is_file():
            raise DataError(f"source.path: no file '{path}' (from '{self.path}'); relative paths start at {Path.cwd()}")
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        return Fetched(link, [{"step": "local", "path": str(path.resolve())}], self.sha256)
