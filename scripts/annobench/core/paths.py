"""Where the repository lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "annobench"


def from_here(path: Path) -> str:
    """A path as inputs of rules name it: relative below the current folder, so that a checkout that moved does nothing
    again; else as it is.
    """
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
