"""Predictions that were made elsewhere: read from a file, scored like those of any other method."""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from annobench.core.errors import ConfigError, MethodSkipped
from annobench.core.files import expanded, sha256_of
from annobench.core.paths import ROOT
from annobench.fit.method import Abilities, Context, Method, Needs
from annobench.fit.predictions import Predictions
from annobench.methods.shared.imports import ImportedPredictions, Labels, joined
from annobench.ontology import Ontology
from annobench.ontology.labels import read_table

if TYPE_CHECKING:
    from anndata import AnnData


class Imported(Method):
    """Reads predictions instead of making them; nothing is trained and no matrix is read.

    Parameters
    ----------
    path
        The file, relative to the repository; `~` and variables such as $ANNOBENCH_DATA are expanded, and `{dataset}`
        stands for the name of the dataset. A fit is skipped where it is missing.
    reader
        Name of a file in scripts/annobench/methods/importers.
    options
        Arguments of the reader, such as the names of columns.
    labels
        What the labels are: `id`, Cell Ontology ids (obsolete ones become their replacement); or `name`, labels or
        exact synonyms of the Cell Ontology.
    label_table
        Name of a table in config/labels, or path of another, that maps the labels to ids; then `labels` does not
        count.
    prefix
        Text that is put before every cell id of the file; the cells of a pair are named `<dataset>:<cell>`.
    missing
        What becomes of test cells that the file does not have: `unknown`, or `error`.
    surplus
        What becomes of cells of the file that are not test cells: `ignore`, or `error`.
    unmapped
        What becomes of labels without an id: `unknown`, or `error`.
    """

    needs = Needs(cells="none")
    abilities = Abilities(probabilities=False, closed_labels=False, one_step=True, trains=False)
    files = ("{path}", "config/labels/{label_table}.tsv")
    parts: ClassVar[Mapping[str, str]] = {"reader": "methods/importers"}
    part_options: ClassVar[Mapping[str, str]] = {"options": "reader"}

    trainable_parameters = 0

    def __init__(
        self,
        *,
        path: str,
        reader: str = "table",
        options: dict[str, object] | None = None,
        labels: Literal["id", "name"] = "id",
        label_table: str | None = None,
        prefix: str = "",
        missing: Literal["unknown", "error"] = "unknown",
        surplus: Literal["ignore", "error"] = "ignore",
        unmapped: Literal["unknown", "error"] = "unknown",
    ) -> None:
        self.path, self.reader, self.options = path, reader, options or {}
        self.labels, self.label_table, self.prefix = labels, label_table, prefix
        self.missing, self.surplus, self.unmapped = missing, surplus, unmapped

    def fit(self, train: "AnnData", context: Context) -> None:
        self._context = context

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        name = self.path.replace("{dataset}", self._context.dataset)
        path = ROOT / expanded(name)
        if not path.is_file():
            raise MethodSkipped(f"parameters.path: there is no file '{name}'; make it, or name another")
        given = self._read(path)
        labels, of_labels = self._mapping(self._context.ontology).ids(given)
        found, of_cells = joined(given, labels, list(query.obs_names), missing=self.missing, surplus=self.surplus)
        self.notes = {
            "file": name,
            "sha256": sha256_of(path),
            "cells": len(given.cell_ids),
            **of_cells,
            **of_labels,
        }
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)
        yield found

    def _read(self, path: Path) -> ImportedPredictions:
        module = importlib.import_module(f"annobench.methods.importers.{self.reader}")
        given: ImportedPredictions = module.read(path, **self.options)
        return given.prefixed(self.prefix)

    def _mapping(self, ontology: Ontology) -> Labels:
        """How the labels become ids."""
        if self.label_table is not None:
            own = Path(self.label_table).suffix == ".tsv"
            file = self.label_table if own else f"config/labels/{self.label_table}.tsv"
            path = ROOT / expanded(file)
            if not path.is_file():
                raise ConfigError(f"parameters.label_table: there is no file {file}")
            return Labels(read_table(path, ontology).get, f"in {file}", self.unmapped)
        if self.labels == "name":
            what = f"a label or an exact synonym of Cell Ontology {ontology.release}"
            return Labels(ontology.find, what, self.unmapped)
        return Labels(
            lambda text: ontology.resolve(_as_id(text)), f"an id of Cell Ontology {ontology.release}", self.unmapped
        )


def _as_id(text: str) -> str:
    """`CL:0000084`, also where it is written as `CL_0000084` or as the address of the term."""
    return text.rsplit("/", 1)[-1].replace("CL_", "CL:", 1)
