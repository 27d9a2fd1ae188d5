"""One self-contained HTML page per study: it opens offline, tables sort and filter, figures are embedded."""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import pandas as pd
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from markupsafe import Markup, escape

from annobench.config.controls import CONTROLS
from annobench.config.standing import NOT_TESTED, TIED
from annobench.core.files import atomic, read_json
from annobench.data.prepare.losses import losses
from annobench.report.settings import DatasetEntry, FigureEntry, ReportSettings
from annobench.score.audit.verdict import INFORMATIVE, NOT_EVIDENCE, UNDECIDED
from annobench.score.registry import FAMILIES, METRICS

_FOLDER = Path(__file__).parent
_EVALUATION = ["dataset", "evaluation"]
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
    *_EVALUATION,
    "method",
    "rule",
    "cut",
    "unknown_rate",
    "accepted_noise",
    "accepted_shuffled",
    "accepted_unrelated_tissue",
)


@dataclass(frozen=True)
class Best:
    """The best-ranked method of an evaluation.

    Attributes
    ----------
    low, high
        Ends of the interval of the score; None where there is nothing to resample.
    tied, untested
        Labels of the methods that the paired tests do not tell apart from it, and of those that were not tested.
    baselines
        What is said of the best baseline; empty where the study names none.
    others
        How many other methods have a rank.
    """

    dataset: str
    name: str
    label: str
    score: float
    low: float | None
    high: float | None
    interval_over: str
    verdict: str
    tied: list[str]
    untested: list[str]
    others: int
    baselines: str


@dataclass(frozen=True)
class Audited:
    """How many metrics of an evaluation are informative or undecided; which are not evidence, each with the rule."""

    dataset: str
    name: str
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


