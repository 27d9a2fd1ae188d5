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
from annobench.report.answer import answers, predictions, unranked
from annobench.report.entity_pages import class_file
from annobench.report.html_tables import HtmlTable, as_text
from annobench.report.names import Names
from annobench.report.page import Outputs, audited, ranking_columns, render, rule_findings, shown_tables
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


NAMES = Names(
    {"d": "Data, all of it"}, {"one": "One"}, {"d/kfold": "all labels"}, {("d", "half"): "half of the labels"}
)


PROVENANCE = {
    "annobench": "1.2",
    "written": "2026-01-01T00:00:00",
    "commit": None,
    "uncommitted": {},
    "python": "3.12.1",
    "packages": {"numpy": "2.4.0", "torch": "2.13.0"},
    "machine": {"cores": 2, "processor": "a processor", "memory_gb": 8},
    "methods": {"one": {"parameters": {"k": 3, "recipe": {"rate": 0.1, "warm": None}}}},
    "settings": {
        "seeds": [1],
        "ontology": {"release": "2026-03-26"},
        "scoring": {"metrics": ["macro_f1", "accuracy"]},
        "statistics": {"replicates": 2000},
        "evaluations": [{"dataset": "d", "regime": "kfold", "folds": 5, "val_fraction": 0.15}],
    },
}


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
    write_json(folder / "provenance.json", PROVENANCE)
    plt.figure(figsize=(2, 1)).savefig(folder / "ranking.png", dpi=200)
    plt.close()
    render(
        settings,
        paths,
        figures=[str(folder / "ranking.png")],
        cards=[str(folder / "card.json")],
        provenance=str(folder / "provenance.json"),
        outputs=Outputs(
            page=str(folder / "index.html"),
            methods=str(folder / "methods"),
            classes=str(folder / "classes"),
            tables=str(folder / "tables"),
            text=str(folder / "methods.md"),
            references=str(folder / "references.bib"),
        ),
    )
    return (folder / "index.html").read_text(encoding="utf-8")


def test_a_page_has_all_sections_and_is_self_contained(tmp_path: Path) -> None:
    html = page(tmp_path, {"ranking": ranking(), "audit": audit(), "classes": classes()})
    sections = re.findall(r'<section id="(\w+)">', html)
    assert sections == ["answer", "lost", "figures", "methods", "classes", "tables", "audit", "made"]
    assert set(re.findall(r'href="#(\w+)"', html)) == set(sections)
    assert not re.search(r'(src|href)="https?://', html)
    assert "init_notebook_mode" not in html
    assert "A caption with &lt;angles&gt;." in html
    assert 'width="200"' in html  # half of its pixels
    assert "<dt><code>rank</code></dt><dd>Place; <code>all</code> &lt;is&gt; a mean.</dd>" in html
    first = html.index('id="figure-ranking"')
    assert html.index('id="answer"') < first < html.index('id="lost"')  # the ranking stands with the answer


def test_every_link_to_a_page_leads_to_one(tmp_path: Path) -> None:
    splits = pd.DataFrame(
        [row("splits", **PLACE, split="half", label="half of the labels", seed=1, train=1, val=1, test=1)]
    )
    html = page(tmp_path, {"ranking": ranking(), "classes": classes(), "confusion": confusion(), "splits": splits})
    links = set(re.findall(r'href="((?:methods|classes)/[^"]+\.html)"', html))
    assert links == {"methods/one.html", "classes/CL_1.html"}
    assert all((tmp_path / link).is_file() for link in links)
    text = (tmp_path / "methods" / "one.html").read_text()
    assert "What it does." in text
    assert re.search(r"<td>class one</td>\s*<td>CL:2</td>", text)  # a confusion
    assert "Cost" in text
    assert "Misplaced cells" not in text  # there are none
    assert "half of the labels" in (tmp_path / "classes" / "CL_1.html").read_text()


def classes() -> pd.DataFrame:
    values = PLACE | {"method": "one", "label_id": "CL:1", "label": "class one", "f1": 0.5, "cells": 10, "n_fits": 1}
    return pd.DataFrame([row("classes", **values | {"split": split}) for split in ("all", "half")])


def confusion() -> pd.DataFrame:
    values = PLACE | {"split": "all", "method": "one", "true": "CL:1", "n_fits": 1, "n_trained": 1}
    return pd.DataFrame(
        [
            row("confusion", **values | {"predicted": label, "n": n, "cells": n})
            for label, n in (("CL:1", 6), ("CL:2", 4))
        ]
    )


