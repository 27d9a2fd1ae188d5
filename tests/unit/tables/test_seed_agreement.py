"""What is promised: labels of the same cells by several seeds are compared cell by cell, whatever their order."""

from pathlib import Path

import numpy as np
import pytest

from annobench.config.results import Fit, Results
from annobench.core.parquet import write_columns
from annobench.fit import predictions_file
from annobench.fit.predictions import Predictions
from annobench.tables.shared.context import TableContext
from helpers import run_record, toy_ontology
from study_files import split, study

IDS = np.array([f"c{i}" for i in range(4)], dtype=object)


def write(
    results: Results, seed: int, labels: str, ids: np.ndarray = IDS, fitted: str = "s", method: str = "m"
) -> None:
    fit = Fit("d", fitted, method, seed)
    path = Path(results.predictions(fit))
    path.parent.mkdir(parents=True)
    predictions_file.write(path, Predictions.from_labels(ids.tolist(), list(labels)))
    run_record(Path(results.run(fit)))


def table(folder: Path, **more: object) -> list[dict[str, object]]:
    given = split(**{"methods": ("m", "n", "zero"), "seeds": (1, 2, 3)} | more)
    kinds = {"m": "method", "n": "method", "zero": "control"}
    context = TableContext(study(given, methods=kinds), Results(folder), toy_ontology())
    return context.table("seed_agreement").to_dict("records")


def test_by_hand(tmp_path: Path) -> None:
    results = Results(tmp_path)
    write(results, 1, "AABB")
    write(results, 2, "BABA", IDS[::-1])  # c0 A, c1 B, c2 A, c3 B
    write(results, 3, "AABA")
    for seed in (1, 2):
        write(results, seed, "AAAA", method="zero")
    write(results, 1, "AAAA", method="n")  # the only fit of its method
    (found,) = table(tmp_path)
    assert (found["method"], found["n_seeds"], found["n"]) == ("m", 3, 4)
    assert found["agreement"] == 0.25  # c0 alone
    assert found["pairwise"] == pytest.approx((0.5 + 0.75 + 0.25) / 3)
    assert found["pairwise_lowest"] == 0.25


def test_other_cells_are_not_compared(tmp_path: Path) -> None:
    results = Results(tmp_path)
    write(results, 1, "AABB")
    write(results, 2, "AABB", np.array(["c0", "c1", "c2", "c9"], dtype=object))
    assert table(tmp_path) == []


def test_only_the_cells_of_the_split_count(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for seed, labels in ((1, "AABB"), (2, "AAAA")):
        write(results, seed, labels, fitted="whole")
        roles = np.array(["unused", "test", "test", "unused"], dtype=object)
        write_columns(results.roles("d", "s", seed), {"cell_id": IDS, "role": roles})
    (found,) = table(tmp_path, fitted="whole", seeds=(1, 2))
    assert (found["n"], found["agreement"]) == (2, 0.5)
