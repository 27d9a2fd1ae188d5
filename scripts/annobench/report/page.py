"""The pages of a study: one self-contained HTML page that opens offline, and a page for every method and class."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from annobench.config.controls import CONTROLS
from annobench.core.files import atomic, read_json
from annobench.data.prepare.losses import losses
from annobench.report.answer import EVALUATION, answers, listed, predictions, unranked
from annobench.report.entity_pages import EntityPage, class_pages, method_pages
from annobench.report.html_tables import HtmlTable, code
from annobench.report.methods_text import write_methods
from annobench.report.names import Names
from annobench.report.settings import DatasetEntry, FigureEntry, ReportSettings
from annobench.report.text_tables import write_text_tables
from annobench.report.warned import warned
from annobench.score.audit.verdict import INFORMATIVE, NOT_EVIDENCE, UNDECIDED
from annobench.score.registry import FAMILIES, METRICS

_FOLDER = Path(__file__).parent
_FIRST_FIGURE = "ranking"  # stands with the answer
# columns of the ranking: these first, then the metrics, then these; what repeats others is left out
_RANKING_FIRST = ("dataset", "evaluation", "rank", "label", "score", "low", "high")
_RANKING_LAST = (
    "against_best",
    "p_against_best",
    "fit_seconds",
    "predict_seconds",
    "peak_rss_mb",
    "trainable_parameters",
    "total_parameters",
    "model_bytes",
    "validation_score",
    "n_fits",
    "n_planned",
    "interval_over",
    "basis",
    "kind",
    "sees_test_cells",
    "verdict",
)
_RANKING_HIDDEN = ("regime", "method", "n_units", "baseline_verdict")  # the cards have the verdict
_CONTRASTS_HIDDEN = ("base", "method", "group", "t", "family_size")
_RULES_FIRST = (
    *EVALUATION,
    "split",
    "method",
    "rule",
    "cut",
    "unknown_rate",
    "accepted_noise",
    "accepted_shuffled",
    "accepted_unrelated_tissue",
)


@dataclass(frozen=True)
class Audited:
    """How many metrics of an evaluation are informative or undecided; which are not evidence, each with the rule."""

    place: str
    informative: int
    undecided: int
    not_evidence: list[str]


@dataclass(frozen=True)
class PageFigure:
    """A figure with its caption; `data` is a data URL, `width` in pixels."""

    name: str
    title: str
    caption: str
    data: str
    width: int


@dataclass(frozen=True)
class Outputs:
    """What is written of a study.

    Attributes
    ----------
    page
        The page.
    methods, classes
        Folders for a page of every method, and of every class.
    tables
        Folder for the tables of the page as Markdown and LaTeX.
    text, references
        The methods section of a paper, and its references as BibTeX.
    """

    page: str
    methods: str
    classes: str
    tables: str
    text: str
    references: str


def render(
    settings: ReportSettings,
    tables: Mapping[str, str],
    *,
    figures: Iterable[str],
    cards: Iterable[str],
    provenance: str,
    outputs: Outputs,
) -> None:
    """Write the pages of a study, and its texts for a paper.

    Parameters
    ----------
    settings
        What the pages use of the study.
    tables
        Table -> its CSV file.
    figures
        PNG files.
    cards
        Cards of the datasets.
    provenance
        The provenance record.
    outputs
        What is written.
    """
    cards = list(cards)
    read = {name: read_table(path) for name, path in tables.items()}
    names = names_of(settings, read)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"code": _code, "listed": listed}
    made = {"study": settings, "provenance": read_json(provenance)}
    of_methods, of_classes = method_pages(settings.methods, read, names), class_pages(read, names)
    for kind, folder, pages in (("method", outputs.methods, of_methods), ("class", outputs.classes, of_classes)):
        _write_pages(environment.get_template("entity.html.jinja"), Path(folder), kind, pages, made)
    shown = {name: names.shown(table) for name, table in shown_tables(read).items()} | {
        "data": _data(cards, settings.datasets),
        "methods": pd.DataFrame([asdict(method) for method in settings.methods]),
        "metrics": _metrics(),
    }
    drawn = [_figure(Path(path), settings.figures) for path in figures]
    page = environment.get_template("page.html.jinja").render(
        **made,
        percent=f"{100 * settings.level:g} %",
        finished=_finished(read["resources"]),
        rule_findings=rule_findings(read["effects"], settings.datasets),
        lost=[
            *_lost(cards, settings.datasets),
            *warned(read["warnings"], names.methods, {name: names.dataset(name) for name in names.datasets}),
        ],
        unfinished=read["failed"]["status"].value_counts().to_dict(),
        answers=answers(read["ranking"], names),
        unranked=unranked(read["ranking"], names),
        predictions=predictions(read["predicted_types"], names),
        audit=audited(read["audit"], names),
        controls=[one.description for name, one in CONTROLS.items() if _was_made(name, read["audit"])],
        table_code=code(),
        tables={name: HtmlTable.of(name, table) if len(table) else None for name, table in shown.items()},
        facts={entry.table: entry for entry in settings.tables},
        first=[figure for figure in drawn if figure.name == _FIRST_FIGURE],
        figures=[figure for figure in drawn if figure.name != _FIRST_FIGURE],
        method_pages=[(one.name, one.label) for one in of_methods],
        classes=[(one.name, one.label) for one in of_classes],
        folder=f"../../tables/{settings.study}",
        figure_folder=f"../../figures/{settings.study}",
    )
    with atomic(outputs.page) as path:
        path.write_text(page, encoding="utf-8")
    write_text_tables(shown, outputs.tables)
    write_methods(
        settings,
        read,
        names=names,
        cards=cards,
        provenance=provenance,
        text=outputs.text,
        references=outputs.references,
    )


def read_table(path: str) -> pd.DataFrame:
    """A table of a study. A label such as "NA" is a label; only what was written empty is missing."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def names_of(settings: ReportSettings, tables: Mapping[str, pd.DataFrame]) -> Names:
    """What the pages call things."""
    ranked = tables["ranking"].drop_duplicates("method")
    splits = tables["splits"].dropna(subset=["label"])
    return Names(
        datasets={name: entry.label for name, entry in settings.datasets.items()},
        methods={entry.method: entry.label for entry in settings.methods}
        | dict(zip(ranked["method"], ranked["label"], strict=True)),
        evaluations=settings.evaluations,
        splits=dict(zip(zip(splits["dataset"], splits["split"], strict=True), splits["label"], strict=True)),
    )


