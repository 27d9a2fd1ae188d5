"""Imports the class of a method."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annobench.fit.method import Method


def load_class(implementation: str) -> "type[Method]":
    """Import an implementation and return its method class: the one public class that its module defines."""
    from annobench.fit.method import Method

    module = importlib.import_module(f"annobench.methods.{implementation}")
    own = [
        kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and kind.__module__ == module.__name__ and not name.startswith("_")
    ]
    if len(own) != 1 or not issubclass(own[0], Method):
        raise TypeError(f"{module.__file__}: expected one public class, a Method, found {len(own)} public classes")
    return own[0]
