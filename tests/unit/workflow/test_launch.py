"""What is promised: a plan before, progress during, a summary after, and help for whoever writes a new file."""

import io
import itertools
import json
import logging
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from annobench.__main__ import main
from annobench.config.results import Results
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.workflow import launch
from annobench.workflow.data import DataRules
from annobench.workflow.fit import FitRules
from annobench.workflow.launch import resolve, study_file
from annobench.workflow.plan import Plan
from annobench.workflow.summary import summary
from annobench.workflow.targets import Targets
from helpers import run_record
from snakemake_logger_plugin_annobench import LogHandler

RANKING = (
    "dataset,evaluation,rank,method,label,kind,score,low,high,interval_over,n_fits,n_planned,fit_seconds,predict_seconds\n"
    "all,all,1,knn,k nearest neighbours,method,0.8,0.7,0.9,cells,2,2,1.5,0.5\n"
    "d,kfold,1,knn,k nearest neighbours,method,0.8,0.7,0.9,cells,2,2,1.5,0.5\n"
    "d,kfold,,awk,External,method,0.5,0.4,0.6,cells,1,2,3,\n"
)
PREDICTED = (
    "dataset,evaluation,regime,method,label_id,label,cells,share,confidence,n_fits\n"
    "q,pair,pair,knn,CL:1,B cell,600,0.6,0.9,1\n"
    "q,pair,pair,knn,CL:2,T cell,200,0.2,0.8,1\n"
    "q,pair,pair,knn,unknown,unknown,200,0.2,,1\n"
)
FAILED = "dataset,split,method,seed,status,reason,traceback\n" + "".join(
    f"d,kfold_{fold},awk,1,timeout,took too long,\n" for fold in (1, 2)
)


def test_the_summary_shows_scores_failures_and_the_report(tmp_path: Path) -> None:
    study = resolve("smoke")
    folder = tmp_path / "tables" / "smoke"
    folder.mkdir(parents=True)
    results = Results(tmp_path)
    assert summary(study, results) == ""
    (folder / "ranking.csv").write_text(RANKING)
    (folder / "failed.csv").write_text(FAILED)
    assert "Report" not in summary(study, results)  # there is none
    page = Path(results.report(study.name))
    page.parent.mkdir(parents=True)
    page.touch()
    text = summary(study, results)
    assert "d: kfold: macro F1, interval over cells" in text
    assert "Mean of all" not in text  # one evaluation only
    lines = text.splitlines()
    assert any(
        line.split() == ["1", "k", "nearest", "neighbours", "0.800", "0.700", "-", "0.900", "2/2", "2.00"]
        for line in lines
    )
    assert any(line.split()[:1] == ["-"] and "External" in line for line in lines)
    assert "     2 x awk: timeout: took too long" in text
    assert text.endswith("report/smoke/index.html")
    assert "baseline" not in text
    header, *rows = RANKING.splitlines()
    said = [f"{header},baseline_verdict", *(f"{row},baseline wins: no other" for row in rows)]
    (folder / "ranking.csv").write_text("\n".join(said) + "\n")
    assert summary(study, results).count("  Baseline wins: no other\n") == 1
    (folder / "predicted_types.csv").write_text(PREDICTED)
    text = summary(study, results)
    assert "q: pair: 1,000 cells without labels" in text
    assert re.search(r"\n  k nearest neighbours +2 +20%  B cell 600, T cell 200\n", text)
    nothing = RANKING.replace("0.7,0.9,cells", ",,").replace("0.4,0.6,cells", ",,")
    (folder / "ranking.csv").write_text(nothing)  # one fit: nothing to resample
    assert "d: kfold: macro F1\n" in summary(study, results)
    (folder / "ranking.csv").write_text(nothing.replace("0.5,,,", ",,,"))  # a method without the metric
    assert re.search(r"  -  External +-  ", summary(study, results))


def test_studies_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert study_file(None) is None
    assert study_file("smoke") == ROOT / "config" / "studies" / "smoke.yaml"
    (tmp_path / "own.yaml").write_text("study: own\n")
    assert study_file(str(tmp_path / "own.yaml")) == tmp_path / "own.yaml"
    assert resolve(str(tmp_path / "own.yaml")).name == "own"  # merged over the default study
    with pytest.raises(ConfigError, match="there is no study 'smok'; did you mean 'smoke'"):
        study_file("smok")


