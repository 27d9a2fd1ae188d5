"""Specs: what travels from a rule to its driver, typed on both sides.

A rule writes a spec into its params as a mapping with sorted keys (`to_params`), so that the order of keys in a YAML
file never reruns a job; the driver reads it back (`from_params`).
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from annobench.core.errors import AnnobenchError


class SpecError(AnnobenchError):
    """A mapping does not fit the spec that it is read as."""


@dataclass(frozen=True)
class Spec:
    """Base of frozen dataclasses whose fields are plain values, sequences, mappings or specs."""

    def to_params(self) -> dict[str, Any]:
        """The spec as mappings with sorted keys, lists and plain values."""
        found: dict[str, Any] = _plain(self)
        return found

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read what `to_params` wrote; raises SpecError for a key that is missing, unknown or of another type."""
        found: Self = _read(cls, params, cls.__name__)
        return found


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field: _plain(getattr(value, field)) for field in sorted(f.name for f in fields(value))}
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _read(kind: Any, value: Any, where: str) -> Any:
    """A plain value as `kind`: a dataclass, tuple[X, ...], Mapping[str, X], X | None, or a plain type."""
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in of:
            return None
        options = [one for one in of if one is not type(None)]
        if len(options) == 1:
            return _read(options[0], value, where)
        if any(isinstance(value, one) for one in options if isinstance(one, type)):
            return value
        raise SpecError(f"{where}: expected {kind}, found {value!r}")
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SpecError(f"{where}: expected a mapping, found {value!r}")
        hints = get_type_hints(kind)
        names = {f.name for f in fields(kind)}
        if names != set(value):
            odd = sorted(names ^ set(value))[0]
            raise SpecError(f"{where}: key '{odd}' is {'missing' if odd in names else 'unknown'}")
        return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise SpecError(f"{where}: expected a list, found {value!r}")
        if len(of) == 2 and of[1] is Ellipsis:
            return tuple(_read(of[0], one, f"{where}[{i}]") for i, one in enumerate(value))
        return tuple(_read(one, part, f"{where}[{i}]") for i, (one, part) in enumerate(zip(of, value, strict=True)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SpecError(f"{where}: expected a mapping, found {value!r}")
        return {key: _read(of[1], one, f"{where}.{key}") for key, one in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or kind
    if isinstance(plain, type) and not isinstance(value, plain):
        raise SpecError(f"{where}: expected {plain.__name__}, found {value!r}")
    return value
