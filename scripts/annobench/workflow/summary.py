"""What came out of a run, for the terminal."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from annobench.config.metrics import metric_facts
from annobench.config.results import Results
from annobench.config.study import Study
from annobench.core.files import read_json
from annobench.data.prepare.losses import losses

Row = dict[str, str]
_UNKNOWN = "unknown"  # as annobench.ontology has it, which imports numpy
_MOST = 4  # types that are named


def summary(study: Study, results: Results, name: str | None = None) -> str:
    """Ranking, failures, and where the report is; empty where there are no tables yet.

    `name` is how the user names the study.
    """
    files = (Path(results.table(study.name, name)) for name in ("ranking", "failed"))
    ranking, failed = (_read(path) if path.is_file() else None for path in files)
    if ranking is None or failed is None:
        return ""
    lines = []
    places = list(dict.fromkeys((row["dataset"], row["evaluation"]) for row in ranking))
    if len(places) == 2:  # the mean of one evaluation adds nothing
        places = [place for place in places if place[0] != "all"]
    metric = metric_facts()[study.settings["scoring"]["primary"]].label
    for dataset, evaluation in places:
        rows = [row for row in ranking if (row["dataset"], row["evaluation"]) == (dataset, evaluation)]
        title = "Mean of all evaluations" if dataset == "all" else place_label(study, dataset, evaluation)
        units = rows[0]["interval_over"]
        lines += ["", f"{title}: {metric}" + (f", interval over {units}" if units else "")]
        lines += [f"  {'rank':>4}  {'method':<44}{'score':>6}  {'interval':<15}{'fits':>9}{'s a fit':>9}"]
        lines += [_line(row) for row in rows if row["kind"] != "decoding"]  # the tables list decodings
        if verdict := rows[0].get("baseline_verdict"):  # the same in all rows of an evaluation
            lines.append(f"  {verdict[0].upper()}{verdict[1:]}")
    lines += _predicted(study, results)
    lines += ["", *_failures(failed, study.name, name)]
    if lost := _losses(study, results):
        lines += ["", "Lost on the way:", *(f"  {text}" for text in lost)]
    if Path(results.report(study.name)).is_file():
        lines += ["", "Report: " + f"{study.own or '.'}/{results.report(study.name)}".removeprefix("./")]
    return "\n".join(lines)


def place_label(study: Study, dataset: str, evaluation: str) -> str:
    """An evaluation for people."""
    label = study.datasets[dataset]["label"] if dataset in study.datasets else dataset
    splits = study.evaluations().get((dataset, evaluation))
    return f"{label}: {splits[0].evaluation_label if splits else evaluation}"


def _predicted(study: Study, results: Results) -> list[str]:
    """What methods say of queries without labels: how many types, the most frequent, and how many cells are unknown."""
    path = Path(results.table(study.name, "predicted_types"))
    rows = _read(path) if path.is_file() else []
    labels = {name: method["label"] for name, method in study.methods.items()}
    lines = []
    for dataset, evaluation in dict.fromkeys((row["dataset"], row["evaluation"]) for row in rows):
        mine = [row for row in rows if (row["dataset"], row["evaluation"]) == (dataset, evaluation)]
        cells = {method: _sum(mine, method, "cells") for method in dict.fromkeys(row["method"] for row in mine)}
        lines += ["", f"{place_label(study, dataset, evaluation)}: {max(cells.values()):,.0f} cells without labels"]
        lines += [f"  {'method':<44}{'types':>6}{'unknown':>9}  most frequent"]
        for method in cells:
            of = [row for row in mine if row["method"] == method]
            known = [row for row in of if row["label_id"] != _UNKNOWN]
            unknown = 1 - _sum(known, method, "share")
            most = ", ".join(f"{row['label']} {float(row['cells']):,.0f}" for row in known[:_MOST])
            lines.append(f"  {labels.get(method, method):<44}{len(known):>6}{unknown:>9.0%}  {most}")
    return lines


def _sum(rows: Sequence[Row], method: str, column: str) -> float:
    return sum(float(row[column]) for row in rows if row["method"] == method)


def _line(row: Row) -> str:
    """One method in one evaluation."""
    seconds = float(row["fit_seconds"] or 0) + float(row["predict_seconds"] or 0)
    fits = f"{row['n_fits']}/{row['n_planned']}"
    rank = str(int(float(row["rank"]))) if row["rank"] else "-"
    score = f"{float(row['score']):.3f}" if row["score"] else "-"
    interval = f"{float(row['low']):.3f} - {float(row['high']):.3f}" if row["low"] else ""
    return f"  {rank:>4}  {row['label']:<44}{score:>6}  {interval:<15}{fits:>9}{seconds:9.2f}"


def _losses(study: Study, results: Results) -> list[str]:
    """What datasets lost while they were prepared."""
    cards = (Path(results.card(dataset)) for dataset in study.datasets)
    found = (read_json(card) for card in cards if card.is_file())
    return [f"{study.datasets[card['dataset']]['label']}: {text}" for card in found for text in losses(card)]


def _failures(failed: Sequence[Row], study: str, name: str | None) -> list[str]:
    """How many fits failed for which reason, and how to run them again."""
    reasons = Counter((row["method"], row["status"], row["reason"]) for row in failed)
    lines = [f"Failed, skipped or missing fits: {len(failed) or 'none'}"]
    lines += [f"  {n:4d} x {method}: {status}: {reason}" for (method, status, reason), n in reasons.items()]
    option = "" if study == "quickstart" else f" STUDY={name or study}"
    return lines + ([f"  To run them again: make retry{option}"] if failed else [])


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))