def test_the_best_method_and_those_that_are_not_significantly_worse(tmp_path: Path) -> None:
    (answer,) = answers(ranking(), NAMES)
    assert (answer.place, answer.label, answer.tied, answer.untested) == ("Data, all labels", "One", ["Two"], ["Four"])
    assert (answer.others, answer.worse) == (3, 1)
    html = " ".join(page(tmp_path, {"ranking": ranking(), "audit": audit()}).split())
    assert "comes first of 4 methods, with macro F1 0.800 [0.700, 0.900], 90 % interval over donors." in html
    assert "It cannot be told apart from Two. One is worse." in html
    assert "Not tested against it: Four." in html
    assert "One is better than the best baseline Two by 0.1." in html
    assert "best baseline" not in page(tmp_path, {"ranking": ranking().assign(baseline_verdict=None)})


def test_a_score_without_an_interval_has_none(tmp_path: Path) -> None:
    alone = pd.DataFrame([ranked("one", 1, 0.8, low=None, high=None, interval_over=None)])
    html = " ".join(page(tmp_path, {"ranking": alone}).split())
    assert "is the only method with a rank, with macro F1 0.800." in html


def test_an_evaluation_without_a_ranked_method_and_one_without_labels_are_named(tmp_path: Path) -> None:
    none = pd.DataFrame([ranked("one", None, 0.8)])
    assert unranked(none, NAMES) == ["Data, all labels"]
    assert unranked(ranking(), NAMES) == []
    types = [("CL:1", "class one", 60), ("unknown", "unknown", 40)]
    rows = [
        row("predicted_types", **PLACE, method="one", label_id=label_id, label=label, cells=n, share=n / 100, n_fits=1)
        for label_id, label, n in types
    ]
    (said,) = predictions(pd.DataFrame(rows), NAMES)
    assert (said.cells, said.types, said.most, said.unknown) == (100, 1, [("class one", 0.6)], 0.4)
    html = " ".join(page(tmp_path, {"ranking": none, "predicted_types": pd.DataFrame(rows)}).split())
    assert "no method has a rank." in html
    assert "One finds 1 type in 100 cells (class one 60 %, unknown 40 %)." in html


def test_tables_name_things_by_their_labels_and_begin_with_the_evaluation() -> None:
    table = pd.DataFrame(
        [PLACE | {"split": split, "method": "one", "metric": "macro_f1", "p_value": 0.01} for split in ("half", "all")]
    )
    shown = NAMES.shown(table)
    assert list(shown) == ["evaluation", "split", "method", "metric", "p value"]
    assert shown.loc[0].tolist() == ["Data, all labels", "half of the labels", "One", "macro F1", 0.01]
    assert shown.loc[1, "split"] is None
    assert NAMES.place("all", "all") == "mean of all evaluations"
    assert NAMES.place("d", "all") == "Data, all evaluations"
    two = Names({"d": "Data, part 1", "e": "Data, part 2"}, {}, {})
    assert two.dataset("d") == "Data, part 1"  # what is cut off tells them apart


def test_long_tables_are_folded_and_columns_without_values_left_out() -> None:
    table = pd.DataFrame({"a": range(13), "empty": [None] * 13, "blank": [""] * 13, "b": ["x|<y>"] * 13})
    shown = HtmlTable.of("t", table)
    assert shown.folded
    assert not HtmlTable.of("t", table.head(12)).folded
    assert shown.columns == ["a", "b"]
    assert shown.numeric == [True, False]


def test_tables_are_written_as_markdown_and_latex(tmp_path: Path) -> None:
    page(tmp_path, {"ranking": ranking().assign(label="A & B | 50 %")})
    markdown = (tmp_path / "tables" / "ranking.md").read_text()
    assert "A & B \\| 50 %" in markdown
    latex = (tmp_path / "tables" / "ranking.tex").read_text()
    assert r"A \& B | 50 \%" in latex
    assert r"\toprule" in latex
    assert not (tmp_path / "tables" / "tests.md").exists()  # it has no rows


