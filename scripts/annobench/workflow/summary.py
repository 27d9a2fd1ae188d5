"""What came out of a run, for the terminal."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from annobench.config.metrics import metric_facts
from annobench.config.results import Results
from annobench.config.study import Study

Row = dict[str, str]


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
        title = "Mean of all evaluations" if dataset == "all" else f"{dataset}, {evaluation}"
        units = rows[0]["interval_over"]
        lines += ["", f"{title}: {metric}" + (f", interval over {units}" if units else "")]
        lines += [f"  {'rank':>4}  {'method':<44}{'score':>6}  {'interval':<15}{'fits':>9}{'s a fit':>9}"]
        lines += [_line(row) for row in rows if row["kind"] != "decoding"]  # the tables list decodings
        if verdict := rows[0].get("baseline_verdict"):  # the same in all rows of an evaluation
            lines.append(f"  {verdict[0].upper()}{verdict[1:]}")
    lines += ["", *_failures(failed, study.name, name)]
    if Path(results.report(study.name)).is_file():
        lines += ["", "Report: " + f"{study.own or '.'}/{results.report(study.name)}".removeprefix("./")]
    return "\n".join(lines)


def _line(row: Row) -> str:
    """One method in one evaluation."""
    seconds = float(row["fit_seconds"] or 0) + float(row["predict_seconds"] or 0)
    fits = f"{row['n_fits']}/{row['n_planned']}"
    rank = str(int(float(row["rank"]))) if row["rank"] else "-"
    score = f"{float(row['score']):.3f}" if row["score"] else "-"
    interval = f"{float(row['low']):.3f} - {float(row['high']):.3f}" if row["low"] else ""
    return f"  {rank:>4}  {row['label']:<44}{score:>6}  {interval:<15}{fits:>9}{seconds:9.2f}"


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
