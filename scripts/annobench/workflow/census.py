"""What the rules of the Census ask for: see `annobench.workflow.common`.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

import math
from pathlib import Path

from annobench.config.census import census_source, family
from annobench.core.files import expanded, sha256_of
from annobench.core.paths import from_here
from annobench.core.spec import Params
from annobench.data.census.spec import CensusSpec, ReleaseSpec
from annobench.workflow.common import Chapter, Wildcards

SELECT_MB = 1500  # and so much for every million of expected cells, whose annotations are held as numbers:
SELECT_MB_A_MILLION = 250
CHUNK_MB = 3000  # a block of cells and the buffers of the client, whatever the size of the chunk
CHUNK_MB_A_MILLION = 2000  # annotations of a chunk, as text
CELLS_A_SECOND = 300  # over a network: scTab's 22 million cells took 19.5 hours


class CensusRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def _census(self, wildcards: Wildcards) -> CensusSpec:
        source = census_source(self.study.datasets[wildcards.dataset])
        if source is None:  # Snakemake asks for every dataset that fits the pattern of a file
            raise KeyError(f"'{wildcards.dataset}' is not of the Census")
        return CensusSpec.from_params(source)

    def _built(self, source: CensusSpec, **dates: str | None) -> dict[str, str]:
        """Folders of releases that are built here, by name; none for a date that is not given."""
        if source.built is None:
            return {}
        return {name: self.results.release(source.built, date) for name, date in dates.items() if date}

    def _cells(self, wildcards: Wildcards) -> int:
        """Expected number of cells."""
        return int(self.study.datasets[wildcards.dataset]["resources"]["cells"])

    # selection

    def select_inputs(self, wildcards: Wildcards) -> dict[str, str | list[str]]:
        """Releases that are built here, the tables of values and genes, and the ontology of the study."""
        source = self._census(wildcards)
        asks = source.corpus.root is not None and source.corpus.ontology is None
        return {
            **self._built(source, release=source.release, new_since=source.new_since),
            "tables": self._tables(source),
            **({"ontology": self.targets.ontology} if asks else {}),
        }

    def _tables(self, source: CensusSpec) -> list[str]:
        return [from_here(self.root / expanded(table)) for table in source.tables()]

    def table_state(self, wildcards: Wildcards) -> list[str]:
        """Hashes of the tables of a selection: they may be replaced by older files."""
        tables = self._tables(self._census(wildcards))
        return [sha256_of(path)[:16] if Path(path).is_file() else "missing" for path in tables]

    def select_spec(self, wildcards: Wildcards) -> Params:
        """What the selection uses: all of the source."""
        return self._census(wildcards).to_params()

    def select_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of a selection."""
        return int((SELECT_MB + SELECT_MB_A_MILLION * self._cells(wildcards) / 1e6) * attempt)

    # chunks

    def chunk_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """The selection, and the release if it is built here."""
        source = self._census(wildcards)
        return {**self.results.selection(wildcards.dataset), **self._built(source, release=source.release)}

    def chunk_spec(self, wildcards: Wildcards) -> Params:
        """What a chunk uses of a source besides the selection."""
        return self._census(wildcards).chunk().to_params()

    def _chunk_cells(self, wildcards: Wildcards) -> float:
        return self._cells(wildcards) / self._census(wildcards).chunks

    def chunk_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of a chunk."""
        return int((CHUNK_MB + CHUNK_MB_A_MILLION * self._chunk_cells(wildcards) / 1e6) * attempt)

    def chunk_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes of a chunk: three times the expected time; one that is stopped resumes at the next attempt."""
        return math.ceil(10 + 3 * self._chunk_cells(wildcards) / CELLS_A_SECOND / 60) * attempt

    # releases built here

    def built_inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """All datasets of a family of releases, since they share one list of genes; the gene table."""
        file = self.study.releases[wildcards.built]
        parts = family(file["releases"])
        table = [from_here(self.root / expanded(file["genes"]["file"]))] if file["genes"] else []
        return {
            "parts": [self.results.cells(part) for part in parts],
            "stores": [self.results.store(part) for part in parts],
            "genes": table,
        }

    def built_spec(self, wildcards: Wildcards) -> Params:
        """What building a release uses of its file, and of the files of its datasets."""
        file = self.study.releases[wildcards.built]
        parts = {
            part: {"title": self.study.datasets[part]["label"], **file["about"].get(part, {})}
            for part in file["releases"].get(wildcards.date, [])
        }
        settings = {"parts": parts, "family": family(file["releases"]), "genes": file["genes"]}
        return ReleaseSpec.from_params(settings).to_params()

    def built_memory(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of building a release."""
        return int(self.study.releases[wildcards.built]["resources"]["memory_mb"] * attempt)

    def built_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes for building a release."""
        return math.ceil(self.study.releases[wildcards.built]["resources"]["minutes"] * attempt)
