"""
Report: provenance and one self-contained page; and the plan, which is printed without running anything.

in   tables, figures and data cards of the study
out  results/provenance/<study>.json     configuration as resolved, versions, machine, hashes of the data
     results/report/<study>/index.html   the page, with a page for every method and class, the tables as Markdown and
                                         LaTeX, and the methods section of a paper
"""

from annobench.workflow.report import ReportRules

REPORT = ReportRules(STUDY)


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
        spec=REPORT.provenance,
        code=REPORT.code_of("write_provenance"),
    script:
        "../../scripts/write_provenance.py"


rule render_report:
    input:
        unpack(REPORT.tables),
        figures=TARGETS.figures(".png"),
        cards=TARGETS.cards(),
        provenance=f"results/provenance/{STUDY.name}.json",
    output:
        page=f"results/report/{STUDY.name}/index.html",
        methods=directory(f"results/report/{STUDY.name}/methods"),
        classes=directory(f"results/report/{STUDY.name}/classes"),
        tables=directory(f"results/report/{STUDY.name}/tables"),
        text=f"results/report/{STUDY.name}/methods.md",
        references=f"results/report/{STUDY.name}/references.bib",
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
