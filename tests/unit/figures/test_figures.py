"""What is promised: every figure draws from tables alone, whatever is missing in them, and looks are never shared."""

import importlib
import io
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from annobench.config.controls import CONTROLS
from annobench.config.entities import available
from annobench.config.figures import FigureFacts, figure_facts, figures
from annobench.config.plugins import plugins
from annobench.config.tables import tables as all_tables
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.figures import low_label, pareto
from annobench.figures.shared import needs
from annobench.figures.shared.labels import chosen_evaluation
from annobench.figures.shared.settings import FigureSettings, MetricWords
from annobench.figures.shared.style import THEME, Looks, draw_figure
from annobench.score.audit.controls import CONTROLS as AUDITED
from annobench.workflow.figures import FigureRules
from annobench.workflow.launch import resolve
from annobench.workflow.targets import Targets

METHODS = ["one", "two", "three"]
OTHERS = [name for name in figures() if "release" not in figure_facts(name).regimes]  # those have a file of their own
OF_EMBEDDINGS = ("embedding_scores", "embedding_maps", "clustering_resolution", "probe_classes")
LABELS = ("cell one", "cell two")
MARKER_METRICS = ("marker_cv", "marker_log2fc", "marker_purity", "marker_recovery", "contamination", "cells")
OF_EVALUATIONS = ["audit", "markers", "marker_validation", "deg_heatmap", "confidence", "risk_coverage", "spatial_map"]


def tables() -> dict[str, pd.DataFrame]:
    """Tables of a study with every regime; method three failed everywhere but once."""
    ranking, summary, classes, confusion, calibration, relations, depths = [], [], [], [], [], [], []
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
            verdict = {"verdict": "informative"}
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
                | verdict
                | {"fit_seconds": 0.1 * i, "predict_seconds": None, "peak_rss_mb": 100.0, "interval_over": "cells"}
                | {"trainable_parameters": 10**i if i < 2 else None, "model_bytes": 500 if i == 0 else None}
                | {"against_best": "best" if i == 0 else "not told apart" if i == 1 else "worse"}
            )
            for split, metric in itertools.product(["all", *splits], ("macro_f1", "clisi", "ilisi")):
                summary.append(base | {"split": split, "metric": metric} | score | verdict)
            if dataset == "all":
                continue
            apart = splits if regime == "low_label" else ["all"]
            for label_id, label in (("CL:1", "cell one"), ("CL:2", "cell two")):
                trained = {"cells": 10.0, "n_fits": 2, "n_trained": 2 if label_id == "CL:1" else i}
                of_label = {"label_id": label_id, "label": label, "f1": 0.5} | trained
                called = {"true": label_id, "predicted": "CL:1", "n": 20} | trained
                for split in apart:
                    classes.append(base | {"split": split} | of_label)
                    confusion.append(base | {"split": split} | called)
                for relation, n in (("exact", 6), ("sibling", 4)):
                    row = {"label_id": label_id, "relation": relation, "n": 2 * n, "cells": n, "share": n / 10}
                    relations += [base | {"split": split} | row for split in apart]
                for depth, node in ((1, "top"), (2, label)):
                    named = {"true_label": node, "predicted_label": node if depth == 1 else "cell one"}
                    row = {"depth": depth, "n": 20} | trained | named
                    depths += [base | {"split": split} | row for split in apart]
            for b in ("03", "10"):
                row = {"bin": b, "bin_accuracy": 0.4, "bin_confidence": 0.5, "n": 16, "cells": 8}
                calibration += [base | {"split": split} | row for split in apart]
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
            "label": "",
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "d",
            "split": "lowlabel_0.05",
            "regime": "low_label",
            "evaluation": "low_label",
            "fraction": 0.05,
            "label": "5 % of the labels",
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "d",
            "split": "lowlabel_0.1",
            "regime": "low_label",
            "evaluation": "low_label",
            "fraction": 0.1,
            "label": "10 % of the labels",
            "test": 10,
            "unseen": 0,
        },
        {
            "dataset": "e",
            "split": "crossstudy_x",
            "regime": "cross_study",
            "evaluation": "cross_study",
            "fraction": None,
            "label": "x",
            "test": 10,
            "unseen": 2,
        },
    ]
    rows = {
        "ranking": ranking,
        "summary": summary,
        "classes": classes,
        "confusion": confusion,
        "error_relations": relations,
        "confusion_depths": depths,
        "calibration": calibration,
        "trees": trees,
        "splits": splits,
    }
    return {name: pd.DataFrame(found) for name, found in (rows | audit_rows() | embedding_rows() | rule_rows()).items()}


