"""What a table is built from."""

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

import pandas as pd

from annobench.config.results import AUDIT, Results
from annobench.config.tables import table_facts
from annobench.core.errors import AnnobenchError
from annobench.core.parquet import read_columns
from annobench.core.paths import ROOT
from annobench.ontology import Ontology
from annobench.tables.shared.fits import Fits, planned_fits
from annobench.tables.shared.spec import TablesSpec
from annobench.tables.shared.verdicts import Verdicts

Made = TypeVar("Made")


class TableContext:
    """What a table is built from: each part is read or computed when it is first asked for, and then kept.

    Parameters
    ----------
    spec
        What the tables need to know of the study.
    results
        Names of the files under results/.
    ontology
        The study's ontology release.
    root
        The repository, in which config/published lies.
    """

    def __init__(self, spec: TablesSpec, results: Results, ontology: Ontology, root: Path = ROOT) -> None:
        self.spec, self.results, self.ontology, self.root = spec, results, ontology, root
        self._tables: dict[str, pd.DataFrame] = {}
        self._in_work: list[str] = []
        self._made: dict[Callable[[TableContext], object], object] = {}

    @cached_property
    def fits(self) -> Fits:
        """All planned fits, the records of those that are done, and their counts."""
        return Fits(planned_fits(self.spec, self.results), self.ontology)

    @cached_property
    def audits(self) -> dict[str, pd.DataFrame]:
        """The files of all audits: metrics, types, degs, spatial and places, each with the columns of its evaluation.

        Of a partial study, evaluations without any fit are left out: no audit was made of them.
        """
        parts: dict[str, list[pd.DataFrame]] = {name: [] for name in AUDIT}
        begun = {fit.place for fit in self.fits.planned if fit.run.is_file()}
        for dataset, evaluation, regime in (place for place in self.spec.evaluations if place in begun):
            belongs = {"dataset": dataset, "evaluation": evaluation, "regime": regime}
            for name, path in self.results.audit(self.spec.study, dataset, evaluation).items():
                parts[name].append(pd.DataFrame(read_columns(path)).assign(**belongs))
        return {name: pd.concat(of, ignore_index=True) if of else pd.DataFrame() for name, of in parts.items()}

    @cached_property
    def verdicts(self) -> Verdicts:
        """Verdicts of the audit, to look up."""
        return Verdicts(self.table("audit"))

    def table(self, name: str) -> pd.DataFrame:
        """Another table of the study; do not change it.

        Raises
        ------
        ConfigError
            There is no such table.
        AnnobenchError
            The table is built from the one that asks for it.
        """
        if name not in self._tables:
            if name in self._in_work:
                ring = [*self._in_work[self._in_work.index(name) :], name]
                raise AnnobenchError(f"tables: {' needs '.join(ring)}; a table cannot be built from itself")
            self._in_work.append(name)
            try:
                self._tables[name] = builder_of(name)(self)
            finally:
                self._in_work.pop()
        return self._tables[name]

    def once(self, make: Callable[["TableContext"], Made]) -> Made:
        """What a function makes of this context, made once: for tables that are computed together."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]  # type: ignore[assignment]
        return made


class Builder(Protocol):
    """Builds one table: the function of its name in a file of scripts/annobench/tables.

    Parameters
    ----------
    context
        Fits, scores, audits and other tables of the study.

    Returns
    -------
    pandas.DataFrame
        Rows with exactly the declared columns, which are there without rows too.
    """

    def __call__(self, context: TableContext, /) -> pd.DataFrame:
        """Build the table."""
        ...


def builder_of(name: str) -> Builder:
    """The function that builds a table; raises ConfigError where there is no such table."""
    builder: Builder = getattr(import_module(f"annobench.tables.{table_facts(name).module}"), name)
    return builder
