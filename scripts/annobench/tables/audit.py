"""The audit of a study: every metric on methods and controls, the verdict, and the verdict beside every number."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from annobench.core.parquet import read_columns
from annobench.ontology import UNKNOWN, Ontology
from annobench.score.audit.controls import CONTROLS, NO_INFORMATION
from annobench.score.audit.verdict import COST, COSTS, DESCRIPTIVE, INFORMATIVE, NOT_EVIDENCE, UNTESTED, judge
from annobench.score.metrics.registry import METRICS
from annobench.tables.shared.fits import EVALUATION

KEYS = ["family", "metric", "variant", "rule"]
AUDIT = [*EVALUATION, *KEYS, "verdict", "because", "reason", "best_value", *CONTROLS]
AUDIT += ["methods_best", "methods_median", "n_methods"]
MARKERS = [*EVALUATION, "kind", "name", "metric", "reading", "value", "low", "high", "n_types", "verdict"]
TYPES = [*EVALUATION, "name", "reading", "label_id", "label", "metric", "value", "n"]
DEGS = [*EVALUATION, "name", "gene_of", "gene_of_label", "gene", "label_id", "label", "value"]
SPATIAL = [*EVALUATION, "name", "cell_id", "x", "y", "true", "predicted", "confidence"]


def read(paths: Mapping[str, Sequence[str]], evaluations: Sequence[Sequence[str]]) -> dict[str, pd.DataFrame]:
    """Tables of all audits with the columns that name their evaluation; `paths`: table -> one file per evaluation.

    Evaluations of which the audit is missing (a partial study) are left out.
    """
    known = {(dataset, name): regime for dataset, name, regime in evaluations}
    found: dict[str, list[pd.DataFrame]] = {table: [] for table in paths}
    for table, files in paths.items():
        for file in files:
            dataset, evaluation = file.split("/")[-3:-1]
            part = pd.DataFrame(read_columns(file))
            belongs = {"dataset": dataset, "evaluation": evaluation, "regime": known[dataset, evaluation]}
            found[table].append(part.assign(**belongs))
    return {table: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame() for table, parts in found.items()}


def audit(metrics: pd.DataFrame, resources: pd.DataFrame) -> pd.DataFrame:
    """One row per evaluation and metric: its values on the controls, on the methods, and the verdict.

    Values are means over splits and seeds. `resources` adds the costs, which have no control.
    """
    if metrics.empty:
        return pd.DataFrame(columns=AUDIT)
    keys = [*EVALUATION, *KEYS]
    means = metrics.groupby([*keys, "kind", "name"], sort=False)["value"].mean().reset_index()
    medians, informed = _accepted(means), _informed(means)
    rows = []
    for key, part in means.groupby(keys, sort=False):
        about = dict(zip(keys, key, strict=True))
        metric = METRICS[about["metric"]]
        of_controls = part[part["kind"] == "control"].set_index("name")["value"].to_dict()
        methods = part.loc[part["kind"] == "method", "value"].tolist()
        accepted = medians.get((*key[:3], about["variant"], about["rule"])) if metric.name == "unknown_rate" else None
        verdict = judge(metric, of_controls, methods, accepted, informed=informed.get(key[:3], True))
        best = None
        if methods and metric.best is not None:
            best = max(methods) if metric.best > metric.low else min(methods)
        rows.append(
            {
                **about,
                "verdict": verdict.verdict,
                "because": verdict.rule,
                "reason": verdict.reason,
                "best_value": metric.best,
                **{control: of_controls.get(control, np.nan) for control in CONTROLS},
                "methods_best": best,
                "methods_median": float(np.median(methods)) if methods else np.nan,
                "n_methods": len(methods),
            }
        )
    done = resources[resources["status"] == "ok"]
    for key, part in done.groupby(EVALUATION, sort=False):
        for metric in (m for m in METRICS.values() if m.family in COSTS):
            if metric.name in part and part[metric.name].notna().any():
                values = pd.to_numeric(part[metric.name], errors="coerce").groupby(part["method"]).mean()
                about = dict(zip(EVALUATION, key, strict=True)) | {"family": metric.family, "metric": metric.name}
                verdict = judge(metric, {}, values.tolist())
                rows.append(
                    about
                    | {"variant": "-", "rule": "-", "verdict": verdict.verdict, "reason": verdict.reason}
                    | {"methods_best": values.min(), "methods_median": values.median(), "n_methods": len(values)}
                )
    return pd.DataFrame(rows, columns=AUDIT)


def _accepted(means: pd.DataFrame) -> dict[tuple[str, ...], dict[str, float]]:
    """What the median method accepts of each kind of unrelated cells: evaluation, variant and rule -> kind -> share."""
    rows = means[means["metric"].str.startswith("accepted_") & (means["kind"] == "method")]
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for key, value in rows.groupby([*EVALUATION, "variant", "rule", "metric"])["value"].median().items():
        found.setdefault(key[:-1], {})[key[-1].removeprefix("accepted_")] = float(value)
    return found


def _informed(means: pd.DataFrame) -> dict[tuple[str, ...], bool]:
    """Whether a method is more accurate than every control without information, by evaluation."""
    rows = means[(means["metric"] == "accuracy") & (means["kind"] == "method")]
    blind = means[(means["metric"] == "accuracy") & means["name"].isin(NO_INFORMATION) & (means["kind"] == "control")]
    best, chance = (part.groupby(EVALUATION)["value"].max() for part in (rows, blind))
    return {key: bool(value > chance.get(key, -1.0)) for key, value in best.items()}


def _worst(verdicts: Sequence[str]) -> str:
    """The one that says least for a metric; empty for none."""
    order = [NOT_EVIDENCE, UNTESTED, INFORMATIVE, DESCRIPTIVE, COST]
    return min(verdicts, key=order.index) if verdicts else ""


class Verdicts:
    """Verdicts to look up, for the tables that show metrics."""

    def __init__(self, audit: pd.DataFrame) -> None:
        keys = ["dataset", "evaluation", "metric", "variant", "rule"]
        self._exact = dict(zip(audit[keys].itertuples(index=False, name=None), audit["verdict"], strict=True))
        self._metric: dict[tuple[str, str, str], str] = {}
        for row in audit[audit["rule"] == "-"].itertuples():
            key = (row.dataset, row.evaluation, row.metric)
            # of several label sets the worst verdict speaks for the metric
            self._metric[key] = _worst([row.verdict, self._metric.get(key, row.verdict)])

    def of(self, dataset: str, evaluation: str, metric: str) -> str:
        """The verdict on a metric in an evaluation, or the worst over the study (`all`); empty without an audit."""
        if dataset != "all":
            return self._metric.get((dataset, evaluation, metric), "")
        return _worst([verdict for (_, _, name), verdict in self._metric.items() if name == metric])

    def of_score(self, dataset: str, evaluation: str, row: Any) -> str:
        """The verdict on a row of the scores."""
        if METRICS[row.metric].family in COSTS:
            return COST
        rule = row.group if row.level == "rule" else "-"
        return self._exact.get((dataset, evaluation, row.metric, row.label_set, rule), "")

    def added_to(self, table: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
        """A table of evaluations with a last column `verdict` on its column `metric`, or on one metric."""
        names = [metric] * len(table) if metric else table["metric"]
        found = [self.of(*key) for key in zip(table["dataset"], table["evaluation"], names, strict=True)]
        return table.assign(verdict=found)


def markers(metrics: pd.DataFrame, types: pd.DataFrame, audit: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Marker biology of methods and controls: means, with Student's t intervals over the types where there are any."""
    from scipy.stats import t as student

    of_family = metrics[metrics["family"] == "markers"] if len(metrics) else metrics
    if of_family.empty:
        return pd.DataFrame(columns=MARKERS)
    keys = [*EVALUATION, "kind", "name", "metric", "variant"]
    table = of_family.groupby(keys, sort=False)["value"].mean().reset_index().rename(columns={"variant": "reading"})
    by_type = types.groupby([*EVALUATION, "name", "reading", "metric", "label_id"])["value"].mean().reset_index()
    spread = by_type.groupby([*EVALUATION, "name", "reading", "metric"])["value"].agg(["std", "count"]).reset_index()
    table = table.merge(spread, how="left", on=[*EVALUATION, "name", "reading", "metric"])
    half = student.ppf((1 + confidence) / 2, table["count"].clip(lower=2) - 1) * table["std"] / np.sqrt(table["count"])
    bounds = [table["metric"].map({m.name: getattr(m, end) for m in METRICS.values()}) for end in ("low", "high")]
    low, high = ((table["value"] + sign * half).clip(*bounds) for sign in (-1, 1))
    table = table.assign(low=low, high=high, n_types=table["count"])
    verdicts = audit[audit["family"] == "markers"].rename(columns={"variant": "reading"})
    table = table.merge(verdicts[[*EVALUATION, "metric", "reading", "verdict"]], how="left")
    return table[MARKERS]


