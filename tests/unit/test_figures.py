"""What is promised: every figure draws from tables alone, whatever is missing in them, and looks are never shared."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from annobench.figures import low_label
from annobench.figures.registry import about, figures
from annobench.figures.style import Looks, draw_figure, spread_labels
from annobench.launch import resolve
from annobench.targets import TABLES, Targets
from annobench.workflow import Ask

METHODS = ["one", "two", "three"]


def tables() -> dict[str, pd.DataFrame]:
    """Tables of a study with every regime; method three failed everywhere but once."""
    ranking, summary, classes, confusion, calibration = [], [], [], [], []
    evaluations = [
        ("d", "kfold", ["kfold_1"]),
        ("d", "low_label", ["lowlabel_0.05", "lowlabel_0.1"]),
        ("e", "cross_study", ["crossstudy_x"]),
    ]
    for i, method in enumerate([*METHODS, "oracle"]):
        kind = "control" if method == "oracle" else "method"
        for dataset, regime, splits in [*evaluations, ("all", "all", [])]:
            if method == "three" and regime != "kfold":
                continue
            score = {"value": 0.9 - 0.2 * i, "low": 0.8 - 0.2 * i, "high": 0.95 - 0.2 * i}
            base = {"dataset": dataset, "evaluation": regime, "regime": regime, "method": method}
            row = {
                "score": score["value"],
                "low": score["low"],
                "high": score["high"],
                "rank": i + 1 if kind == "method" else None,
            }
            row |= {"label": method.title(), "kind": kind, "n_fits": 1, "n_planned": 2 if method == "three" else 1}
            ranking.append(
                base
                | row
                | {"fit_seconds": 0.1 * i, "predict_seconds": None, "peak_rss_mb": 100.0, "interval_over": "cells"}
            )
            for split in ["all", *splits]:
                summary.append(base | {"split": split, "metric": "macro_f1"} | score)
            if dataset == "all":
                continue
            for label_id, label in (("CL:1", "cell one"), ("CL:2", "cell two")):
                classes.append(base | {"label_id": label_id, "label": label, "f1": 0.5, "cells": 10.0})
                confusion.append(base | {"true": label_id, "predicted": "CL:1", "n": 10})
            for b in ("03", "10"):
                calibration.append(base | {"bin": b, "bin_accuracy": 0.4, "bin_confidence": 0.5, "n": 8})
    trees = [
        {"dataset": d, "label_id": i, "label": label, "parent": parent, "is_class": is_class}
        for d in "de"
        for i, label, parent, is_class in (
            ("CL:0", "above", None, False),
            ("CL:1", "cell one", "CL:0", True),
            ("CL:2", "cell two", "CL:0", True),
        )
    ]
    splits = [
        {
            "dataset": "d",
            "split": "kfold_1",
            "regime": "kfold",
            "evaluation": "kfold",
            "fraction": None,
            "held_out": None,
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "d",
            "split": "lowlabel_0.05",
            "regime": "low_label",
            "evaluation": "low_label",
            "fraction": 0.05,
            "held_out": None,
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "d",
            "split": "lowlabel_0.1",
            "regime": "low_label",
            "evaluation": "low_label",
            "fraction": 0.1,
            "held_out": None,
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "e",
            "split": "crossstudy_x",
            "regime": "cross_study",
            "evaluation": "cross_study",
            "fraction": None,
            "held_out": "x",
            "test": 10,
            "unseen": 2,
        },
    ]
    rows = {
        "ranking": ranking,
        "summary": summary,
        "classes": classes,
        "confusion": confusion,
        "calibration": calibration,
        "trees": trees,
        "splits": splits,
    }
    return {name: pd.DataFrame(found) for name, found in rows.items()}


SETTINGS = {
    "primary": "macro_f1",
    "datasets": {"d": "Data, one", "e": "Data, two"},
    "evaluations": {"d/kfold": "all labels", "d/low_label": "few labels", "e/cross_study": "unseen study"},
}


def drawn(name: str, folder: Path, changed: dict[str, pd.DataFrame]) -> Path:
    paths = {}
    for table in about(name)["TABLES"]:
        paths[table] = str(folder / f"{table}.csv")
        changed[table].to_csv(paths[table], index=False)
    png = folder / f"{name}.png"
    draw_figure(name, paths, SETTINGS, pdf=str(folder / f"{name}.pdf"), png=str(png))
    return png


@pytest.mark.parametrize("name", figures())
def test_every_figure_draws(name: str, tmp_path: Path) -> None:
    png = drawn(name, tmp_path, tables())
    assert png.read_bytes()[:4] == b"\x89PNG"
    image = plt.imread(png)
    assert image[..., :3].std() > 0.02  # something is on it


@pytest.mark.parametrize("name", figures())
def test_the_same_tables_give_the_same_file(name: str, tmp_path: Path) -> None:
    first = drawn(name, tmp_path, tables()).read_bytes()
    pdf = (tmp_path / f"{name}.pdf").read_bytes()
    assert drawn(name, tmp_path, tables()).read_bytes() == first
    assert (tmp_path / f"{name}.pdf").read_bytes() == pdf


@pytest.mark.parametrize("name", ["ranking", "pareto", "confusion", "calibration", "class_tree"])
def test_one_evaluation_and_one_method_are_enough(name: str, tmp_path: Path) -> None:
    changed = {key: t[(t["dataset"] == "d") | (t["dataset"] == "all")] for key, t in tables().items()}
    changed = {key: t[t["regime"].isin(["kfold", "all"])] if "regime" in t else t for key, t in changed.items()}
    changed = {key: t[t["method"] == "one"] if "method" in t else t for key, t in changed.items()}
    drawn(name, tmp_path, changed)


@pytest.mark.parametrize("name", figures())
@pytest.mark.parametrize("missing", ["low_label", "cross_study", "everything"])
def test_what_has_not_finished_leaves_a_figure_all_the_same(name: str, missing: str, tmp_path: Path) -> None:
    changed = {
        key: t[t["regime"] != missing] if missing != "everything" and "regime" in t else t
        for key, t in tables().items()
    }
    changed["splits"] = tables()["splits"]  # splits are there before fits
    if missing == "everything":
        changed = {key: t.head(0) for key, t in changed.items()}
    assert drawn(name, tmp_path, changed).read_bytes()[:4] == b"\x89PNG"


def test_all_labels_are_never_those_of_held_out_donors(tmp_path: Path) -> None:
    changed = tables()
    changed["summary"] = changed["summary"].replace({"evaluation": {"kfold": "kfold_donor"}})
    summary = changed["summary"][changed["summary"]["dataset"] == "d"]
    assert low_label._points(summary, changed["splits"], "low_label")["fraction"].max() == 10
    plain = tables()["summary"]
    points = low_label._points(plain[plain["dataset"] == "d"], changed["splits"], "low_label")
    assert points["fraction"].max() == 100


def test_figures_are_those_of_the_schema_and_the_default_study() -> None:
    assert sorted(resolve(None).settings["figures"]) == figures()
    assert all(set(about(name)["TABLES"]) <= set(TABLES) for name in figures())


def test_figures_without_data_are_not_asked_for() -> None:
    smoke, default = Targets(resolve("smoke")), Targets(resolve(None))
    assert "low_label" in smoke.figure_names
    assert set(default.figure_names) == set(figures())
    lung = Targets(resolve("lung"))
    assert "low_label" not in lung.figure_names
    assert "cross_study" in lung.figure_names  # a pair is shown there as well


def test_looks_tell_many_methods_apart() -> None:
    names = [f"m{i}" for i in range(28)]
    looks = Looks(names, ["c"])
    seen = {(look["color"], look["marker"]) for look in map(looks.of, names)}
    assert len(seen) == 28
    assert looks.of("c")["color"] not in {looks.of(n)["color"] for n in names}


def test_labels_beside_a_line_never_overlap() -> None:
    _, axes = plt.subplots()
    axes.set_ylim(0, 1)
    wanted = {f"m{i}": 0.9 + 0.001 * i for i in range(8)}
    spread_labels(axes, 1, wanted, {m: m for m in wanted}, Looks(list(wanted), []), gap=0.05)
    heights = sorted(text.xyann[1] for text in axes.texts)
    plt.close()
    assert all(b - a >= 0.05 - 1e-9 for a, b in itertools.pairwise(heights))
    assert heights[-1] <= 1


def test_captions_reach_snakemake() -> None:
    ask = Ask(resolve("smoke"))
    for name in figures():
        assert ask.figure_caption(SimpleNamespace(figure=name)) == about(name)["CAPTION"]
        json.loads(ask.figure_settings(SimpleNamespace(figure=name)))
