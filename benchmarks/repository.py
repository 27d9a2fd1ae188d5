"""What benchmarks share: copies of the repository to run in, and the name of the machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_repository(folder: Path, commit: str | None = None) -> Path:
    """Copy the files of the working tree that git tracks, or would track; or those of a commit."""
    if commit:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
        return folder
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def machine() -> str:
    """Processor and cores of this machine."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model, family, number = (
        match.group(1) if (match := re.search(rf"^{key}\s*: (.+)$", info, re.MULTILINE)) else "unknown"
        for key in ("model name", "cpu family", "model")
    )
    vectors = next((name for name in ("avx512f", "avx2", "avx") if f" {name} " in info), "")
    return f"{model} (family {family}, model {number}, {vectors}), {len(os.sched_getaffinity(0))} cores"