def _write_pages(
    template: jinja2.Template, folder: Path, kind: str, pages: Iterable[EntityPage], made: Mapping[str, object]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for one in pages:
        text = template.render(**made, page=one, kind=kind)
        with atomic(folder / f"{one.name}.html") as path:
            path.write_text(text, encoding="utf-8")


def _lost(cards: Iterable[str], datasets: Mapping[str, DatasetEntry]) -> list[str]:
    """What datasets lost while they were prepared."""
    return [f"{datasets[card['dataset']].label}: {text}" for card in map(read_json, cards) for text in losses(card)]


def _was_made(control: str, audit: pd.DataFrame) -> bool:
    """Whether a control has a value in any evaluation; of an audit that has no column for it nothing is known."""
    return control not in audit or bool(audit[control].notna().any())


def _finished(resources: pd.DataFrame) -> int:
    """Fits that ended well; a fit has a row for each of its views."""
    return int(resources.loc[resources["status"] == "ok", "fit"].nunique())


def audited(audit: pd.DataFrame, names: Names) -> list[Audited]:
    """A summary of the verdicts of every evaluation."""
    cards = []
    for (dataset, evaluation), part in audit.groupby(EVALUATION, sort=False):
        reasons = set()
        for row in part[part["verdict"] == NOT_EVIDENCE].itertuples():
            reading = " ".join(word for word in (row.variant, row.rule) if word != "-")
            label = METRICS[row.metric].label if row.metric in METRICS else row.metric
            reasons.add(f"{label}{f' ({reading})' if reading else ''}: {row.because}")
        cards.append(
            Audited(
                place=names.place(dataset, evaluation),
                informative=int((part["verdict"] == INFORMATIVE).sum()),
                undecided=int((part["verdict"] == UNDECIDED).sum()),
                not_evidence=sorted(reasons),
            )
        )
    return cards


def shown_tables(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of the page with the columns that it shows."""
    return {
        "ranking": ranking_columns(tables["ranking"]),
        "audit": tables["audit"],
        "rules": _rules(tables["rules"]),
        "cuts": tables["cuts"],
        "seed_agreement": tables["seed_agreement"],
        "effects": _effects(tables["effects"]),
        "failed": tables["failed"],
        "warnings": tables["warnings"].drop(columns="fit"),
        "tests": tables["tests"],
        "contrasts": tables["contrasts"].drop(columns=list(_CONTRASTS_HIDDEN)),
        "classes": tables["classes"],
        "predicted_types": tables["predicted_types"],
        "resources": tables["resources"].drop(columns="fit"),
        "splits": tables["splits"].drop(columns="label"),
    }


def ranking_columns(ranking: pd.DataFrame) -> pd.DataFrame:
    """The ranking with its metrics between score and cost; a metric that repeats the score is left out."""
    known = {*_RANKING_FIRST, *_RANKING_LAST, *_RANKING_HIDDEN}
    others = [column for column in ranking if column not in known and not ranking[column].equals(ranking["score"])]
    return ranking[[column for column in (*_RANKING_FIRST, *others, *_RANKING_LAST) if column in ranking]]


def _effects(effects: pd.DataFrame) -> pd.DataFrame:
    """The effects, levels by their labels."""
    levels = {end: effects[f"{end}_label"] for end in ("from", "to")}
    return effects.assign(**levels).drop(columns=["from_label", "to_label"])


def _rules(rules: pd.DataFrame) -> pd.DataFrame:
    """Confidence rules, a row for each rule and cut, without merging of labels."""
    keys = [*EVALUATION, "split", "method", "rule"]
    plain = rules[rules["merging"] == "none"]
    if plain.empty:
        return plain
    cuts = plain[plain["variant"] != "-"].pivot_table(index=[*keys, "variant"], columns="metric", values="value")
    whole = plain[plain["variant"] == "-"].pivot_table(index=keys, columns="metric", values="value")
    joined = cuts.join(whole, on=keys).reset_index().rename(columns={"variant": "cut"}).rename_axis(columns=None)
    first = [column for column in _RULES_FIRST if column in joined]
    return joined[first + [column for column in joined if column not in first]]


def rule_findings(effects: pd.DataFrame, datasets: Mapping[str, DatasetEntry]) -> list[str]:
    """What this study says of confidence rules: where one is better or worse than the method's own confidence.

    A sentence for every dataset and rule, on the means over methods whose interval does not hold 0.
    """
    mine = effects[(effects["factor"] == "confidence rule") & (effects["method"] == "all")]
    found = []
    for (dataset, rule), rows in mine.groupby(["dataset", "to_label"], sort=False):
        parts: dict[str, list[str]] = {"better": [], "worse": []}
        for row in rows.itertuples():
            metric = METRICS[str(row.metric)]
            if row.low > 0 or row.high < 0:
                side = "better" if (row.difference > 0) == (metric.best != metric.low) else "worse"
                parts[side].append(f"{metric.label} {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]")
        told = "; ".join(f"{side} by {', '.join(each)}" for side, each in parts.items() if each)
        found.append(f"{datasets[str(dataset)].label}, {rule}: {told or 'not told apart from the own confidence'}")
    return found


def _data(cards: Iterable[str], datasets: Mapping[str, DatasetEntry]) -> pd.DataFrame:
    """What the prepared datasets hold, and where they come from."""
    rows = []
    for card in map(read_json, cards):
        entry = datasets[card["dataset"]]
        rows.append(
            {
                "dataset": entry.label,
                "cells": card["cells"],
                "genes": card["genes"],
                "types": sum(label != "unknown" for label in card["labels"]),
                "unknown": card["cells_with_unknown_label"],
                "studies": len(card["studies"]),
                "donors": len(card["donors"]),
                "values": card["matrix"],
                "summary": entry.summary,
                "citation": entry.citation,
                "licence": entry.licence,
                "sha256": card["sha256"][:12],
                "remark": None if entry.run_here else "could not be fetched where annobench is made",
            }
        )
    return pd.DataFrame(rows)


def _metrics() -> pd.DataFrame:
    """All metrics, and how they are read."""
    return pd.DataFrame(
        [
            {
                "metric": metric.name,
                "family": metric.family,
                "what it is": metric.meaning,
                "range": f"{metric.low:g} to {metric.high:g}",
                "best": metric.best,
                "needs": ", ".join([*FAMILIES[metric.family].needs, *metric.needs]),
            }
            for metric in METRICS.values()
        ]
    )


def _code(text: str) -> Markup:
    """A text whose parts in backticks are set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _figure(path: Path, entries: Mapping[str, FigureEntry]) -> PageFigure:
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20], "big")  # the width in the header of a PNG; figures have 200 pixels an inch
    data = f"data:image/png;base64,{b64encode(content).decode('ascii')}"
    entry = entries[path.stem]
    return PageFigure(path.stem, entry.title, entry.caption, data, pixels // 2)
