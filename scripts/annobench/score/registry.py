"""All metrics and families: every file of `score/metrics` is one."""

from collections.abc import Collection, Iterator
from importlib import import_module

from annobench.config.plugins import plugins
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row

PLUGINS = "score/metrics"  # whoever imports this module depends on all of them


def _found() -> dict[str, Family]:
    families = [import_module(f"annobench.score.metrics.{name}").FAMILY for name in plugins(PLUGINS)]
    return {family.name: family for family in sorted(families, key=lambda one: (one.order, one.name))}


FAMILIES: dict[str, Family] = _found()
METRICS: dict[str, Metric] = {metric.name: metric for family in FAMILIES.values() for metric in family.metrics}


def runnable(evidence: Evidence, allowed: Collection[str] | None = None, but: Collection[str] = ()) -> list[Family]:
    """The families whose needs are met.

    Parameters
    ----------
    evidence
        What there is.
    allowed
        Names of the families that the evaluation asks for; None for all but those on request. What needs the run record
        alone always runs.
    but
        Names of families that are left out.
    """
    return [
        family
        for family in FAMILIES.values()
        if family.compute
        and family.name not in but
        and set(family.needs) <= evidence.has
        and (family.needs == ("run",) or _wanted(family, evidence, allowed))
    ]


def _wanted(family: Family, evidence: Evidence, allowed: Collection[str] | None) -> bool:
    if allowed is not None:
        return family.name in allowed
    return not family.on_request or "predictions" not in evidence.has


def rows_of(evidence: Evidence, allowed: Collection[str] | None = None, but: Collection[str] = ()) -> Iterator[Row]:
    """Rows of all families that can and may run; see `runnable`."""
    for family in runnable(evidence, allowed, but):
        if family.compute:
            yield from family.compute(evidence)
