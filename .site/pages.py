"""Hook of MkDocs (mkdocs.yml): the site holds all pages of the repository, and links between them lead inside it.

Pages of docs/ keep their places; `PAGES` are those that lie elsewhere. A link to any other file of the repository, such
as a script, becomes its path in plain text: the site says nothing of where the repository lies.
"""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # in the repository -> in the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "config/README.md": "config/index.md",
    **{f"config/{name}/README.md": f"config/{name}.md" for name in ("classes", "genes", "markers", "published")},
    "results/README.md": "results.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "benchmarks/RESULTS.md": "benchmarks/results.md",
    "benchmarks/SCALE.md": "benchmarks/scale.md",
}
_FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:|^#")


def in_site(path: str) -> str | None:
    """Where a page or picture of the repository lies in the site; None where it is not in it."""
    if path in PAGES:
        return PAGES[path]
    inside = path.removeprefix("docs/")
    return inside if inside != path and inside.endswith((".md", ".png")) else None


def rewritten(text: str, page: str) -> str:
    """A page of the repository with its links as the site needs them; blocks of code stay as they are.

    Parameters
    ----------
    text
        Markdown.
    page
        Its path in the repository.
    """
    here = posixpath.dirname(in_site(page) or page)

    def link(found: re.Match[str]) -> str:
        picture, name, target = found.groups()
        if _ELSEWHERE.match(target):
            return found[0]
        path, mark, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        place = in_site(there)
        if place is not None:
            return f"{picture}[{name}]({posixpath.relpath(place, here or '.')}{mark}{anchor})"
        if not (ROOT / there).exists():
            return found[0]  # --strict refuses it
        return name if name.strip("`") in (there, posixpath.basename(there)) else f"{name} (`{there}`)"

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    for path, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Rewrite the links of a page."""
    place = page.file.src_uri
    path = next((path for path, inside in PAGES.items() if inside == place), f"docs/{place}")
    return rewritten(markdown, path)
