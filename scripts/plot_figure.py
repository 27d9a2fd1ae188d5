"""Draw one figure from its tables, as PDF and PNG."""

from typing import TYPE_CHECKING

from annobench.figures.shared.settings import FigureSettings
from annobench.figures.shared.style import draw_figure
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    draw_figure(
        snakemake.wildcards.figure,
        dict(snakemake.input.items()),
        FigureSettings.from_params(snakemake.params.settings),
        pdf=snakemake.output.pdf,
        png=snakemake.output.png,
    )
