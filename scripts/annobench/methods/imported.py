"""Predictions that were made elsewhere: read from files, scored like those of any other method."""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from annobench.config.method_facts import filled
from annobench.core.errors import MethodSkipped
from annobench.core.files import sha256_of
from annobench.fit.method import Abilities, Context, Method, Needs
from annobench.fit.predictions import Predictions
from annobench.methods.shared.imports import ImportedPredictions, Labels, joined, located

if TYPE_CHECKING:
    from anndata import AnnData


class Imported(Method):
    """Reads predictions instead of making them; nothing is trained and no matrix is read.

    Parameters
    ----------
    path
        The file or the folder, relative to the repository; `~` and variables such as $ANNOBENCH_DATA are expanded, and
        `{dataset}` stands for the name of the dataset. A fit is skipped where a file of the reader is missing.
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
    files = ("config/labels/{label_table}.tsv",)
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
        given_path = self.path.replace("{dataset}", self._context.dataset)
        module = importlib.import_module(f"annobench.methods.importers.{self.reader}")
        files = self._files(module.FILES, given_path)
        wants = [self._context.ontology] if "ontology" in inspect.signature(module.read).parameters else []
        given: ImportedPredictions = module.read(located(given_path), *wants, **self.options)
        given = given.prefixed(self.prefix)
        labels, of_labels = self._mapping().ids(given)
        cells = query.obs_names.to_numpy(dtype=object)
        found, of_cells = joined(given, labels, cells, missing=self.missing, surplus=self.surplus)
        self.notes = {
            "file": given_path,
            "sha256": {name: sha256_of(path) for name, path in files.items()},
            "cells": len(given.cell_ids),
            **of_cells,
            **of_labels,
            **given.notes,
        }
        if of_labels["cells_unmapped"]:
            names = ", ".join(list(of_labels["unmapped"])[:5])  # type: ignore[arg-type]
            self.notes["warnings"] = (
                f"{of_labels['cells_unmapped']} of {len(given.cell_ids)} cells of {given.file} have a label without a "
                f"Cell Ontology id ({names}), and are `unknown`; map them by a `label_table`",
            )
        for name, value in self.notes.items():
            print(f"{name}: {value}", flush=True)
        yield found

    def _files(self, templates: tuple[str, ...], path: str) -> dict[str, Path]:
        """What the reader reads; raises MethodSkipped where a file is missing."""
        files = {name: located(name) for name in filled(templates, {**self.options, "path": path})}
        missing = [name for name, file in files.items() if not file.is_file()]
        if missing:
            names = " and ".join(f"'{name}'" for name in missing)
            raise MethodSkipped(
                f"parameters.path: there is no file {names}; make it, or name another"
                if len(files) == 1
                else f"parameters: there is no file {names}, and the reader '{self.reader}' needs {len(files)} files"
            )
        return files

    def _mapping(self) -> Labels:
        """How the labels become ids."""
        ontology = self._context.ontology
        if self.label_table is not None:
            return Labels.by_table(self.label_table, ontology, self.unmapped)
        return (Labels.by_name if self.labels == "name" else Labels.by_id)(ontology, self.unmapped)
