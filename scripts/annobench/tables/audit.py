"""The audit of a study: every metric on methods and controls, and the verdict."""

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from annobench.score.audit.controls import CONTROLS, NO_INFORMATION, made_for
from annobench.score.audit.verdict import COSTS, METHODS, TRUTH, Margin, Verdict, judge
from annobench.score.metric import Metric
from annobench.score.registry import METRICS
from annobench.tables.shared.columns import EVALUATION, filled
from annobench.tables.shared.context import TableContext

COLUMNS = {
    "audit": (
        "dataset",
        "evaluation",
        "regime",
        "family",
        "metric",
        "variant",
        "rule",
        "verdict",
        "because",
        "reason",
        "best_value",
        "<control>",
        "methods_best",
        "methods_median",
        "n_methods",
        "margin",
        "low",
        "high",
        "interval_over",
    )
}
MEANINGS = {
    "reason": "Numbers that the verdict rests on.",
    "best_value": "Best value of the metric; empty where no value is better than another.",
    "<control>": "One column for every control: the metric on it.",
    "methods_best": "Best value of a method.",
    "methods_median": "Median value of the methods.",
    "n_methods": "Number of methods with a value.",
    "margin": (
        "How much worse than the best method, or than the truth, the control is that decides (a loss: how far from the "
        "best value); where none does, the smallest margin of a control without information."
    ),
    "interval_over": "What the interval of the margin resamples; empty where there is none.",
}
IN_REPORT = ("audit",)
_OF_TESTED = "nothing trains: controls follow the shares of the tested labels"
_READING = ["family", "metric", "variant", "rule"]
_AUDIT = filled(COLUMNS["audit"], list(CONTROLS))
Key = tuple[Hashable, ...]


class MarginRow(NamedTuple):
    """A margin, its interval, and what that resamples."""

    margin: float
    low: float
    high: float
    over: str


def audit(context: TableContext) -> pd.DataFrame:
    """Every metric on the controls and on the methods of every evaluation, with the verdict. A metric is not evidence
    of good annotation where a control without information wins, merging labels improves it, marker labels beat the
    truth, a model of an unrelated tissue does as well as the best method, or its rule accepts unrelated cells; nor of
    good predictions of perturbations where one that knows nothing of the condition does as well.

    Values are means over splits and seeds. A metric is undecided where the interval of a margin leaves open whether a
    control does as well; `annobench.score.audit.verdict` states the rules.
    """
    return audited(context.audits["metrics"], context.table("resources"), context.audits["margins"])


