"""Build all tables of a study from the scores and run records of its fits."""

from typing import TYPE_CHECKING

from annobench.config.results import Results
from annobench.ontology import Ontology
from annobench.tables.shared.build import write_tables
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.spec import TablesSpec
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    context = TableContext(
        TablesSpec.from_params(snakemake.params.spec), Results(), Ontology.load(snakemake.input.ontology)
    )
    write_tables(context, dict(snakemake.output.items()))
