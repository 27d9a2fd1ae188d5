"""Hierarchical cross-entropy helps where studies name cells at different depths, and not where all name leaves.

A smaller world than that of `simulated_mixed` and `simulated_leaves`; benchmarks/hce_granularity.py has more of them.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest

from annobench.config.schema import load_yaml
from annobench.core.paths import ROOT
from annobench.data.sources.simulate import simulate
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.linear import Linear
from annobench.ontology import Ontology
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS

SEEDS = (1, 2, 3, 4)
CELLS = {"may": 2400, "december": 1600}
METRIC = "ontology_macro_f1"


@cache
def release(part: str, ontology: Ontology) -> Any:
    """Cells of the world of the datasets, fewer of them over fewer genes."""
    source = load_yaml(ROOT / f"config/datasets/simulated_mixed_{part}.yaml")["source"]
    changes = {"cells": CELLS[part], "genes": 400, "depth": 400, "ontology": ontology}
    cells = simulate(**{key: value for key, value in source.items() if key != "kind"} | changes)
    cells.obs["mixed"] = cells.obs["cell_type_ontology_term_id"].astype(str)
    cells.obs["leaves"] = cells.obs["true_type"].astype(str)
    cells.uns["annobench"] = {"matrix": "counts"}
    return cells


def trained(loss: str, names: str, ontology: Ontology) -> stats.Samples:
    """What the linear network says of the newer release, whose labels and those of the training cells are `names`."""
    older, newer = (release(part, ontology).copy() for part in CELLS)
    for cells in (older, newer):
        cells.obs["label_id"] = cells.obs[names]
    held_out = older.obs["donor_id"].str.endswith("donor3").to_numpy()
    train, validation = older[~held_out].copy(), older[held_out].copy()
    classes = sorted(set(train.obs["label_id"]))
    test = newer[np.isin(newer.obs["label_id"], classes)].copy()
    found = {}
    for seed in SEEDS:
        method = Linear(loss=loss, recipe={"epochs": 20, "min_steps": 0})
        method.fit(train, Context(seed=seed, classes=classes, ontology=ontology, validation=validation))
        predicted = np.array(classes)[np.asarray(joined(method.predict(test)).probabilities).argmax(axis=1)]
        pairs = {"unit": test.obs["study"], "true": test.obs["label_id"], "predicted": predicted, "n": 1.0}
        pairs = {key: np.broadcast_to(np.asarray(values), predicted.shape) for key, values in pairs.items()}
        found["ood", seed] = UnitCounts.of_table(pairs, Classes(classes, ontology))
    return found


@pytest.mark.parametrize("names", ["mixed", "leaves"])
def test_hce_helps_where_granularity_is_mixed_and_only_there(names: str, ontology: Ontology) -> None:
    ce, hce = (trained(loss, names, ontology) for loss in ("ce", "hce"))
    weights = stats.Weights(500)
    difference = stats.estimate(hce, METRICS[METRIC]) - stats.estimate(ce, METRICS[METRIC])
    drawn = stats.replicates(hce, METRICS[METRIC], weights, "world") - stats.replicates(
        ce, METRICS[METRIC], weights, "world"
    )
    low, high = stats.interval(drawn, difference, 0.95, (-1, 1))
    assert stats.estimate(ce, METRICS[METRIC]) > 0.4
    if names == "mixed":
        assert low > 0  # so it is in seven worlds of seven
        assert difference > 0.05
    else:
        assert -0.01 < low <= high < 0.01
