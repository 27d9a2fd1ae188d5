"""What a file of cells shows: choices with their reasons, what is left to people, and lines of a dataset file."""

from dataclasses import dataclass, field

import yaml

from annobench.workflow.own.lines import columns, wrapped


@dataclass
class Findings:
    """What was chosen, why, and what is left to people.

    Parameters
    ----------
    chosen
        Part, choice and reason, for the terminal.
    open
        What could not be told, or what people have to check.
    lines
        Of the dataset file.
    table
        The label table, where there is one.
    """

    chosen: list[tuple[str, str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    table: str | None = None

    def choose(self, part: str, choice: str, why: str) -> None:
        """Note a choice."""
        self.chosen.append((part, choice, why))


def text_of(found: Findings, head: str, width: int | None = None) -> str:
    """What people read of the choices."""
    parts = [head, columns(found.chosen, width, wrap=True)]
    if found.open:
        parts.append("to check or to decide:\n" + "\n".join(_item(text, width) for text in found.open))
    return "\n\n".join(parts)


def _item(text: str, width: int | None) -> str:
    return "- " + wrapped(text, width, "  ").removeprefix("  ")


def scalar(text: str) -> str:
    """A text as YAML writes it, on one line."""
    return yaml.safe_dump([text], default_flow_style=True, width=10_000, allow_unicode=True).strip()[1:-1]


def comment(text: str) -> str:
    """A text for the end of a line."""
    short = " ".join(text.split())
    return short if len(short) <= 100 else short[:99].rstrip() + "…"
