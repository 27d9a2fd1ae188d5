"""
Tables: everything that is shown later is drawn from these.

in   scores, counts, confidences, audits and run records of all fits of the study (with --config partial=true: of those
     that exist)
out  results/tables/<study>/<table>.csv  scores, summary, ranking, tests, failed, resources, confusion, calibration,
                                         classes, trees, splits; audit, rules, curves, confidences, factors, effects,
                                         markers, types, degs, spatial, published; contrasts, nodes, edges,
                                         published_values
     results/provenance/<study>.json     configuration as resolved, versions, machine, hashes of the data
"""

from annobench.workflow.tables import TableRules

TABLES = TableRules(STUDY)


rule aggregate_scores:
    input:
        unpack(TABLES.fit_files),
        unpack(TABLES.audit_files),
        cards=TARGETS.cards(),
        splits=TARGETS.splits(),
        train=TARGETS.train(),
        obs=TARGETS.obs(),
        ontology=TARGETS.ontology,
        published_values=TABLES.published_values(),
    output:
        scores=f"results/tables/{STUDY.name}/scores.csv",
        summary=f"results/tables/{STUDY.name}/summary.csv",
        ranking=report(
            f"results/tables/{STUDY.name}/ranking.csv",
            caption="../report/ranking.rst",
            category="Tables",
            labels={"table": "ranking"},
        ),
        tests=report(
            f"results/tables/{STUDY.name}/tests.csv",
            caption="../report/tests.rst",
            category="Tables",
            labels={"table": "tests"},
        ),
        failed=report(
            f"results/tables/{STUDY.name}/failed.csv",
            caption="../report/failed.rst",
            category="Tables",
            labels={"table": "failed"},
        ),
        resources=report(
            f"results/tables/{STUDY.name}/resources.csv",
            caption="../report/resources.rst",
            category="Tables",
            labels={"table": "resources"},
        ),
        audit=report(
            f"results/tables/{STUDY.name}/audit.csv",
            caption="../report/audit.rst",
            category="Tables",
            labels={"table": "audit"},
        ),
        rules=f"results/tables/{STUDY.name}/rules.csv",
        curves=f"results/tables/{STUDY.name}/curves.csv",
        confidences=f"results/tables/{STUDY.name}/confidences.csv",
        factors=f"results/tables/{STUDY.name}/factors.csv",
        effects=f"results/tables/{STUDY.name}/effects.csv",
        markers=f"results/tables/{STUDY.name}/markers.csv",
        types=f"results/tables/{STUDY.name}/types.csv",
        degs=f"results/tables/{STUDY.name}/degs.csv",
        spatial=f"results/tables/{STUDY.name}/spatial.csv",
        published=f"results/tables/{STUDY.name}/published.csv",
        confusion=f"results/tables/{STUDY.name}/confusion.csv",
        calibration=f"results/tables/{STUDY.name}/calibration.csv",
        classes=f"results/tables/{STUDY.name}/classes.csv",
        trees=f"results/tables/{STUDY.name}/trees.csv",
        splits=f"results/tables/{STUDY.name}/splits.csv",
        contrasts=f"results/tables/{STUDY.name}/contrasts.csv",
        nodes=f"results/tables/{STUDY.name}/nodes.csv",
        edges=f"results/tables/{STUDY.name}/edges.csv",
        published_values=f"results/tables/{STUDY.name}/published_values.csv",
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
        study=TABLES.study_settings,
        code=TABLES.code_of("aggregate_scores"),
    script:
        "../../scripts/aggregate_scores.py"


rule write_provenance:
    input:
        cards=TARGETS.cards(),
        ontology=TARGETS.ontology,
        ranking=f"results/tables/{STUDY.name}/ranking.csv",
    output:
        f"results/provenance/{STUDY.name}.json",
    log:
        f"results/logs/write_provenance/{STUDY.name}.log",
    benchmark:
        f"results/benchmarks/write_provenance/{STUDY.name}.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        study=TABLES.resolved_study,
        code=TABLES.code_of("write_provenance"),
    script:
        "../../scripts/write_provenance.py"
