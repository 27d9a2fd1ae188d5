"""Paths on this machine as a dataset states them."""

from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import expanded


def stated_path(text: str) -> Path:
    """`source.path`, expanded. Raises DataError for a variable that is not set."""
    path = expanded(text)
    if "$" in str(path):
        raise DataError(f"source.path: '{text}' names a variable that is not set; set it or write the path out")
    return path
