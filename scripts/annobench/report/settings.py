"""What the page and the provenance record use of a study besides tables, figures and cards.

Imported while the Snakefile is parsed: the standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annobench.core.spec import Spec


@dataclass(frozen=True)
class MethodEntry(Spec):
    """A method, as its file describes it."""

    method: str
    label: str
    summary: str
    citation: str
    licence: str
    kind: str


@dataclass(frozen=True)
class DatasetEntry(Spec):
    """A dataset, as its file describes it; `run_here`: whether the developers have run it."""

    label: str
    summary: str
    citation: str
    licence: str
    run_here: bool


@dataclass(frozen=True)
class FigureEntry(Spec):
    """Title and caption of a figure."""

    title: str
    caption: str


@dataclass(frozen=True)
class TableEntry(Spec):
    """What a table holds, and the meaning of its columns, each by its name."""

    table: str
    meaning: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ReportSettings(Spec):
    """What the page uses of a study.

    Attributes
    ----------
    study, title, question
        Name, headline and question of the study.
    primary
        The primary metric, for people.
    level
        Coverage of the intervals.
    min_units
        Donors (else studies) from which on the bootstrap resamples them and not cells.
    ontology
        Release of the Cell Ontology.
    partial
        Whether the tables are built from the fits that exist.
    methods
        In the order of the study.
    tables
        All tables, sorted by name.
    datasets, figures
        By name.
    evaluations
        `dataset/evaluation` -> its name for people.
    """

    study: str
    title: str
    question: str
    primary: str
    level: float
    min_units: int
    ontology: str
    partial: bool
    methods: tuple[MethodEntry, ...]
    tables: tuple[TableEntry, ...]
    datasets: Mapping[str, DatasetEntry]
    evaluations: Mapping[str, str]
    figures: Mapping[str, FigureEntry]


Document = Mapping[str, Any]  # a YAML file, resolved


@dataclass(frozen=True)
class Provenance(Spec):
    """The whole configuration, as resolved: settings of the study, and files that it names, by name."""

    settings: Document
    datasets: Mapping[str, Document]
    methods: Mapping[str, Document]
    checkpoints: Mapping[str, Document]
