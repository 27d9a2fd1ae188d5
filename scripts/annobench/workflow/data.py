"""What the rules of data.smk ask for."""

import math
from pathlib import Path
from typing import Any

from annobench.config.census import chunk_names
from annobench.core.codehash import code_hash
from annobench.core.files import expanded
from annobench.data.sources.xenium import bundle_files
from annobench.workflow.common import Chapter, canonical, existing


class DataRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def ontology_settings(self, wildcards: Any) -> str:
        """Release and source of the ontology."""
        return canonical(self.study.settings["ontology"])

    def source(self, wildcards: Any) -> str:
        """The source of a dataset."""
        return canonical(self.study.datasets[wildcards.dataset]["source"])

    def ontology_file(self, wildcards: Any) -> list[str]:
        """The OBO or OWL file behind the ontology, so that a change of it is noticed; empty for the wheel."""
        settings = self.study.settings["ontology"]
        return existing(settings["path"]) if settings["source"] == "obo" and settings["path"] else []

    def fetch_inputs(self, wildcards: Any) -> dict[str, Any]:
        """Files behind a source on this machine, so that a change is noticed; a simulation's ontology; chunks."""
        source = self.study.datasets[wildcards.dataset]["source"]
        if source["kind"] == "census":
            return {
                "chunks": [self.results.chunk(wildcards.dataset, name) for name in chunk_names(source)],
                "selection": self.results.selection(wildcards.dataset)["record"],
            }
        if source["kind"] == "local":
            return {"local": existing(source["path"])}
        if source["kind"] == "xenium" and "path" in source:
            return {"local": [str(path) for path in bundle_files(expanded(source["path"]))]}
        return {"ontology": self.targets.ontology} if source["kind"] == "simulate" else {}

    def fetch_code(self, wildcards: Any) -> str:
        """Hash of the code behind a source; what only one kind of source imports counts for that kind only."""
        kind = self.study.datasets[wildcards.dataset]["source"]["kind"]
        own = {
            "simulate": ("annobench.data.sources.simulate", "annobench.ontology"),
            "xenium": ("annobench.data.sources.xenium", "annobench.data.sources.xenium_files"),
            "census": ("annobench.data.census.gather",),
        }
        leave_out = tuple(module for other, modules in own.items() if other != kind for module in modules)
        return code_hash("annobench.data.fetch", leave_out=leave_out)

    def fetch_memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of fetching a dataset: only a bundle is read, all others are passed on as they are."""
        bundle = self.study.datasets[wildcards.dataset]["source"]["kind"] == "xenium"
        return self.memory_mb(wildcards, attempt) if bundle else 2000

    def local_state(self, wildcards: Any) -> list[list[int]]:
        """Size and time (ns) of the files behind a local source: they may be replaced by older ones."""
        files = self.fetch_inputs(wildcards).get("local", [])
        return [[Path(path).stat().st_size, Path(path).stat().st_mtime_ns] for path in files]

    def download(self, wildcards: Any) -> str:
        """A file that a method declares."""
        return canonical(self.study.methods[wildcards.method]["downloads"][wildcards.download])

    def dataset(self, wildcards: Any) -> str:
        """What prepare uses of a dataset file: no prose, no resources, nothing that other steps use."""
        used = ("pair", "matrix", "storage", "genes", "cells")  # `unrelated` is used by fits and the audit
        return canonical({k: v for k, v in self.study.datasets[wildcards.dataset].items() if k in used})

    def prepare_inputs(self, wildcards: Any) -> dict[str, Any]:
        """The source, and the label table where there is one; for a pair the prepared parts, the query last."""
        dataset = self.study.datasets[wildcards.dataset]
        if "pair" in dataset:
            parts = [*dataset["pair"]["references"], dataset["pair"]["query"]]
            return {
                "parts": [self.results.cells(part) for part in parts],
                "stores": [self.results.store(part) for part in parts],
                "cards": [self.results.card(part) for part in parts],
            }
        inputs: dict[str, Any] = self.results.source(wildcards.dataset)
        table = dataset["cells"]["label_table"]
        if table:
            inputs["labels"] = str(self.root / "config" / "labels" / f"{table}.tsv")
        return inputs

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of preparing a dataset."""
        return int(self.study.datasets[wildcards.dataset]["resources"]["memory_mb"] * attempt)

    def minutes(self, wildcards: Any, attempt: int) -> int:
        """Minutes for fetching or preparing a dataset."""
        return math.ceil(self.study.datasets[wildcards.dataset]["resources"]["minutes"] * attempt)

    def panel(self, wildcards: Any) -> str:
        """What fetching a panel uses of its file."""
        return canonical({key: self.study.panels[wildcards.panel][key] for key in ("source", "columns")})

    def panel_file(self, wildcards: Any) -> list[str]:
        """The file behind a panel of kind local."""
        source = self.study.panels[wildcards.panel]["source"]
        return existing(source["path"]) if source["kind"] == "local" else []