def test_a_study_file_replaces_lists_and_merges_mappings(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("study: own\nmethods: [knn]\nstatistics: {replicates: 150}\n")
    study = resolve(str(tmp_path / "own.yaml"))
    assert study.settings["methods"] == ["knn"]
    assert study.settings["statistics"]["replicates"] == 150
    assert study.settings["evaluations"] == resolve(None).settings["evaluations"]


def test_jobs_share_the_memory_and_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 500 < launch.memory_mb() < psutil.virtual_memory().total / 1e6
    commands = []
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **_: commands.append(command) or Ended())
    monkeypatch.setattr(launch, "memory_mb", lambda: 3000)
    monkeypatch.setattr(launch, "count_gpus", lambda: 2)
    launch.snakemake("smoke", largest_mb=4500)
    launch.snakemake("smoke", profile="slurm", largest_mb=4500)
    assert commands[0][commands[0].index("--resources") + 1 :][:2] == ["mem_mb=4500", "cuda_jobs=2"]
    assert "--resources" not in commands[1]


class Ended:
    """A process that is over."""

    def wait(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("system", "arguments", "expected"),
    [
        ("linux", (), ["annobench"]),
        ("darwin", (), []),
        ("linux", ("--executor", "local"), ["local"]),
        ("linux", ("--executor=local",), []),
        ("linux", ("-e", "local"), []),
    ],
)
def test_jobs_are_forked_on_linux_unless_another_executor_is_named(
    monkeypatch: pytest.MonkeyPatch, system: str, arguments: tuple[str, ...], expected: list[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(launch.sys, "platform", system)
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **_: commands.append(command) or Ended())
    monkeypatch.setattr(launch, "count_gpus", lambda: 0)
    launch.snakemake("smoke", *arguments)
    (command,) = commands
    assert [after for word, after in itertools.pairwise(command) if word == "--executor"] == expected


def test_fits_that_may_use_a_gpu_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    study = resolve("smoke")
    torch, other = SimpleNamespace(method="mlp_ce"), SimpleNamespace(method="knn")
    for device, expected in (("auto", (1, 0)), ("cuda", (1, 1)), ("cpu", (0, 0))):
        study.settings["device"] = device
        rules = FitRules(study)
        assert (rules.cuda_jobs(torch), rules.gpus(torch)) == expected
        assert (rules.cuda_jobs(other), rules.gpus(other)) == (0, 0)


def test_a_change_of_the_ontology_file_is_noticed(tmp_path: Path) -> None:
    study = resolve("smoke")
    assert DataRules(study).ontology_file(None) == []
    file = tmp_path / "cl.obo"
    file.write_text("")
    study.settings["ontology"] |= {"source": "obo", "path": str(file)}
    assert DataRules(study).ontology_file(None) == [str(file)]
    assert Targets(study).ontology.endswith("-obo.json")


def test_the_plan_counts_what_is_left(tmp_path: Path) -> None:
    study, results = resolve("smoke"), Results(tmp_path / "results")
    text = Plan(study, results).text()
    assert "fit_method, score_fit                         31, 31 (31 fits left)" in text
    assert "estimates of the method file" in text
    run = tmp_path / "results/fits/simulated_small/holdout_donor/knn/seed1/run.json"
    run.parent.mkdir(parents=True)
    run_record(run, method="knn", dataset="simulated_small", split="holdout_donor", total_seconds=7200.0)
    old = run.parents[1] / "seed2" / "run.json"
    old.parent.mkdir()
    old.write_text(json.dumps({"status": "ok", "method": "knn", "probabilities": True}))  # of an older version
    plan = Plan(study, results).method("knn")
    assert (plan.fits, plan.left, plan.seconds_a_fit) == (1, 0, 7200)
    assert plan.basis == "1 of 1 fits from run records"


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--study", "smoke"]) == 0
    assert "Left to do" in capsys.readouterr().out
    assert main(["plan", "--study", "smok"]) == 2
    assert "did you mean 'smoke'" in capsys.readouterr().err
    assert main(["manual", "--check"]) == 0


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    commands = re.findall(r"^    ([a-z][a-z-]+)", text, re.MULTILINE)
    assert {"run", "retry", "plan", "verify", "manual", "new-method", "new-dataset", "census-release"} <= set(commands)
    for command in commands:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        first = capsys.readouterr().out.split("\n\n")[1]
        assert re.fullmatch(r"[A-Z].*\.", first, re.DOTALL), command


def test_the_installed_command_runs_the_checkout_that_it_is_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(os, "execve", lambda path, command, environment: calls.append((command, environment)))
    monkeypatch.setattr(sys, "argv", ["annobench", "plan", "--study", "smoke"])
    monkeypatch.chdir(ROOT / "config")
    main()
    assert calls == []  # its own
    other = tmp_path / "other"
    (other / "scripts" / "annobench").mkdir(parents=True)
    (other / "results").mkdir()
    for file in ("Snakefile", "scripts/annobench/__main__.py"):
        (other / file).touch()
    monkeypatch.chdir(other / "results")
    main()
    ((command, environment),) = calls
    assert command == [sys.executable, "-m", "annobench", "plan", "--study", "smoke"]
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(other / "scripts")
    main(["plan", "--study", "smoke"])  # `python -m annobench` runs the code that it finds
    assert len(calls) == 1


def handler(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], *, dryrun: bool = False
) -> tuple[LogHandler, io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr("snakemake_logger_plugin_annobench.time.monotonic", lambda: clock[0])
    return LogHandler(common_settings=SimpleNamespace(dryrun=dryrun), settings=None), stream


def event(kind: LogEvent | None, message: str = "", level: int = logging.INFO, **more: object) -> logging.LogRecord:
    record = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    record.__dict__.update({"event": kind} | more if kind else more)
    return record


def test_progress_says_what_runs_how_many_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    display, stream = handler(monkeypatch, clock)
    display.emit(event(LogEvent.RUN_INFO, stats={"fit_method": 40, "total": 40}))
    for job in range(40):
        wildcards = {"dataset": "d", "split": "s", "method": "knn", "seed": job}
        display.emit(event(LogEvent.JOB_INFO, jobid=job, rule_name="fit_method", wildcards=wildcards))
    for job in range(20):
        clock[0] += 6
        display.emit(event(LogEvent.JOB_FINISHED, job_id=job))
    text = stream.getvalue()
    assert "40 jobs to do" in text
    assert "   20 of 40 jobs,  50%, 2:00 gone, " in text
    assert "left | fit d s knn seed 20; fit d s knn seed 21; fit d s knn seed 22 and 17 more" in text


def test_progress_passes_errors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    display, stream = handler(monkeypatch, [0.0])
    display.emit(event(LogEvent.JOB_INFO, jobid=1, rule_name="prepare_dataset", wildcards={"dataset": "d"}))
    display.emit(event(LogEvent.JOB_ERROR, jobid=1, log=["a.log"]))
    display.emit(event(None, "the file is locked", logging.ERROR))
    display.emit(event(None, "Nothing to be done (all requested files are present)."))
    assert stream.getvalue().splitlines() == [
        "FAILED: prepare d  (log: a.log)",
        "the file is locked",
        "nothing to be done: everything is up to date",
    ]


def test_a_dry_run_lists_jobs_by_rule_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    display, stream = handler(monkeypatch, [0.0], dryrun=True)
    display.emit(event(LogEvent.RUN_INFO, stats={"fit_method": 3, "total": 4}))
    planned = [("prepare_dataset", {"dataset": "d"}, "Missing output files: a.h5ad")]
    for method, seed in (("pca", 1), ("knn", 1), ("knn", 2)):
        reason = f"Code has changed since last execution; Input files updated by another job: {seed}"
        planned.append(("fit_method", {"dataset": "d", "method": method, "seed": seed}, reason))
    for number, (rule, wildcards, reason) in enumerate(planned):
        display.emit(event(LogEvent.JOB_INFO, jobid=number, rule_name=rule, wildcards=wildcards, reason=reason))
    display.emit(event(None, "This was a dry-run (flag -n)."))
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["4", "jobs", "to", "do"],
        ["rule", "method", "jobs", "why"],
        ["prepare_dataset", "1", "missing", "output", "files"],
        ["fit_method", "knn", "2", "code", "has", "changed", "since", "last", "execution"],
        ["fit_method", "pca", "1", "code", "has", "changed", "since", "last", "execution"],
        ["Nothing", "was", "run.", "What", "that", "would", "take:", "make", "plan"],
    ]


def test_failures_are_counted_as_they_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    display, stream = handler(monkeypatch, clock)
    display.emit(event(LogEvent.RUN_INFO, stats={"fit_method": 2, "total": 2}))
    for job in (1, 2):
        display.emit(event(LogEvent.JOB_INFO, jobid=job, rule_name="fit_method", wildcards={"method": "knn"}))
    display.emit(event(LogEvent.JOB_ERROR, jobid=1, log=["a.log"]))
    clock[0] += 3700
    display.emit(event(LogEvent.JOB_FINISHED, job_id=2))
    assert stream.getvalue().splitlines()[1:] == [
        "FAILED: fit knn  (log: a.log)",
        "    1 of 2 jobs,  50%, 1:01:40 gone, 1 FAILED",
    ]
