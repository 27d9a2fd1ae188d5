"""Fixtures that tests of fits share."""

import numpy as np
import pandas as pd
import pytest

from annobench.config.schema import validate
from annobench.core.files import sha256_of, write_json
from annobench.core.parquet import read_columns, write_columns
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.data.sources.simulate import Source, write_simulated
from annobench.ontology import Ontology
from helpers import TYPES


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--method NAME`, which `annobench check-method` gives: the tests of one method, and no others."""
    parser.addoption("--method", help="run the tests of this method only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other methods."""
    method = config.getoption("--method", default=None)
    if method is None:
        return
    kept = [item for item in items if getattr(item, "callspec", None) and item.callspec.params.get("name") == method]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory, ontology: Ontology) -> dict[str, dict[str, str]]:
    """The same fit on cells in memory and in a store."""
    folder = tmp_path_factory.mktemp("jobs")
    file = folder / "simulated.h5ad"
    source = Source("simulate", tuple(TYPES), cells=400, genes=60, seed=3, unlabelled=0.05)
    write_simulated(file, source, ontology)
    write_json(folder / "r.json", {"sha256": sha256_of(file), "file": file.name})
    ontology.save(folder / "cl.json")
    text = {"label": "d", "summary": "s", "citation": "c", "licence": "l", "source": {"kind": "local", "path": "x"}}
    text["cells"] = {"label_id": "cell_type_ontology_term_id", "study": "study", "donor": "donor_id"}
    for storage in ("memory", "store"):
        outputs = PreparedFiles.within(folder / storage)
        spec = DatasetSpec.of(validate(text | {"storage": storage}, "dataset", "d"))
        prepare_dataset("d", spec, file, folder / "r.json", outputs, ontology=ontology)
    obs = read_columns(folder / "memory" / "obs.parquet")
    roles = np.random.default_rng(0).choice(["train", "val", "test", "unused"], 400, p=[0.5, 0.2, 0.2, 0.1])
    roles[(obs["label_id"] == "unknown") & (roles != "test")] = "unused"
    write_columns(folder / "split.parquet", {"cell_id": obs["cell_id"], "role": roles.astype(object)})
    kept = np.flatnonzero(roles == "train")[::3]
    chosen = {"cell_id": obs["cell_id"][kept], "label_id": obs["label_id"][kept], "source": obs["study"][kept]}
    write_columns(folder / "train.parquet", chosen)
    genes = {"feature_id": [f"ENSG9{i:010d}" for i in range(0, 60, 4)], "feature_name": [""] * 15}
    pd.DataFrame(genes).to_csv(folder / "panel.csv", index=False)
    shared = {key: str(folder / f"{key}.parquet") for key in ("split", "train")} | {"ontology": str(folder / "cl.json")}
    return {storage: shared | {"cells": str(folder / storage / "cells.h5ad")} for storage in ("memory", "store")}
