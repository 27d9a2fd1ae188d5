"""Parameters of a method: those that its class declares, and what a YAML file gives for them.

A parameter is a keyword argument of `__init__` with a literal default. One whose default is a dataclass of the library
(`recipe: Recipe = Recipe(epochs=50)`) is a mapping of its fields in YAML, of which a file gives those that differ. One
that `parts` names on the class (`parts = {"loss": "methods/torch/losses"}`) is the name of a file in that folder; one
that `part_options` names (`part_options = {"options": "reader"}`) is a mapping of the keyword arguments of the public
function of the file that is the part.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias

from annobench.config.method_facts import filled
from annobench.config.plugins import method_class, plugins
from annobench.config.syntax import class_named, lineage, literals
from annobench.config.values import Value, kind_of
from annobench.core.errors import ConfigError, nearest
from annobench.core.paths import LIBRARY

Origin: TypeAlias = Callable[..., str]  # takes the keys that lead to a value, returns the file that states it

_WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}


@dataclass(frozen=True)
class Parameter:
    """One parameter, or one field of a parameter that is a mapping.

    Attributes
    ----------
    type
        Its annotation; None where it has none.
    default
        The default; of a mapping, the defaults of all fields.
    required
        Whether it has no default.
    fields
        The fields of a mapping; None where it is a plain value.
    """

    type: ast.expr | None
    default: Value = None
    required: bool = False
    fields: "Mapping[str, Parameter] | None" = None


def resolve_parameters(implementation: str, given: Mapping[str, Value], origin: Origin) -> dict[str, Value]:
    """Parameters with defaults filled in, sorted.

    Parameters
    ----------
    implementation
        Name of a file in scripts/annobench/methods.
    given
        Parameters that differ from the defaults.
    origin
        Called with `parameters` and a key: the file that states the value, for messages.

    Raises
    ------
    ConfigError
        A parameter is unknown, missing, of another type, or names a part that does not exist.
    """
    found = _resolved(declared(implementation), given, origin, ("parameters",))
    for name, folder in parts(implementation).items():
        if found[name] not in plugins(folder):
            raise ConfigError(
                f"{origin('parameters', name)}: parameters.{name}: there is no file scripts/annobench/{folder}/"
                f"{found[name]}.py{nearest(str(found[name]), plugins(folder))}"
            )
    for name, part in _mapping(implementation, "part_options").items():
        known = _arguments(LIBRARY / parts(implementation)[part] / f"{found[part]}.py")
        value = {} if found[name] is None else found[name]
        if not isinstance(value, dict):
            raise ConfigError(f"{origin('parameters', name)}: parameters.{name}: expected a mapping, found '{value}'")
        found[name] = _resolved(known, value, origin, ("parameters", name))
    return found


def part_modules(implementation: str, parameters: Mapping[str, Value]) -> list[str]:
    """Modules of the parts that resolved parameters name, such as `annobench.methods.torch.losses.hce`."""
    return [
        f"{LIBRARY.name}.{folder.replace('/', '.')}.{parameters[name]}"
        for name, folder in parts(implementation).items()
    ]


def part_files(implementation: str, parameters: Mapping[str, Value]) -> list[str]:
    """Paths of files that the parts of a method read: what `FILES` of their modules says, with parameters filled in."""
    found = []
    options = {part: name for name, part in _mapping(implementation, "part_options").items()}
    for name, folder in parts(implementation).items():
        templates = literals(LIBRARY / folder / f"{parameters[name]}.py", ["FILES"]).get("FILES", ())
        own = parameters[options[name]] if name in options else {}
        found += filled(templates, {**(own if isinstance(own, dict) else {}), **parameters})
    return found


@dataclass(frozen=True)
class ChosenPart:
    """The file that a method names for a part.

    Attributes
    ----------
    path
        The file.
    options
        Its options that are not its defaults.
    parameters
        Parameters of the method that say so: the one that names the file, and the one that holds its options.
    """

    path: Path
    options: Mapping[str, Value]
    parameters: frozenset[str]


def chosen_parts(implementation: str, parameters: Mapping[str, Value]) -> dict[str, ChosenPart]:
    """The parts of a method by the parameter that names each, from its resolved parameters."""
    options = {part: name for name, part in _mapping(implementation, "part_options").items()}
    found = {}
    for name, folder in parts(implementation).items():
        path = LIBRARY / folder / f"{parameters[name]}.py"
        given = parameters[options[name]] if name in options else {}
        own = {}
        if isinstance(given, dict):
            usual = _arguments(path)
            own = {key: value for key, value in given.items() if usual[key].required or value != usual[key].default}
        found[name] = ChosenPart(path, own, frozenset({name, options.get(name, name)}))
    return found


def parts(implementation: str) -> Mapping[str, str]:
    """Parameters of an implementation that name a file, and the folder of these files below the library."""
    return _mapping(implementation, "parts")


@cache
def _mapping(implementation: str, name: str) -> Mapping[str, str]:
    """A mapping that the class of an implementation states, `parts` or `part_options`; empty where it states none."""
    for path, kind in lineage(*method_class(implementation)):
        for node in kind.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                found = _literal(node.value, path, name) if node.value else {}
                return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}
    return {}


@cache
def _arguments(path: Path) -> Mapping[str, Parameter]:
    """Keyword arguments of the public function of a file."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    public = [node for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    if len(public) != 1:
        raise ConfigError(f"{path}: expected one public function, found {len(public)}")
    return _keywords(path, public[0])


