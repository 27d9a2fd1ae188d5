"""When does hierarchical cross-entropy beat cross-entropy? Simulated worlds, where the answer is known.

Command: `.venv/bin/python benchmarks/hce_granularity.py [--worlds 10] [--processes 2]`

Every world is drawn with the parameters of `simulated_mixed_may` (training) and `simulated_mixed_december` (out of
distribution) and its own seed; the same cells are then also labelled as in `simulated_leaves_*`. Networks are trained
with four seeds. The score is the macro F1 over the classes of the newer release, where a prediction below the truth
counts as right; intervals are those of the tables (bootstrap over the studies of the newer release, and over seeds).
Prints the means over all worlds and in how many of them each statement holds; `--out` writes the values of every world
as CSV.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annobench.config.entities import load_dataset, load_method
from annobench.core.paths import ROOT
from annobench.score import statistics as stats
from annobench.score.counts import Classes, UnitCounts
from annobench.score.registry import METRICS

RELEASE = "2026-03-26"
PARTS = ("may", "december")
MODELS, LOSSES, SEEDS = ("linear", "mlp"), ("ce", "hce"), (1, 2, 3, 4)
MARGIN = 0.02  # differences of macro F1 that are considered negligible
CONTRASTS = {  # (loss, decoding) of the base, and of what is compared with it
    "hce - ce": (("ce", "argmax"), ("hce", "argmax")),
    "ce leaf - ce": (("ce", "argmax"), ("ce", "leaf")),
    "hce - ce leaf": (("ce", "leaf"), ("hce", "argmax")),
    "ce top_down - ce": (("ce", "argmax"), ("ce", "top_down")),
    "hce top_down - hce": (("hce", "argmax"), ("hce", "top_down")),
}


def draw(world: int, ontology: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Both releases of a world, as `prepare` would write them; obs keeps both labels of a cell."""
    from annobench.data.sources.simulate import simulate

    found = {}
    common = {key: value for key, value in changes.items() if key not in PARTS}
    for part in PARTS:
        source = dict(load_dataset(f"simulated_mixed_{part}", ROOT, "benchmarks")["source"])
        del source["kind"]
        cells = simulate(**source | common | changes.get(part, {}) | {"seed": world, "ontology": ontology})
        cells.obs["mixed"] = cells.obs["cell_type_ontology_term_id"].astype(str)
        cells.obs["leaves"] = cells.obs["true_type"].astype(str)
        cells.uns["annobench"] = {"matrix": "counts"}
        found[part] = cells
    return found


