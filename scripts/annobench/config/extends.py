"""`extends: NAME` in a YAML file: it states what differs from the file NAME.yaml beside it.

Mappings are merged key by key; any other value replaces that of the base, and a list replaces the whole list. `null`
takes a key of the base away, so that its default holds; below `parameters`, where null is a value (`n_genes: null`), it
replaces the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annobench.config.schema import load_yaml
from annobench.config.values import Value
from annobench.core.errors import ConfigError, nearest

KEY = "extends"


@dataclass(frozen=True)
class Extended:
    """A YAML file merged with those that it extends.

    Attributes
    ----------
    document
        The merged mapping, without `extends`.
    layers
        File, relative to the repository, and content of every file, from the outermost base to the file itself.
    """

    document: dict[str, Value]
    layers: tuple[tuple[str, Mapping[str, Value]], ...]

    @property
    def file(self) -> str:
        """The file itself."""
        return self.layers[-1][0]

    def origin(self, *keys: str | int) -> str:
        """The file that states the value to which keys lead; the file itself where none does."""
        for file, content in reversed(self.layers):
            if _holds(content, keys):
                return file
        return self.file


def load_extended(path: Path, root: Path) -> Extended:
    """Read a YAML file and those that it extends.

    Raises ConfigError, naming the file, where a base does not exist or files extend each other in a ring.
    """
    chain = [path]
    layers = [_layer(path, root)]
    while (base := layers[-1][1].get(KEY)) is not None:
        file = layers[-1][0]
        if not isinstance(base, str) or "/" in base:
            raise ConfigError(f"{file}: {KEY}: expected the name of a file beside it, without .yaml, found {base!r}")
        path = path.with_name(f"{base}.yaml")
        if path in chain:
            ring = " -> ".join(one.stem for one in [*chain[chain.index(path) :], path])
            raise ConfigError(f"{file}: {KEY}: {ring} is a ring; one of them must not extend another")
        if not path.is_file():
            names = [one.stem for one in path.parent.glob("*.yaml")]
            raise ConfigError(f"{file}: {KEY}: no file {shown(path, root)}{nearest(base, names)}")
        chain.append(path)
        layers.append(_layer(path, root))
    document: dict[str, Value] = {}
    for _, content in reversed(layers):
        document = merged(document, content)
    document.pop(KEY, None)
    return Extended(document, tuple(reversed(layers)))


def merged(base: Mapping[str, Value], changes: Mapping[str, Value], *, keep_null: bool = False) -> dict[str, Value]:
    """A mapping with changes; `keep_null`: whether null is a value instead of taking a key away."""
    found = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            found[key] = merged(old, value, keep_null=keep_null or key == "parameters")
        elif value is None and key in base and not keep_null:
            del found[key]
        else:
            found[key] = value
    return found


def _layer(path: Path, root: Path) -> tuple[str, Mapping[str, Value]]:
    return shown(path, root), load_yaml(path)


def shown(path: Path, root: Path) -> str:
    """A path for messages: relative to the repository where it lies in it."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _holds(value: object, keys: tuple[str | int, ...]) -> bool:
    """Whether keys lead to a value."""
    for key in keys:
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if not isinstance(inside, Mapping) or key not in inside:
            return False
        value = inside[key]
    return True
