"""
Tables: everything that is shown later is drawn from these.

in   scores, confusion counts and run records of all fits of the study (with --config partial=true: of those that exist)
out  results/tables/<study>/<table>.csv  scores, summary, ranking, tests, failed, resources, confusion, calibration,
                                         classes, trees, splits
     results/provenance/<study>.json     configuration as resolved, versions, machine, hashes of the data
"""


rule aggregate_scores:
    input:
        unpack(ASK.fit_files),
        cards=TARGETS.cards(),
        splits=TARGETS.splits(),
        train=TARGETS.train(),
        obs=TARGETS.obs(),
        ontology=TARGETS.ontology,
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
        confusion=f"results/tables/{STUDY.name}/confusion.csv",
        calibration=f"results/tables/{STUDY.name}/calibration.csv",
        classes=f"results/tables/{STUDY.name}/classes.csv",
        trees=f"results/tables/{STUDY.name}/trees.csv",
        splits=f"results/tables/{STUDY.name}/splits.csv",
    log:
        f"results/logs/aggregate_scores/{STUDY.name}.log",
    benchmark:
        f"results/benchmarks/aggregate_scores/{STUDY.name}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=ASK.aggregate_memory,
        runtime=60,
    params:
        study=ASK.study_settings,
        code=ASK.code("aggregate_scores"),
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
        study=ASK.resolved_study,
        code=ASK.code("write_provenance"),
    script:
        "../../scripts/write_provenance.py"
