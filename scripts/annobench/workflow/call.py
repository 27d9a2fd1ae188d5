"""What a driver script is given: the part of Snakemake's own object that drivers use, without Snakemake.

Importing Snakemake takes 0.1 s and 16 MB, which a fit would pay for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Named(list[object]):
    """A list some of whose items have names, such as the inputs of a rule: `input[0]`, `input.cells`.

    Parameters
    ----------
    items
        All of them.
    names
        Name -> its item, or its items.
    """

    def __init__(self, items: Iterable[object] = (), names: Mapping[str, object] | None = None) -> None:
        super().__init__(items)
        self.__dict__.update(names or {})

    def __getitem__(self, key: object) -> object:  # type: ignore[override]
        return self.__dict__[key] if isinstance(key, str) else super().__getitem__(key)  # type: ignore[call-overload]

    def get(self, name: str, default: object = None) -> object:
        """The item of a name."""
        return self.__dict__.get(name, default)

    def keys(self) -> list[str]:
        """The names."""
        return list(self.__dict__)

    def items(self) -> list[tuple[str, object]]:
        """Names and their items."""
        return list(self.__dict__.items())


@dataclass(frozen=True, kw_only=True)
class Call:
    """A job: the script, and what Snakemake tells it."""

    script: str
    rule: str
    input: Named
    output: Named
    params: Named
    wildcards: Named
    log: Named
    resources: Named
    threads: int
    config: Mapping[str, object]
