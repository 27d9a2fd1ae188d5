"""A file inside a distribution of the Python package index; nothing of the distribution is executed."""

from dataclasses import dataclass
from pathlib import Path

from annobench.core.files import inside, sha256_of
from annobench.core.progress import Report
from annobench.data.spec import Fetched, Given, SourceSpec


@dataclass(frozen=True)
class Source(SourceSpec):
    """`member` is the path of the file inside the archive `file`."""

    distribution: str
    version: str
    file: str
    member: str
    sha256: str | None = None
    member_sha256: str | None = None

    def unverified(self) -> str | None:
        """The download, where no hash is stated."""
        return None if self.sha256 else self.file

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Download the archive with the user's pip configuration and extract the file."""
        from annobench.data.download.archive import extract_member
        from annobench.data.download.http import cache_folder, download
        from annobench.data.download.pypi import PipSettings, find_file

        archive = inside(cache_folder() / "pypi", self.file)
        urls: list[str] = []
        connection = None
        if not (archive.is_file() and self.sha256 is not None and sha256_of(archive) == self.sha256):
            settings = PipSettings.of_user()  # a cached archive needs no network
            urls, connection = find_file(self.distribution, self.file, settings), settings.connection
        received = download(urls, archive, self.sha256, connection=connection, report=report)
        file = inside(folder, Path(self.member).name)
        extract_member(archive, self.member, file)
        return Fetched(
            file,
            [{"step": "download", "file": self.file, **received}, {"step": "extract", "member": self.member}],
            self.member_sha256,
            None if self.sha256 else (self.file, received["sha256"]),
        )
