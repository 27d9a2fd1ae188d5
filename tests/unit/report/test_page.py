"""What is promised: a page shows every section from tables alone, names what is not evidence, and links every table."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from annobench.config.entities import available
from annobench.config.tables import table_facts, tables
from annobench.core.files import write_json
from annobench.core.paths import ROOT
from annobench.report.page import as_text, audited, best, ranking_columns, render, shown_tables
from annobench.report.settings import DatasetEntry, FigureEntry, MethodEntry, ReportSettings, TableEntry
from annobench.workflow.launch import resolve
from annobench.workflow.report import ReportRules

PLACE = {"dataset": "d", "evaluation": "kfold", "regime": "kfold"}
SETTINGS = ReportSettings(
    study="tiny",
    title="A title",
    question="A question?",
    primary="macro F1",
    level=0.9,
    min_units=4,
    ontology="2026-03-26",
    partial=False,
    methods=(MethodEntry("one", "One", "What it does.", "Somebody", "MIT", "method"),),
    tables=(TableEntry("ranking", "Methods in order.", (("rank", "Place; `all` <is> a mean."),)),),
    datasets={"d": DatasetEntry("Data", "What it is.", "Somebody", "CC0", True)},
    evaluations={"d/kfold": "all labels"},
    figures={"ranking": FigureEntry("Ranking", "A caption with <angles>.")},
)


def empty(name: str) -> pd.DataFrame:
    """A table without rows; of columns that differ between studies it has none."""
    return pd.DataFrame(columns=[column for column in table_facts(name).columns if not column.startswith("<")])


def row(name: str, **values: object) -> dict[str, object]:
    return dict.fromkeys(empty(name).columns) | values


def ranked(method: str, rank: int | None, score: float, **more: object) -> dict[str, object]:
    values = PLACE | {"method": method, "label": method.title(), "rank": rank, "score": score, "macro_f1": score}
    values |= {"low": score - 0.1, "high": score + 0.1, "interval_over": "donors", "kind": "method"}
    return row("ranking", **values | {"accuracy": 0.91, "sees_test_cells": rank == 2, "verdict": "informative"} | more)


def ranking() -> pd.DataFrame:
    rows = [
        ranked("one", 1, 0.8, against_best="best", baseline_verdict="One is better than the best baseline Two by 0.1"),
        ranked("two", 2, 0.7, against_best="not told apart"),
        ranked("three", 3, 0.6, against_best="worse"),
        ranked("four", 4, 0.5, against_best="not tested"),
        ranked("oracle", None, 1.0, kind="control"),
    ]
    return pd.DataFrame(rows)


def audit() -> pd.DataFrame:
    values = PLACE | {"family": "flat", "rule": "-", "variant": "truth"}
    bad = {"verdict": "not evidence", "because": "merging"}
    return pd.DataFrame(
        [
            row("audit", **values | {"metric": "macro_f1", "verdict": "informative"}),
            row("audit", **values | {"metric": "marker_purity", "variant": "fair"} | bad),
            row("audit", **values | {"metric": "unknown_rate", "variant": "-", "rule": "raw"} | bad),
            row("audit", **values | {"metric": "cells", "verdict": "descriptive"}),
        ]
    )


def page(folder: Path, changed: dict[str, pd.DataFrame], settings: ReportSettings = SETTINGS) -> str:
    paths = {}
    for name in tables():
        paths[name] = str(folder / f"{name}.csv")
        changed.get(name, empty(name)).to_csv(paths[name], index=False)
    card = {"dataset": "d", "cells": 10, "genes": 5, "labels": {"a": 9, "unknown": 1}, "studies": {}, "donors": {}}
    write_json(folder / "card.json", card | {"cells_with_unknown_label": 1, "matrix": "counts", "sha256": "0" * 64})
    write_json(folder / "provenance.json", {"annobench": "1.2", "written": "2026-01-01T00:00:00", "commit": None})
    plt.figure(figsize=(2, 1)).savefig(folder / "ranking.png", dpi=200)
    plt.close()
    render(
        settings,
        paths,
        figures=[str(folder / "ranking.png")],
        cards=[str(folder / "card.json")],
        provenance=str(folder / "provenance.json"),
        output=str(folder / "index.html"),
    )
    return (folder / "index.html").read_text(encoding="utf-8")


def test_a_page_has_all_sections_and_is_self_contained(tmp_path: Path) -> None:
    html = page(tmp_path, {"ranking": ranking(), "audit": audit()})
    sections = re.findall(r'<section id="(\w+)">', html)
    assert sections == [
        "ranking", "audit", "figures", "failures", "tests", "classes", "cost", "data", "methods", "made"
    ]  # fmt: skip
    assert set(re.findall(r'href="#(\w+)"', html)) == set(sections)
    assert not re.search(r'(src|href)="https?://', html)
    assert "0 of 0 fits finished." in html
    assert "A caption with &lt;angles&gt;." in html
    assert 'width="200"' in html  # half of its pixels
    assert '<a href="../../tables/tiny/ranking.csv">ranking.csv</a> Methods in order.' in html
    assert "<dt><code>rank</code></dt><dd>Place; <code>all</code> &lt;is&gt; a mean.</dd>" in html


def test_the_best_method_and_those_that_are_not_significantly_worse(tmp_path: Path) -> None:
    (card,) = best(ranking(), SETTINGS.evaluations)
    assert (card.name, card.label, card.tied, card.untested, card.others) == ("all labels", "One", ["Two"], ["Four"], 3)
    html = page(tmp_path, {"ranking": ranking(), "audit": audit()})
    assert "Not told apart from it: Two." in html
    assert "Not tested against it: Four." in html
    assert "<div>One is better than the best baseline Two by 0.1.</div>" in html
    assert "best baseline" not in page(tmp_path, {"ranking": ranking().assign(baseline_verdict=None)})


def test_a_score_without_an_interval_has_none(tmp_path: Path) -> None:
    alone = pd.DataFrame([ranked("one", 1, 0.8, low=None, high=None, interval_over=None)])
    html = " ".join(page(tmp_path, {"ranking": alone}).split())
    assert "macro F1 0.800 <div" in html


def test_what_is_not_evidence_is_named_with_its_rule(tmp_path: Path) -> None:
    (card,) = audited(audit(), SETTINGS.evaluations)
    assert card.informative == 1
    assert card.not_evidence == ["marker purity (fair): merging", "share below the cut (raw): merging"]
    html = " ".join(page(tmp_path, {"ranking": ranking(), "audit": audit()}).split())
    assert "1 informative" in html
    assert "2 not evidence" in html
    assert "a model of an unrelated tissue scores at least as well as the best method or the truth" in html
    assert "the truth, labels by the highest markers, the truth with subtypes merged," in html


def test_failures_are_counted(tmp_path: Path) -> None:
    failed = pd.DataFrame(
        [row("failed", dataset="d", split="s", method="one", seed=1, status="timeout", reason="long")]
    )
    resources = pd.DataFrame(
        [row("resources", fit=f, status=s) for f, s in (("a", "ok"), ("a", "ok"), ("b", "timeout"))]
    )
    html = " ".join(page(tmp_path, {"failed": failed, "resources": resources}).split())
    assert "1 of 2 fits finished." in html
    assert "1 timeout." in html


def test_the_ranking_shows_each_metric_once_whichever_is_primary() -> None:
    shown = list(ranking_columns(ranking()))
    assert shown[:7] == ["dataset", "evaluation", "rank", "label", "score", "low", "high"]
    assert "macro_f1" not in shown  # it is the score
    assert "accuracy" in shown
    assert shown[-1] == "verdict"
    other = ranking().assign(score=0.91, my_metric=0.3)
    shown = list(ranking_columns(other))
    assert "macro_f1" in shown
    assert "accuracy" not in shown
    assert "my_metric" in shown  # a metric that is new in the table needs no change here
    assert not {"regime", "method", "n_units"} & set(shown)


def test_effects_are_shown_by_the_labels_of_levels_and_methods() -> None:
    rows = [
        row("effects", **{"from": "a", "to": "b"}, from_label="A", to_label="B", base="one", method=method)
        for method in ("one", "all")
    ]
    shown = shown_tables({name: empty(name) for name in tables()} | {"effects": pd.DataFrame(rows)}, {"one": "One"})
    columns = shown["effects"][["from", "to", "base", "method"]]
    assert columns.to_numpy().tolist() == [["A", "B", "One", "One"], ["A", "B", "One", "all"]]
    assert not {"from_label", "to_label"} & set(shown["effects"])


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("n", [1.0, None], ["1", ""]),
        ("score", [0.5, 1.0], ["0.500", "1.000"]),
        ("p_holm", [0.00049, None], ["0.0005", ""]),
        ("sees_test_cells", [True, False], ["yes", "no"]),
        ("note", ["a", None], ["a", ""]),
    ],
)
def test_values_are_rounded_for_reading(name: str, values: list[object], expected: list[str]) -> None:
    assert list(as_text(pd.Series(values, name=name))) == expected


@pytest.mark.parametrize("name", available("studies", ROOT))
def test_settings_of_every_study_reach_the_driver(name: str) -> None:
    rules = ReportRules(resolve(name))
    settings = rules.settings(None)
    assert ReportSettings.from_params(json.loads(json.dumps(rules.params(None)))) == settings
    assert {entry.table for entry in settings.tables} == set(tables())
    assert set(settings.figures) == set(rules.targets.figure_names)