def audit_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables that come from the audit, of two evaluations; `two` has but one type of cells."""
    found: dict[str, list[dict[str, Any]]] = {
        t: [] for t in ("audit", "markers", "types", "degs", "spatial", "published")
    }
    verdicts = [("informative", None), ("not evidence", "circular"), ("untested", None), ("descriptive", None)]
    for dataset, evaluation in (("d", "kfold"), ("e", "cross_study")):
        base = {"dataset": dataset, "evaluation": evaluation, "regime": evaluation}
        for i, (verdict, because) in enumerate(verdicts):
            of = {"family": "markers", "metric": f"metric_{i}", "variant": "-", "rule": "-"}
            found["audit"].append(base | of | {"verdict": verdict, "because": because})
        for metric, verdict in (("clisi", "informative"), ("ilisi", "not evidence")):
            mixing = {"family": "integration", "metric": metric, "variant": "-", "rule": "-", "verdict": verdict}
            found["audit"].append(base | mixing | {"oracle": 0.9, "noise": 0.1, "shuffled": None, "batch_alone": 0.3})
        aurc = {"family": "confidence", "metric": "aurc", "variant": "-", "rule": "zscore"}
        found["audit"].append(base | aurc | {"verdict": "not evidence", "because": "unrelated tissue"})
        for name in ("one", "two", "oracle", "marker_argmax", "shuffled"):
            kind = "method" if name in METHODS else "control"
            for reading, metric in itertools.product(("published", "fair"), MARKER_METRICS):
                value = {"value": 0.4, "low": 0.2, "high": None if name == "two" else 0.6, "verdict": "not evidence"}
                found["markers"].append(
                    base | {"split": "all", "kind": kind, "name": name, "reading": reading, "metric": metric} | value
                )
                for label in ("cell one", "cell two")[: 1 if name == "two" else 2]:
                    of_type = {
                        "split": "all",
                        "name": name,
                        "reading": reading,
                        "label_id": label,
                        "label": label,
                        "metric": metric,
                    }
                    found["types"].append(base | of_type | {"value": None if label == "cell two" else 0.5, "n": 3})
        for name, of, label in itertools.product(("oracle", "one"), LABELS, LABELS):
            gene = {"name": name, "gene_of": of, "gene_of_label": of, "gene": f"G {of}", "label_id": label}
            found["degs"].append(base | gene | {"label": label, "value": 1.0 if of == label else -1.0})
    for i in range(12):
        cell = {"dataset": "d", "evaluation": "kfold", "regime": "kfold", "name": "one", "cell_id": f"c{i}"}
        at = {"x": None if i == 11 else 10.0 * i, "y": float(i % 4), "true": LABELS[i % 2], "predicted": LABELS[0]}
        found["spatial"].append(cell | at | {"confidence": None if i == 3 else i / 12})
    for row, column in itertools.product(("Overlap", "Unknown"), ("first", "second")):
        number = {"row": row, "metric": "gene_overlap", "unit": "%" if row == "Overlap" else None, "column": column}
        here = {"published": 98.0, "method": "one", "here": 9.2, "fair": None, "source": "a page"}
        found["published"].append(
            number | here | {"verdict": "not evidence", "reason": "majority 1, the best method 1"}
        )
    return found


def embedding_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables on embeddings, of one evaluation."""
    found: dict[str, list[dict[str, Any]]] = {"places": [], "resolutions": [], "probe_classes": []}
    for i, method in enumerate(("one", "two")):
        base = {"dataset": "d", "evaluation": "kfold", "regime": "kfold"}
        for cell in range(30):
            at = {"x": float(cell % 6), "y": float(cell // 6), "label": f"type {cell % 23}"}
            called = {"predicted": f"type {cell % 22}" if method == "one" else None}
            found["places"].append(base | {"name": method, "cell_id": f"c{cell}", "label_id": "CL:1"} | at | called)
        for resolution, metric in itertools.product((0.5, 1.0), ("clustering_ari", "clustering_nmi", "clusters")):
            value = {"metric": metric, "value": 0.3 + resolution, "n_fits": 1}
            found["resolutions"].append(base | {"method": method, "resolution": resolution} | value)
        for label in LABELS:
            of = {"folds_of": "cells", "classifier": "logistic_regression", "label": label, "f1": 0.5 + i / 10}
            found["probe_classes"].append(base | {"split": "all", "method": method, "label_id": label} | of)
    return found


def rule_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables on confidence rules and on factors."""
    found: dict[str, list[dict[str, Any]]] = {"confidences": [], "curves": [], "rules": [], "effects": []}
    for (dataset, evaluation), method, rule in itertools.product(
        (("d", "kfold"), ("e", "cross_study")), ("one", "two"), ("raw", "zscore", "calibrated")
    ):
        base = {"dataset": dataset, "evaluation": evaluation, "regime": evaluation, "split": "all"}
        base |= {"method": method, "rule": rule}
        for cells, b in itertools.product(("right", "wrong", "noise"), range(5)):
            found["confidences"].append(base | {"cells": cells, "bin": b, "share": None if cells == "noise" else 0.2})
        found["rules"].append(base | {"merging": "none", "metric": "aurc", "variant": "-", "value": 0.123})
        for coverage in (0.25, 0.5, 1.0):
            found["curves"].append(base | {"coverage": coverage, "risk": 0.3 * coverage, "n_fits": 1})
    for method, metric in itertools.product(
        ("all", "one", "two"), ("macro_f1", "accuracy", "aurc", "unrelated_tissue_found")
    ):
        of_rule = metric in ("aurc", "unrelated_tissue_found")
        factor = ("confidence rule", "raw", "zscore") if of_rule else ("training", "all", "panel")
        levels = dict(zip(("factor", "from", "to"), factor, strict=True))
        labels = ("raw", "z-score") if of_rule else ("all genes", "panel genes")
        levels |= {"evaluation": "all", "from_label": labels[0], "to_label": labels[1], "base": method}
        change = {"difference": 0.1, "low": None if method == "two" else 0.05, "high": 0.2}
        found["effects"].append({"dataset": "d", "method": method, "metric": metric, "n_fits": 1} | levels | change)
    for (dataset, evaluation), to in itertools.product((("d", "kfold"), ("e", "cross_study")), ("lora", "full")):
        for setting in (None, "Big") if to == "lora" else ("Big",):
            row = {"dataset": dataset, "evaluation": evaluation, "factor": "strategy", "from": "probe", "to": to}
            row |= {"from_label": "frozen probe", "to_label": to.title(), "setting": setting, "n_comparisons": 1}
            method = "all" if setting is None else "two"
            row |= {"base": "one", "method": method, "metric": "macro_f1", "difference": 0.1, "low": 0.0, "high": 0.2}
            found["effects"].append(row)
    return found


SETTINGS = FigureSettings(
    title="A title",
    primary="macro_f1",
    metrics={
        "macro_f1": MetricWords("macro F1"),
        "aurc": MetricWords("AURC", True),
        "ece": MetricWords("ECE", True),
        "marker_cv": MetricWords("marker CV", True),
        "contamination": MetricWords("contamination", True),
    },
    datasets={"d": "Data, one", "e": "Data, two"},
    evaluations={"d/kfold": "all labels", "d/low_label": "few labels", "e/cross_study": "unseen study"},
)


def drawn(name: str, folder: Path, changed: dict[str, pd.DataFrame]) -> Path:
    paths = {}
    for table in figure_facts(name).tables:
        paths[table] = str(folder / f"{table}.csv")
        changed[table].to_csv(paths[table], index=False)
    png = folder / f"{name}.png"
    draw_figure(name, paths, SETTINGS, pdf=str(folder / f"{name}.pdf"), png=str(png))
    return png


@pytest.fixture
def one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are written as PNG, and as PDF not at all: that takes as long again, and is the same drawing."""
    save = Figure.savefig

    def png_only(figure: Figure, path: Path, format: str, **more: Any) -> None:
        path.touch() if format == "pdf" else save(figure, path, format=format, **more)

    monkeypatch.setattr(Figure, "savefig", png_only)


@pytest.mark.parametrize("name", OTHERS)
def test_every_figure_draws_and_the_same_tables_give_the_same_file(name: str, tmp_path: Path) -> None:
    png = drawn(name, tmp_path, tables())
    first, pdf = png.read_bytes(), (tmp_path / f"{name}.pdf").read_bytes()
    assert first[:4] == b"\x89PNG"
    assert pdf[:5] == b"%PDF-"
    image = plt.imread(png)
    assert image[..., :3].std() > 0.02  # something is on it
    assert drawn(name, tmp_path, tables()).read_bytes() == first
    assert (tmp_path / f"{name}.pdf").read_bytes() == pdf


@pytest.mark.parametrize(
    "name", ["ranking", "pareto", "confusion", "calibration", "class_tree", "effects", "published", *OF_EVALUATIONS]
)
@pytest.mark.usefixtures("one_format")
def test_one_evaluation_and_one_method_are_enough(name: str, tmp_path: Path) -> None:
    changed = {
        key: t[(t["dataset"] == "d") | (t["dataset"] == "all")] if "dataset" in t else t for key, t in tables().items()
    }
    changed = {key: t[t["regime"].isin(["kfold", "all"])] if "regime" in t else t for key, t in changed.items()}
    changed = {key: t[t["method"] == "one"] if "method" in t else t for key, t in changed.items()}
    changed = {key: t[t["name"].isin(["one", "oracle"])] if "name" in t else t for key, t in changed.items()}
    drawn(name, tmp_path, changed)


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        *(("low_label", name) for name in ("low_label", "ranking", "pareto")),
        *((missing, name) for missing in ("cross_study", "everything") for name in OTHERS),
    ],
)
@pytest.mark.usefixtures("one_format")
def test_what_has_not_finished_leaves_a_figure_all_the_same(missing: str, name: str, tmp_path: Path) -> None:
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


