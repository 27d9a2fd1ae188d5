"""Whether every byte of a store is what was written."""

from pathlib import Path

from annobench.cells.store.manifest import MANIFEST, Manifest, problems
from annobench.core.errors import DataError


def verify(path: Path) -> int:
    """Print what is wrong with a store, or that nothing is; returns 1 or 0.

    `path`: the folder of the store, or one with a `store` in it. Raises DataError where neither is a folder.
    """
    folder = path if (path / MANIFEST).is_file() or not (path / "store").is_dir() else path / "store"
    if not folder.is_dir():
        raise DataError(f"{path}: is no folder; name the folder of a store, such as results/data/<dataset>/store")
    try:
        manifest = Manifest.read(folder)
    except DataError as error:
        print(error)
        return 1
    found = problems(folder, manifest)
    for problem in found:
        print(problem)
    what = f"{folder}: {manifest.cells:,} cells in {len(manifest.shards)} shards"
    print(
        f"{what}: {len(found)} files are damaged; delete the folder, and the next run makes it again"
        if found
        else f"{what}: every file is as it was written"
    )
    return 1 if found else 0
