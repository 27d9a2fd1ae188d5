"""How library code reports progress: one line at a time, to whatever the caller does with it."""

from collections.abc import Callable

Report = Callable[[str], None]


def silent(text: str) -> None:
    """Report nothing."""