def test_the_methods_section_says_what_was_done_and_cites_it(tmp_path: Path) -> None:
    splits = [row("splits", **PLACE, split=f"fold_{i}", seed=1, train=70 + i, val=10, test=20) for i in (1, 2)]
    page(tmp_path, {"ranking": ranking(), "splits": pd.DataFrame(splits)})
    text = (tmp_path / "methods.md").read_text()
    assert (
        "*Data, all labels*: cells were divided into folds at random (folds 5; validation share 0.15; seeds 1)." in text
    )
    assert "2 splits with their seeds; training cells 71 to 72; validation cells 10; test cells 20." in text
    assert "*One* [@somebody]. What it does. Settings: k 3, recipe.rate 0.1." in text
    assert "numpy 2.4.0 [@harris2020]" in text
    keys = re.findall(r"@(?:article|misc)\{([^,]+),", (tmp_path / "references.bib").read_text())
    assert len(keys) == len(set(keys))
    assert set(re.findall(r"@([\w-]+)", text)) == set(keys)


def test_what_methods_warn_of_is_said_on_the_first_screen(tmp_path: Path) -> None:
    warning = row("warnings", **PLACE, method="one", warning="99 of 1240 genes are there", n_fits=2, fit="f")
    html = page(tmp_path, {"ranking": ranking(), "warnings": pd.DataFrame([warning])})
    sentence = "One on Data (2 fits): 99 of 1240 genes are there"
    assert sentence in html[: html.index("<nav>")]
    assert html.count(sentence) == 2  # and in the section on what was lost
    assert sentence not in page(tmp_path, {"ranking": ranking()})


def test_cuts_and_agreement_of_seeds_have_their_folds(tmp_path: Path) -> None:
    cut = row("cuts", **PLACE, split="all", method="one", wanted_error=0.05, cut=0.9, n_fits=1)
    same = row("seed_agreement", **PLACE, method="one")
    tables = {"cuts": cut, "seed_agreement": same}
    html = page(tmp_path, {"audit": audit(), **{name: pd.DataFrame([one]) for name, one in tables.items()}})
    assert 'id="fold-cuts"' in html
    assert 'id="fold-seed_agreement"' in html
    assert html.index('id="fold-seed_agreement"') < html.index('id="audit"') < html.index('id="fold-cuts"')


def test_files_of_classes_have_plain_names() -> None:
    assert class_file("CL:0000236") == "CL_0000236"
    assert "/" not in class_file("../a/b c")


def test_what_is_not_evidence_is_named_with_its_rule(tmp_path: Path) -> None:
    (card,) = audited(audit(), NAMES)
    assert card.place == "Data, all labels"
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
        [row("resources", **PLACE, fit=f, status=s) for f, s in (("a", "ok"), ("a", "ok"), ("b", "timeout"))]
    )
    html = " ".join(page(tmp_path, {"failed": failed, "resources": resources}).split())
    assert "1 of 2 fits finished" in html
    assert "1 timeout" in html


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
        row(
            "effects",
            **{k: PLACE[k] for k in ("dataset", "evaluation")},
            **{"from": "a", "to": "b"},
            from_label="A",
            to_label="B",
            base="one",
            method=method,
        )
        for method in ("one", "all")
    ]
    shown = shown_tables({name: empty(name) for name in tables()} | {"effects": pd.DataFrame(rows)})
    columns = NAMES.shown(shown["effects"])[["from", "to", "base", "method"]]
    assert columns.to_numpy().tolist() == [["A", "B", "One", "One"], ["A", "B", "One", "all"]]
    assert not {"from_label", "to_label"} & set(shown["effects"])


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("n", [1.0, None], ["1", ""]),
        ("bytes", [1234.5, 0.5], ["1234", "0.500"]),
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


def test_what_a_study_says_of_confidence_rules_is_its_own() -> None:
    entry = DatasetEntry("Blood", "s", "c", "l", True)
    rows = [
        ("d", "confidence rule", "z-score", "all", "auroc_correct", 0.02, 0.01, 0.03),
        ("d", "confidence rule", "z-score", "all", "aurc", 0.01, 0.005, 0.02),  # lower is better
        ("d", "confidence rule", "z-score", "knn", "ece", 9, 9, 9),  # one method only
        ("d", "confidence rule", "calibrated", "all", "auroc_correct", -0.01, -0.03, 0.01),
        ("d", "loss", "HCE", "all", "macro_f1", 0.1, 0.05, 0.2),
    ]
    columns = ["dataset", "factor", "to_label", "method", "metric", "difference", "low", "high"]
    first, second = rule_findings(pd.DataFrame(rows, columns=columns), {"d": entry})
    assert first.startswith("Blood, z-score: better by ")
    assert "+0.020 [+0.010, +0.030]; worse by " in first
    assert first.endswith("+0.010 [+0.005, +0.020]")
    assert second == "Blood, calibrated: not told apart from the own confidence"
    assert rule_findings(pd.DataFrame([], columns=columns), {}) == []
