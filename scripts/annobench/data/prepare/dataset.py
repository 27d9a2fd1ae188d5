"""From a source file to the cells contract: cells.h5ad, obs.parquet and card.json, and a store where it is large.

obs.parquet repeats the observations alone, so that splitting and scoring need not open the matrix.
"""

from pathlib import Path

from annobench.cells.store.manifest import fingerprint
from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.progress import Report, silent
from annobench.data.prepare.memory import prepare_in_memory
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.storage import wants_store
from annobench.data.prepare.task import PreparedFiles, Task
from annobench.ontology import Ontology


def prepare_dataset(
    name: str,
    spec: DatasetSpec,
    source: Path,
    record: Path,
    outputs: PreparedFiles,
    *,
    ontology: Ontology,
    label_table: Path | None = None,
    report: Report = silent,
) -> None:
    """Prepare a plain dataset, in memory or as a store.

    Parameters
    ----------
    name
        Of the dataset.
    spec
        What its YAML says. Its `storage`, or the size of the source, decides whether the counts go into a store.
    source
        The fetched file, or the folder of a store.
    record
        Its provenance, as `fetch_dataset` wrote it.
    outputs
        Where cells, observations and card go; a store is written beside them.
    ontology
        The release that labels are mapped to.
    label_table
        A table of config/labels, which goes before the ids of the source.
    report
        Says one line of progress.

    Raises
    ------
    DataError
        Where the source changed since it was fetched, or does not hold what the YAML says.
    """
    fetched = read_json(record)
    if fingerprint(source)[1] != fetched["sha256"]:
        raise DataError(
            f"{source}: changed since it was fetched (sha256 differs from {record}); fetch it again with --forcerun "
            "fetch_dataset"
        )
    task = Task(name, spec, source, fetched, ontology, label_table, outputs, report)
    if wants_store(spec, source):
        from annobench.data.prepare.stored import prepare_stored  # imports numba, which a small dataset does not need

        prepare_stored(task)
    else:
        prepare_in_memory(task)
