"""
Figures: drawn from tables only, each by one file of scripts/annobench/figures.

in   the tables that the file of the figure names
out  results/figures/<study>/<figure>.pdf and .png
"""

from annobench.workflow.figures import FigureRules

FIGURES = FigureRules(STUDY)


rule plot_figure:
    input:
        unpack(FIGURES.tables),
    output:
        pdf=f"results/figures/{STUDY.name}/{{figure}}.pdf",
        png=report(
            f"results/figures/{STUDY.name}/{{figure}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        f"results/logs/plot_figure/{STUDY.name}/{{figure}}.log",
    benchmark:
        f"results/benchmarks/plot_figure/{STUDY.name}/{{figure}}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        settings=FIGURES.params,
        code=FIGURES.code,
        caption=FIGURES.caption,
    script:
        "../../scripts/plot_figure.py"
