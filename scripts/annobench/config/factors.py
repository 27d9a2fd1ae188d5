"""Factors of methods: what two methods of one implementation may differ in.

A factor is a part of the implementation (`parts`, such as `strategy` or `loss`, each with its options) or the backbone
(the `checkpoint`). Two methods that differ in one factor, all else equal, are two levels of it. What the methods of a
study are made of is read by `annobench.config.method_factors`.

Imported by tables and while the Snakefile is parsed: the standard library only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from annobench.core.spec import Spec


@dataclass(frozen=True)
class Level(Spec):
    """A level of a factor.

    Attributes
    ----------
    name
        File of the part, or the checkpoint; with the options that are not its defaults.
    label
        Name for people.
    order
        Place among the levels of the factor, by the first method of the study that has it.
    """

    name: str
    label: str
    order: int = 0


@dataclass(frozen=True)
class MethodFactors(Spec):
    """A method as levels of factors.

    Attributes
    ----------
    implementation
        Name of its file.
    levels
        Factor -> level.
    rest
        Everything else that the method computes by, as text: methods are compared where it is the same.
    """

    implementation: str = ""
    levels: Mapping[str, Level] = field(default_factory=dict)
    rest: str = ""

    def without(self, factor: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What methods share that differ in no more than this factor."""
        others = tuple((name, one.name) for name, one in sorted(self.levels.items()) if name != factor)
        return self.implementation, self.rest, others


@dataclass(frozen=True)
class Pair:
    """Two methods at two levels of one factor, all else equal.

    Attributes
    ----------
    factor
        The factor.
    levels, methods
        Base first.
    setting
        What they share in factors that change within the study, for people: `scFormer, small; HCE`.
    """

    factor: str
    levels: tuple[Level, Level]
    methods: tuple[str, str]
    setting: str


def pairs(methods: Mapping[str, MethodFactors]) -> Iterator[Pair]:
    """All pairs that are compared, by factor and by the order of levels.

    The base level of a factor is that of the first method of the study. Where a setting lacks it, the first level that
    this setting has takes its place; two levels that are compared anywhere are compared in all settings that have both.
    """
    found: dict[str, dict[str, Level]] = {}
    for one in methods.values():
        for factor, level in one.levels.items():
            found.setdefault(factor, {})[level.name] = level
    changing = {factor for factor, known in found.items() if len(known) > 1}
    for factor in sorted(changing):
        known = found[factor]
        ordered = sorted(known, key=lambda name: known[name].order)
        settings: dict[object, dict[str, list[str]]] = {}
        for name, one in methods.items():
            if factor in one.levels:
                settings.setdefault(one.without(factor), {}).setdefault(one.levels[factor].name, []).append(name)
        bases = [min(there, key=ordered.index) for there in settings.values()]
        compared = {(base, other) for base, there in zip(bases, settings.values(), strict=True) for other in there}
        several = len({one.implementation for one in methods.values() if factor in one.levels}) > 1
        for base, other in product(ordered, ordered):
            if base != other and (base, other) in compared:
                for there in settings.values():
                    for pair in product(there.get(base, ()), there.get(other, ())):
                        one = methods[pair[0]]
                        shared = [one.levels[name].label for name in sorted(changing - {factor}) if name in one.levels]
                        setting = "; ".join([one.implementation, *shared] if several else shared)
                        yield Pair(factor, (known[base], known[other]), pair, setting)
