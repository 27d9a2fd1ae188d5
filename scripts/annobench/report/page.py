"""One self-contained HTML page per study: opens offline, tables sort and filter, figures are inside."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from itables import options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html

from annobench.config.names import METRIC_NAMES
from annobench.config.plugins import about
from annobench.core.files import atomic, read_json
from annobench.score.audit.verdict import INFORMATIVE, NOT_EVIDENCE
from annobench.score.metrics.registry import METRICS

_FOLDER = Path(__file__).parent
EVALUATION_KEYS = ["dataset", "evaluation"]
_RANKING = [
    "dataset",
    "evaluation",
    "rank",
    "label",
    "score",
    "low",
    "high",
    "balanced_accuracy",
    "accuracy",
    "hierarchical_f1_micro",
    "ontology_macro_f1",
]
_RANKING += [
    "p_against_best",
    "fit_seconds",
    "predict_seconds",
    "peak_rss_mb",
    "trainable_parameters",
    "n_fits",
    "n_planned",
    "interval_over",
    "kind",
    "verdict",
]


_CONTRASTS = ["dataset", "evaluation", "contrast", "metric", "label_set", "level", "group_label", "base_value", "value"]
_CONTRASTS += ["difference", "low", "high", "p_value", "p_holm", "n_runs", "n_units", "unit_kind", "n_cells", "note"]


def render(
    study: Mapping[str, Any],
    tables: Mapping[str, str],
    figures: Sequence[str],
    cards: Sequence[str],
    provenance: str,
    output: str,
) -> None:
    """Write the page of a study from its tables (CSV), figures (PNG), data cards and provenance record."""
    # a label such as "NA" is a label; only what was written empty is missing
    read = {name: pd.read_csv(path, keep_default_na=False, na_values=[""]) for name, path in tables.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("page.html.jinja").render(
        study=study,
        primary=METRIC_NAMES[study["scoring"]["primary"]],
        counts=_counts(read),
        best=_best(read["ranking"], study["evaluations"], 1 - study["statistics"]["confidence"]),
        audit=_audited(read["audit"], study["evaluations"]),
        table_code=generate_init_offline_itables_html(options.dt_bundle),
        tables={name: _interactive(name, table) for name, table in _shown(read, study, cards).items()},
        figures=[_figure(Path(path), study.get("captions", {})) for path in figures],
        provenance=read_json(provenance),
        table_names=list(tables),
        folder=f"../../tables/{study['study']}",
        figure_folder=f"../../figures/{study['study']}",
    )
    with atomic(output) as path:
        path.write_text(page, encoding="utf-8")


def _counts(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    failed = tables["failed"]
    status = failed["status"].value_counts().to_dict()
    resources = tables["resources"]
    ok = int(resources.loc[resources["status"] == "ok", "fit"].nunique())  # a fit has a row for each of its views
    return {"ok": ok, "planned": ok + len(failed), "status": status}


def _best(ranking: pd.DataFrame, names: Mapping[str, str], alpha: float) -> list[dict[str, Any]]:
    """The best-ranked method of every evaluation, and which others the corrected tests do not tell from it."""
    found = []
    for (dataset, evaluation), part in ranking[ranking["dataset"] != "all"].groupby(
        ["dataset", "evaluation"], sort=False
    ):
        first, others = part[part["rank"] == 1], part[part["rank"] > 1]
        if first.empty:
            continue
        tied = others.loc[others["p_against_best"] > alpha, "label"].tolist()
        untested = others.loc[others["p_against_best"].isna(), "label"].tolist()
        name = names.get(f"{dataset}/{evaluation}", evaluation)
        found.append(
            {**first.iloc[0].to_dict(), "name": name, "tied": tied, "untested": untested, "others": len(others)}
        )
    return found


def _audited(audit: pd.DataFrame, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of every evaluation: how many metrics are informative, and which are not evidence."""
    found = []
    for (dataset, evaluation), part in audit.groupby(["dataset", "evaluation"], sort=False):
        bad = part[part["verdict"] == NOT_EVIDENCE]
        readings = [" ".join(word for word in (row.variant, row.rule) if word != "-") for row in bad.itertuples()]
        said = {
            f"{row.metric.replace('_', ' ')}{f' ({reading})' if reading else ''}: {row.because}"
            for row, reading in zip(bad.itertuples(), readings, strict=True)
        }
        found.append(
            {
                "dataset": dataset,
                "name": names.get(f"{dataset}/{evaluation}", evaluation),
                "informative": int((part["verdict"] == INFORMATIVE).sum()),
                "not_evidence": sorted(said),
            }
        )
    return found


