"""Texts for a terminal: columns side by side, cut off at its width; whole where they go into a file or a pipe."""

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

_GAP = "  "
_LEAST = 12  # characters of a column that a narrow terminal shows


def terminal_width() -> int | None:
    """Characters of a line of the terminal; None where stdout is none, so that nothing is cut off."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def columns(
    rows: Iterable[Sequence[str]], width: int | None = None, right: Iterable[int] = (), *, wrap: bool = False
) -> str:
    """Rows as aligned columns, a line each.

    Parameters
    ----------
    rows
        Texts, as many in every row.
    width
        Characters of a line: the widest columns are cut off, but for the first one, until the last one has some room.
        None where nothing is cut off.
    right
        Positions of columns that are aligned on the right: numbers.
    wrap
        The last column goes on in further lines, and nothing is cut off.
    """
    table = [[_one_line(text) for text in row] for row in rows]
    if not table:
        return ""
    sizes = [max(map(_size, column)) for column in zip(*table, strict=True)]
    right = set(right)
    if width is not None and wrap:
        before = sum(sizes[:-1]) + len(_GAP) * (len(sizes) - 1)
        sizes[-1] = min(sizes[-1], max(width - before, _LEAST * 2))
        table = [line for row in table for line in _wrapped_row(row, sizes[-1])]
    elif width is not None:
        sizes = _fitted(sizes, width)
    lines = []
    for row in table:
        cut = [_cut(text, size) for text, size in zip(row, sizes, strict=True)]
        padded = [
            " " * (size - _size(text)) + text if i in right else text + " " * (size - _size(text))
            for i, (text, size) in enumerate(zip(cut, sizes, strict=True))
        ]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def _wrapped_row(row: Sequence[str], size: int) -> list[list[str]]:
    """A row whose last column is as wide, with as many rows below it as that takes."""
    first, *others = textwrap.wrap(row[-1], size, break_on_hyphens=False) or [""]
    return [[*row[:-1], first], *([*[""] * (len(row) - 1), other] for other in others)]


def _fitted(sizes: Sequence[int], width: int) -> list[int]:
    """Sizes of columns that fit into a line, as far as may be: the first one stays, no other falls below `_LEAST`."""
    fitted = list(sizes)
    while sum(fitted) + len(_GAP) * (len(fitted) - 1) > width:
        widest = max(range(1, len(fitted)), key=lambda i: fitted[i], default=0)
        if not widest or fitted[widest] <= _LEAST:
            break
        fitted[widest] -= 1
    return fitted


def counted(n: int, one: str) -> str:
    """A number and what is counted: `1 cell`, `1,200 cells`, `2 classes`."""
    return f"{n:,} {one}" + ("" if n == 1 else "es" if one.endswith("s") else "s")


def wrapped(text: str, width: int | None, indent: str) -> str:
    """A paragraph, indented; in lines of a width, or in one where there is none."""
    if width is None:
        return indent + _one_line(text)
    return textwrap.fill(
        text, max(width, len(indent) + _LEAST), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence; a dot within a number or name ends none."""
    text = _one_line(text)
    for i, character in enumerate(text[:-2]):
        word = text[:i].rpartition(" ")[2]
        if character == "." and text[i + 1] == " " and not text[i + 2].islower() and len(word) > 2 and word != "al":
            return text[: i + 1]
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _size(text: str) -> int:
    """Characters that a terminal shows: those that are written above others take no room, wide ones twice as much."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _cut(text: str, width: int) -> str:
    if _size(text) <= width:
        return text
    while _size(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
