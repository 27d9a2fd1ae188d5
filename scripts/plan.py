"""Print what a study would run, and what that would take."""

from typing import TYPE_CHECKING

from annobench.config.results import Results
from annobench.config.study import load_study
from annobench.core.paths import ROOT
from annobench.workflow.driver import job
from annobench.workflow.plan import Plan

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    say("\n" + Plan(load_study(snakemake.config, ROOT), Results()).text())