def test_a_study_without_figures_of_its_own_has_all() -> None:
    assert resolve(None).settings["figures"] == figures()
    assert figures()[0] == "ranking"  # the order of the report
    assert sorted(figures()) == plugins("figures")
    assert all(set(figure_facts(name).tables) <= set(all_tables()) for name in figures())


def test_a_figure_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("study: own\nfigures: [rankin]\n")
    with pytest.raises(ConfigError, match=r"own.yaml: figures: there is no figure 'rankin'; did you mean 'ranking'\?"):
        resolve(str(tmp_path / "own.yaml"))
    (tmp_path / "own.yaml").write_text("study: own\nfigures: []\n")
    assert Targets(resolve(str(tmp_path / "own.yaml"))).figure_names == []


@pytest.fixture
def own_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in place of that of our figures."""
    all_tables()  # ours, read once
    figure_facts.cache_clear()
    (tmp_path / "figures").mkdir()
    monkeypatch.setattr("annobench.config.plugins.LIBRARY", tmp_path)
    yield tmp_path / "figures"
    figure_facts.cache_clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TABLES = ('ranking',)", "expected a docstring with a title and, below it, a caption"),
        ('"""A title."""\nTABLES = ("ranking",)', "expected a docstring with a title and, below it, a caption"),
        ('"""A title.\n\nA caption.\n"""', "TABLES is missing; name the tables that the figure is drawn from"),
        ('"""A title.\n\nA caption.\n"""\nTABLES = "ranking"', "TABLES is 'ranking'; expected a tuple of names"),
        (
            '"""A title.\n\nA caption.\n"""\nTABLES = ("rank",)',
            "TABLES: there is no table 'rank'; did you mean 'ranking'?",
        ),
    ],
)
def test_a_file_of_a_figure_that_says_too_little_is_refused(text: str, message: str, own_figures: Path) -> None:
    (own_figures / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{own_figures / 'mine.py'}: {message}")):
        figure_facts("mine")


def test_a_new_figure_is_one_file(own_figures: Path) -> None:
    (own_figures / "mine.py").write_text('"""A title.\n\nA caption over\ntwo lines.\n"""\n\nTABLES = ("ranking",)\n')
    (own_figures / "other.py").write_text('"""Other\n\nIts caption.\n"""\n\nTABLES = ("ranking",)\nORDER = 1\n')
    assert figures() == ["other", "mine"]
    assert figure_facts("mine") == FigureFacts("mine", "A title", "A caption over two lines.", ("ranking",))


def test_figures_without_data_are_not_asked_for() -> None:
    smoke, default = Targets(resolve("smoke")), Targets(resolve(None))
    assert "low_label" in smoke.figure_names
    assert "markers" not in smoke.figure_names  # simulated genes mark nothing
    absent = {"published", "spatial_map", "perturbation", *OF_EMBEDDINGS}
    assert set(default.figure_names) == set(OTHERS) - absent
    assert {"published", "spatial_map", "effects", "markers"} <= set(Targets(resolve("spatial")).figure_names)
    assert "effects" not in Targets(resolve("imported")).figure_names  # its methods are of one part each
    lung = Targets(resolve("lung"))
    assert "low_label" not in lung.figure_names
    assert "cross_study" in lung.figure_names  # a pair is shown there as well


@pytest.mark.parametrize(
    ("families", "probes", "embeddings"),
    [
        (["flat", "silhouette", "geometry"], False, True),  # maps and scores of embeddings, but no probes
        (["flat", "probes"], True, True),
        (["flat", "geometry"], False, False),
        (None, False, False),  # methods that predict labels have neither by default
    ],
)
def test_probes_per_class_are_drawn_where_probes_are_computed(
    families: list[str] | None, probes: bool, embeddings: bool
) -> None:
    study = resolve("adaptation_small")
    asked = tuple(families) if families else None
    splits = {name: replace(split, metric_families=asked) for name, split in study.splits.items()}
    names = needs.drawable(replace(study, splits=splits))
    assert ("probe_classes" in names) == probes
    assert ("embedding_maps" in names) == embeddings
    assert "embedding_scores" not in names  # `scoring.metrics` shows none of them


def test_studies_of_embeddings_have_their_figures_by_default() -> None:
    assert {"probe_classes", "embedding_maps", "embedding_scores"} <= set(Targets(resolve("embedding")).figure_names)


def test_every_need_is_one_that_studies_can_have() -> None:
    study = resolve(None)
    named = {need for name in figures() for need in figure_facts(name).needs}
    assert named == set(needs._NEEDS)  # no predicate that no figure names
    for need in named:
        assert needs.met(need, study, "ranking") in (True, False)
        assert needs._NEEDS[need].__doc__
    with pytest.raises(ConfigError, match=r"figures/mine.py: NEEDS: there is no need 'marker'; did you mean 'markers'"):
        needs.met("marker", study, "mine")


@pytest.mark.parametrize("name", available("studies", ROOT))
def test_settings_of_every_study_reach_the_driver(name: str) -> None:
    rules = FigureRules(resolve(name))
    for figure in rules.targets.figure_names:
        settings = rules.settings(SimpleNamespace(figure=figure))
        params = json.loads(json.dumps(rules.params(SimpleNamespace(figure=figure))))
        assert FigureSettings.from_params(params) == settings
        assert (settings.release is not None) == ("release" in figure_facts(figure).regimes)


def test_words_of_controls_cover_those_of_the_audit() -> None:
    assert set(CONTROLS) == set(AUDITED)
    assert len({control.label for control in CONTROLS.values()}) == len(CONTROLS)


def test_looks_tell_many_methods_apart() -> None:
    names = [f"m{i}" for i in range(28)]
    looks = Looks(names, ["c"])
    seen = {(look["color"], look["marker"]) for look in map(looks.point, names)}
    assert len(seen) == 28
    assert looks.colour("c") not in set(map(looks.colour, names))


def test_captions_reach_snakemake_as_one_clean_text() -> None:
    rules = FigureRules(resolve("smoke"))
    for name in figures():
        caption = rules.caption(SimpleNamespace(figure=name))
        assert caption == figure_facts(name).caption
        assert caption.endswith(".")
        assert "  " not in caption
        assert "\n" not in caption


def figure_of(name: str, changed: dict[str, pd.DataFrame] | None = None, settings: FigureSettings = SETTINGS) -> Figure:
    """A figure with everything laid out; tables as they are read from files."""
    found = changed or tables()
    read = {table: pd.read_csv(io.StringIO(found[table].to_csv(index=False))) for table in figure_facts(name).tables}
    with plt.rc_context(THEME):
        figure: Figure | None = importlib.import_module(f"annobench.figures.{name}").draw(read, settings)
        assert figure is not None
        figure.canvas.draw()
    return figure


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text) if text.get_visible()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audit", {"C", "✓", "–", "metric 1", "markers", "all labels", "Data, one"}),
        ("markers", {"One", "Truth", "Highest markers", "† not evidence", "← better", "better →"}),
        ("marker_validation", {"cell one (0)", "Truth", "One", "Marker purity†"}),
        ("deg_heatmap", {"Truth", "One", "G cell one", "cell two"}),
        ("confidence", {"right", "wrong", "published cut", "rule: z-score", "rule: calibrated", "One"}),
        ("embedding_maps", {"Predicted types\nOne", "Errors\n27 % of 30 cells"}),
        ("risk_coverage", {"raw", "z-score", "One", "coverage", "risk", "AURC", ".123"}),
        (
            "effects",
            {
                "Macro F1",
                "AURC†",
                "† not evidence in 2 of 2",
                "all genes → panel genes",
                "rule: raw → z-score",
                "mean over methods (95 % interval)",
                "Strategy",
                "frozen probe → Lora",
                "Big",
                "mean over pairs (95 % interval)",
                "Data, one\nall labels",
                "difference in macro F1",
            },
        ),
        ("spatial_map", {"Truth", "One", "Confidence", "Errors: 45 % of 11 cells", "x (unit not stated)"}),
        ("published", {"Overlap (%)", "98.0", "9.2", "–", "✗ not evidence", "first", "here: One"}),
    ],
)
def test_figures_name_what_they_show(name: str, expected: set[str]) -> None:
    figure = figure_of(name)
    missing = expected - texts(figure)
    plt.close(figure)
    assert not missing


def test_costs_have_panels_where_two_methods_have_them_and_log_axes_where_they_are_far_apart() -> None:
    figure = figure_of("pareto")
    labels = [axes.get_xlabel() for axes in figure.axes]
    costs = ["time to fit and predict (seconds)", "peak memory (bytes)", "trainable parameters"]  # one keeps its model
    assert labels == 3 * costs
    scales = {axes.get_xlabel(): axes.get_xscale() for axes in figure.axes}
    assert scales == dict(zip(costs, ("log", "linear", "linear"), strict=True))
    few = figure.axes[2]
    assert sum(len(one.get_offsets()) for one in few.collections if isinstance(one, PathCollection)) == 2
    plt.close(figure)
    changed = tables()
    changed["ranking"].loc[changed["ranking"]["method"] == "two", ["trainable_parameters", "model_bytes"]] = 5000
    figure = figure_of("pareto", changed)
    assert [axes.get_xlabel() for axes in figure.axes[:4]] == [*costs, "saved model (bytes)"]
    assert figure.axes[2].get_xscale() == "log"
    plt.close(figure)


def test_the_line_of_a_panel_joins_those_that_no_other_beats_at_that_cost() -> None:
    part = pd.DataFrame({"cost": [1, 2, 3, 4, 5], "score": [0.5, 0.4, 0.7, 0.7, 0.9], "method": list("abcde")})
    assert pareto._front(part, lower_is_better=False)["method"].tolist() == ["a", "c", "e"]
    assert pareto._front(part, lower_is_better=True)["method"].tolist() == ["a", "b"]


def test_the_numbers_of_methods_that_are_not_told_apart_from_the_best_are_bold() -> None:
    figure = figure_of("ranking")
    bold = {text.get_text(): text.get_fontweight() for text in figure.axes[1].texts}
    assert bold == {"0.90": "bold", "0.70": "bold", "0.50": "normal", "0.30": "normal"}
    plt.close(figure)


def test_points_of_many_methods_stay_within_a_panel_of_few_labels() -> None:
    many = tables()
    for key in ("ranking", "summary"):
        mine = many[key][many[key]["method"] == "one"]
        more = [mine.assign(method=f"m{i}", label=f"Method {i}") for i in range(24)]
        many[key] = pd.concat([many[key], *more], ignore_index=True)
    figure = figure_of("low_label", many)
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    drawn = [x for line in axes.lines for x in line.get_xdata()]
    assert low < min(drawn) < max(drawn) < high
    plt.close(figure)


def test_metrics_of_a_family_that_agree_everywhere_share_a_row() -> None:
    changed = tables()
    changed["audit"] = changed["audit"][changed["audit"]["family"] != "integration"]
    more = changed["audit"].assign(
        metric=changed["audit"]["metric"] + "_again_and_with_a_name_that_is_longer_than_a_row"
    )
    changed["audit"] = pd.concat([changed["audit"], more, more.assign(rule="raw")])
    figure = figure_of("audit", changed)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    plt.close(figure)
    assert len(labels) == 4  # what describes is left out
    assert sum(label.startswith("3 metrics: ") for label in labels) == 4


@pytest.mark.parametrize("name", ["audit", "published", "effects", "markers", "marker_validation", "deg_heatmap"])
def test_labels_of_rows_and_columns_never_overlap(name: str) -> None:
    figure = figure_of(name)
    for axes in figure.axes:
        for ticks in (axes.get_yticklabels(), [] if name == "audit" else axes.get_xticklabels()):
            boxes = [tick.get_window_extent() for tick in ticks if tick.get_visible() and tick.get_text()]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), name
    if name == "published":
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    plt.close(figure)


def test_a_published_evaluation_is_shown_before_that_with_most_methods() -> None:
    table = pd.DataFrame({"dataset": list("ddde"), "evaluation": list("aabb"), "name": ["x", "y", "x", "x"]})
    assert chosen_evaluation(table, SETTINGS) == ("d", "a")
    assert chosen_evaluation(table, replace(SETTINGS, published=("e", "b"))) == ("e", "b")
    assert chosen_evaluation(table, replace(SETTINGS, published=("e", "gone"))) == ("d", "a")


@pytest.mark.parametrize("name", ["ranking", "pareto", "low_label", "cross_study"])
def test_a_primary_metric_that_is_no_evidence_says_so(name: str) -> None:
    plain = figure_of(name)
    assert not any("not evidence" in text for text in texts(plain))
    changed = tables()
    changed |= {key: changed[key].assign(verdict="not evidence") for key in ("ranking", "summary")}
    marked = figure_of(name, changed)
    assert any(text.startswith("macro F1 (not evidence)") for text in texts(marked))
    plt.close("all")


@pytest.mark.parametrize("name", ["ranking", "pareto", "low_label", "cross_study", "markers", "effects"])
def test_a_primary_metric_may_have_other_bounds_and_another_direction(name: str) -> None:
    seconds = MetricWords("seconds", lower_is_better=True, high=None)
    settings = replace(SETTINGS, primary="fit_seconds", metrics={**SETTINGS.metrics, "fit_seconds": seconds})
    changed = tables()
    changed["ranking"] = changed["ranking"].assign(score=lambda t: 100 * t["score"], low=None, high=None)
    of_primary = changed["summary"][changed["summary"]["metric"] == "macro_f1"]
    changed["summary"] = of_primary.assign(metric="fit_seconds", value=lambda t: 100 * t["value"], low=None, high=None)
    figure = figure_of(name, changed, settings)
    if name in ("ranking", "pareto", "low_label", "cross_study"):
        assert any(text.split("\n")[0] == "seconds" for text in texts(figure))
        assert not any("nan" in text for text in texts(figure))
    changed["ranking"].loc[changed["ranking"]["method"] == "three", "score"] = None  # it lacks the metric
    assert name != "ranking" or "–" in texts(figure_of(name, changed, settings))
    if name == "ranking":
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert labels == ["Three", "Two", "One", "Truth"]  # the fewest seconds first
        assert figure.axes[0].get_xlim()[1] > 90
    plt.close("all")


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        (MetricWords("F1"), [0.2, 0.4], (0, 1)),
        (MetricWords("correlation", low=-1.0), [0.2], (-1, 1)),
        (MetricWords("seconds", high=None), [10.0, float("nan")], (0, 10.5)),
        (MetricWords("fold change", low=None, high=None), [-1.0, 1.0], (-1.1, 1.1)),
        (MetricWords("seconds", high=None), [], (0, 1)),
    ],
)
def test_axes_hold_the_bounds_of_a_metric_else_its_values(
    metric: MetricWords, values: list[float], expected: tuple[float, float]
) -> None:
    assert metric.limits(values) == pytest.approx(expected)


def test_one_held_out_study_may_be_no_evidence_where_others_are() -> None:
    changed = tables()
    more = changed["summary"][changed["summary"]["split"] == "crossstudy_x"].assign(split="crossstudy_y")
    changed["summary"] = pd.concat([changed["summary"], more.assign(verdict="not evidence")])
    split = changed["splits"][changed["splits"]["split"] == "crossstudy_x"]
    changed["splits"] = pd.concat([changed["splits"], split.assign(split="crossstudy_y", label="y")])
    figure = figure_of("cross_study", changed)
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    plt.close(figure)
    assert [label.endswith("(not evidence)") for label in labels] == [False, True]
