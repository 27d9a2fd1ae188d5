"""Print what a study would run and what it would take, without running it."""

from typing import TYPE_CHECKING

from annobench.config.study import load_study
from annobench.core.paths import ROOT
from annobench.workflow.driver import job
from annobench.workflow.plan import describe

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    say("\n" + describe(load_study(snakemake.config, ROOT)))
