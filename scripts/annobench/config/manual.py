"""The pages of docs/config: every key of every YAML file, made from the schemas, so that the two cannot drift apart."""

import json
import re
from collections.abc import Iterator

from annobench.config import manual_tables
from annobench.config.evaluations import COMMON_KEYS
from annobench.config.regimes import Entry, regime_class
from annobench.config.schema import Document, fill, load_schema, resolve, schema_folder
from annobench.core.errors import ConfigError
from annobench.core.files import atomic
from annobench.core.paths import ROOT

FOLDER = ROOT / "docs" / "config"
WRITTEN = ("run",)  # schemas of files that a run writes, not a user
_TITLES = {"config": "A study", "release": "A release built here", "rollup": "A roll-up", "regimes": "Regimes"}
_LONG = 60  # characters; a longer text is printed once per page
_HEAD = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]


def update(*, check: bool = False) -> int:
    """Write the pages anew, or only say whether they are up to date; returns an exit status."""
    status = manual_tables.update(check=check)
    new = pages()
    old = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    if old == new:
        return status
    if check:
        wrong = ", ".join(sorted(name for name in {*old, *new} if old.get(name) != new.get(name)))
        print(f"docs/config is not in step with workflow/schemas ({wrong}); run: make manual")
        return 1
    for name in set(old) - set(new):
        (FOLDER / f"{name}.md").unlink()
    for name, text in new.items():
        with atomic(FOLDER / f"{name}.md") as path:
            path.write_text(text, encoding="utf-8")
    return status


def pages() -> dict[str, str]:
    """Name -> text of every page: one per schema of a YAML file, and one of the regimes."""
    names = [path.name.removesuffix(".schema.yaml") for path in sorted(schema_folder().glob("*.schema.yaml"))]
    texts = {name: _Page(name).text() for name in names if name not in WRITTEN}
    return texts | {"regimes": _Regimes().text()}


class _Page:
    """One page: a table of the top-level keys, then a section for every key that holds keys itself."""

    def __init__(self, name: str) -> None:
        self.name, self.root = name, load_schema(name)
        self.said: dict[str, str] = {}  # long text -> heading under which it is printed
        self.sections: set[tuple[str, str]] = set()

    def text(self) -> str:
        """The page in Markdown."""
        title = _TITLES.get(self.name, f"A {self.name}")
        about = " ".join(self.root["description"].split())
        made = f"Made from `workflow/schemas/{self.name}.schema.yaml` by `make manual`; not edited by hand."
        return "\n".join([f"# {title}", "", about, "", made, "", *self.keys(self.root)])

    def keys(self, schema: Document, path: str = "", heading: str = "") -> Iterator[str]:
        """The table of an object under a heading, and the sections of what is inside it."""
        inner = []
        if properties := schema.get("properties", {}):
            yield from _HEAD
            needed = schema.get("required", schema.get("then", {}).get("required", []))  # of a file that is complete
            for key, part in properties.items():
                part = resolve(part, self.root)
                yield self.row(heading or path, key, part, required=key in needed)
                inner.append((f"{path}.{key}" if path else key, part))
            yield ""
        for name, part in inner:
            yield from self.inside(name, part)

    def row(self, heading: str, key: str, part: Document, *, required: bool) -> str:
        """One key; a long meaning is printed once and referred to from then on."""
        if "description" not in part:
            raise ConfigError(f"workflow/schemas: '{heading}.{key}' of {self.root['title']} has no description")
        meaning = " ".join(part["description"].split())
        if len(meaning) > _LONG and self.said.setdefault(meaning, heading) != heading:
            meaning = f"As in {_link(self.said[meaning])}."
        default = "required" if required else json.dumps(part["default"]) if "default" in part else ""
        default = default if default in ("", "required") else "" if default == "{}" else f"`{default}`"
        return f"| `{key}` | {_values(part)} | {default} | {meaning} |"

    def inside(self, path: str, part: Document) -> Iterator[str]:
        """Sections of a key that holds keys: an object, a list of objects, objects by name, or variants of them."""
        if part.get("type") == "array":
            part, path = resolve(part.get("items", {}), self.root), f"{path}[]"
        if isinstance(others := part.get("additionalProperties"), dict):
            part, path = resolve(others, self.root), f"{path}.<name>"
        variants = [resolve(branch, self.root) for branch in part.get("oneOf", [])]
        section = (path, str([part.get("properties"), part.get("oneOf")]))
        known = section in self.sections
        self.sections.add(section)
        if path == "evaluations[]":
            yield from [f"## `{path}`", "", "An entry has the keys of its regime: see [regimes](regimes.md).", ""]
        elif known:
            return
        elif variants and all("title" in branch for branch in variants):
            yield from self.variants(path, variants)
        elif "properties" in part:
            yield from [f"## `{path}`", "", *self.keys(part, path)]

    def variants(self, path: str, variants: list[Document]) -> Iterator[str]:
        """A list of the variants, and a section for each."""
        constant = next(key for key, part in variants[0]["properties"].items() if "const" in part)
        yield from [f"## `{path}`", "", f"| `{constant}` | what |", "| --- | --- |"]
        for branch in variants:
            about = " ".join(branch["properties"][constant]["description"].split())
            title = branch["title"]
            yield f"| {_link(f'{path}: {title}', title)} | {about} |"
        yield ""
        for branch in variants:
            own = {key: part for key, part in branch["properties"].items() if key != constant}
            heading = f"{path}: {branch['title']}"
            if own:
                yield from [f"## `{heading}`", "", *self.keys({**branch, "properties": own}, path, heading)]
            else:
                yield from [f"## `{heading}`", "", "No other keys.", ""]


