"""
Score: predictions meet the truth, matched by cell id.

in   results/fits/<dataset>/<split>/<method>/seed<k>/predictions.parquet, run.json
     .../probabilities.npz and decisions.npz, where run.json says that there are
out  results/scores/<dataset>/<split>/<method>/seed<k>.parquet            one row per value
     results/scores/<dataset>/<split>/<method>/seed<k>.confusion.parquet  cells per unit, true and predicted label
     results/scores/<dataset>/<split>/<method>/seed<k>.confidence.parquet  confidence rules: values, replicates, curves
"""


rule score_fit:
    input:
        predictions="results/fits/{dataset}/{split}/{method}/seed{seed}/predictions.parquet",
        run="results/fits/{dataset}/{split}/{method}/seed{seed}/run.json",
        obs="results/data/{dataset}/obs.parquet",
        split="results/splits/{dataset}/{split}/seed{seed}.parquet",
        train="results/train/{dataset}/{split}/seed{seed}.parquet",
        ontology=TARGETS.ontology,
    output:
        scores="results/scores/{dataset}/{split}/{method}/seed{seed}.parquet",
        confusion="results/scores/{dataset}/{split}/{method}/seed{seed}.confusion.parquet",
        confidence="results/scores/{dataset}/{split}/{method}/seed{seed}.confidence.parquet",
    log:
        "results/logs/score_fit/{dataset}/{split}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/score_fit/{dataset}/{split}/{method}/seed{seed}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=ASK.table_memory,
        runtime=10,
    params:
        settings=ASK.scoring_settings,
        code=ASK.code("score_fit"),
    script:
        "../../scripts/score_fit.py"