def audited(metrics: pd.DataFrame, resources: pd.DataFrame, margins: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per evaluation and metric.

    Parameters
    ----------
    metrics
        The files `metrics` of all audits, with the columns of their evaluation.
    resources
        The table of this name: it adds the costs, which have no control.
    margins
        The files `margins` of all audits, with the columns of their evaluation; None where nothing was resampled.
    """
    if metrics.empty:
        return pd.DataFrame(columns=_AUDIT)
    keys = [*EVALUATION, *_READING]
    means = metrics.groupby([*keys, "kind", "name"], sort=False)["value"].mean().reset_index()
    found = _margins(margins)
    accepted, informed = _accepted(means), _informed(means, found)
    of_tested = metrics[metrics["shares_of"] == "tested"]
    untrained = set(of_tested[EVALUATION].itertuples(index=False, name=None))
    rows = []
    for key, part in means.groupby(keys, sort=False):
        about = dict(zip(keys, key, strict=True))
        metric = METRICS[about["metric"]]
        of_controls = part[part["kind"] == "control"].set_index("name")["value"].to_dict()
        methods = part.loc[part["kind"] == "method", "value"].tolist()
        of_reading, kinds = dict(found.get(key, {})), None
        if metric.name == "unknown_rate":
            kinds = accepted.get((*key[:3], about["variant"], about["rule"]))
            for kind in kinds or ():
                of_reading |= found.get((*key[:3], about["family"], f"accepted_{kind}", *key[5:]), {})
        values = {at: Margin(row.margin, row.low, row.high) for at, row in of_reading.items()}
        verdict = judge(metric, of_controls, methods, kinds, informed=informed.get(key[:3], True), margins=values)
        rows.append(
            {
                **about,
                "verdict": verdict.verdict,
                "because": verdict.rule,
                "reason": "; ".join(filter(None, [verdict.reason, _OF_TESTED if key[:3] in untrained else ""])),
                "best_value": metric.best,
                **{control: of_controls.get(control, np.nan) for control in CONTROLS},
                "methods_best": _best(metric, methods),
                "methods_median": float(np.median(methods)) if methods else np.nan,
                "n_methods": len(methods),
                **_shown(metric, verdict, of_reading),
            }
        )
    return pd.DataFrame([*rows, *_costs(resources)], columns=_AUDIT)


def _margins(margins: pd.DataFrame | None) -> dict[Key, dict[tuple[str, str], MarginRow]]:
    """Evaluation, family, metric, variant and rule -> control and what it is against -> margin."""
    found: dict[Key, dict[tuple[str, str], MarginRow]] = {}
    if margins is not None and len(margins):
        for key, part in margins.groupby([*EVALUATION, *_READING], sort=False):
            rows = part[["control", "against", "margin", "low", "high", "over"]]
            found[key] = {(row.control, row.against): MarginRow(*row[2:]) for row in rows.itertuples(index=False)}
    return found


def _shown(metric: Metric, verdict: Verdict, margins: Mapping[tuple[str, str], MarginRow]) -> dict[str, object]:
    """The margin that decides; of a metric that is informative the smallest of a control without information."""
    blind = {name for name, control in made_for(metric.family).items() if control.blind}
    close = {at: row for at, row in margins.items() if at[0] in blind and at[1] == METHODS}
    close = close or {at: row for at, row in margins.items() if at[1] == TRUTH}
    if metric.best is None or not close:
        return {}
    row = margins.get(verdict.at) if verdict.at else min(close.values(), key=lambda one: one.margin)
    return {"margin": row.margin, "low": row.low, "high": row.high, "interval_over": row.over} if row else {}


def _best(metric: Metric, values: list[float]) -> float | None:
    """The best value of the methods; None where no value is better than another."""
    if not values or metric.best is None:
        return None
    return min(values, key=metric.loss)


def _costs(resources: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of the costs, means over the fits of a method."""
    rows: list[dict[str, object]] = []
    done = resources[resources["status"] == "ok"]
    for key, part in done.groupby(EVALUATION, sort=False):
        for metric in (m for m in METRICS.values() if m.family in COSTS):
            if metric.name in part and part[metric.name].notna().any():
                values = pd.to_numeric(part[metric.name], errors="coerce").groupby(part["method"]).mean()
                verdict = judge(metric, {}, values.tolist())
                rows.append(
                    {
                        **dict(zip(EVALUATION, key, strict=True)),
                        **{"family": metric.family, "metric": metric.name, "variant": "-", "rule": "-"},
                        **{"verdict": verdict.verdict, "reason": verdict.reason},
                        **{"methods_best": values.min(), "methods_median": values.median(), "n_methods": len(values)},
                    }
                )
    return rows


def _accepted(means: pd.DataFrame) -> dict[Key, dict[str, float]]:
    """What the median method accepts of each kind of unrelated cells: evaluation, variant and rule -> kind -> share."""
    rows = means[means["metric"].str.startswith("accepted_") & (means["kind"] == "method")]
    shares: dict[Key, dict[str, float]] = {}
    for key, value in rows.groupby([*EVALUATION, "variant", "rule", "metric"])["value"].median().items():
        shares.setdefault(key[:-1], {})[key[-1].removeprefix("accepted_")] = float(value)
    return shares


def _informed(
    means: pd.DataFrame, margins: Mapping[Key, Mapping[tuple[str, str], MarginRow]]
) -> dict[Key, bool | None]:
    """Whether a method is more accurate than every control without information, by evaluation.

    Where no labels are predicted: whether one tells conditions apart better than every control that knows nothing of
    them. None where the interval of a margin leaves that open.
    """
    informed: dict[Key, bool | None] = {}
    blind_of_conditions = [name for name, control in CONTROLS.items() if control.blind and control.families]
    for metric, names in (("discrimination", blind_of_conditions), ("accuracy", list(NO_INFORMATION))):
        rows = means[means["metric"] == metric]
        methods = rows[rows["kind"] == "method"]
        blind = rows[rows["name"].isin(names) & (rows["kind"] == "control")]
        best, chance = (part.groupby(EVALUATION)["value"].max() for part in (methods, blind))
        informed |= {key: bool(value > chance.get(key, -1.0)) for key, value in best.items()}
        for key, of_reading in margins.items():
            if key[4] == metric and key[:3] in best.index:
                beaten = [
                    Margin(row.margin, row.low, row.high).below(ties=True)
                    for (name, against), row in of_reading.items()
                    if against == METHODS and name in names
                ]
                if None in beaten and True not in beaten:
                    informed[key[:3]] = None
    return informed