class _Regimes(_Page):
    """The page of the regimes, which are variants of an entry of `evaluations`."""

    def __init__(self) -> None:
        super().__init__("config")
        self.name = "regimes"

    def text(self) -> str:
        """A table of the regimes, the keys that all have, and those of each."""
        evaluation = self.root["$defs"]["evaluation"]
        variants = [resolve(branch, self.root) for branch in evaluation["oneOf"]]
        first = variants[0]["properties"]
        named = {"enum": [branch["title"] for branch in variants], "description": "Who trains and who is tested."}
        shared = {key: named if key == "regime" else first[key] for key in first if key in COMMON_KEYS}
        of_all = {"properties": shared, "required": variants[0]["required"]}
        lines = [
            "# Regimes",
            "",
            "A regime says who trains and who is tested. An entry of `evaluations` names one, and gives one or more "
            "splits; each split is fitted once per method and seed.",
            "",
            "Made from `scripts/annobench/splits/regimes` and `workflow/schemas/regimes` by `make manual`; not edited "
            "by hand.",
            "",
            "| regime | in figures | who is tested | splits |",
            "| --- | --- | --- | --- |",
        ]
        for branch in variants:
            name = branch["title"]
            about = " ".join(branch["properties"]["regime"]["description"].split())
            lines.append(f"| {_link(name)} | {regime_class(name).LABEL} | {about} | {_split_names(name, self.root)} |")
        lines += ["", "## Keys of all regimes", "", *self.keys(of_all, heading="Keys of all regimes")]
        for branch in variants:
            own = {k: p for k, p in branch["properties"].items() if k != "regime" and p != shared.get(k)}
            lines += [f"## `{branch['title']}`", ""]
            keys = self.keys({**branch, "properties": own}, heading=branch["title"])
            lines += keys if own else ["No keys of its own.", ""]
        return "\n".join(lines)


def _split_names(name: str, root: Document) -> str:
    """Names of the splits of an entry that says nothing but its regime."""
    own = fill({"regime": name}, root["$defs"]["evaluation"], root)
    entry = Entry("", {"<family>": {}}, "none", {key: value for key, value in own.items() if key not in COMMON_KEYS})
    regime = regime_class(name)
    names = [f"`{regime.STEM or name}{part.ending}`" for part in regime.expand(entry) if part.scored]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} … {names[-1]}"


def _link(heading: str, text: str = "") -> str:
    """A link to a section of the same page."""
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    return f"[`{text or heading}`](#{anchor})" if heading else "the first table"


def _values(part: Document) -> str:
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(
            "null" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"
            for value in part["enum"]
        )
    kind = part.get("type", "object")
    names = {
        **{"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"},
        **{"array": "list", "object": "mapping", "null": "null"},
    }
    text = " or ".join(names[k] for k in (kind if isinstance(kind, list) else [kind]))
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f"{text}, {low} to {high}"
    if low is not None:
        return f"{text}, from {low}" if "minimum" in part else f"{text}, above {low}"
    return text
