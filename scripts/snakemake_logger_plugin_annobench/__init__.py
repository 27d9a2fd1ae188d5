"""Progress of a run on one line: how much is done, what is running, how much time is left.

A logger plugin of Snakemake, found by its module name (`--logger annobench`, with scripts/ on PYTHONPATH). On a
terminal the line is rewritten; elsewhere a new line is printed every ten seconds. Errors are passed on unchanged. Of a
dry run it lists what would be done, by rule and method, and why.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from logging import ERROR, LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_SHORT = {  # rules as the line calls them
    "fetch_ontology": "ontology",
    "fetch_dataset": "fetch",
    "fetch_file": "fetch",
    "fetch_census_chunk": "chunk",
    "select_census_cells": "select",
    "build_release": "release",
    "prepare_dataset": "prepare",
    "split_dataset": "split",
    "balance_train": "balance",
    "fit_method": "fit",
    "score_fit": "score",
    "audit_evaluation": "audit",
    "fetch_panel": "fetch panel",
    "fetch_orthologues": "fetch orthologues",
    "aggregate_scores": "tables",
    "plot_figure": "plot",
    "render_report": "report",
}
_EVERY = 10.0  # seconds between lines where there is no terminal
_FOLLOWS = "input files updated by another job"  # says nothing where there is another reason
_NOTHING = "nothing to be done: everything is up to date"


class LogHandler(LogHandlerBase):
    """Handles the events of one run."""

    def __post_init__(self) -> None:
        self.stream = sys.stderr
        self.terminal = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self.counts: dict[str, int] = {}  # rule -> jobs in this run
        self.names: dict[int, tuple[str, str]] = {}  # job -> rule, text
        self.began: dict[int, float] = {}  # running job -> when it started
        self.spent: dict[str, list[float]] = {}  # rule -> seconds of each finished job
        self.done = self.total = self.failed = 0
        self.planned: Counter[tuple[str, str]] = Counter()  # of a dry run: rule and method -> jobs
        self.reasons: dict[tuple[str, str], Counter[str]] = {}

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return True

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False

    def emit(self, record: LogRecord) -> None:
        try:
            self._handle(record)
        except Exception:  # noqa: BLE001 - a display must never end a run
            self.handleError(record)

    def _handle(self, record: LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self._started(dict(getattr(record, "stats", {})))
        elif event == LogEvent.JOB_INFO:
            self._job_planned(record) if self.common_settings.dryrun else self._job_started(record)
        elif event == LogEvent.JOB_FINISHED:
            self._job_finished(getattr(record, "job_id", -1))
        elif event == LogEvent.JOB_ERROR:
            self._job_failed(getattr(record, "jobid", -1), getattr(record, "log", None) or [])
        elif event in (LogEvent.ERROR, LogEvent.GROUP_ERROR) or (event is None and record.levelno >= ERROR):
            self._line(record.getMessage())
        elif event is None and "Nothing to be done" in record.getMessage():
            self._line(_NOTHING)
        elif event is None and "This was a dry-run" in record.getMessage():
            self._plan()

    def _job_planned(self, record: LogRecord) -> None:
        wildcards = dict(getattr(record, "wildcards", None) or {})
        key = (getattr(record, "rule_name", ""), str(wildcards.get("method", "")))
        self.planned[key] += 1
        reason = _why(str(getattr(record, "reason", "") or ""))
        self.reasons.setdefault(key, Counter())[reason] += 1

    def _plan(self) -> None:
        """What a dry run would do."""
        rows = [("rule", "method", "jobs", "why")]
        rules = list(dict.fromkeys(rule for rule, _ in self.planned))
        for rule, method in sorted(self.planned, key=lambda key: (rules.index(key[0]), key[1])):
            why = "; ".join(reason for reason, _ in self.reasons[rule, method].most_common())
            rows.append((rule, method, str(self.planned[rule, method]), why))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        for rule, method, jobs, why in rows:
            self._line(f"  {rule:<{widths[0]}}  {method:<{widths[1]}}  {jobs:>{widths[2]}}  {why}")
        self._line("Nothing was run. What that would take: make plan")

    def _started(self, stats: dict[str, int]) -> None:
        self.total = stats.pop("total", 0)
        self.counts = stats
        self._line(f"{self.total} jobs to do" if self.total else _NOTHING)

    def _job_started(self, record: LogRecord) -> None:
        job: int = getattr(record, "jobid", -1)
        rule: str = getattr(record, "rule_name", "")
        wildcards = dict(getattr(record, "wildcards", None) or {})
        words = [_SHORT.get(rule, rule), *(f"seed {v}" if k == "seed" else str(v) for k, v in wildcards.items())]
        self.names[job] = (rule, " ".join(words))
        self.began[job] = time.monotonic()

    def _job_finished(self, job: int) -> None:
        rule = self.names.get(job, ("", ""))[0]
        if job in self.began:
            self.spent.setdefault(rule, []).append(time.monotonic() - self.began.pop(job))
        self.done += 1
        self._progress()

    def _job_failed(self, job: int, logs: Iterable[str]) -> None:
        self.began.pop(job, None)
        self.failed += 1
        log = ", ".join(map(str, logs))
        self._line(f"FAILED: {self.names.get(job, ('', str(job)))[1]}" + (f"  (log: {log})" if log else ""))

    def _progress(self) -> None:
        now = time.monotonic()
        if not self.terminal and now - self.last < _EVERY and self.done < self.total:
            return
        self.last = now
        running = "; ".join(self.names[job][1] for job in list(self.began)[:3])
        more = f" and {len(self.began) - 3} more" if len(self.began) > 3 else ""
        left = self._left(now)
        text = f"{self.done:5d} of {self.total} jobs, {self.done / max(self.total, 1):4.0%}, {_clock(now - self.start)}"
        text += f" gone, about {left} left" if left else " gone"
        text += f", {self.failed} FAILED" if self.failed else ""
        text += f" | {running}{more}" if running else ""
        if self.terminal:
            width = os.get_terminal_size(self.stream.fileno()).columns - 1
            self.stream.write("\r\033[K" + text[:width])
            self.stream.flush()
            if self.done >= self.total:
                self.stream.write("\n")
        else:
            self._line(text)

    def _left(self, now: float) -> str:
        """Time left, from the mean time of each rule and the number of parallel jobs so far; empty while unknown."""
        finished = sum(sum(times) for times in self.spent.values())
        if self.done < 10 or not finished:
            return ""
        parallel = max(finished / (now - self.start), 0.1)
        work = 0.0
        for rule, count in self.counts.items():
            times = self.spent.get(rule, [])
            if times:
                work += (count - len(times)) * sum(times) / len(times)
        seconds = work / parallel
        return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"

    def _line(self, text: str) -> None:
        self.stream.write(("\r\033[K" if self.terminal else "") + text.rstrip() + "\n")
        self.stream.flush()


def _clock(seconds: float) -> str:
    """A time as `m:ss`, or `h:mm:ss`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _why(reason: str) -> str:
    """Snakemake's reason without the names of files, which differ from job to job."""
    parts = [part.split(":")[0].strip().lower() for part in reason.split(";") if part.strip()]
    return "; ".join(part for part in parts if part != _FOLLOWS) or "follows others"
