"""Render the self-contained page of a study."""

from typing import TYPE_CHECKING

from annobench.config.tables import tables
from annobench.report.page import Outputs, render
from annobench.report.settings import ReportSettings
from annobench.workflow.driver import files_of, job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    render(
        ReportSettings.from_params(snakemake.params.settings),
        {name: snakemake.input[name] for name in tables()},
        figures=files_of(snakemake.input.figures),
        cards=files_of(snakemake.input.cards),
        provenance=snakemake.input.provenance,
        outputs=Outputs(**dict(snakemake.output.items())),
    )
