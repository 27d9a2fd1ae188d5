"""What seals cost: processor time of sealing and checking all that the jobs of a finished run wrote and read.

Command: `.venv/bin/python benchmarks/seals.py [--folder FOLDER]`, after a run (such as `make run STUDY=atlas`) in this
repository or FOLDER. Every job's inputs and outputs, as Snakemake recorded them, are checked and sealed again by
`annobench.workflow.seals`, as the job did; the sum is compared with the processor time of all jobs
(results/benchmarks, and the fits' own processes in their run records).
"""

import argparse
import csv
import json
import os
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.workflow.seals import check, seal


def main() -> None:
    """Print the cost of seals of a finished run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the run was; this folder")
    os.chdir(parser.parse_args().folder)
    jobs = list(recorded_jobs())
    if not jobs:
        raise SystemExit("there is no finished run here; name its folder")
    began = time.process_time()
    for inputs, _ in jobs:
        check(inputs)
    checked = time.process_time()
    for _, outputs in jobs:
        seal(outputs)
    sealed = time.process_time()
    whole = processor_seconds()
    cost = sealed - began
    print(f"{len(jobs)} jobs: checked in {checked - began:.2f} s, sealed in {sealed - checked:.2f} s of processor time")
    print(f"all jobs: {whole:.0f} s of processor time, of which seals are {cost / whole:.2%}")


def recorded_jobs() -> Iterator[tuple[list[str], list[str]]]:
    """Inputs and outputs of every job that is recorded and whose outputs are there."""
    outputs: dict[str, list[str]] = {}
    inputs: dict[str, list[str]] = {}
    for file in Path(".snakemake/metadata").rglob("*"):
        if file.is_file():
            record = json.loads(file.read_text())
            name = b64decode("".join(file.relative_to(".snakemake/metadata").parts).replace("@", "")).decode()
            job = f"{record['rule']} {record.get('starttime')} {sorted(record['input'])}"
            if Path(name).exists():
                outputs.setdefault(job, []).append(name)
                inputs[job] = record["input"]
    for job, made in outputs.items():
        yield inputs[job], made


def processor_seconds() -> float:
    """Processor time of all jobs: as Snakemake measured them, or, where that is more, as a fit measured itself."""
    total = 0.0
    for file in Path("results/benchmarks").rglob("*.tsv"):
        with open(file, newline="") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                with_cpu = row.get("cpu_time", "NA")
                total += float(with_cpu) if with_cpu not in ("NA", "-", "") else float(row["s"])
    for file in Path("results/fits").rglob("run.json"):
        total += json.loads(file.read_text()).get("cpu_seconds") or 0.0
    return total


if __name__ == "__main__":
    main()
