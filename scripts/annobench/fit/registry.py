"""Imports the class of a method."""

import importlib
from typing import TYPE_CHECKING

from annobench.config.plugins import method_class_name

if TYPE_CHECKING:
    from annobench.fit.method import Method


def load_class(implementation: str) -> "type[Method]":
    """Import an implementation and return its method class."""
    name = method_class_name(implementation)
    module = importlib.import_module(f"annobench.methods.{implementation}")
    found: type[Method] = getattr(module, name)
    return found
