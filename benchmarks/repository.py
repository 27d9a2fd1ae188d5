"""What benchmarks share: copies of the repository to run in, and the name of the machine."""

import os
import platform
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
    """Name, vector extensions and level-2 cache of the processor, and the cores of this machine (Linux)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    family = ", ".join(f"{key} {fields[key]}" for key in ("cpu family", "model") if key in fields)
    flags = fields.get("flags", fields.get("Features", "")).split()
    vectors = [flag for flag in ("avx2", "avx512f", "asimd", "sve") if flag in flags]
    cache = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    size = cache.read_text().strip() if cache.exists() else "unknown"
    return f"{name} ({family}), {' '.join(vectors)}, level-2 cache {size} a core, {len(os.sched_getaffinity(0))} cores"
