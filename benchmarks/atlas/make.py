"""Write a synthetic atlas.

Command: `.venv/bin/python benchmarks/atlas/make.py --cells 200000 --out FOLDER [--formats h5ad,csr,store,...]`

h5ad and csr are written while the atlas is drawn, in bounded memory; so is the store where there is no h5ad to convert.
The other formats are converted from the h5ad, each in a process of its own. Formats that exist are kept.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.atlas import formats
from benchmarks.atlas.writers import make


def main() -> None:
    """Write the atlas; print seconds and bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--formats", default="h5ad,csr", help=f"of {','.join(formats.FILES)}")
    arguments = parser.parse_args()
    wanted = arguments.formats.split(",")
    if unknown := set(wanted) - set(formats.FILES):
        parser.error(f"unknown formats {sorted(unknown)}; there are {', '.join(formats.FILES)}")
    begin = time.perf_counter()
    make(arguments.cells, arguments.out, wanted, arguments.seed)
    seconds = time.perf_counter() - begin
    sizes = {name: formats.size(formats.path(arguments.out, name)) for name in wanted}
    print(json.dumps({"cells": arguments.cells, "seconds": round(seconds, 1), "bytes": sizes}))


if __name__ == "__main__":
    main()
