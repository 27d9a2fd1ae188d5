"""What is promised: whatever a method does, the fit becomes a record that says what happened, and nothing runs on.

All of it twice: for a fit in interpreters of its own, and for one that is forked from a warm process.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from jsonschema import Draft202012Validator

from annobench.config.schema import schema_folder
from annobench.core.parquet import read_columns, write_columns
from annobench.core.paths import ROOT
from annobench.fit import predictions_file
from annobench.fit.decisions import read_decisions
from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit
from annobench.ontology import Ontology
from annobench.workflow.warm import Warm
from helpers import KEEP, call, cells, fit_job

BROKEN = Path(__file__).parents[1] / "data" / "methods"
FIT = Path(__file__).parents[1] / "data" / "warm" / "fit.py"
SCHEMA = yaml.safe_load((schema_folder() / "run.schema.yaml").read_text())


class Runner:
    """Runs fits with a library, in processes of their own or `warm`."""

    def __init__(self, scripts: Path, warm: Warm | None) -> None:
        self.scripts, self.warm = scripts, warm

    def run(self, whole: FitJob, folder: Path) -> None:
        """Run a fit to its end."""
        if self.warm:
            params = {"job": whole.to_params(), "fit": folder / "fit", "attempt": folder / "log" / "attempt.json"}
            assert self.warm.run(call(FIT, **params), whole.method.implementation).status == 0
            return
        process = start(self.scripts, whole, folder)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output


@pytest.fixture(scope="module", params=["alone", "warm"])
def library(request: pytest.FixtureRequest, scripts: Path) -> Iterator[Runner]:
    if request.param == "alone":
        yield Runner(scripts, None)
        return
    if sys.platform != "linux":
        pytest.skip("there are warm processes on Linux only")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annobench.workflow.warm.SCRIPTS", scripts)
        warm = Warm()
        yield Runner(scripts, warm)
        warm.close()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library in which methods stand that fail on purpose."""
    scripts = tmp_path_factory.mktemp("library") / "scripts"
    shutil.copytree(ROOT / "scripts", scripts, ignore=shutil.ignore_patterns("__pycache__"))
    for file in BROKEN.glob("*.py"):
        shutil.copy(file, scripts / "annobench" / "methods")
    shutil.copytree(ROOT / "envs", scripts.parent / "envs")
    return scripts


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, ontology: Ontology) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    data = cells(ontology, cells=120, genes=40)
    data.obs["label"] = data.obs["label_original"] = data.obs["label_id"]
    data.write_h5ad(folder / "cells.h5ad")
    roles = ["train"] * 70 + ["val"] * 20 + ["test"] * 30
    write_columns(folder / "split.parquet", {"cell_id": list(data.obs_names), "role": roles})
    train = data.obs.iloc[:70]
    columns = {"cell_id": list(train.index), "label_id": list(train["label_id"]), "source": list(train["study"])}
    write_columns(folder / "train.parquet", columns)
    ontology.save(folder / "cl.json")
    names = {"cells": "cells.h5ad", "split": "split.parquet", "train": "train.parquet", "ontology": "cl.json"}
    return {key: str(folder / name) for key, name in names.items()}


