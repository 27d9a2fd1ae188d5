"""Panels in rows as wide as a page."""

from collections.abc import Sequence
from typing import TypeVar

Panel = TypeVar("Panel")


def in_rows(panels: Sequence[Panel], widths: Sequence[float], widest: float) -> list[list[Panel]]:
    """Panels, in their order, in rows that are at most `widest` wide; one that is wider has a row to itself."""
    rows: list[list[Panel]] = []
    room = -1.0
    for panel, width in zip(panels, widths, strict=True):
        if not rows or width > room:
            rows.append([])
            room = widest
        rows[-1].append(panel)
        room -= width
    return rows
