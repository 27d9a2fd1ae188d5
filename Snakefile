"""annobench: reproducible benchmarks of cell-type annotation.

sources -> prepare -> splits -> balance -> fit -> score -> tables -> figures -> report

The rules of each step lie in workflow/rules, one chapter per file; the code behind them in scripts/annobench.
Run it with `make run`, or with `snakemake --workflow-profile workflow/profiles/local`.
"""

from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/census.smk"
include: "workflow/rules/checkpoints.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        unpack(TABLES.made),
        TARGETS.report(),
        TARGETS.tables().values(),
        TARGETS.figures(),
        TARGETS.provenance(),


rule data:
    input:
        TARGETS.data(),
        TARGETS.downloads(),


rule report:
    input:
        TARGETS.report(),
