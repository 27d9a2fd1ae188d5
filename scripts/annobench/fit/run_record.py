"""run.json: how a fit went, typed for everything that reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from annobench.core.files import read_json, write_json
from annobench.core.spec import Spec
from annobench.fit.job import Limits

Note: TypeAlias = str | int | float
OUTPUTS = {
    "predictions": "predictions.parquet",
    "probabilities": "probabilities.npz",
    "decisions": "decisions.npz",
    "embedding": "embedding.npz",
    "expression": "expression.h5ad",
    "model": "model",
}  # what a fit may leave -> the file or folder beside run.json


@dataclass(frozen=True, kw_only=True)
class CellCounts(Spec):
    """Cells that trained, selected the model and were tested."""

    train: int
    val: int
    test: int


@dataclass(frozen=True, kw_only=True)
class UsedFit(Spec):
    """A fit of another method that a fit has read.

    Parameters
    ----------
    role, output
        The name by which the method knows it, and what was read of it.
    sha256
        Hash of the file that was read; None for a folder.
    data_sha256, code, started
        What its own run record says: the hashes of its cells and of its code, and when it began.
    seconds
        Its training and prediction, which the seconds of the fit that reads it do not include.
    sees_test_cells
        Whether it saw the unlabelled test cells while it fitted.
    """

    role: str
    output: str
    sha256: str | None
    data_sha256: str | None
    code: str | None
    started: str | None
    seconds: float
    sees_test_cells: bool


@dataclass(frozen=True, kw_only=True)
class FitResult(Spec):
    """What the child process of a fit reports.

    Parameters
    ----------
    status
        `ok`, `failed`, `killed`, `timeout` or `skipped`; `broken_input` where the method was never reached.
    reason
        Why it is not `ok`, in one line.
    outputs
        Which of `OUTPUTS` there are.
    confidence_is_probability
        Whether the confidence may be read as a probability.
    left_out
        Output that was not kept, or of a sample of the test cells only -> why.
    startup_seconds, fit_seconds, predict_seconds
        Wall time of imports and reading, of training (with earlier attempts, where it went on from a checkpoint), and
        of prediction (None where it is one step with training).
    peak_rss_mb, peak_gpu_mb
        Peak resident memory (MB) of its largest process, and of what torch allocated on a GPU.
    trainable_parameters, model_mb
        Numbers that training sets, and size (MB) of the saved model.
    device
        Where the method ran.
    genes
        `train`, `test`, and `model` and `shared` of a model with genes of its own.
    cells
        Cells by role.
    versions
        Versions of Python and of the packages of the method's conda file.
    notes
        What the method says of this fit; `embedding` is what was found when its embedding was checked.
    uses
        Fits of other methods that were read, by method.
    tokens
        The tokens that were read: checkpoint, hashes, and how well genes and vocabulary fit.
    """

    status: str = "ok"
    reason: str | None = None
    outputs: tuple[str, ...] = ()
    confidence_is_probability: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    startup_seconds: float | None = None
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    peak_rss_mb: float | None = None
    peak_gpu_mb: float | None = None
    trainable_parameters: int | None = None
    model_mb: float | None = None
    device: str | None = None
    genes: Mapping[str, int] = field(default_factory=dict)
    cells: CellCounts | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Note | Mapping[str, Note] | tuple[str, ...]] = field(default_factory=dict)
    uses: Mapping[str, UsedFit] = field(default_factory=dict)
    tokens: Mapping[str, Note] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord(FitResult):
    """The record of a fit; workflow/schemas/run.schema.yaml describes every field.

    Parameters
    ----------
    dataset, split, method, seed
        Which fit it is.
    traceback
        Name of the file beside the record.
    sees_test_cells
        Whether the method, or one whose fit it read, saw the unlabelled test cells while it fitted (`needs.query`), or
        the backbone that it reads was trained here on cells of this dataset.
    total_seconds, cpu_seconds
        Wall time of the child process, and CPU time of all processes of the fit.
    limits, threads, parameters
        What the method was given.
    host, cluster_job, started
        Where and when the attempt ran (UTC).
    data_sha256, code, gene_overlap, downloads
        Facts of the job.
    """

    dataset: str
    split: str
    method: str
    seed: int
    traceback: str | None = None
    sees_test_cells: bool = False
    total_seconds: float | None = None
    cpu_seconds: float | None = None
    limits: Limits | None = None
    threads: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    cluster_job: str | None = None
    started: str | None = None
    data_sha256: str | None = None
    code: str | None = None
    gene_overlap: Mapping[str, Any] | None = None
    downloads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the fit succeeded."""
        return self.status == "ok"

    def has(self, output: str) -> bool:
        """Whether the fit left an output (a key of `OUTPUTS`)."""
        return output in self.outputs

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read run.json; raises DataError where the file is damaged, SpecError where it is not a run record."""
        return cls.from_params(read_json(path))

    def write(self, path: str | Path) -> None:
        """Write run.json."""
        write_json(path, self.to_params())
