"""Metrics and what their files say of themselves, read without numpy."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from annobench.config.plugins import check_options, options_of, plugin_path, plugins
from annobench.config.syntax import tree_of
from annobench.config.values import Value
from annobench.core.errors import ConfigError, nearest

FAMILIES = "score/metrics"
_INFINITE = float("inf")
_ONE_VALUE = ("overall", "fit")  # levels of metrics with one value for every fit


@dataclass(frozen=True)
class MetricFacts:
    """What the file of a family says of a metric; `annobench.score.metric.Metric` describes the fields.

    Attributes
    ----------
    name, label, low, high, best, label_set, level
        As there.
    family
        Name of the file.
    """

    name: str
    label: str
    family: str
    low: float
    high: float
    best: float | None
    label_set: str = "-"
    level: str = "overall"

    @property
    def lower_is_better(self) -> bool:
        """Whether the best value is the lowest."""
        return self.best is not None and self.best == self.low

    @property
    def ranks(self) -> bool:
        """Whether methods can be ranked by it: it has a best value, and one value for every fit."""
        return self.best is not None and self.level in _ONE_VALUE


@cache
def metric_facts() -> dict[str, MetricFacts]:
    """All metrics by name. Raises ConfigError where a family says too little of one, or two have the same name."""
    known: dict[str, MetricFacts] = {}
    for family in plugins(FAMILIES):
        path = plugin_path(FAMILIES, family)
        for call in _metrics(path):
            facts = _facts(call, family, path)
            if facts.name in known:
                raise ConfigError(
                    f"{path}: line {call.lineno}: there is a metric '{facts.name}' in {known[facts.name].family}.py "
                    "as well; rename one of them"
                )
            known[facts.name] = facts
    return known


def check_metric(name: str, source: str, *, ranks: bool) -> None:
    """Raise ConfigError unless there is a metric of this name with one value for every fit, or one that can rank.

    Parameters
    ----------
    name
        As the configuration has it.
    source
        File and key that the message names.
    ranks
        Whether methods are to be ranked by it.
    """
    facts = metric_facts().get(name)
    fitting = [one.name for one in metric_facts().values() if one.ranks or (not ranks and one.level in _ONE_VALUE)]
    if facts is None:
        raise ConfigError(f"{source}: there is no metric '{name}'{nearest(name, fitting)}")
    if facts.level not in _ONE_VALUE:
        of = {"audit": "the audit alone computes it", "class": "it has a value for every class"}
        why = of.get(facts.level, f"it has a value for every {facts.level}")
        raise ConfigError(f"{source}: '{name}' has no single value for a fit: {why}{nearest(name, fitting)}")
    if ranks and not facts.ranks:
        raise ConfigError(f"{source}: '{name}' has no best value, so it cannot rank methods{nearest(name, fitting)}")


@cache
def family_options(family: str) -> Mapping[str, Value]:
    """Options of a family with their defaults: the fields of the class `Options` of its file; empty for none."""
    return options_of(plugin_path(FAMILIES, family))


def check_family_options(family: str, options: Mapping[str, Value], source: str) -> None:
    """Raise ConfigError for an option that a family lacks, or a value of another type than its default."""
    if family not in plugins(FAMILIES):
        raise ConfigError(f"{source}: there is no family '{family}'{nearest(family, plugins(FAMILIES))}")
    check_options(family, family_options(family), options, source)


def _metrics(path: Path) -> list[ast.Call]:
    """The entries of METRICS in the file of a family."""
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "METRICS":
            entries = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            for entry in entries:
                if not isinstance(entry, ast.Call) or ast.unparse(entry.func) != "Metric":
                    raise ConfigError(f"{path}: line {entry.lineno}: METRICS must be a list of Metric(...), spelt out")
            return [entry for entry in entries if isinstance(entry, ast.Call)]
    raise ConfigError(f"{path}: METRICS is missing; list the metrics of the family")


def _facts(call: ast.Call, family: str, path: Path) -> MetricFacts:
    values: dict[str, str | float | None] = {}
    for keyword in call.keywords:
        if keyword.arg in MetricFacts.__dataclass_fields__:
            infinite = isinstance(keyword.value, ast.Name) and keyword.value.id == "INFINITE"
            try:
                values[keyword.arg] = _INFINITE if infinite else ast.literal_eval(keyword.value)
            except ValueError:
                raise ConfigError(
                    f"{path}: line {keyword.value.lineno}: {keyword.arg} of a metric must be a literal or INFINITE"
                ) from None
    missing = {"name", "label", "low", "high", "best"} - set(values)
    if missing:
        raise ConfigError(f"{path}: line {call.lineno}: a metric lacks {min(missing)}")
    return MetricFacts(family=family, **values)  # type: ignore[arg-type]
