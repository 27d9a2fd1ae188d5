"""A driver that runs one fit."""

from annobench.fit.job import FitJob
from annobench.fit.parent import run_fit

given = snakemake.params  # noqa: F821
run_fit(FitJob.from_params(given.job), given.fit, given.attempt)
