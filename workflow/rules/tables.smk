"""
Tables: everything that is shown later is drawn from these, each built by a file of scripts/annobench/tables.

in   scores, counts, confidences, audits and run records of all fits of the study (with --config partial=true: of those
     that exist)
out  results/tables/<study>/<table>.csv  one file for every table; docs/tables.md lists them with their columns
"""

from annobench.config.tables import table_facts
from annobench.workflow.tables import TableRules

TABLES = TableRules(STUDY)


rule aggregate_scores:
    input:
        unpack(TABLES.inputs),
        ontology=TARGETS.ontology,
    output:
        **{
            name: (
                report(
                    path,
                    caption="../report/table.rst",
                    category="Tables",
                    labels=TABLES.labels(name),
                )
                if table_facts(name).in_report
                else path
            )
            for name, path in TARGETS.tables().items()
        },
    log:
        f"results/logs/aggregate_scores/{STUDY.name}.log",
    benchmark:
        f"results/benchmarks/aggregate_scores/{STUDY.name}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=TABLES.memory_mb,
        runtime=60,
    params:
        spec=TABLES.params,
        code=TABLES.code,
    script:
        "../../scripts/aggregate_scores.py"
