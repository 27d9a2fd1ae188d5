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
from annobench.core.files import read_json, write_json
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
            "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "python": sys.version.split()[0],
            "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions())),
            "data": data,
            **spec.to_params(),
        },
    )


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


def _git(*arguments: str) -> str | None:
    """Output of a git command in the repository; None where there is no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
