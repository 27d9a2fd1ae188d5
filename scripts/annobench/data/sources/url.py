"""A download: verified, resumed after an interruption, retried with back-off."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.files import inside, link
from annobench.core.progress import Report
from annobench.data.sources.shared.foreign import H5AD, converted
from annobench.data.spec import Fetched, Given, SourceSpec, Step


@dataclass(frozen=True)
class Source(SourceSpec):
    """`urls` are the address and its mirrors; `member` is a file inside the download where that is an archive.

    `format` and `genes` are those of a local file.
    """

    urls: tuple[str, ...]
    file: str
    sha256: str | None = None
    member: str | None = None
    format: str = H5AD
    genes: str = "rows"

    def memory_mb(self, stated: int) -> int:
        """Memory (MB) of fetching: a file that is converted is read."""
        return super().memory_mb(stated) if self.format == H5AD else max(stated, super().memory_mb(stated))

    def unverified(self) -> str | None:
        """The download, where no hash is stated."""
        return None if self.sha256 else self.file

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Download into the cache, then link the file or extract the member."""
        from annobench.data.download.archive import extract_member
        from annobench.data.download.http import verified_file

        cached, received = verified_file(self.urls, self.file, self.sha256, report)
        step: Step = {**received}
        unverified = None if self.sha256 else (self.file, received["sha256"])
        if self.member is None:
            file, steps = link(cached, inside(folder, self.file)), [step]
        else:
            file = inside(folder, Path(self.member).name)
            extract_member(cached, self.member, file)
            steps = [step, {"step": "extract", "member": self.member}]
        if self.format != H5AD:
            target = folder / f"{file.name.removesuffix('.gz').removesuffix('.h5ad')}.h5ad"
            steps.append(converted(file, target, self.format, genes=self.genes, report=report))
            file = target
        return Fetched(file, steps, unverified=unverified)
