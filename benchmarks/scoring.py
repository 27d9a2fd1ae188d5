"""Time and memory for writing and scoring the predictions of a large test set.

Command: `.venv/bin/python benchmarks/scoring.py [--cells 20000 200000 1000000] [--keep auto] [--scripts PATH]`
         `.venv/bin/python benchmarks/scoring.py --hce`

Synthetic predictions of 164 types of the Cell Ontology for cells of 40 donors; three of four are right. They are
written and scored in a fresh process each; the time for drawing them is not counted. CPU is that of scoring, imports
included, which hardly depends on the load of the machine. `--scripts` uses the library of another checkout.

`--hce` has the shape of the out-of-distribution set of the HCE paper: 2.6 million cells of 400 donors in 21 studies,
of 50 tissues and 20 diseases, some of them unseen, in a dataset with 15.2 million training cells; no probabilities are
kept. 24 runs are scored, two processes at a time; the peak is that of one process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, DONORS, TOP_K = 164, 40, 5
PART = 1 << 15  # cells predicted at once
HCE_CELLS, HCE_TRAINING, HCE_RUNS, HCE_AT_ONCE = 2_600_000, 15_200_000, 24, 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--keep", choices=["auto", "true", "false"], default="auto", help="keep.probabilities")
    parser.add_argument("--scripts", type=Path, default=Path(__file__).resolve().parents[1] / "scripts")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--hce", action="store_true", help="the case of the HCE paper")
    parser.add_argument("--step", choices=["prepare", "prepare_hce", "write", "score"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        sys.path.insert(0, str(given.scripts))
        begin = time.perf_counter()
        seconds = STEPS[given.step](
            given.folder, given.cells[0], json.loads(given.keep) if given.keep != "auto" else "auto"
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        cpu = time.process_time()  # in the step `write`, drawing the predictions is included
        print(json.dumps({"seconds": seconds or time.perf_counter() - begin, "cpu": cpu, "peak": peak}))
        return
    if given.hce:
        hce(given.folder, given.scripts)
        return
    print(f"{'cells':>9}  {'step':6}  {'seconds':>8}  {'CPU':>8}  {'peak GiB':>8}  files (MB)")
    for cells in given.cells:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (given.folder or Path(temporary)) / str(cells)
            folder.mkdir(parents=True, exist_ok=True)
            for step in ("prepare", "write", "score"):
                done = _run(step, folder, cells, given.keep, given.scripts)
                if done.returncode:
                    print(f"{cells:9}  {step:6}  failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
                    break
                if step != "prepare":
                    found = json.loads(done.stdout.splitlines()[-1])
                    cpu = f"{found['cpu']:.2f}" if step == "score" else "-"
                    made = {"write": ("predictions.parquet", "probabilities.npz", "decisions.npz")}.get(step, ())
                    sizes = [f"{(folder / f).stat().st_size / 1e6:.0f}" for f in made if (folder / f).exists()]
                    numbers = f"{found['seconds']:8.2f}  {cpu:>8}  {found['peak']:8.2f}"
                    print(f"{cells:9}  {step:6}  {numbers}  {' '.join(sizes)}")


def _run(step: str, folder: Path, cells: int, keep: str, scripts: Path) -> "subprocess.CompletedProcess[str]":
    """Run one step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--cells", str(cells), "--keep", keep]
    command += ["--scripts", str(scripts), "--folder", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def hce(place: Path | None, scripts: Path) -> None:
    """Score the runs of the HCE paper; a given folder keeps the prepared files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = place or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for step in ("prepare_hce", "write"):
            if not (folder / "run.json").exists():
                _run(step, folder, HCE_CELLS, "false", scripts).check_returncode()
        begin = time.perf_counter()
        with ThreadPoolExecutor(HCE_AT_ONCE) as pool:
            done = pool.map(lambda _: _run("score", folder, HCE_CELLS, "false", scripts), range(HCE_RUNS))
            found = [json.loads(one.stdout.splitlines()[-1]) if one.returncode == 0 else one.stderr for one in done]
        wall = time.perf_counter() - begin
        failed = [one for one in found if isinstance(one, str)]
        if failed:
            raise SystemExit(failed[0])
        low, high = ({key: pick(one[key] for one in found) for key in found[0]} for pick in (min, max))
        print(f"{HCE_RUNS} runs of {HCE_CELLS} cells, {HCE_AT_ONCE} at a time: {wall:.0f} s in all")
        spent = ", ".join(f"{key} {low[key]:.1f} to {high[key]:.1f}" for key in ("seconds", "cpu"))
        print(f"a run: {spent}; peak {high['peak']:.2f} GiB")


def prepare_hce(folder: Path, cells: int, keep: Any) -> None:
    """As `prepare`, in the shape of the HCE paper: donors within studies, tissues, diseases, and all training cells."""
    from annobench.core.parquet import Categorical, ColumnWriter, write_columns

    classes = _classes(folder)
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.full(CLASSES, 0.5))
    names = {"donor": 400, "study": 21, "tissue": 50, "disease": 20}
    coded = {key: [f"{key}{i}" for i in range(2 * n)] for key, n in names.items()}
    truths = []
    with ColumnWriter(folder / "obs.parquet") as obs, ColumnWriter(folder / "split.parquet") as roles:
        for start in range(0, cells + 5000 + HCE_TRAINING, 1 << 18):
            at = np.arange(start, min(start + (1 << 18), cells + 5000 + HCE_TRAINING))
            test = at < cells
            ids = [f"AAACCTGAGAAACCAT-{i}" for i in at.tolist()]
            truth = rng.choice(CLASSES, len(at), p=share)
            truths.append(truth[at < cells + 5000])
            codes = {key: rng.integers(0, n, len(at)) for key, n in names.items()}
            codes["study"] = codes["donor"] % names["study"]
            for key in ("donor", "study"):  # of training cells others
                codes[key] = codes[key] + names[key] * ~test
            for key in ("tissue", "disease"):  # the test cells have some that no training cell has
                codes[key] = codes[key] + names[key] // 5 * ~test
            columns = {key: Categorical(values.astype(np.int32), coded[key]) for key, values in codes.items()}
            obs.write({"cell_id": ids, "label_id": Categorical(truth.astype(np.int32), classes), **columns})
            role = np.where(test, 0, np.where(at < cells + 5000, 1, 2)).astype(np.int32)
            roles.write({"cell_id": ids, "role": Categorical(role, ["test", "val", "train"])})
    write_columns(folder / "train.parquet", {"cell_id": [str(i) for i in range(CLASSES)], "label_id": classes})
    np.save(folder / "truth.npy", np.concatenate(truths))


def _classes(folder: Path) -> list[str]:
    """Write classes and ontology; returns the classes."""
    from annobench.data.ontology import from_wheel

    ontology = from_wheel("2026-03-26")
    ontology.save(folder / "ontology.json")
    live = [key for key in sorted(ontology.terms) if key in ontology and ontology.ancestors(key)]
    classes = [str(label) for label in np.sort(np.random.default_rng(0).choice(live, CLASSES, replace=False))]
    (folder / "classes.json").write_text(json.dumps(classes))
    return classes


def prepare(folder: Path, cells: int, keep: Any) -> None:
    """Write the inputs of scoring: observations, roles, training cells, ontology. A twentieth is validation."""
    from annobench.core.parquet import write_columns

    classes = np.array(_classes(folder), dtype=object)
    rng = np.random.default_rng(0)
    judged = min(max(100, cells // 20), 5000)
    n = cells + judged
    truth = rng.choice(CLASSES, n, p=rng.dirichlet(np.full(CLASSES, 0.5)))
    ids = np.array([f"AAACCTGAGAAACCAT-{i}" for i in range(n)], dtype=object)
    donor = np.array([f"donor{i:02d}" for i in range(DONORS)], dtype=object)[rng.integers(0, DONORS, n)]
    study = np.array([f"study{i}" for i in range(4)], dtype=object)[rng.integers(0, 4, n)]
    role = np.where(np.arange(n) < cells, "test", "val").astype(object)
    obs = {"cell_id": ids, "label_id": classes[truth], "study": study, "donor": donor}
    write_columns(folder / "obs.parquet", obs)
    write_columns(folder / "split.parquet", {"cell_id": ids, "role": role})
    write_columns(folder / "train.parquet", {"cell_id": ids[:CLASSES], "label_id": classes})
    np.save(folder / "truth.npy", truth)


def _part(truth: np.ndarray, seed: int) -> np.ndarray:
    """Decision values, (cells, classes)."""
    rng = np.random.default_rng([seed, 7])
    values = rng.standard_normal((len(truth), CLASSES), dtype=np.float32)
    values[np.arange(len(truth)), truth] += 3.4
    return values


def write(folder: Path, cells: int, keep: Any) -> float:
    """Write the predictions as a fit does; returns the seconds without those for drawing them."""
    from annobench.fit.decisions import write_decisions
    from annobench.fit.predictions import Predictions
    from annobench.fit.run_record import RunRecord
    from annobench.fit.writer import PredictionsWriter

    truth = np.load(folder / "truth.npy")
    classes = json.loads((folder / "classes.json").read_text())
    ids = [f"AAACCTGAGAAACCAT-{i}" for i in range(len(truth))]
    spent = 0.0

    def of(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal spent
        begin = time.perf_counter()
        values = np.vstack([_part(truth[i : min(i + PART, stop)], i) for i in range(start, stop, PART)])
        shares = np.exp(values - values.max(axis=1, keepdims=True), dtype=np.float64)
        shares /= shares.sum(axis=1, keepdims=True)
        spent += time.perf_counter() - begin
        return shares, values

    def predicted(start: int, stop: int) -> Any:
        shares, values = of(start, stop)
        return Predictions.from_probabilities(ids[start:stop], shares, classes, TOP_K, values)

    begin = time.perf_counter()
    with PredictionsWriter(folder, ids[:cells], classes, top_k=TOP_K, keep=keep, seed=1) as writer:
        for start in range(0, cells, PART):
            writer.add(predicted(start, min(start + PART, cells)))
    outputs = ["predictions", "decisions", *(["probabilities"] if writer.keeps_probabilities else [])]
    parts = {"test": writer.decisions, "validation": predicted(cells, len(truth))}
    write_decisions(folder / "decisions.npz", parts)
    record = RunRecord(
        dataset="d", split="s", method="m", seed=1, outputs=tuple(outputs), confidence_is_probability=True
    )
    record.write(folder / "run.json")
    return time.perf_counter() - begin - spent


def score(folder: Path, cells: int, keep: Any) -> None:
    """Score them."""
    from annobench.ontology import Ontology
    from annobench.score.score_fit import FitTables, score_fit
    from annobench.score.spec import ScoreSpec, ViewSpec

    obs, roles, train = (folder / f"{name}.parquet" for name in ("obs", "split", "train"))
    names = ("scores", "confusion", "sums", "confidence")
    outputs = {name: folder / f"out.{name}.{os.getpid()}.parquet" for name in names}
    spec = ScoreSpec(dataset="d", seed=1, views=(ViewSpec(split="s", methods={"m": "argmax"}),))
    tables = FitTables(obs=obs, train=train, roles=[roles])
    score_fit(spec, folder, tables, Ontology.load(folder / "ontology.json"), outputs)


STEPS = {"prepare": prepare, "prepare_hce": prepare_hce, "write": write, "score": score}

if __name__ == "__main__":
    main()
