"""Time and memory of COMPAT=cas: from the files of an annotation run and its cells to the tables of cellarium-cas.

Command: `.venv/bin/python benchmarks/outside.py [--cells 1000000] [--ranks 3] [--repeat 5] [--random]`

The input is made once: an inferred_labels.csv, an h5ad file with the true labels and an ontology_resource.json of
release 2025-04-10. By default 250 types are true and 70 % of the cells are right; `--random` draws both labels from all
terms.
Every repetition is a process of its own: wall time from its start to its end, its processor time and its peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

RELEASE, LABEL = "2025-04-10", "truth"
BLOCK = 100_000


def make(folder: Path, cells: int, ranks: int, *, random: bool) -> None:
    """Write the input."""
    import anndata
    import numpy as np
    import pandas as pd
    from scipy.sparse import csr_matrix

    from annobench.data.ontology import from_wheel

    ontology, rng = from_wheel(RELEASE), np.random.default_rng(1)
    terms = sorted(term for term in ontology.terms if not ontology.terms[term].obsolete)
    names = {term: ontology.label(term) for term in terms}
    children: dict[str, list[str]] = {term: [] for term in terms}
    for term in terms:
        for parent in ontology.terms[term].parents:
            children[parent].append(term)
    run = folder / "run"
    run.mkdir()
    cl = {"cl_names": terms, "cell_ontology_term_id_to_cell_type": names, "children_dictionary": children}
    (run / "ontology_resource.json").write_text(json.dumps(cl))
    (run / "ontology_response.json").write_text(json.dumps({"data": [], "model_name": "model"}))
    (run / "metadata.json").write_text(json.dumps({"input_path": str(folder / "cells.h5ad"), "model_name": "model"}))
    ids, texts = np.array(terms, dtype=object), np.array([names[term] for term in terms], dtype=object)
    true = rng.choice(len(ids) if random else rng.choice(len(ids), 250, replace=False), cells)
    barcodes = np.array([f"{number:016x}-1" for number in rng.permutation(cells)], dtype=object)
    obs = pd.DataFrame({LABEL: pd.Categorical(ids[true])}, index=barcodes)
    anndata.AnnData(csr_matrix((cells, 1), dtype=np.float32), obs=obs).write_h5ad(folder / "cells.h5ad")
    for start in range(0, cells, BLOCK):
        part = slice(start, start + BLOCK)
        table = pd.DataFrame(index=barcodes[part])
        drawn = rng.integers(0, len(ids), (ranks, len(table)))
        if not random:
            drawn[0] = np.where(rng.random(len(table)) < 0.7, true[part], drawn[0])
        for kind, values in (("label", texts), ("name", ids)):
            for k in range(ranks):
                table[f"cas_cell_type_{kind}_{k + 1}"] = values[drawn[k]]
        for k in range(ranks):
            table[f"cas_cell_type_score_{k + 1}"] = rng.random(len(table)).round(6)
        table.to_csv(run / "inferred_labels.csv", mode="a", header=not start)


def write_tables(folder: Path) -> None:
    """What is measured, in this process."""
    from annobench.score.compat.cas_runs import find_runs
    from annobench.score.compat.cas_tables import CasOptions, write_cas_tables

    runs = [(run, Path(run.sample)) for run in find_runs([str(folder / "run")])]
    write_cas_tables(runs, CasOptions(LABEL), folder / "tables")


def measured(folder: Path) -> tuple[float, float, float]:
    """Wall and processor time (s) and peak memory (MB) of a process that writes the tables."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--inside", str(folder)])
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        sys.exit("the process failed")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print every repetition, and the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        write_tables(Path(given.inside))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, given.cells, given.ranks, random=given.random)
        size = (folder / "run" / "inferred_labels.csv").stat().st_size / 1e6
        print(f"{given.cells:,} cells, {given.ranks} ranks, table of {size:.0f} MB; load {os.getloadavg()[0]:.1f}")
        rows = [measured(folder) for _ in range(given.repeat)]
    print("| wall s | processor s | peak MB |\n| --- | --- | --- |")
    for row in [*rows, tuple(min(column) for column in zip(*rows, strict=True))]:
        print(f"| {row[0]:.2f} | {row[1]:.2f} | {row[2]:.0f} |")


if __name__ == "__main__":
    main()
