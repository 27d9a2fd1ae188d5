"""
Report: one self-contained page; and the plan, which is printed without running anything.

in   tables, figures and provenance of the study
out  results/report/<study>/index.html
"""

from annobench.workflow.report import ReportRules

REPORT = ReportRules(STUDY)


rule render_report:
    input:
        unpack(REPORT.tables),
        figures=TARGETS.figures(".png"),
        cards=TARGETS.cards(),
        provenance=f"results/provenance/{STUDY.name}.json",
    output:
        f"results/report/{STUDY.name}/index.html",
    log:
        f"results/logs/render_report/{STUDY.name}.log",
    benchmark:
        f"results/benchmarks/render_report/{STUDY.name}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        settings=REPORT.params,
        code=REPORT.code,
    script:
        "../../scripts/render_report.py"


rule plan:
    log:
        f"results/logs/plan/{STUDY.name}.log",
    localrule: True
    conda:
        "../../envs/core.yaml"
    script:
        "../../scripts/plan.py"
