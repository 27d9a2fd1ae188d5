"""Specs: what travels from a rule to its driver, typed on both sides.

A rule writes a spec into its params as a mapping with sorted keys (`to_params`), so that the order of keys in a YAML
file never reruns a job; the driver reads it back (`from_params`).
"""

import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from annobench.core.errors import AnnobenchError

Params = dict[str, Any]  # a spec as mappings with sorted keys, lists and plain values


class SpecError(AnnobenchError):
    """A mapping does not fit the spec that it is read as."""


@dataclass(frozen=True)
class Spec:
    """Base of frozen dataclasses whose fields are plain values, sequences, mappings or specs."""

    def to_params(self) -> Params:
        """The spec as mappings with sorted keys, lists and plain values."""
        params: Params = _plain(self)
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, object]) -> Self:
        """Read what `to_params` wrote, or an entry of a resolved YAML file.

        A key may be missing where its field has a default. Raises SpecError for any other missing key, an unknown one,
        or a value of another type.
        """
        spec: Self = _read(cls, params, cls.__name__)
        return spec

    @classmethod
    def variant(cls, params: Mapping[str, object]) -> type[Self]:
        """The class that `params` are read as: a base of several variants overrides this."""
        return cls


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field: _plain(getattr(value, field)) for field in sorted(f.name for f in fields(value))}
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _read(kind: Any, value: object, where: str) -> Any:
    """A plain value as `kind`: a dataclass, a union, tuple[X, ...], Mapping[str, X], or a plain type."""
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(of, value, where)
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_dataclass(kind, value, where)
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


def _read_union(options: tuple[object, ...], value: object, where: str) -> Any:
    """A value as the first option that it fits."""
    if value is None and type(None) in options:
        return None
    options = tuple(one for one in options if one is not type(None))
    if len(options) == 1:
        return _read(options[0], value, where)
    for one in options:
        with suppress(SpecError):
            return _read(one, value, where)
    raise SpecError(f"{where}: expected {' or '.join(map(_name, options))}, found {value!r}")


def _read_dataclass(kind: Any, value: object, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise SpecError(f"{where}: expected a mapping, found {value!r}")
    if issubclass(kind, Spec):
        kind = kind.variant(value)
    hints, needed = _fields(kind)
    if odd := sorted((set(value) - set(hints)) | (needed - set(value))):
        raise SpecError(f"{where}: key '{odd[0]}' is {'missing' if odd[0] in hints else 'unknown'}")
    return kind(**{name: _read(hints[name], one, f"{where}.{name}") for name, one in value.items()})


@cache
def _fields(kind: Any) -> tuple[dict[str, object], frozenset[str]]:
    """Types of the fields of a dataclass, and the names of those without a default."""
    hints = get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    return {f.name: hints[f.name] for f in fields(kind)}, frozenset(needed)


def _name(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
