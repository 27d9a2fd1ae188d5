"""Finding a file on the Python package index through the user's own pip configuration.

pip itself would run the build script of a source distribution to get its metadata; here nothing is executed. The index
pages (the "simple" repository API, PEP 503) are read with the addresses, certificates and proxies of `pip config list`,
and the file is chosen by its exact name.
"""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

from annobench.core.errors import DownloadError
from annobench.data.download.http import Connection, without_password


class PipSettings:
    """pip's configuration of package indexes."""

    def __init__(self, listing: str, help_text: str) -> None:
        values: dict[str, str] = {}
        # later sections are more specific: files first, then those of `pip download`, then the environment
        for section in ("global", "download", ":env:"):
            for line in listing.splitlines():
                key, _, text = line.partition("=")
                if key.startswith(section + ".") and text:
                    values[key.removeprefix(section + ".")] = str(ast.literal_eval(text))
        default = re.search(r"default\s+(https?://[^\s)]+)", help_text)
        index = values.get("index-url") or (default.group(1) if default else "")
        off = values.get("no-index", "").lower() in ("1", "true", "yes", "on")
        self.indexes = [] if off else [index, *values.get("extra-index-url", "").split()]
        self.find_links = values.get("find-links", "").split()
        proxy = values.get("proxy")
        self.connection = Connection(
            verify=values.get("cert") or True,
            proxies={"http": proxy, "https": proxy} if proxy else {},
            timeout=float(values.get("default-timeout") or values.get("timeout") or 60),
        )

    @classmethod
    def of_user(cls) -> "PipSettings":
        """Ask the pip of this environment."""
        environment = os.environ | {"COLUMNS": "500"}  # else long addresses are wrapped

        def pip(*arguments: str) -> str:
            command = [sys.executable, "-m", "pip", *arguments]
            try:
                return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
            except subprocess.CalledProcessError as error:
                raise DownloadError(
                    f"`{' '.join(command)}` failed: {error.stderr.strip()}; a source of kind pypi needs pip"
                ) from error

        return cls(pip("config", "list"), pip("download", "--help"))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)


def links(page: str, address: str) -> dict[str, str]:
    """File name -> absolute address, of all links of an index page."""
    parser = _Links()
    parser.feed(page)
    absolute = (urldefrag(urljoin(address, href)).url for href in parser.hrefs)
    return {unquote(urlsplit(url).path).rsplit("/", 1)[-1]: url for url in absolute}


def find_file(distribution: str, file: str, settings: PipSettings) -> list[str]:
    """Addresses of `file` of a distribution, in the order of pip's configuration.

    Raises DownloadError, which lists the places that were searched.
    """
    project = re.sub(r"[-_.]+", "-", distribution).lower()
    asked, urls = [], []
    for place in settings.find_links:
        local = _local_path(place)
        if local is not None and (local / file).is_file():
            urls.append((local / file).resolve().as_uri())
    for index in settings.indexes:
        address = index.rstrip("/") + f"/{project}/"
        asked.append(address)
        page = _read_page(address, settings.connection)
        if page is not None and file in (on_page := links(page, address)):
            urls.append(on_page[file])
    if not urls:
        places = (
            "\n  ".join(without_password(place) for place in [*settings.find_links, *asked])
            or "(none: pip's no-index is set)"
        )
        raise DownloadError(
            f"{file} of {distribution} is in none of these places:\n  {places}\n"
            "Check the network and `pip config list`; the file name must be the exact one."
        )
    return urls


def _local_path(place: str) -> Path | None:
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(place).expanduser() if parts.scheme == "" else None


def _read_page(address: str, connection: Connection) -> str | None:
    """Text of an index page; None if the index does not have the project or cannot be reached."""
    local = _local_path(address)
    if local is not None:
        page = local / "index.html" if local.is_dir() else local
        return page.read_text(encoding="utf-8") if page.is_file() else None
    try:
        response = connection.get(address, headers={"Accept": "text/html"})
        response.raise_for_status()
    except requests.RequestException:
        return None
    return response.text
