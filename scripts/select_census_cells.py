"""Select cells and genes of a Census release."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.data.census.select import select_cells
from annobench.data.census.spec import CensusSpec, SelectionFiles
from annobench.data.census.types import corpus_ontology
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    source, given = CensusSpec.from_params(snakemake.params.spec), snakemake.input
    select_cells(
        source,
        SelectionFiles(*(Path(snakemake.output[key]) for key in ("cells", "genes", "record"))),
        uri=given.get("release") or source.uri,
        older_uri=given.get("new_since") or source.new_since_uri,
        ontology=corpus_ontology(source.corpus, given.get("ontology"), say),
        report=say,
    )
