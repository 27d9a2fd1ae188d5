"""What the rules of all chapters share.

Every cluster job parses the Snakefile and imports this again: the standard library and light modules only. Params are
mappings with sorted keys, so that the order of keys in a YAML file never reruns a job.
"""

import inspect
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from annobench.config.results import Results
from annobench.config.study import Study, named_study
from annobench.core.codehash import code_hash
from annobench.core.errors import AnnobenchError, ConfigError
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.core.place import problem
from annobench.core.spec import Params
from annobench.workflow.targets import Targets


class Wildcards(Protocol):
    """Values of the wildcards of a job: `wildcards.dataset`."""

    def __getattr__(self, name: str) -> str: ...


def let_drivers_import_from(scripts: Path) -> None:
    """Put a folder first on the path of the processes of jobs, whichever library is installed in their environment."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(scripts), *others]))


class _Scheduler(Protocol):
    """What is used of Snakemake's scheduler, and of its limit of new jobs."""

    job_rate_limiter: Any


class _Running(Protocol):
    scheduler: _Scheduler


def without_timers(workflow: _Running) -> None:
    """Lift Snakemake's default limit of 100 new jobs a second; another limit, given by the user, stays.

    With a limit, every job that starts leaves a timer that evaluates the schedule once a second until the end of the
    run, so that a run of many jobs spends more and more of its time there. Starting a job, or handing it to a cluster,
    takes longer than a hundredth of a second anyway.
    """
    limit = workflow.scheduler.job_rate_limiter
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def check_place() -> None:
    """Raise ConfigError where the path of the folder of the run, or of the repository, has characters that break it."""
    for folder in (Path.cwd(), ROOT):
        if found := problem(folder):
            raise ConfigError(found)


@contextmanager
def stop_with_message() -> Iterator[None]:
    """End Snakemake with the message of an AnnobenchError instead of a traceback."""
    try:
        yield
    except AnnobenchError as error:
        from snakemake.exceptions import WorkflowError

        raise WorkflowError(f"\n{error}\n") from None


def named_source(workflow: object) -> str:
    """The configuration file that errors should name: the last one given, else the default. Raises ConfigError."""
    given = [Path(path) for path in getattr(workflow, "overwrite_configfiles", None) or []]
    for path in given:
        named_study(path)
    return str(given[-1]) if given else "config/config.yaml"


def existing(path: str) -> list[str]:
    """The file at a path with its variables expanded; empty where it is missing."""
    file = expanded(path)
    return [str(file)] if file.is_file() else []


class Chapter:
    """Base of the classes that answer the rules of one chapter: inputs, params and resources by wildcards.

    Parameters
    ----------
    study
        The study that runs.
    root
        The repository.
    results
        Names of all files that a run makes.
    """

    def __init_subclass__(cls) -> None:
        # Snakemake asks for the signature before every call: kept, they take half of the time
        for function in filter(inspect.isfunction, list(vars(cls).values())):
            function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]

    def __init__(self, study: Study, root: Path = ROOT, results: Results | None = None) -> None:
        self.study, self.root, self.results = study, root, results or Results()
        self.targets = Targets(study, self.results)

    def code_of(self, *modules: str) -> str:
        """Hash of library modules and all that they import."""
        return code_hash(*modules)

    def unrelated(self, wildcards: Wildcards) -> str | None:
        """Unrelated cells that a dataset names, such as those of another tissue."""
        unrelated = self.study.datasets[wildcards.dataset]["unrelated"]
        return self.results.cells(unrelated) if unrelated else None

    def rollup(self, name: str | None) -> Params | None:
        """The part of a file of config/rollups that scoring uses."""
        return {key: self.study.rollups[name][key] for key in ("targets", "others")} if name else None

    def evaluation_names(self) -> dict[str, str]:
        """`dataset/evaluation` -> a name for people."""
        splits = self.study.splits.values()
        return {f"{split.dataset}/{split.evaluation}": split.evaluation_label for split in splits}


def constraints_of(study: Study) -> dict[str, str]:
    """Wildcard -> pattern of the names that it may have: a wrong target is then an error that says so."""

    def one_of(names: Iterable[object]) -> str:
        return "|".join(re.escape(str(name)) for name in dict.fromkeys(names)) or "(?!)"

    splits = study.all_splits()
    return {
        "dataset": one_of(study.datasets),
        "split": one_of(split.name for split in splits),
        "method": one_of(method["fitted"] for method in study.methods.values()),
        "download": one_of(name for method in study.methods.values() for name in method["downloads"]),
        "seed": one_of(seed for split in splits for seed in split.seeds),
        "evaluation": one_of(split.evaluation for split in splits),
        "figure": one_of(study.settings["figures"]),
        "panel": one_of(study.panels),
        "orthologue": one_of(study.orthologues),
        "ontology": re.escape(Path(Targets(study).ontology).stem),
        "chunk": "[0-9]{4}",
        "checkpoint": one_of(study.checkpoints),
        "built": one_of(study.releases),
        "date": one_of(date for release in study.releases.values() for date in sorted(release["releases"])),
    }