def _keywords(path: Path, function: ast.FunctionDef) -> Mapping[str, Parameter]:
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {one.arg: _parameter(path, one.arg, one.annotation, default) for one, default in pairs}


@cache
def declared(implementation: str) -> Mapping[str, Parameter]:
    """The parameters of an implementation by name: the keyword arguments of `__init__`."""
    for path, kind in lineage(*method_class(implementation)):
        for node in kind.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _keywords(path, node)
    return {}


def _parameter(path: Path, name: str, annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
    """A keyword argument, or a field of a dataclass."""
    if default is None:
        return Parameter(annotation, required=True)
    if not isinstance(default, ast.Call):
        return Parameter(annotation, _literal(default, path, name))
    place = class_named(path, default.func.id) if isinstance(default.func, ast.Name) else None
    if place is None or default.args:
        raise ConfigError(f"{path}: {name}: expected a literal, or a dataclass of the library with keyword arguments")
    stated = {str(one.arg): _literal(one.value, path, f"{name}.{one.arg}") for one in default.keywords}
    fields = {}
    for node in place[1].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = _parameter(place[0], node.target.id, node.annotation, node.value)
            key = node.target.id
            fields[key] = replace(field, default=stated[key], required=False) if key in stated else field
    return Parameter(annotation, {key: field.default for key, field in sorted(fields.items())}, fields=fields)


def _literal(node: ast.expr, path: Path, name: str) -> "Value":
    try:
        found: Value = ast.literal_eval(node)
    except ValueError:
        raise ConfigError(f"{path}: {name}: expected a literal, found {ast.unparse(node)}") from None
    return found


def _resolved(
    known: Mapping[str, Parameter], given: Mapping[str, Value], origin: Origin, place: tuple[str, ...]
) -> dict[str, Value]:
    """Values with defaults filled in, sorted; `place` are the keys that lead to them."""
    where = ".".join(place)
    for key in given:
        if key not in known:
            raise ConfigError(f"{origin(*place, key)}: {where}: unknown key '{key}'{nearest(key, known)}")
    found: dict[str, Value] = {}
    for key, parameter in sorted(known.items()):
        if key not in given:
            if parameter.required:
                raise ConfigError(f"{origin(*place)}: {where}: key '{key}' is missing")
            found[key] = parameter.default
            continue
        value = given[key]
        if parameter.fields is not None and isinstance(value, dict):
            found[key] = _resolved(parameter.fields, value, origin, (*place, key))
        elif parameter.fields is None and _fits(parameter.type, value):
            found[key] = value
        else:
            raise ConfigError(f"{origin(*place, key)}: {where}.{key}: {_mismatch(parameter, value)}")
    return found


def _fits(annotation: ast.expr | None, value: Value) -> bool:
    """Whether a value is of an annotated type; annotations that are not understood here fit everything."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(left, value) or _fits(right, value)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id="Literal")):
            return value in _choices(annotation)
        case ast.Name(id="float"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="bool"):
            return isinstance(value, bool)
        case ast.Name(id="str"):
            return isinstance(value, str)
    return True


def _choices(annotation: ast.Subscript) -> tuple[Value, ...]:
    """Values of a Literal."""
    values = ast.literal_eval(annotation.slice)
    return values if isinstance(values, tuple) else (values,)


def _mismatch(parameter: Parameter, value: Value) -> str:
    """What was expected, and what was found."""
    if isinstance(parameter.type, ast.Subscript):
        return f"'{value}' is not allowed{nearest(str(value), map(str, _choices(parameter.type)))}"
    expected = "a mapping" if parameter.fields is not None else " or ".join(_words(parameter.type))
    hint = ""
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value):
        mantissa, exponent = value.split("e")
        hint = f"; YAML reads this as text, write {mantissa}.0e{exponent if exponent[0] in '+-' else f'+{exponent}'}"
    return f"expected {expected}, found {kind_of(value)} ({value!r}){hint}"


def _words(annotation: ast.expr | None) -> Iterator[str]:
    """An annotation in words, one part of a union after the other."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            yield from _words(left)
            yield from _words(right)
        case ast.Subscript():
            yield from map(str, _choices(annotation))
        case ast.Constant(value=None):
            yield "null"
        case ast.Name(id=name):
            yield _WORDS.get(name, name)
