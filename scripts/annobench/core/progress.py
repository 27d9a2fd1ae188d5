"""How library code reports progress: one line at a time, to whatever the caller does with it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]

_said: set[str] = set()
_listeners: list[Report] = []


def silent(text: str) -> None:
    """Report nothing."""


def say(text: str) -> None:
    """Say what was guessed of a file, once in a process: to whom `heard_by` names, else to stderr."""
    if text in _said:
        return
    _said.add(text)
    if _listeners:
        _listeners[-1](text)
    else:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def heard_by(report: Report) -> Iterator[None]:
    """Within it, `say` reports here."""
    _listeners.append(report)
    try:
        yield
    finally:
        _listeners.remove(report)
