"""Files of users, prepared in memory and as a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import pytest

from annobench.cells.store import h5ad as backed
from annobench.cells.stored_cells import read_cells
from annobench.config.schema import validate
from annobench.core.files import read_json, sha256_of, write_json
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology

TEXT = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
LABELS = "original\tlabel_id\tcomment\nB cell\tCL:0000236\t\nT cell\tCL:0000084\t\n"
Prepared = tuple[ad.AnnData, dict[str, Any], list[str]]


@pytest.fixture
def prepare(tmp_path: Path, ontology: Ontology, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Prepared]:
    """Prepare a file in either way, in small parts; returns cells, card, and what was said."""
    table = tmp_path / "labels.tsv"
    table.write_text(LABELS)
    monkeypatch.setattr(backed, "MEMORY", 2048)

    def prepared(file: Path, storage: str = "memory", **more: Any) -> Prepared:
        spec = DatasetSpec.of(validate(TEXT | {"storage": storage} | more, "dataset", "d.yaml"))
        record, said = tmp_path / "source.json", list[str]()
        write_json(record, {"sha256": sha256_of(file), "file": file.name})
        outputs = PreparedFiles.within(tmp_path / storage)
        prepare_dataset("d", spec, file, record, outputs, ontology=ontology, label_table=table, report=said.append)
        return read_cells(outputs.cells), read_json(outputs.card), said

    return prepared