def render(
    settings: ReportSettings,
    tables: Mapping[str, str],
    *,
    figures: Iterable[str],
    cards: Iterable[str],
    provenance: str,
    output: str,
) -> None:
    """Write the page of a study.

    Parameters
    ----------
    settings
        What the page uses of the study.
    tables
        Table -> its CSV file.
    figures
        PNG files.
    cards
        Cards of the datasets.
    provenance
        The provenance record.
    output
        The page.
    """
    cards = list(cards)
    # a label such as "NA" is a label; only what was written empty is missing
    read = {name: pd.read_csv(path, keep_default_na=False, na_values=[""]) for name, path in tables.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["code"] = _code
    labels = {method.method: method.label for method in settings.methods}
    shown = shown_tables(read, labels) | {
        "data": _data(cards, settings.datasets),
        "methods": pd.DataFrame([asdict(method) for method in settings.methods]),
        "metrics": _metrics(),
    }
    page = environment.get_template("page.html.jinja").render(
        study=settings,
        finished=_finished(read["resources"]),
        rule_findings=rule_findings(read["effects"], settings.datasets),
        lost=_lost(cards, settings.datasets),
        unfinished=read["failed"]["status"].value_counts().to_dict(),
        best=best(read["ranking"], settings.evaluations),
        audit=audited(read["audit"], settings.evaluations),
        controls=[one.description for name, one in CONTROLS.items() if _was_made(name, read["audit"])],
        table_code=generate_init_offline_itables_html(options.dt_bundle),
        tables={name: _interactive(name, table) for name, table in shown.items()},
        figures=[_figure(Path(path), settings.figures) for path in figures],
        provenance=read_json(provenance),
        folder=f"../../tables/{settings.study}",
        figure_folder=f"../../figures/{settings.study}",
    )
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")


def _lost(cards: Iterable[str], datasets: Mapping[str, DatasetEntry]) -> list[str]:
    """What datasets lost while they were prepared."""
    return [f"{datasets[card['dataset']].label}: {text}" for card in map(read_json, cards) for text in losses(card)]


def _was_made(control: str, audit: pd.DataFrame) -> bool:
    """Whether a control has a value in any evaluation; of an audit that has no column for it nothing is known."""
    return control not in audit or bool(audit[control].notna().any())


def _finished(resources: pd.DataFrame) -> int:
    """Fits that ended well; a fit has a row for each of its views."""
    return int(resources.loc[resources["status"] == "ok", "fit"].nunique())


def best(ranking: pd.DataFrame, names: Mapping[str, str]) -> list[Best]:
    """The best-ranked method of every evaluation, and which others the paired tests do not tell apart from it."""
    cards = []
    for (dataset, evaluation), part in ranking[ranking["dataset"] != "all"].groupby(_EVALUATION, sort=False):
        others = part[part["rank"] > 1]
        for first in part[part["rank"] == 1].head(1).itertuples():
            cards.append(
                Best(
                    dataset=dataset,
                    name=names.get(f"{dataset}/{evaluation}", evaluation),
                    label=first.label,
                    score=first.score,
                    low=first.low if pd.notna(first.low) else None,
                    high=first.high if pd.notna(first.high) else None,
                    interval_over=first.interval_over,
                    verdict=first.verdict,
                    tied=others.loc[others["against_best"].isin(TIED), "label"].tolist(),
                    untested=others.loc[others["against_best"] == NOT_TESTED, "label"].tolist(),
                    others=len(others),
                    baselines=first.baseline_verdict if pd.notna(first.baseline_verdict) else "",
                )
            )
    return cards


def audited(audit: pd.DataFrame, names: Mapping[str, str]) -> list[Audited]:
    """A summary of the verdicts of every evaluation."""
    cards = []
    for (dataset, evaluation), part in audit.groupby(_EVALUATION, sort=False):
        reasons = set()
        for row in part[part["verdict"] == NOT_EVIDENCE].itertuples():
            reading = " ".join(word for word in (row.variant, row.rule) if word != "-")
            label = METRICS[row.metric].label if row.metric in METRICS else row.metric
            reasons.add(f"{label}{f' ({reading})' if reading else ''}: {row.because}")
        cards.append(
            Audited(
                dataset=dataset,
                name=names.get(f"{dataset}/{evaluation}", evaluation),
                informative=int((part["verdict"] == INFORMATIVE).sum()),
                undecided=int((part["verdict"] == UNDECIDED).sum()),
                not_evidence=sorted(reasons),
            )
        )
    return cards


def shown_tables(tables: Mapping[str, pd.DataFrame], labels: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The tables of the page, with columns for people; `labels` are those of methods."""
    return {
        "ranking": ranking_columns(tables["ranking"]),
        "audit": tables["audit"].drop(columns="regime"),
        "rules": _rules(tables["rules"]),
        "effects": _effects(tables["effects"], labels),
        "failed": tables["failed"],
        "tests": tables["tests"],
        "contrasts": tables["contrasts"].drop(columns=list(_CONTRASTS_HIDDEN)),
        "classes": tables["classes"],
        "resources": tables["resources"],
        "splits": tables["splits"],
    }


def ranking_columns(ranking: pd.DataFrame) -> pd.DataFrame:
    """The ranking with its metrics between score and cost; a metric that repeats the score is left out."""
    known = {*_RANKING_FIRST, *_RANKING_LAST, *_RANKING_HIDDEN}
    others = [column for column in ranking if column not in known and not ranking[column].equals(ranking["score"])]
    return ranking[[column for column in (*_RANKING_FIRST, *others, *_RANKING_LAST) if column in ranking]]


def _effects(effects: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """The effects, levels and methods by their labels."""
    named = {name: effects[name].map(lambda method: labels.get(method, method)) for name in ("base", "method")}
    levels = {end: effects[f"{end}_label"] for end in ("from", "to")}
    return effects.assign(**named, **levels).drop(columns=["from_label", "to_label"])


def _rules(rules: pd.DataFrame) -> pd.DataFrame:
    """Confidence rules, a row for each rule and cut, without merging of labels."""
    keys = [*_EVALUATION, "method", "rule"]
    plain = rules[rules["merging"] == "none"]
    if plain.empty:
        return plain
    cuts = plain[plain["variant"] != "-"].pivot_table(index=[*keys, "variant"], columns="metric", values="value")
    whole = plain[plain["variant"] == "-"].pivot_table(index=keys, columns="metric", values="value")
    joined = cuts.join(whole, on=keys).reset_index().rename(columns={"variant": "cut"})
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
                "dataset": card["dataset"],
                "label": entry.label,
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
                "run by the developers": "yes" if entry.run_here else "no",
                "sha256": card["sha256"][:12],
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


def _interactive(name: str, table: pd.DataFrame) -> str:
    """A table that sorts and filters; numbers are rounded for reading, missing ones are left empty."""
    if table.empty:
        return ""
    html: str = to_html_datatable(
        table.apply(as_text),
        connected=False,
        table_id=f"table-{name}",
        showIndex=False,
        maxBytes=0,
        lengthMenu=[15, 50, 200, 1000],
        pageLength=15,
        classes="display compact nowrap",
        style="width:100%",
        display_logo_when_loading=False,
    )
    return html


def as_text(column: pd.Series) -> pd.Series:
    """Numbers as text that the page still sorts as numbers: three decimals, four for p-values, none for counts."""
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "yes", False: "no"})
    if not pd.api.types.is_numeric_dtype(column):
        return column.fillna("")
    small = str(column.name).startswith("p_")  # p-values
    digits = 4 if small else 0 if (column.dropna() % 1 == 0).all() else 3
    return column.map(lambda value: "" if pd.isna(value) else f"{value:.{digits}f}")


def _code(text: str) -> Markup:
    """A text whose parts in backticks are set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _figure(path: Path, entries: Mapping[str, FigureEntry]) -> PageFigure:
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20], "big")  # the width in the header of a PNG; figures have 200 pixels an inch
    data = f"data:image/png;base64,{b64encode(content).decode('ascii')}"
    entry = entries[path.stem]
    return PageFigure(path.stem, entry.title, entry.caption, data, pixels // 2)