def roles(donors: Any, seed: int) -> Any:
    """Role of every cell, by whole donors: 70 % train, 15 % val, 15 % test."""
    names = np.unique(donors.astype(str))
    np.random.default_rng(seed).shuffle(names)
    held = -(-len(names) * 15 // 100)
    role = (
        dict.fromkeys(names, "train")
        | dict.fromkeys(names[:held], "test")
        | dict.fromkeys(names[held : 2 * held], "val")
    )
    return donors.astype(str).map(role).to_numpy()


def fit(cells: Any, role: Any, *, model: str, loss: str, seed: int, ontology: Any) -> Any:
    """A network with the parameters of its method file, trained on the older release."""
    from annobench.fit.method import Context
    from annobench.methods.linear import Linear
    from annobench.methods.mlp import Perceptron

    parameters = load_method(f"{model}_{loss}", ROOT, "benchmarks")["parameters"]
    method = {"linear": Linear, "mlp": Perceptron}[model](**parameters)
    train, val = cells[role == "train"].copy(), cells[role == "val"].copy()
    classes = sorted(set(train.obs["label_id"]))
    method.fit(train, Context(seed=seed, classes=classes, ontology=ontology, validation=val, threads=1))
    return method


def world(number: int, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Fit all networks on one world; returns a row for each granularity, model and contrast."""
    import torch

    from annobench.data.ontology import from_wheel
    from annobench.fit.decoding import Decoder

    torch.set_num_threads(1)
    ontology = from_wheel(RELEASE)
    cells = draw(number, ontology, changes)
    role = roles(cells["may"].obs["donor_id"], number)
    rows = []
    for granularity in ("mixed", "leaves"):
        for part in cells.values():
            part.obs["label_id"] = part.obs[granularity]
        classes = sorted(set(cells["may"].obs["label_id"][role == "train"]))
        views = {
            "ood": cells["december"][np.isin(cells["december"].obs["label_id"], classes)].copy(),
            "id": cells["may"][(role == "test") & np.isin(cells["may"].obs["label_id"], classes)].copy(),
        }
        decoder = Decoder(classes, ontology)
        for model in MODELS:
            counts: dict[Any, dict[Any, UnitCounts]] = {}
            for loss in LOSSES:
                for seed in SEEDS:
                    method = fit(cells["may"], role, model=model, loss=loss, seed=seed, ontology=ontology)
                    for view, test in views.items():
                        p = np.asarray(next(method.predict(test)).probabilities)
                        decoded = {"argmax": p.argmax(axis=1)} | {
                            name: codes for name, (codes, _) in decoder(p).items()
                        }
                        for decoding, codes in decoded.items():
                            pairs = {
                                "unit": test.obs["study"].astype(str).to_numpy(),
                                "true": test.obs["label_id"].astype(str).to_numpy(),
                                "predicted": np.array(classes)[codes],
                                "n": np.ones(test.n_obs),
                            }
                            one = UnitCounts.of_table(pairs, Classes(classes, ontology))
                            counts.setdefault((view, loss, decoding), {})["release", seed] = one
            rows += list(_rows({"world": number, "granularity": granularity, "model": model}, counts))
    return rows


def _rows(of: dict[str, Any], counts: Any) -> Any:
    weights = stats.Weights(1000, 0.95, 0)
    for view in ("ood", "id"):
        for name, (base, other) in CONTRASTS.items():
            for metric in (METRICS[name] for name in ("ontology_macro_f1", "macro_f1")):
                a, b = (counts[view, *one] for one in (base, other))
                values = stats.estimate(a, metric), stats.estimate(b, metric)
                drawn = stats.replicates(b, metric, weights, "world") - stats.replicates(a, metric, weights, "world")
                low, high = stats.interval(drawn, values[1] - values[0], 0.95, (-1, 1))
                yield of | {
                    "view": view,
                    "contrast": name,
                    "metric": metric.name,
                    "base": values[0],
                    "value": values[1],
                    "difference": values[1] - values[0],
                    "low": low,
                    "high": high,
                }


def summary(rows: Any) -> Any:
    """Means over the worlds, the outermost ends of their intervals, and counts of what the intervals contain."""
    import pandas as pd

    keys = ["view", "metric", "granularity", "model", "contrast"]
    found = []
    table = pd.DataFrame(rows)
    # without classes above others, all decodings agree
    table = table[(table["granularity"] == "mixed") | (table["contrast"] == "hce - ce")]
    for key, part in table.groupby(keys, sort=False):
        found.append(
            dict(zip(keys, key, strict=True))
            | {
                "base": part["base"].mean(),
                "value": part["value"].mean(),
                "difference": part["difference"].mean(),
                "low": part["low"].min(),
                "high": part["high"].max(),
                "above 0": int((part["low"] > 0).sum()),
                "below 0": int((part["high"] < 0).sum()),
                "holds 0": int(((part["low"] <= 0) & (part["high"] >= 0)).sum()),
                f"within {MARGIN}": int(((part["low"] > -MARGIN) & (part["high"] < MARGIN)).sum()),
                "worlds": len(part),
            }
        )
    return pd.DataFrame(found)


def main() -> None:
    """Run the worlds and print."""
    import json

    import pandas as pd

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--worlds", type=int, default=10)
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument(
        "--set", type=json.loads, default={}, help='other parameters, as JSON: {"depth": 800, "may": {"cells": 9000}}'
    )
    arguments.add_argument("--out", type=Path, help="CSV of all worlds")
    options = arguments.parse_args()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        numbers = range(1, options.worlds + 1)
        rows = [row for of in pool.map(world, numbers, [options.set] * len(numbers)) for row in of]
    if options.out:
        pd.DataFrame(rows).to_csv(options.out, index=False)
    with pd.option_context("display.width", 250, "display.max_columns", 30, "display.max_rows", 200):
        print(summary(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
