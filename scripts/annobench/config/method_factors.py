"""The factors of the methods of a study, read off their resolved files; nothing is declared in the study.

A part that reads files is an input and no factor: two annotations that were made elsewhere are not levels of their
reader. Imported while the Snakefile is parsed: the standard library and light modules only.
"""

import json
from collections.abc import Iterator, Mapping

from annobench.config.factors import Level, MethodFactors
from annobench.config.parameters import ChosenPart, chosen_parts, part_parameters
from annobench.config.schema import Document, Value
from annobench.config.study import Study
from annobench.config.syntax import literals

BACKBONE = "backbone"


def method_factors(study: Study) -> dict[str, MethodFactors]:
    """The methods of a study that are compared, in its order, each as levels of factors."""
    order: dict[str, dict[str, int]] = {}
    found = {}
    for name in study.shown_methods():
        method = study.methods[name]
        if method["kind"] == "method":
            levels = {}
            for factor, level in _levels(method, study.checkpoints).items():
                seen = order.setdefault(factor, {})
                levels[factor] = Level(level.name, level.label, seen.setdefault(level.name, len(seen)))
            found[name] = MethodFactors(method["implementation"], levels, _rest(method) if levels else "")
    return found


def _levels(method: Document, checkpoints: Mapping[str, Document]) -> dict[str, Level]:
    levels = {name: _of_part(one) for name, one in _parts(method).items()}
    if checkpoint := method["checkpoint"]:
        levels[BACKBONE] = Level(checkpoint, checkpoints[checkpoint]["label"])
    return levels


def _parts(method: Document) -> dict[str, ChosenPart]:
    """The parts of a method that are factors."""
    if "exec" in method:
        return {}
    chosen = chosen_parts(method["implementation"], method["parameters"])
    return {name: one for name, one in chosen.items() if not literals(one.path, ["FILES"])}


def _of_part(part: ChosenPart) -> Level:
    """`lora rank=4` and `LoRA (rank 4)`."""
    label = literals(part.path, ["LABEL"]).get("LABEL", part.path.stem.replace("_", " "))
    name = " ".join([part.path.stem, *(f"{key}={json.dumps(value)}" for key, value in sorted(part.options.items()))])
    said = ", ".join(text for key, value in part.options.items() for text in _said(key, value))
    return Level(name, f"{label} ({said})" if said else label)


def _said(key: str, value: Value) -> Iterator[str]:
    """An option in words; a text says itself what it is."""
    words = key.replace("_", " ")
    if isinstance(value, dict):
        for inner, one in value.items():
            yield from _said(inner, one)
    elif isinstance(value, bool) or value is None:
        yield words if value else f"no {words}"
    else:
        yield value if isinstance(value, str) else f"{words} {value}"


def _rest(method: Document) -> str:
    """What a method computes by beside its factors; not its limits, nor what people are told of it."""
    parameters = dict(method["parameters"])
    if parts := _parts(method):
        inputs = set(chosen_parts(method["implementation"], method["parameters"])) - set(parts)
        named = part_parameters(method["implementation"]) - inputs
        parameters = {key: value for key, value in parameters.items() if key not in named}
    within = {key: method.get(key) for key in ("decoding", "uses", "exec")}
    return json.dumps({**within, "parameters": parameters}, sort_keys=True)
