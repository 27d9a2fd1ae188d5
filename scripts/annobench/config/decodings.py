"""Decodings and what their files say of themselves, read without numpy; every file of two folders is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from annobench.config.plugins import check_options, options_of, plugin_path, plugins
from annobench.config.syntax import literals
from annobench.config.values import Value
from annobench.core.errors import ConfigError, nearest

AT_FIT, AT_SCORE = "fit/decodings/at_fit", "fit/decodings/at_score"
PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class DecodingFacts:
    """What the file of a decoding says of it.

    Attributes
    ----------
    name
        Name of the file.
    label
        `LABEL`: name for people.
    at_fit
        Whether every fit writes its labels, instead of the scoring.
    needs
        `NEEDS`: what it is made from, beside the labels of a fit.
    options
        Fields of its class `Options` with their defaults.
    """

    name: str
    label: str
    at_fit: bool
    needs: tuple[str, ...] = (PROBABILITIES,)
    options: Mapping[str, Value] = field(default_factory=dict)


def decodings() -> list[str]:
    """Names of all decodings, but for `argmax`."""
    return list(_facts())


def decoding_facts(name: str) -> DecodingFacts:
    """What a file says of a decoding; raises ConfigError where there is no such decoding."""
    if name not in _facts():
        raise ConfigError(f"there is no decoding '{name}'{nearest(name, decodings())}")
    return _facts()[name]


def check_decodings(names: list[str], options: Mapping[str, Mapping[str, Value]], source: str) -> None:
    """Raise ConfigError for a decoding that there is not, or an option that it lacks.

    Parameters
    ----------
    names
        As a study lists them (`decodings`).
    options
        Decoding -> its options that differ from the defaults (`decoding_options`).
    source
        File that messages name.
    """
    for position, name in enumerate(names):
        if name not in _facts():
            raise ConfigError(f"{source}: decodings[{position}]: '{name}' is not allowed{nearest(name, decodings())}")
    for name, given in options.items():
        if name not in _facts():
            raise ConfigError(f"{source}: decoding_options: there is no decoding '{name}'{nearest(name, decodings())}")
        check_options(name, decoding_facts(name).options, given, f"{source}: decoding_options")


@cache
def _facts() -> dict[str, DecodingFacts]:
    found = {}
    for room in (AT_FIT, AT_SCORE):
        for name in plugins(room):
            path = plugin_path(room, name)
            said = literals(path, ("LABEL", "NEEDS"))
            if "LABEL" not in said:
                raise ConfigError(f"{path}: LABEL is missing; say what people call the decoding")
            if name in found or name == "argmax":
                raise ConfigError(f"{path}: there is a decoding '{name}' already; rename the file")
            needs = tuple(said.get("NEEDS", (PROBABILITIES,)))
            found[name] = DecodingFacts(name, said["LABEL"], room == AT_FIT, needs, options_of(path))
    return found
