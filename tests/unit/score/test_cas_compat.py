"""Promises: values of cellarium-cas by its definitions, whatever the order of rows, and refusals that say why."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from annobench.core.errors import DataError
from annobench.score.compat.cas_measures import FLAT, HIERARCHICAL, Hierarchy, Pairs, flat_measures
from annobench.score.compat.cas_runs import find_runs, read_truth
from annobench.score.compat.cas_tables import CasOptions, write_cas_tables
from cas_folders import write_cells, write_run

ROOT = "CL:0000000"
# a graph, not a tree: e lies below b and c; x has no parent but the root
CHILDREN = {ROOT: ["a", "x"], "a": ["b", "c"], "b": ["d", "e"], "c": ["e"], "d": [], "e": [], "x": []}
LABELS = [ROOT, "x", "e", "d", "c", "b", "a"]
RESOURCE: dict[str, object] = {
    "cl_names": LABELS,
    "cell_ontology_term_id_to_cell_type": {label: f"name of {label}" for label in LABELS},
    "children_dictionary": CHILDREN,
}

# a second, plain implementation, written from the formulas


def plain_ancestors(label: str) -> set[str]:
    """A label and all above it, without the root."""
    found = {label}
    while True:
        more = found | {parent for parent, below in CHILDREN.items() if found & set(below)}
        if more == found:
            return found - {ROOT}
        found = more


def safe(above: float, below: float, zero_division: float) -> float:
    return above / below if below > 0 else zero_division


def f_of(p: float, r: float, zero_division: float) -> float:
    return 2 * p * r / (p + r) if p + r > 0 else zero_division


def triads(counts: Mapping[str, tuple[int, int, int]], zd: float) -> dict[str, tuple[float, float, float]]:
    """Precision, recall and F1 from tp, fp and fn."""
    found = {}
    for key, (tp, fp, fn) in counts.items():
        p, r = safe(tp, tp + fp, zd), safe(tp, tp + fn, zd)
        found[key] = (p, r, f_of(p, r, zd))
    return found


def averages(counts: Mapping[str, tuple[int, int, int]], members: Sequence[str], zd: float) -> dict[str, float]:
    per = triads(counts, zd)
    tp, fp, fn = (sum(counts[key][i] for key in counts) for i in range(3))
    found: dict[str, float] = {"tp": tp, "fp": fp, "fn": fn}
    micro = triads({"all": (tp, fp, fn)}, zd)["all"]
    support = {key: counts[key][0] + counts[key][2] for key in members}
    for i, name in enumerate(("precision", "recall", "f1")):
        found[f"{name}_micro"] = micro[i]
        found[f"{name}_macro"] = sum(per[key][i] for key in members) / len(members) if members else zd
        total = sum(support.values())
        found[f"{name}_weighted"] = sum(support[key] * per[key][i] for key in members) / total if total else zd
    return found


def plain_flat(
    true: Sequence[str], predicted: Sequence[str], zd: float, *, supported: bool = False
) -> dict[str, float]:
    """Flat measures; macro averages over classes with support, or that are true or predicted."""
    pairs = list(zip(true, predicted, strict=True))
    counts = {
        label: (
            sum(t == p == label for t, p in pairs),
            sum(p == label != t for t, p in pairs),
            sum(t == label != p for t, p in pairs),
        )
        for label in {*true, *predicted}
    }
    return averages(counts, sorted({*true} if supported else {*true, *predicted}), zd)


def plain_hierarchical(true: Sequence[str], predicted: Sequence[str], zd: float) -> dict[str, float]:
    sets = [(plain_ancestors(t), plain_ancestors(p)) for t, p in zip(true, predicted, strict=True)]
    nodes = set().union(*(t | p for t, p in sets))
    counts = {
        node: (
            sum(node in t and node in p for t, p in sets),
            sum(node in p and node not in t for t, p in sets),
            sum(node in t and node not in p for t, p in sets),
        )
        for node in nodes
    }
    found = averages(counts, sorted(node for node in nodes if counts[node][0] + counts[node][2]), zd)
    return {f"h_{key}": value for key, value in found.items()}


def top(true: Sequence[str], ranks: Sequence[Sequence[str]], k: int) -> list[str]:
    """The truth where one of the first k labels is it, else the first label."""
    return [t if t in of_cell[:k] else of_cell[0] for t, of_cell in zip(true, zip(*ranks, strict=True), strict=True)]


# files


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def same(row: Mapping[str, str], expected: Mapping[str, float], keys: Sequence[str], ending: str = "") -> None:
    for key in keys:
        assert float(row[f"{key}{ending}"]) == pytest.approx(expected[key], abs=1e-12), key


def drawn(seed: int, n: int = 60) -> tuple[list[str], list[list[str]]]:
    """True labels and three ranks; the root is among both."""
    rng = np.random.default_rng(seed)
    true = rng.choice(LABELS, n).tolist()
    first = np.where(rng.random(n) < 0.5, true, rng.choice(LABELS, n)).tolist()
    return true, [first, *(rng.choice(LABELS, n).tolist() for _ in range(2))]


@pytest.mark.parametrize("zero_division", [0.0, 1.0])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_number_is_that_of_a_plain_implementation(tmp_path: Path, zero_division: float, shuffled: bool) -> None:
    truths, all_ranks, assays = {}, {}, {}
    for sample in ("one", "two"):
        true, ranks = drawn(len(sample) + ord(sample[0]))
        assays[sample] = ["v2" if i % 3 else "v3" for i in range(len(true))]
        cells = write_cells(tmp_path / f"{sample}.h5ad", true, assay=assays[sample])
        truths[str(cells)] = true
        for model in ("m/a", "m:b"):
            given = ranks if model == "m/a" else ranks[::-1]
            all_ranks[model, str(cells)] = given
            ids = [f"cell{i}" for i in range(len(true))]
            order = np.random.default_rng(0).permutation(len(true)) if shuffled else np.arange(len(true))
            mixed = [[of[i] for i in order] for of in given]
            folder = tmp_path / "runs" / f"{model[-1]}_{sample}"
            write_run(folder, cells, mixed, resource=RESOURCE, model=model, ids=[ids[i] for i in order])
    runs = find_runs([str(tmp_path / "runs")])
    options = CasOptions("truth", groups=("assay",), zero_division=zero_division)
    out = tmp_path / "out"
    notes = write_cas_tables([(run, Path(run.sample)) for run in runs], options, out)
    assert notes == []
    flat, nodes = rows(out / "f_measure_per_sample.csv"), rows(out / "hierarchical_f_measure_per_sample.csv")
    sets = rows(out / "macro_class_sets_per_sample.csv")
    assert [list(row) for row in flat[:1]] == [
        ["model_name", "test_sample", *(f"{f}_k{k}" for k in (1, 2, 3) for f in FLAT)]
    ]
    assert [list(row) for row in nodes[:1]] == [["model_name", "test_sample", *HIERARCHICAL]]
    assert [(row["model_name"], row["test_sample"]) for row in flat] == [(run.model, run.sample) for run in runs]
    for row, of_nodes, of_sets in zip(flat, nodes, sets, strict=True):
        true, ranks = truths[row["test_sample"]], all_ranks[row["model_name"], row["test_sample"]]
        for k in (1, 2, 3):
            same(row, plain_flat(true, top(true, ranks, k), zero_division), FLAT, f"_k{k}")
            for name, supported in (("either", False), ("support", True)):
                expected = plain_flat(true, top(true, ranks, k), zero_division, supported=supported)
                assert float(of_sets[f"f1_macro_{name}_k{k}"]) == pytest.approx(expected["f1_macro"], abs=1e-12)
        same(of_nodes, plain_hierarchical(true, ranks[0], zero_division), HIERARCHICAL)
    by_model = rows(out / "f_measure_per_group.csv")
    assert [row["group_name"] for row in by_model] == ["m/a", "m:b"]
    for row, of_nodes in zip(by_model, rows(out / "hierarchical_f_measure_per_group.csv"), strict=True):
        true = [label for sample in truths for label in truths[sample]]
        parts = [all_ranks[row["group_name"], sample] for sample in truths]
        ranks = [[*a, *b] for a, b in zip(*parts, strict=True)]
        same(row, plain_flat(true, top(true, ranks, 2), zero_division), FLAT, "_k2")
        same(of_nodes, plain_hierarchical(true, ranks[0], zero_division), HIERARCHICAL)
    of_assay = [row for row in rows(out / "f_measure_per_assay.csv") if row["model_name"] == "m/a"]
    assert [row["assay"] for row in of_assay] == ["v2", "v3"]
    chosen = [assay == "v3" for sample in assays for assay in assays[sample]]
    true = [label for sample in truths for label in truths[sample]]
    first = [label for sample in truths for label in all_ranks["m/a", sample][0]]
    part = [[one for one, keep in zip(of, chosen, strict=True) if keep] for of in (true, first)]
    same(of_assay[1], plain_flat(part[0], part[1], zero_division), FLAT, "_k1")


def codes(labels: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([["T", "B", "platelet"].index(label) for label in labels])


def test_the_two_class_sets_differ_as_its_code_and_its_documentation_do() -> None:
    """Nine T cells right, one B cell taken for a platelet: a third of three classes, half of two."""
    pairs = Pairs.count(codes(["T"] * 9 + ["B"]), codes(["T"] * 9 + ["platelet"]))
    found = flat_measures(pairs)
    assert found["f1_macro"] == found["f1_macro_either"] == pytest.approx(1 / 3, abs=1e-15)
    assert found["f1_macro_support"] == pytest.approx(1 / 2, abs=1e-15)
    assert (found["tp"], found["fp"], found["fn"], found["f1_micro"]) == (9, 1, 1, 0.9)
    with_one = flat_measures(pairs, 1.0)
    assert with_one["recall_macro"] == pytest.approx((1 + 0 + 1) / 3, abs=1e-15)  # a class that is only predicted


def test_counts_are_the_same_by_sorting_and_by_counting() -> None:
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 3000, 500), rng.integers(0, 3000, 500)
    sparse = Pairs.count(true * 2000, predicted * 2000)  # codes far apart do not cost memory
    dense = Pairs.count(true, predicted)
    assert sparse.cells.tolist() == dense.cells.tolist()
    assert (sparse.true // 2000).tolist() == dense.true.tolist()
    twice = Pairs.sum([dense, dense])
    assert twice.cells.tolist() == (2 * dense.cells).tolist()


def test_ancestors_may_be_given_instead_of_children() -> None:
    ancestors = {label: sorted(plain_ancestors(label) - {label} | {ROOT}) for label in LABELS}
    given = Hierarchy.of_resource({"cl_names": LABELS, "ancestors_dictionary": ancestors}, "f")
    found = Hierarchy.of_resource(RESOURCE, "f")
    for i, label in enumerate(LABELS):
        names = {LABELS[node] for node in found.nodes(i)}
        assert names == {LABELS[node] for node in given.nodes(i)} == plain_ancestors(label) - {ROOT}


# refusals


@pytest.fixture
def run(tmp_path: Path) -> Path:
    cells = write_cells(tmp_path / "cells.h5ad", ["d", "e", "x", "d"])
    return write_run(tmp_path / "runs" / "r", cells, [["d", "e", "x", "e"]], resource=RESOURCE)


def written(folder: Path, label: str = "truth", cells: Path | None = None) -> list[str]:
    runs = find_runs([str(folder)])
    return write_cas_tables(
        [(one, cells or Path(one.sample)) for one in runs], CasOptions(label), folder.parent / "out"
    )


def test_labels_outside_of_the_ontology_are_named(run: Path) -> None:
    table = run / "inferred_labels.csv"
    table.write_text(table.read_text().replace(",x,", ",unheard,"))
    with pytest.raises(DataError, match=r"not in cl_names .*predicted: 'unheard'"):
        written(run)


def test_other_cells_and_missing_cells_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_cells(tmp_path / "other.h5ad", ["d", "e"], ids=["a", "b"])
    with pytest.raises(DataError, match="has 4 cells, .* has 2, and 2 of these are not among the first"):
        written(run, cells=other)
    part = write_cells(tmp_path / "part.h5ad", ["d", "e"], ids=["cell0", "cell1"])
    with pytest.raises(DataError, match="needs the same cells"):
        written(run, cells=part)


@pytest.mark.parametrize("layout", ["numbers as names", "nullable names", "nullable labels", "masked numbers"])
def test_truths_of_other_writers(tmp_path: Path, layout: str) -> None:
    ids, labels = ["10", "11", "12"], ["d", None, "e"]
    obs = pd.DataFrame({"truth": pd.array(labels, dtype="string")}, index=ids)
    if layout == "masked numbers":
        obs["truth"] = pd.array([1, None, 2], dtype="Int64")
        labels = ["1", None, "2"]
    elif layout != "nullable labels":
        obs["truth"] = pd.Categorical(labels)
    with ad.settings.override(allow_write_nullable_strings=True):
        if layout == "nullable names":
            obs.index = obs.index.astype("string")
        ad.AnnData(obs=obs).write_h5ad(tmp_path / "a.h5ad")
    if layout == "numbers as names":
        with h5py.File(tmp_path / "a.h5ad", "a") as file:
            name = file["obs"].attrs["_index"]
            del file["obs"][name]
            file["obs"][name] = np.array([10, 11, 12])
    truth = read_truth(tmp_path / "a.h5ad", "truth")
    assert [one.decode() for one in truth.ids.to_pylist()] == ids
    assert truth.label.to_text().tolist() == [label or "nan" for label in labels]


def test_a_missing_column_names_the_nearest(run: Path) -> None:
    with pytest.raises(DataError, match="obs has no column 'truht'.*'truth'"):
        written(run, "truht")


def test_missing_files_are_named(run: Path, tmp_path: Path) -> None:
    (run / "ontology_resource.json").rename(tmp_path / "kept.json")
    with pytest.raises(DataError, match="there is no ontology_resource.json"):
        written(run)
    (tmp_path / "runs" / "stray").mkdir()
    with pytest.raises(DataError, match="stray has no inferred_labels.csv"):
        find_runs([str(tmp_path / "runs")])
    with pytest.raises(DataError, match="there is no folder"):
        find_runs([str(tmp_path / "nowhere")])


def test_another_ontology_is_reported(run: Path, tmp_path: Path) -> None:
    other = RESOURCE | {"cl_names": LABELS[:-1]}
    write_run(tmp_path / "runs" / "s", tmp_path / "cells.h5ad", [["d", "e", "x", "d"]], resource=other)
    notes = written(tmp_path / "runs")
    assert len(notes) == 1
    assert "another ontology_resource.json" in notes[0]


def test_folders_may_be_listed_in_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"\nruns/r\n\n{run}\n")
    assert [one.folder for one in find_runs([str(tmp_path / "list.txt")])] == [run]
    assert json.loads((run / "metadata.json").read_text())["model_name"] == find_runs([str(run)])[0].model
