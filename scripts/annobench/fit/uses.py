"""Fits that a fit reads: finished fits of other methods on the same dataset, split and seed.

Light at import: the driver finds the folders.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import sha256_of
from annobench.fit.run_record import OUTPUTS, RunRecord, UsedFit

if TYPE_CHECKING:
    from annobench.fit.embedding import StoredEmbedding
    from annobench.fit.job import FitJob

_ENDED = {"failed": "failed", "killed": "was killed", "timeout": "ran out of time", "skipped": "was skipped"}


@dataclass(frozen=True)
class FinishedFit:
    """A fit that succeeded and left what is read of it.

    Parameters
    ----------
    folder
        Where it lies.
    run
        Its run record, which names the method.
    role, output
        The name by which the reader knows it, and what is read (a key of `OUTPUTS`).
    """

    folder: Path
    run: RunRecord
    role: str
    output: str

    @property
    def path(self) -> Path:
        """The file, or the folder, that is read."""
        return self.folder / OUTPUTS[self.output]

    def embedding(self) -> "StoredEmbedding":
        """Its embedding; the matrix is mapped into memory."""
        from annobench.fit.embedding import read_embedding

        return read_embedding(self.path)


def folders_of(runs: Iterable[str]) -> dict[str, str]:
    """Absolute folders of fits by method, from the paths of their run records (`.../<method>/seed1/run.json`)."""
    return {Path(run).parents[1].name: str(Path(run).parent.resolve()) for run in runs}


def finished_fits(job: "FitJob") -> dict[str, tuple[FinishedFit, ...]]:
    """The fits that a job reads, by the name by which its method knows them.

    Where it reads several by one name, those of no use are left out (`absent_fits`).

    Raises
    ------
    MethodSkipped
        The one that it reads by a name did not succeed, or has not left what is read.
    DataError
        One of them was made from other cells.
    """
    left_out = absent_fits(job)
    return {
        role: tuple(_finished(job, role, use.output, method) for method in use.methods if method not in left_out)
        for role, use in job.method.uses.items()
    }


def absent_fits(job: "FitJob") -> dict[str, str]:
    """Of the fits that a job reads several of by one name, those of no use: method -> why."""
    absent = {}
    for role, use in job.method.uses.items():
        for method in use.methods if use.several else ():
            try:
                _finished(job, role, use.output, method)
            except MethodSkipped as skipped:
                absent[method] = str(skipped)
    return absent


def _finished(job: "FitJob", role: str, output: str, method: str) -> FinishedFit:
    folder = Path(job.files.uses[method])
    run = RunRecord.read(folder / "run.json")
    if not run.ok:
        raise MethodSkipped(
            f"it reads the {output} of '{method}' (uses.{role}), whose fit {_ENDED[run.status]}: {run.reason}"
        )
    if not run.has(output):
        why = run.left_out.get(output)
        raise MethodSkipped(
            f"it reads the {output} of '{method}' (uses.{role}), whose fit left none" + (f": {why}" if why else "")
        )
    if run.data_sha256 != job.facts.data_sha256:
        raise DataError(f"{folder / 'run.json'}: this fit was made from other cells than those of {job.files.cells}")
    return FinishedFit(folder, run, role, output)


def used_fits(uses: Mapping[str, tuple[FinishedFit, ...]]) -> dict[str, UsedFit]:
    """What the run record says of the fits that were read, by method."""
    return {fit.run.method: _used(fit) for fits in uses.values() for fit in fits}


def _used(fit: FinishedFit) -> UsedFit:
    run, path = fit.run, fit.path
    return UsedFit(
        role=fit.role,
        output=fit.output,
        sha256=sha256_of(path) if path.is_file() else None,
        data_sha256=run.data_sha256,
        code=run.code,
        started=run.started,
        seconds=round((run.fit_seconds or 0) + (run.predict_seconds or 0), 4),
        sees_test_cells=run.sees_test_cells,
    )
