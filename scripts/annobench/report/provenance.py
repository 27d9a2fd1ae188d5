"""What a study is made of, so that every number can be traced: configuration, versions, commit, machine, data."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from annobench import __version__
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.paths import ROOT
from annobench.report.settings import Provenance


def write_provenance(spec: Provenance, cards: Sequence[str], path: str) -> None:
    """Write the provenance record of a study: its resolved configuration, and what it ran on."""
    data = {
        card["dataset"]: {"sha256": card["sha256"], "source": card.get("source"), "parts": card.get("parts")}
        for card in map(read_json, cards)
    }
    write_json(
        path,
        {
            "annobench": __version__,
            "commit": _git("rev-parse", "HEAD"),
            "uncommitted": uncommitted(ROOT),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "python": sys.version.split()[0],
            "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
            "data": data,
            **spec.to_params(),
        },
    )


_COMPUTES = ("Snakefile", "config", "scripts", "workflow")  # what results depend on
_STATES = {"?": "untracked", "D": "deleted"}


def uncommitted(root: Path) -> dict[str, dict[str, str | None]]:
    """Files of configuration and code that the commit does not hold as they are.

    Parameters
    ----------
    root
        The repository.

    Returns
    -------
    Path -> its `state` (`untracked`, `changed` or `deleted`) and `sha256`; that of files of a folder config/ outside of
    the repository, in which the study runs, is `outside`. Empty where git knows all, or there is no repository.
    """
    found: dict[str, dict[str, str | None]] = {}
    listed = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *_COMPUTES, root=root)
    for entry in (listed or "").split("\0"):
        if entry:
            codes, name = entry[:2], entry[3:]
            state = next((_STATES[code] for code in codes if code in _STATES), "changed")
            found[name] = {"state": state, "sha256": sha256_of(root / name) if (root / name).is_file() else None}
    own = Path("config")
    if own.is_dir() and own.resolve() != (root / "config").resolve():
        for file in sorted(path for path in own.rglob("*") if path.is_file()):
            found[str(file)] = {"state": "outside", "sha256": sha256_of(file)}
    return found


def machine() -> dict[str, object]:
    """Processor, cores and memory of this machine."""
    import psutil

    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        model = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            model,
        )
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def _git(*arguments: str, root: Path = ROOT) -> str | None:
    """Output of a git command in the repository; None where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip()
