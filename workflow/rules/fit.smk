"""
Fit: one method on one split with one seed, in a child process whose time and memory are limited.

in   results/data/<dataset>/cells.h5ad and store/, the split, the training selection, the ontology; files that the method declares
     results/panels/<panel>.csv, and cells.h5ad of an unrelated tissue, where they are declared
out  results/fits/<dataset>/<split>/<method>/seed<k>/run.json  how it went: status, outputs, time, memory, versions, hashes
     .../predictions.parquet  one row per test cell; no rows where the method gives no labels, or the fit failed
     .../probabilities.npz, decisions.npz, embedding.npz, expression.h5ad, model/, traceback.txt  where there are any

A failure is a result: the job succeeds, and run.json says what happened.
"""

from annobench.workflow.fit import FitRules

FIT = FitRules(STUDY)


rule fit_method:
    input:
        unpack(FIT.inputs),
        cells="results/data/{dataset}/cells.h5ad",
        store="results/data/{dataset}/store",
        card="results/data/{dataset}/card.json",
        split="results/splits/{dataset}/{split}/seed{seed}.parquet",
        train="results/train/{dataset}/{split}/seed{seed}.parquet",
        ontology=TARGETS.ontology,
    output:
        predictions="results/fits/{dataset}/{split}/{method}/seed{seed}/predictions.parquet",
        run="results/fits/{dataset}/{split}/{method}/seed{seed}/run.json",
    log:
        "results/logs/fit_method/{dataset}/{split}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/fit_method/{dataset}/{split}/{method}/seed{seed}.tsv"
    conda:
        FIT.environment
    threads: FIT.threads
    resources:
        mem_mb=FIT.memory_mb,
        runtime=FIT.minutes,
        gpu=FIT.gpus,
        cuda_jobs=FIT.cuda_jobs,
        limit_mb=FIT.limit_mb,
        limit_seconds=FIT.limit_seconds,
    params:
        settings=FIT.settings,
        code=FIT.code,
    script:
        "../../scripts/fit_method.py"
