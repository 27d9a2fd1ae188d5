"""The factors of the methods of a study, read off their resolved files; nothing is declared in the study.

A part that reads files is an input and no factor: two annotations that were made elsewhere are not levels of their
reader. Imported while the Snakefile is parsed: the standard library and light modules only.
"""

import json
from collections.abc import Iterator

from annobench.config.factors import Level, MethodFactors
from annobench.config.parameters import ChosenPart, chosen_parts
from annobench.config.study import Study
from annobench.config.syntax import literals
from annobench.config.values import Value

BACKBONE = "backbone"


def method_factors(study: Study) -> dict[str, MethodFactors]:
    """The methods of a study that are compared, in its order, each as levels of factors."""
    order: dict[str, dict[str, int]] = {}
    found = {}
    for name in study.shown_methods():
        if study.methods[name]["kind"] == "method":
            levels = {}
            for factor, level in _levels(study, name).items():
                seen = order.setdefault(factor, {})
                levels[factor] = Level(level.name, level.label, seen.setdefault(level.name, len(seen)))
            implementation = study.methods[name]["implementation"]
            found[name] = MethodFactors(implementation, levels, _rest(study, name) if levels else "")
    return found


def _levels(study: Study, name: str) -> dict[str, Level]:
    levels = {part: _of_part(one) for part, one in _parts(study, name).items()}
    if checkpoint := study.methods[name]["checkpoint"]:
        levels[BACKBONE] = Level(checkpoint, study.checkpoints[checkpoint]["label"])
    return levels


def _parts(study: Study, name: str) -> dict[str, ChosenPart]:
    """The parts of a method that are factors."""
    method = study.methods[name]
    if "exec" in method:
        return {}
    chosen = chosen_parts(method["implementation"], method["parameters"])
    return {part: one for part, one in chosen.items() if not literals(one.path, ["FILES"])}


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


def _rest(study: Study, name: str) -> str:
    """What a method computes by beside its factors; not its limits, nor what people are told of it."""
    method = study.methods[name]
    of_factors = {key for part in _parts(study, name).values() for key in part.parameters}
    parameters = {key: value for key, value in method["parameters"].items() if key not in of_factors}
    within = {key: method.get(key) for key in ("decoding", "uses", "exec")}
    return json.dumps({**within, "parameters": parameters}, sort_keys=True)
