"""The check of every byte of a store against its manifest."""

from pathlib import Path

from annobench.cells.store.manifest import MANIFEST, Manifest, problems
from annobench.core.errors import DataError


def verify(path: Path) -> int:
    """Print what is wrong with a store, or that nothing is; returns 1 or 0.

    `path` is the folder of the store, or one with a `store` in it. Raises DataError where it is not a folder.
    """
    folder = path if (path / MANIFEST).is_file() or not (path / "store").is_dir() else path / "store"
    if not folder.is_dir():
        raise DataError(f"{path}: is not a folder; name the folder of a store, such as results/data/<dataset>/store")
    try:
        manifest = Manifest.read(folder)
    except DataError as error:
        print(error)
        return 1
    wrong = problems(folder, manifest)
    for problem in wrong:
        print(problem)
    what = f"{folder}: {manifest.cells:,} cells in {len(manifest.shards)} shards"
    print(
        f"{what}: {len(wrong)} files are damaged; delete the folder, and the next run makes it again"
        if wrong
        else f"{what}: every file is as it was written"
    )
    return 1 if wrong else 0
