"""From a source file to the cells contract: cells.h5ad, obs.parquet and card.json, and a store where it is large.

obs.parquet repeats the observations alone, so that splitting and scoring need not open the matrix.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.cells.store.manifest import fingerprint
from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.data.prepare.memory import _prepare_in_memory
from annobench.data.prepare.storage import wants_store
from annobench.ontology import Ontology

if TYPE_CHECKING:
    pass


def prepare_dataset(
    name: str,
    dataset: dict[str, Any],
    source: Path,
    record: Path,
    ontology: Ontology,
    label_table: Path | None,
    outputs: dict[str, Path],
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Prepare a plain dataset.

    `source` is the fetched file, `record` its provenance; `outputs` has the keys cells, obs and card. A store is
    written beside cells.h5ad where `storage` or the size asks for one. `report` hears of progress. Raises DataError.
    """
    fetched = read_json(record)
    if fingerprint(source)[1] != fetched["sha256"]:
        raise DataError(
            f"{source}: changed since it was fetched (sha256 differs from {record}); fetch it again with --forcerun "
            "fetch_dataset"
        )
    if wants_store(dataset, source):
        from annobench.data.prepare.stored import prepare_stored

        prepare_stored(name, dataset, source, fetched, ontology, label_table, outputs, report)
    else:
        _prepare_in_memory(name, dataset, source, fetched, ontology, label_table, outputs)
