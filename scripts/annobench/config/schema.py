"""Validation of YAML against the JSON schemas in workflow/schemas, with defaults filled in.

The schemas are JSON Schema 2020-12, but for `x-variants` (see `load_schema`). A `oneOf` is a list of variants told
apart by a property with a `const` (the kind of a source, the regime of an evaluation): errors and defaults then come
from the one variant that the user chose.
"""

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from annobench.config.values import kind_of
from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.paths import ROOT
from annobench.core.records import read_text

Document: TypeAlias = dict[str, Any]  # a mapping of a YAML file or of a schema; its schema checks what is in it

_INDENT = re.compile(r"^[ \u00a0\u202f]+", re.MULTILINE)  # no-break blanks come with text copied from a page
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_Loader):  # type: ignore[misc]
    """YAML lets a later key silently replace an earlier one; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *name`: a key that is given here overrides it
                continue
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: key '{key}' is listed twice; remove one")
            seen.add(key)
        return super().construct_mapping(node, deep)


def schema_folder() -> Path:
    """Where the JSON schemas lie."""
    return ROOT / "workflow" / "schemas"


def load_yaml(path: Path) -> Document:
    """Read a YAML file that holds one mapping; raises ConfigError with file and line."""
    try:
        text = _INDENT.sub(lambda blanks: " " * len(blanks[0]), read_text(path))
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except DataError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {kind_of(document)}")
    return document


@cache
def load_schema(name: str) -> Document:
    """The schema `workflow/schemas/<name>.schema.yaml`, with its variants.

    `x-variants: regimes` is a `oneOf` over the files of workflow/schemas/regimes, so that a new variant (a regime, a
    kind of source) is one file; `x-shared` beside it are properties that every variant has behind its own.
    """
    return _with_variants(load_yaml(schema_folder() / f"{name}.schema.yaml"))


def _with_variants(part: object) -> Any:
    if isinstance(part, dict):
        whole = {key: _with_variants(value) for key, value in part.items() if key not in ("x-variants", "x-shared")}
        if "x-variants" in part:
            files = sorted((schema_folder() / part["x-variants"]).glob("*.yaml"))
            whole["oneOf"] = [load_yaml(file) for file in files]
            for one in whole["oneOf"]:
                own = one["properties"]
                own |= {key: value for key, value in part.get("x-shared", {}).items() if key not in own}
        return whole
    return [_with_variants(one) for one in part] if isinstance(part, list) else part


def validate(document: Document, schema: str, source: str | Callable[..., str]) -> Document:
    """Check a document and return a copy with every default filled in.

    `source` is the file that messages name; or, for a document of several files, a function from the keys that lead to
    a value to the file that states it. Raises ConfigError that names the file, the key and the nearest valid key or
    value.
    """
    from jsonschema import Draft202012Validator

    root = load_schema(schema)
    filled = fill(deepcopy(document), root, root)
    errors = sorted(
        Draft202012Validator(root).iter_errors(filled), key=lambda error: [str(p) for p in error.absolute_path]
    )
    if errors:
        findings = dict.fromkeys(finding for error in errors for finding in _explain(error))
        lines = [f"{source if isinstance(source, str) else source(*one.keys)}: {one.text}" for one in findings]
        raise ConfigError("\n".join(lines[:5]))
    return filled


@dataclass(frozen=True)
class _Finding:
    """What is wrong in a document, and the keys that lead to the value that is wrong."""

    text: str
    keys: tuple[str | int, ...]


def resolve(schema: Document, root: Document) -> Document:
    """Follow `$ref`; what stands beside a reference goes before what it refers to."""
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target | {key: value for key, value in schema.items() if key != "$ref"}
    return schema


def variant(value: object, schema: Document, root: Document) -> Document | None:
    """The branch of a `oneOf` whose constant properties the value carries, if any."""
    for branch in schema.get("oneOf", []):
        branch = resolve(branch, root)
        constants = {k: s["const"] for k, s in branch.get("properties", {}).items() if "const" in s}
        if constants and isinstance(value, dict) and all(value.get(k) == c for k, c in constants.items()):
            return branch
    return None


def fill(value: Any, schema: Document, root: Document) -> Any:
    """`value` with the defaults of `schema`, a part of the schema `root`; mappings are filled in place."""
    schema = resolve(schema, root)
    schema = variant(value, schema, root) or schema
    if schema.get("type") == "boolean" and value in ("true", "false"):
        return value == "true"  # `--config partial=true` comes as text
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, part in properties.items():
            part = resolve(part, root)
            if key not in value and "default" in part:
                value[key] = deepcopy(part["default"])
        others = schema.get("additionalProperties")
        for key in value:
            part = properties.get(key, others if isinstance(others, dict) else {})
            value[key] = fill(value[key], part, root)
    elif isinstance(value, list):
        value = [fill(item, schema.get("items", {}), root) for item in value]
    return value


def _where(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "top level"


def _explain(error: Any) -> list[_Finding]:
    """What a jsonschema error says, once or more."""
    if error.validator in ("oneOf", "anyOf"):
        return _explain_variants(error)
    where, found = _where(error.absolute_path), error.instance

    def finding(text: str, *more: str) -> _Finding:
        return _Finding(f"{where}: {text}", (*error.absolute_path, *more))

    if error.schema is False:
        # jsonschema does not say which key a `false` was reached by
        key = next(key for key, value in error.parent.instance.items() if value is found)
        return [finding(f"key '{key}' does not go with the others that are given; remove one")]
    if error.validator == "additionalProperties":
        known = set(error.schema.get("properties", {}))
        return [finding(f"unknown key '{key}'{nearest(key, known)}", key) for key in found if key not in known]
    if error.validator == "required":
        return [finding(f"key '{key}' is missing") for key in error.validator_value if key not in found]
    if error.validator == "enum":
        return [finding(f"'{found}' is not allowed{nearest(found, error.validator_value)}")]
    if error.validator == "const":
        return [finding(f"expected '{error.validator_value}', found '{found}'")]
    if error.validator == "type":
        return [finding(f"expected {error.validator_value}, found {kind_of(found)} ({found!r})")]
    if error.validator == "pattern":
        return [finding(f"'{found}' does not match {error.validator_value}")]
    return [finding(error.message)]


def _explain_variants(error: Any) -> list[_Finding]:
    """Explain a `oneOf` through the branch that the user meant."""
    place = tuple(error.absolute_path)
    if not error.context:  # valid under several branches at once
        keys = [key for branch in error.validator_value for key in branch.get("required", [])]
        return [_Finding(f"{_where(place)}: give one of {', '.join(keys)}, not several", place)]
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [errors for errors in branches.values() if not any(inner.validator == "const" for inner in errors)]
    needed = [tuple(branch.get("required", ())) for branch in error.validator_value]
    given = error.instance if isinstance(error.instance, dict) else {}
    if len(meant) == len(set(needed)) > 1 and not any(key in given for keys in needed for key in keys):
        first, *others = (" and ".join(f"'{key}'" for key in keys) for keys in needed)
        return [_Finding(f"{_where(place)}: key {first} is missing, or instead of it {' or '.join(others)}", place)]
    if meant:
        best = min(meant, key=len)
        return [finding for inner in best for finding in _explain(inner)]
    constants = [inner for errors in branches.values() for inner in errors if inner.validator == "const"]
    place, value = tuple(constants[0].absolute_path), constants[0].instance
    allowed = [inner.validator_value for inner in constants]
    return [_Finding(f"{_where(place)}: '{value}' is not allowed{nearest(value, allowed)}", place)]
