"""Values of YAML files, for what reads none: the standard library only."""

from typing import TypeAlias

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"


def kind_of(value: object) -> str:
    """The kind of a YAML value, in words."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)
