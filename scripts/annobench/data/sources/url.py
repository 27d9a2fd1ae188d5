"""A download: verified, resumed after an interruption, retried with back-off."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.files import inside, link
from annobench.core.progress import Report
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`urls` are the address and its mirrors; `member` is a file inside the download where that is an archive."""

    urls: tuple[str, ...]
    file: str
    sha256: str | None = None
    member: str | None = None

    def unverified(self) -> str | None:
        """The download, where no hash is stated."""
        return None if self.sha256 else self.file

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Download into the cache, then link the file or extract the member."""
        from annobench.data.download.archive import extract_member
        from annobench.data.download.http import verified_file

        cached, step = verified_file(self.urls, self.file, self.sha256, report)
        unverified = None if self.sha256 else (self.file, step["sha256"])
        if self.member is None:
            return Fetched(link(cached, inside(folder, self.file)), [{**step}], unverified=unverified)
        file = inside(folder, Path(self.member).name)
        extract_member(cached, self.member, file)
        return Fetched(file, [{**step}, {"step": "extract", "member": self.member}], unverified=unverified)
