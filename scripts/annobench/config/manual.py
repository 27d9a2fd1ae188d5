"""The tables of config/README.md, made from the schemas, so that manual, schema and defaults cannot drift apart."""

import json
import re
from collections.abc import Iterator
from typing import Any

from annobench.config.schema import load_schema, resolve
from annobench.core.errors import ConfigError
from annobench.core.files import atomic
from annobench.core.paths import ROOT

MANUAL = ROOT / "config" / "README.md"


def update(*, check: bool = False) -> int:
    """Write the tables anew, or only say whether they are up to date; returns an exit status."""
    old = MANUAL.read_text(encoding="utf-8")
    new = rendered(old)
    if old == new:
        return 0
    if check:
        print("config/README.md is not in step with workflow/schemas; run: make manual")
        return 1
    with atomic(MANUAL) as path:
        path.write_text(new, encoding="utf-8")
    return 0


def rendered(text: str) -> str:
    """A text whose blocks `<!-- table NAME -->` ... `<!-- end -->` hold the tables of the schemas of that name."""

    def block(match: re.Match[str]) -> str:
        return f"{match.group(1)}\n{_document(match.group(2))}\n{match.group(3)}"

    return re.sub(r"(<!-- table (\w+) -->).*?(<!-- end -->)", block, text, flags=re.DOTALL)


def _document(name: str) -> str:
    root = load_schema(name)
    lines = ["", "| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    lines += list(_rows("", root, root))
    return "\n".join([*lines, ""])


def _rows(prefix: str, schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    """Table rows of all properties of an object, nested ones with dots, variants of a `oneOf` one after the other."""
    for key, part in schema.get("properties", {}).items():
        part = resolve(part, root)
        name = f"{prefix}{key}"
        required = key in schema.get("required", schema.get("then", {}).get("required", []))
        if "description" not in part:
            raise ConfigError(f"workflow/schemas: '{name}' of {root['title']} has no description")
        default = "required" if required else json.dumps(part["default"]) if "default" in part else ""
        default = "" if default in ("{}",) else default
        yield f"| `{name}` | {_values(part)} | {_code(default)} | {' '.join(part['description'].split())} |"
        yield from _nested(name, part, root)


def _nested(name: str, part: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if part.get("type") == "array":
        part, name = resolve(part.get("items", {}), root), f"{name}[]"
    if isinstance(others := part.get("additionalProperties"), dict):
        yield from _rows(f"{name}.<name>.", resolve(others, root), root)
        return
    variants = [resolve(branch, root) for branch in part.get("oneOf", [])]
    shared = _shared(variants)
    yield from _rows(f"{name}.", shared, root)
    for branch in variants:
        own = {key: value for key, value in branch.get("properties", {}).items() if key not in shared["properties"]}
        yield f"| **{name}: {branch['title']}** | | | |"
        yield from _rows(f"{name}.", branch | {"properties": own}, root)
    yield from _rows(f"{name}.", part, root)


def _shared(variants: list[dict[str, Any]]) -> dict[str, Any]:
    """The properties that all variants have in common, as an object; empty for fewer than two variants."""
    if len(variants) < 2:
        return {"properties": {}}
    first, *others = (variant.get("properties", {}) for variant in variants)
    same = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    return {"properties": same, "required": variants[0].get("required", [])}


def _values(part: dict[str, Any]) -> str:
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(
            "null" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"
            for value in part["enum"]
        )
    kind = part.get("type", "object")
    names = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "array": "list",
    }
    names |= {"object": "mapping", "null": "null"}
    kinds = kind if isinstance(kind, list) else [kind]
    text = " or ".join(names[k] for k in kinds)
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    if low is not None and high is not None:
        text += f", {low} to {high}"
    elif low is not None:
        text += f", from {low}" if "minimum" in part else f", above {low}"
    return text


def _code(text: str) -> str:
    return text if text in ("", "required") else f"`{text}`"