def start(scripts: Path, whole: FitJob, folder: Path) -> subprocess.Popen[str]:
    """The parent in a process of its own, as a driver has it."""
    code = (
        "import json, sys; from pathlib import Path; from annobench.fit.job import FitJob;"
        "from annobench.fit.parent import run_fit;"
        "run_fit(FitJob.from_params(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    text = json.dumps(whole.to_params())
    command = [sys.executable, "-c", code, text, str(folder / "fit"), str(folder / "log" / "attempt.json")]
    environment = os.environ | {"PYTHONPATH": str(scripts)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(library: Runner, whole: FitJob, folder: Path) -> dict[str, Any]:
    """Run a fit; the record is valid, and predictions.parquet is there, whatever happened."""
    library.run(whole, folder)
    record = json.loads((folder / "fit" / "run.json").read_text())
    Draft202012Validator(SCHEMA).validate(record)
    table = predictions_file.read(folder / "fit" / "predictions.parquet")
    if record["status"] != "ok":
        assert len(table.cell_ids) == 0
        assert record["reason"]
        assert record["outputs"] == []
    assert not (folder / "fit" / ".work").exists()
    attempt = json.loads((folder / "log" / "attempt.json").read_text())
    assert attempt["status"] == record["status"]
    return record


def test_a_good_fit(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    record = run(library, fit_job(inputs, "majority"), tmp_path)
    assert record["status"] == "ok"
    assert record["reason"] is None
    assert record["cells"] == {"train": 70, "val": 20, "test": 30}
    assert record["data_sha256"] == "0" * 64
    assert record["versions"]["python"]
    assert record["versions"]["anndata"]
    found = predictions_file.read(tmp_path / "fit" / "predictions.parquet")
    roles = read_columns(inputs["split"])
    assert list(found.cell_ids) == list(roles["cell_id"][roles["role"] == "test"])
    assert found.labels.shape[1] == 3
    for name in ("leaf", "top_down"):
        answers = predictions_file.read_answers(tmp_path / "fit" / "predictions.parquet", name)
        assert len(answers.labels) == 1
        assert set(answers.labels[0].counts()) <= set(found.labels.ravel())
        assert answers.confidence is not None
        assert ((answers.confidence > 0) & (answers.confidence <= 1)).all()
    assert {path.name for path in (tmp_path / "fit").iterdir()} == {
        "model",
        "predictions.parquet",
        "probabilities.npz",
        "decisions.npz",
        "run.json",
    }


def test_predictions_in_parts_are_those_of_the_whole(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = run(library, fit_job(inputs, "majority"), tmp_path / "a")
    parts = run(library, fit_job(inputs, "streams", parameters={"part": 7}), tmp_path / "b")
    assert (parts["status"], parts["reason"]) == ("ok", None)
    assert parts["outputs"] == whole["outputs"] == ["predictions", "probabilities", "decisions", "model"]
    assert parts["left_out"] == whole["left_out"] == {}
    first, second = (predictions_file.read(tmp_path / name / "fit" / "predictions.parquet") for name in "ab")
    for name in ("cell_ids", "labels", "scores", "confidence"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    first, second = (read_decisions(tmp_path / name / "fit" / "decisions.npz") for name in "ab")
    assert all(first[name].tolist() == second[name].tolist() for name in first)


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("raises", "failed", "ValueError: a bad day"),
        ("exits", "failed", "ended with status 7 before it could report"),
        ("segfault", "killed", "died of SIGSEGV"),
        ("killed", "killed", "died of SIGKILL, sent from outside or by a crash; often the kernel's answer"),
        ("no_memory", "failed", "out of memory"),
        ("nan", "failed", "scores hold"),
        ("unknown_label", "failed", "1 predicted labels are not among the allowed ones: 1 (CL:0000540)"),
        ("too_few", "failed", "predictions for 15 cells, expected 30: 15"),
        ("wrong_ids", "failed", "30 (cell000090"),
        ("nothing", "failed", "predict returned NoneType, expected an iterator of Predictions"),
        ("skips", "skipped", "this data does not suit me"),
        ("disk_full", "failed", "the disk is full"),
    ],
)
def test_failures_become_records(
    library: Runner, inputs: dict[str, str], tmp_path: Path, method: str, status: str, reason: str
) -> None:
    record = run(library, fit_job(inputs, method), tmp_path)
    assert record["status"] == status
    assert reason in record["reason"]
    assert "\n" not in record["reason"]
    if status == "failed" and method != "exits":
        assert "Traceback" in (tmp_path / "fit" / record["traceback"]).read_text()


def nobody_runs_on(folder: Path) -> bool:
    """No process has the folder of a test in its command line."""
    time.sleep(0.3)
    marker = str(folder)
    return not [p for p in psutil.process_iter(["cmdline"]) if any(marker in word for word in p.info["cmdline"] or [])]


def test_time_limit(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    limits = {"memory_mb": 2000, "seconds": 3}
    record = run(library, fit_job(inputs, "forever", limits=limits, parameters={"marker": str(tmp_path)}), tmp_path)
    assert record["status"] == "timeout"
    assert record["reason"] == (
        "took longer than its limit of 0.05 minutes (resources.minutes); if that is too little, raise it in the "
        "method's file and `make retry`"
    )
    assert 3 <= record["total_seconds"] < 15
    assert nobody_runs_on(tmp_path)  # not even a process that the method started


@pytest.mark.parametrize(("method", "marked"), [("hog", False), ("child_hog", True)])
def test_memory_limit_counts_the_whole_tree(
    library: Runner, inputs: dict[str, str], tmp_path: Path, method: str, marked: bool
) -> None:
    parameters = {"marker": str(tmp_path)} if marked else {}
    record = run(
        library, fit_job(inputs, method, limits={"memory_mb": 700, "seconds": 60}, parameters=parameters), tmp_path
    )
    assert record["status"] == "killed"
    assert "more than its limit of 700 MB (resources.memory_mb)" in record["reason"]
    assert nobody_runs_on(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="processes that leave their session are found on Linux only")
def test_a_process_in_a_session_of_its_own_is_ended_and_counted(
    library: Runner, inputs: dict[str, str], tmp_path: Path
) -> None:
    marker = {"marker": str(tmp_path)}
    record = run(library, fit_job(inputs, "daemon", parameters=marker), tmp_path)
    assert record["status"] == "ok"
    assert nobody_runs_on(tmp_path)
    limits = {"memory_mb": 700, "seconds": 60}
    parameters = marker | {"megabytes": 900, "waits": 50}
    record = run(library, fit_job(inputs, "daemon", limits=limits, parameters=parameters), tmp_path)
    assert record["status"] == "killed"
    assert "more than its limit of 700 MB (resources.memory_mb)" in record["reason"]
    assert record["peak_rss_mb"] > 300  # the largest process; the limit is that of all together
    assert nobody_runs_on(tmp_path)


def test_peak_memory_is_that_of_the_fit_alone(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    small = run(library, fit_job(inputs, "majority"), tmp_path / "a")["peak_rss_mb"]
    large = run(library, fit_job(inputs, "remembers"), tmp_path / "b")["peak_rss_mb"]
    again = run(library, fit_job(inputs, "majority"), tmp_path / "c")["peak_rss_mb"]
    assert large - small == pytest.approx(400, abs=15)  # although it was given back before the end
    assert again == pytest.approx(small, abs=10)  # it does not grow from fit to fit


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there are warm processes on Linux only")
@pytest.mark.parametrize("method", ["majority", "logistic_regression", "linear", "xgboost"])
def test_peak_memory_is_the_same_in_a_warm_process(
    scripts: Path, inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr("annobench.workflow.warm.SCRIPTS", scripts)
    warm = Warm()
    run(Runner(scripts, None), fit_job(inputs, method), tmp_path / "compiles")  # what stays on disk for the others
    runners = {"alone": Runner(scripts, None), "first": Runner(scripts, warm), "second": Runner(scripts, warm)}
    records = {name: run(runner, fit_job(inputs, method), tmp_path / name) for name, runner in runners.items()}
    warm.close()
    assert {record["status"] for record in records.values()} == {"ok"}
    peaks = {name: record["peak_rss_mb"] for name, record in records.items()}
    assert peaks == pytest.approx(dict.fromkeys(peaks, peaks["alone"]), rel=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="the own peak of a process is read from Linux's /proc")
def test_peak_memory_is_not_that_of_the_process_that_starts_the_fit(inputs: dict[str, str], tmp_path: Path) -> None:
    """Linux hands the peak of a process on to the programs that it starts."""
    bytearray(900_000_000)
    run_fit(fit_job(inputs, "majority"), tmp_path / "fit", tmp_path / "attempt.json")
    assert 30 < json.loads((tmp_path / "fit" / "run.json").read_text())["peak_rss_mb"] < 600


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there are warm processes on Linux only")
def test_peak_memory_of_a_small_fit_after_a_large_one_in_a_warm_process(
    scripts: Path, inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the largest of all fits so far, a column that never fell."""
    monkeypatch.setattr("annobench.workflow.warm.SCRIPTS", scripts)
    warm = Warm()
    order = ["majority", "remembers", "majority", "remembers", "majority"]
    peaks = [
        run(Runner(scripts, warm), fit_job(inputs, name), tmp_path / str(i))["peak_rss_mb"]
        for i, name in enumerate(order)
    ]
    warm.close()
    small, large = peaks[::2], peaks[1::2]
    assert min(large) - max(small) > 300  # one that remembers holds 400 MB
    assert small == pytest.approx([small[0]] * 3, rel=0.05)


def test_labels_of_test_cells_never_reach_a_method(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    assert run(library, fit_job(inputs, "peeks"), tmp_path)["status"] == "ok"


def test_only_a_control_gets_the_truth(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    assert "needs the true labels" in run(library, fit_job(inputs, "oracle"), tmp_path / "a")["reason"]
    record = run(library, fit_job(inputs, "oracle", needs={"truth": True}), tmp_path / "b")
    assert record["status"] == "ok"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"needs": {"gpu": True}, "device": "cpu"},
            "the study says device: cpu",
        ),
        (
            {"needs": {"min_genes": 41}},
            "share 40 genes, the method needs 41",
        ),
    ],
)
def test_what_a_method_lacks_is_a_skip(
    library: Runner, inputs: dict[str, str], tmp_path: Path, changes: dict, reason: str
) -> None:
    record = run(library, fit_job(inputs, "majority", **changes), tmp_path)
    assert record["status"] == "skipped"
    assert reason in record["reason"]


def test_a_method_that_needs_counts_skips_log1p_values(
    library: Runner, inputs: dict[str, str], tmp_path: Path, ontology: Ontology
) -> None:
    data = cells(ontology, cells=120, genes=40)
    data.uns["annobench"]["matrix"] = "log1p_cpm"
    data.write_h5ad(tmp_path / "cells.h5ad")
    whole = fit_job(inputs, "majority", cells=str(tmp_path / "cells.h5ad"), needs={"counts": True})
    record = run(library, whole, tmp_path)
    assert record["reason"] == "the method needs counts (needs.counts), the dataset holds log1p_cpm"


def external(inputs: dict[str, str], command: str, format: str = "mtx", **changes: Any) -> FitJob:
    command_line = {"command": command, "format": format}
    return fit_job(inputs, "exec", exec=command_line, abilities={"one_step": True}, **changes)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("sh -c 'echo words >&2; exit 3'", "ended with status 3"),
        ("sh -c 'kill -9 $$'", "was killed by SIGKILL"),
        ("awk 'BEGIN {print $1; exit 4}' {train}/cells.tsv", "ended with status 4"),
        ("true", "wrote neither predictions.parquet nor predictions.csv"),
        ("no-such-program-anywhere {train}", "FileNotFoundError"),
        ("sh -c 'echo cell_id,label_1 > {output}/predictions.csv'", "predictions.csv: holds no rows"),
        ("sh -c 'grep -q label {test}/cells.tsv || echo fine; test ! -e {test}/labels.tsv && exit 5'", "status 5"),
    ],
)
def test_external_commands_that_fail(
    library: Runner, inputs: dict[str, str], tmp_path: Path, command: str, reason: str
) -> None:
    record = run(library, external(inputs, command), tmp_path)
    assert record["status"] == "failed"
    assert reason in record["reason"]


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        ("sh -c 'exit 77'", "skipped", "ended with status 77: it cannot run here"),
        (
            "sh -c 'echo no key > {output}/reason.txt; echo more >> {output}/reason.txt; exit 77'",
            "skipped",
            "no",
        ),
        (
            "sh -c 'echo no key > {output}/reason.txt; exit 1'",
            "failed",
            "ended with status 1; no key",
        ),
        ("sh -c ': > {output}/reason.txt; exit 77'", "skipped", "it cannot run here"),
    ],
)
def test_external_commands_may_say_why(
    library: Runner, inputs: dict[str, str], tmp_path: Path, command: str, status: str, reason: str
) -> None:
    record = run(library, external(inputs, command), tmp_path)
    assert record["status"] == status
    assert reason in record["reason"]
    assert "more" not in record["reason"]


def test_external_commands_get_h5ad_and_their_parameters(
    library: Runner, inputs: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "external.py"
    script.write_text(
        "import json, sys, anndata\n"
        "train, test = anndata.read_h5ad(sys.argv[1]), anndata.read_h5ad(sys.argv[2])\n"
        "assert 'label_id' in train.obs and 'label_id' not in test.obs\n"
        "params = json.load(open(sys.argv[3]))\n"
        "assert params == {'seed': 1, 'threads': 1, 'matrix': 'counts', 'word': 'x'}, params\n"
        "rows = [f'{cell},{train.obs.label_id.iloc[0]}' for cell in test.obs_names]\n"
        "open(sys.argv[4] + '/predictions.csv', 'w').write('\\n'.join(['cell_id,label', *rows]))\n"
    )
    command = f"{sys.executable} {script} {{train}} {{test}} {{params}} {{output}}"
    whole = external(inputs, command, "h5ad", parameters={"word": "x"})
    record = run(library, whole, tmp_path)
    assert record["status"] == "ok", record["reason"]
    assert record["predict_seconds"] is None  # one step: all time counts as training
    assert not record["confidence_is_probability"]


def test_on_failure_raise_fails_the_job_after_the_record_is_written(
    scripts: Path, inputs: dict[str, str], tmp_path: Path
) -> None:
    process = start(scripts, fit_job(inputs, "raises", on_failure="raise"), tmp_path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "failed: ValueError: a bad day (on_failure is raise)" in output
    assert json.loads((tmp_path / "log" / "attempt.json").read_text())["reason"] == "ValueError: a bad day"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_job_takes_its_fit_along_and_leaves_its_attempt(
    scripts: Path, inputs: dict[str, str], tmp_path: Path, number: int
) -> None:
    process = start(scripts, fit_job(inputs, "forever"), tmp_path)
    deadline = time.monotonic() + 30
    while not psutil.Process(process.pid).children(recursive=True)[1:] and time.monotonic() < deadline:
        time.sleep(0.1)
    fit, *others = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.wait(timeout=20)
    assert process.stdout is not None
    process.stdout.close()
    # the kernel ends the fit with its parent; what the fit itself started only a parent that is still there can end
    watched = [fit, *others] if number == signal.SIGTERM else [fit]
    psutil.wait_procs(watched, timeout=10)
    assert not [p for p in watched if p.is_running()]
    for leftover in others:
        with suppress(psutil.NoSuchProcess):
            leftover.kill()
    attempt = json.loads((tmp_path / "log" / "attempt.json").read_text())
    assert attempt["ended"] is None
    assert attempt.get("signal") == ("SIGTERM" if number == signal.SIGTERM else None)
    assert not (tmp_path / "fit" / "run.json").exists()


def test_what_an_earlier_attempt_left_is_cleared(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    run(library, fit_job(inputs, "majority"), tmp_path)
    assert (tmp_path / "fit" / "probabilities.npz").is_file()
    record = run(library, fit_job(inputs, "raises"), tmp_path)
    assert record["status"] == "failed"
    assert not (tmp_path / "fit" / "probabilities.npz").exists()
    assert not (tmp_path / "fit" / "model").exists()


def test_what_is_not_to_be_kept_is_not_written(library: Runner, inputs: dict[str, str], tmp_path: Path) -> None:
    keep = dict.fromkeys(KEEP, False) | {"embedding_roles": ["test"]}
    record = run(library, fit_job(inputs, "majority", keep=keep), tmp_path)
    assert {path.name for path in (tmp_path / "fit").iterdir()} == {"predictions.parquet", "run.json"}
    assert record["outputs"] == ["predictions"]
    assert record["model_mb"] is None