def types(types: pd.DataFrame, ontology: Ontology) -> pd.DataFrame:
    """Marker metrics of every type, means over splits and seeds."""
    if types.empty:
        return pd.DataFrame(columns=TYPES)
    keys = [*EVALUATION, "name", "reading", "label_id", "metric"]
    found = types.groupby(keys, sort=False)["value"].agg(["mean", "size"]).reset_index()
    found = found.rename(columns={"mean": "value", "size": "n"})
    return found.assign(label=named(found["label_id"], ontology))[TYPES]


def degs(degs: pd.DataFrame, ontology: Ontology) -> pd.DataFrame:
    """Expression of top genes in all types, for the heat map."""
    if degs.empty:
        return pd.DataFrame(columns=DEGS)
    labels = {"gene_of_label": named(degs["gene_of"], ontology), "label": named(degs["label_id"], ontology)}
    return degs.assign(**labels)[DEGS]


def spatial(spatial: pd.DataFrame, ontology: Ontology) -> pd.DataFrame:
    """Test cells in space with names of their true and predicted types."""
    if spatial.empty:
        return pd.DataFrame(columns=SPATIAL)
    columns = {name: named(spatial[name], ontology) for name in ("true", "predicted")}
    return spatial.assign(**columns)[SPATIAL]


def named(labels: pd.Series, ontology: Ontology) -> list[str]:
    """Names of label ids."""
    names = {label: UNKNOWN if label == UNKNOWN else ontology.label(label) for label in labels.unique()}
    return [names[label] for label in labels]
