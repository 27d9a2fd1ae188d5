"""The losses of the networks and what their files say of themselves, read without PyTorch."""

from dataclasses import dataclass
from functools import cache

from annobench.config.plugins import plugins
from annobench.config.syntax import literals
from annobench.core.errors import ConfigError
from annobench.core.paths import LIBRARY

FOLDER = "methods/torch/losses"


@dataclass(frozen=True)
class LossFacts:
    """What the file of a loss says of it.

    Attributes
    ----------
    name
        Name of the file, and value of the parameter `loss`.
    label
        Name for people, as figures show it.
    hierarchical
        Whether it looks at the classes below a label.
    order
        Place among all losses; its colour is that of the palette at this place.
    """

    name: str
    label: str
    hierarchical: bool
    order: int


@cache
def losses() -> dict[str, LossFacts]:
    """All losses by name, in their order: by ORDER where a file states it, then by name."""
    found = []
    for name in plugins(FOLDER):
        path = LIBRARY / FOLDER / f"{name}.py"
        said = literals(path, ("LABEL", "HIERARCHICAL", "ORDER"))
        if missing := {"LABEL", "HIERARCHICAL"} - set(said):
            raise ConfigError(f"{path}: {min(missing)} is missing; state it as a literal")
        found.append((said.get("ORDER", float("inf")), name, said["LABEL"], said["HIERARCHICAL"]))
    return {
        name: LossFacts(name, label, hierarchical, place)
        for place, (_, name, label, hierarchical) in enumerate(sorted(found))
    }