def _rules(rules: pd.DataFrame) -> pd.DataFrame:
    """Confidence rules, a row for each rule and cut, without merging of labels."""
    keys = [*EVALUATION_KEYS, "method", "rule"]
    plain = rules[rules["merging"] == "none"]
    if plain.empty:
        return plain
    cuts = plain[plain["variant"] != "-"].pivot_table(index=[*keys, "variant"], columns="metric", values="value")
    whole = plain[plain["variant"] == "-"].pivot_table(index=keys, columns="metric", values="value")
    joined = cuts.join(whole, on=keys).reset_index().rename(columns={"variant": "cut"})
    first = [*keys, "cut", "unknown_rate", "accepted_noise", "accepted_shuffled", "accepted_unrelated_tissue"]
    return joined[[c for c in first if c in joined] + [c for c in joined if c not in first]]


def _shown(
    tables: Mapping[str, pd.DataFrame], study: Mapping[str, Any], cards: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The tables of the page, with columns for people."""
    methods = pd.DataFrame([{"method": name, **about_method} for name, about_method in study["methods"].items()])
    data = pd.DataFrame(
        [
            {
                "dataset": card["dataset"],
                "label": study["datasets"][card["dataset"]]["label"],
                "cells": card["cells"],
                "genes": card["genes"],
                "types": sum(label != "unknown" for label in card["labels"]),
                "unknown": card["cells_with_unknown_label"],
                "studies": len(card["studies"]),
                "donors": len(card["donors"]),
                "values": card["matrix"],
                **{key: study["datasets"][card["dataset"]][key] for key in ("summary", "citation", "licence")},
                "run by the developers": "yes" if study["datasets"][card["dataset"]]["run_here"] else "no",
                "sha256": card["sha256"][:12],
            }
            for card in map(read_json, cards)
        ]
    )
    metrics = pd.DataFrame(
        [
            {
                "metric": m.name,
                "family": m.family,
                "what it is": m.summary,
                "range": f"{m.low:g} to {m.high:g}",
                "best": m.best,
                "needs": m.needs,
            }
            for m in METRICS.values()
        ]
    )
    return {
        "ranking": tables["ranking"][_RANKING],
        "audit": tables["audit"].drop(columns="regime"),
        "rules": _rules(tables["rules"]),
        "effects": tables["effects"],
        "failed": tables["failed"],
        "tests": tables["tests"],
        "contrasts": tables["contrasts"][_CONTRASTS],
        "classes": tables["classes"],
        "resources": tables["resources"],
        "splits": tables["splits"],
        "data": data,
        "methods": methods,
        "metrics": metrics,
    }


def _interactive(name: str, table: pd.DataFrame) -> str:
    """A table that sorts and filters; numbers are rounded for the eye, and a missing one is left empty."""
    if table.empty:
        return ""
    shown = table.apply(lambda column: _as_text(column) if pd.api.types.is_numeric_dtype(column) else column.fillna(""))
    return to_html_datatable(
        shown,
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


def _as_text(numbers: pd.Series) -> pd.Series:
    """Numbers as text that the page still sorts as numbers: three decimals, four for p-values, none for counts."""
    small = str(numbers.name).startswith("p_")  # p-values
    digits = 4 if small else 0 if (numbers.dropna() % 1 == 0).all() else 3
    return numbers.map(lambda value: "" if pd.isna(value) else f"{value:.{digits}f}")


def _figure(path: Path, captions: Mapping[str, str]) -> dict[str, Any]:
    said = about(path.stem)
    caption = captions.get(path.stem, said["CAPTION"])
    content = path.read_bytes()
    pixels = int.from_bytes(content[16:20], "big")  # the width in the header of a PNG; figures have 200 pixels an inch
    data = f"data:image/png;base64,{b64encode(content).decode('ascii')}"
    return {"name": path.stem, "title": said["TITLE"], "caption": caption, "data": data, "width": pixels // 2}
