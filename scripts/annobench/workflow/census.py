"""What the rules of the Census ask for: see `annobench.workflow.common`.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

import json
import math
from pathlib import Path
from typing import Any

from annobench.config.census import census_source, family
from annobench.core.files import expanded, sha256_of
from annobench.workflow.common import Chapter

_OF_CHUNKS = ("release", "uri", "built", "organism", "chunks")
SELECT_MB = 1500  # and so much for every million of expected cells, whose annotations are held as numbers:
SELECT_MB_A_MILLION = 250
CHUNK_MB = 3000  # a block of cells and the buffers of the client, whatever the size of the chunk
CHUNK_MB_A_MILLION = 2000  # annotations of a chunk, as texts
CELLS_A_SECOND = 300  # over a network: scTab's 22 million cells took 19.5 hours


class CensusRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def _census(self, wildcards: Any) -> dict[str, Any]:
        source = census_source(self.study.datasets[wildcards.dataset])
        if source is None:  # Snakemake asks for every dataset that fits the pattern of a file
            raise KeyError(f"'{wildcards.dataset}' is not of the Census")
        return source

    def _built(self, source: dict[str, Any], key: str) -> dict[str, str]:
        """The folder of a release that is built here."""
        there = source["built"] and source[key]
        return {key: self.results.release(source["built"], source[key])} if there else {}

    def select_inputs(self, wildcards: Any) -> dict[str, Any]:
        """Releases that are built here, the tables of values and genes, and the ontology of the study."""
        source = self._census(wildcards)
        own = source["corpus"]["ontology"]
        tables = [values["file"] for values in source["filters"].values() if isinstance(values, dict)]
        tables += [source["genes"].get("file"), (source["exclude"] or {}).get("path"), (own or {}).get("path")]
        wants = source["corpus"]["root"] and not own
        return {
            **self._built(source, "release"),
            **self._built(source, "new_since"),
            "tables": [str(self.root / expanded(table)) for table in tables if table],
            **({"ontology": self.targets.ontology} if wants else {}),
        }

    def select_source(self, wildcards: Any) -> str:
        """What the selection uses of a source."""
        return json.dumps(self._census(wildcards), sort_keys=True)

    def select_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of a selection."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"]
        return int((SELECT_MB + SELECT_MB_A_MILLION * cells / 1e6) * attempt)

    def chunk_inputs(self, wildcards: Any) -> dict[str, str]:
        """The selection, and the release where it is built here."""
        return {**self.results.selection(wildcards.dataset), **self._built(self._census(wildcards), "release")}

    def chunk_source(self, wildcards: Any) -> str:
        """What a chunk uses of a source besides the selection."""
        source = self._census(wildcards)
        return json.dumps({key: source[key] for key in (*_OF_CHUNKS, "tiledb")}, sort_keys=True)

    def chunk_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of a chunk."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"] / self._census(wildcards)["chunks"]
        return int((CHUNK_MB + CHUNK_MB_A_MILLION * cells / 1e6) * attempt)

    def chunk_minutes(self, wildcards: Any, attempt: int) -> int:
        """Minutes of a chunk: three times what is expected; one that is stopped goes on at the next attempt."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"] / self._census(wildcards)["chunks"]
        return math.ceil(10 + 3 * cells / CELLS_A_SECOND / 60) * attempt

    def built_inputs(self, wildcards: Any) -> dict[str, Any]:
        """All datasets of a family of releases, since they share one list of genes; the gene table."""
        file = self.study.releases[wildcards.built]
        parts = family(file["releases"])
        table = [str(self.root / expanded(file["genes"]["file"]))] if file["genes"] else []
        return {
            "parts": [self.results.cells(part) for part in parts],
            "stores": [self.results.store(part) for part in parts],
            "genes": table,
        }

    def built_settings(self, wildcards: Any) -> str:
        """What building a release uses of its file, and of the files of its datasets."""
        file = self.study.releases[wildcards.built]
        about = {}
        for part in file["releases"].get(wildcards.date, []):
            about[part] = {"title": self.study.datasets[part]["label"], **file["about"].get(part, {})}
        return json.dumps({"parts": about, "family": family(file["releases"]), "genes": file["genes"]}, sort_keys=True)

    def built_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of building a release."""
        return int(self.study.releases[wildcards.built]["resources"]["memory_mb"] * attempt)

    def built_minutes(self, wildcards: Any, attempt: int) -> int:
        """Minutes for building a release."""
        return math.ceil(self.study.releases[wildcards.built]["resources"]["minutes"] * attempt)

    def table_state(self, wildcards: Any) -> list[str]:
        """Hashes of the tables of a selection: they may be replaced by older files."""
        tables = self.select_inputs(wildcards)["tables"]
        return [sha256_of(path)[:16] if Path(path).is_file() else "missing" for path in tables]
