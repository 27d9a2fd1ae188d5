"""Runs local jobs in processes that are forked from warm ones, see annobench.workflow.warm.

An executor plugin of Snakemake, found by its module name (`--executor annobench`, with scripts/ on PYTHONPATH). What it
cannot fork runs as Snakemake's own local executor runs it: other languages, several threads, environments and
containers, shadow folders.
"""

from collections.abc import Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake.benchmark import BenchmarkRecord, write_benchmark_records
from snakemake.exceptions import SpawnedJobError
from snakemake.executors.local import Executor as LocalExecutor
from snakemake.executors.local import common_settings, run_wrapper
from snakemake.iocontainers import Namedlist
from snakemake.jobs import Job
from snakemake.logging import logger

if TYPE_CHECKING:
    from annobench.workflow.call import Call, Named
    from annobench.workflow.warm import Ending

__all__ = ["Executor", "common_settings"]


class Executor(LocalExecutor):  # type: ignore[misc]
    """The local executor, with warm processes."""

    def __post_init__(self) -> None:
        # not at the top: every start of Snakemake imports this file, whichever executor it takes
        from annobench.workflow.warm import Warm

        super().__post_init__()
        self.warm = Warm()

    def run_single_job(self, job: Job) -> "Future[None]":
        """Run a job in the pool of threads."""
        if not self._can_fork(job):
            return super().run_single_job(job)
        arguments = self.job_args_and_prepare(job)
        return self.pool.submit(self.cached_or_run, job, self._run_warm, job, arguments)

    def _can_fork(self, job: Job) -> bool:
        settings = self.workflow.deployment_settings
        return bool(
            job.rule.script
            and str(job.rule.script).endswith(".py")
            and job.threads == 1  # libraries with threads start them on import; a process with threads cannot be forked
            and not settings.deployment_method
            and not job.is_shadow
            and not self.workflow.execution_settings.debug
        )

    def _run_warm(self, job: Job, arguments: tuple[object, ...]) -> None:
        from annobench.workflow.warm import NotWarmError

        try:
            ending = self.warm.run(self._call(job), _kind(job))
        except NotWarmError as error:
            logger.debug(str(error))
            run_wrapper(*arguments)
            return
        if ending.status is None or ending.status < 0:
            logger.error(f"{job.rule.name}: the process of job {job.jobid} died ({_cause(ending)})")
        if ending.status != 0:
            raise SpawnedJobError
        if job.benchmark:
            self._write_benchmark(job, ending)

    def _call(self, job: Job) -> "Call":
        from annobench.workflow.call import Call

        script = job.rule.basedir.join(job.rule.script).get_path_or_uri(secret_free=True)
        return Call(
            script=str(Path(script).resolve()),
            rule=job.rule.name,
            input=_named(job.input._plainstrings()),
            output=_named(job.output._plainstrings()),
            params=_named(job.params),
            wildcards=_named(job.wildcards),
            log=_named(job.log._plainstrings()),
            resources=_named(job.resources),
            threads=job.threads,
            config=self.workflow.globals["config"],
        )

    def _write_benchmark(self, job: Job, ending: "Ending") -> None:
        record = BenchmarkRecord(
            jobid=job.jobid,
            rule_name=job.rule.name,
            wildcards=job.wildcards,
            params=job.params,
            running_time=ending.seconds,
            max_rss=None if ending.peak_rss_mb is None else ending.peak_rss_mb * 1e6 / 2**20,
            cpu_usage=100 * (ending.cpu_seconds or 0),
            cpu_time=ending.cpu_seconds,
            resources=job.resources,
            threads=job.threads,
            input=job.input,
        )
        record.data_collected = True
        extended = self.workflow.output_settings.benchmark_extended
        write_benchmark_records([record], str(job.benchmark), extended)

    def shutdown(self) -> None:
        """Wait for all jobs, then let the warm processes end."""
        super().shutdown()
        self.warm.close()

    def cancel(self) -> None:
        """End after a Ctrl-C, which the jobs have received too."""
        super().cancel()
        self.warm.close()


def _kind(job: Job) -> Hashable:
    """Jobs of a rule import the same, but for fits: each implementation has its own libraries."""
    settings = job.params.get("settings")
    return job.rule.name, settings["method"]["implementation"] if job.rule.name == "fit_method" else None


def _named(given: Namedlist) -> "Named":
    """A list of Snakemake's as a plain one."""
    from annobench.workflow.call import Named

    return Named(map(_plain, given), {name: _plain(value) for name, value in given.items()})


def _plain(value: object) -> object:
    """A value without the types of Snakemake."""
    if isinstance(value, Namedlist):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _cause(ending: "Ending") -> str:
    return "cause unknown" if ending.status is None else f"signal {-ending.status}"
