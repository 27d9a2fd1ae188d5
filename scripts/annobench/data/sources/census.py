"""Cells of a CELLxGENE Census release, which `select_census_cells` and `fetch_census_chunk` have fetched."""

from dataclasses import dataclass
from pathlib import Path

from annobench.config.census import chunk_names
from annobench.core.errors import DataError
from annobench.core.progress import Report
from annobench.data.census.spec import CensusSpec
from annobench.data.spec import Fetched, Given, SourceSpec, Surroundings


@dataclass(frozen=True)
class Source(CensusSpec, SourceSpec):
    """A choice of cells and genes of one release."""

    def inputs(self, near: Surroundings) -> dict[str, list[str]]:
        """The chunks, in order, and the record of the selection."""
        return {
            "chunks": [near.results.chunk(near.dataset, name) for name in chunk_names(self.chunks)],
            "selection": [near.results.selection(near.dataset)["record"]],
        }

    def fetch(self, folder: Path, given: Given, report: Report) -> Fetched:
        """Link the chunks into one store."""
        from annobench.data.census.gather import gather_chunks

        if not given.get("selection"):
            raise DataError("source.kind: census is fetched in chunks; run it through Snakemake, or see docs/census.md")
        store, step = gather_chunks(self.chunks, given["chunks"], given["selection"][0], folder)
        return Fetched(store, [step])
