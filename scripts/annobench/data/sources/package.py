"""A file inside an installed Python package, which is not imported."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import link
from annobench.core.progress import Report
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`member` is the path of the file inside `package`."""

    package: str
    member: str
    sha256: str | None = None

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Link the installed file."""
        module = find_spec(self.package)
        if module is None or not module.submodule_search_locations:
            raise DataError(f"source.package: '{self.package}' is not installed here; install the lock file (make env)")
        original = Path(next(iter(module.submodule_search_locations))) / self.member
        if not original.is_file():
            raise DataError(
                f"source.member: the installed '{self.package}' has no file '{self.member}'; install the locked "
                "version (make env)"
            )
        step: dict[str, object] = {"step": "package", "package": self.package, "file": self.member}
        return Fetched(link(original, folder / original.name), [step], self.sha256)
