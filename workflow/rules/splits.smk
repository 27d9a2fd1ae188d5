"""
Splits: who trains, who selects, who is tested; and which of the training cells are used.

in   results/data/<dataset>/obs.parquet
out  results/splits/<dataset>/<split>/seed<k>.parquet  cell_id, role
     results/train/<dataset>/<split>/seed<k>.parquet   cell_id, label_id, source: the balanced selection
"""


rule split_dataset:
    input:
        obs="results/data/{dataset}/obs.parquet",
    output:
        "results/splits/{dataset}/{split}/seed{seed}.parquet",
    log:
        "results/logs/split_dataset/{dataset}/{split}/seed{seed}.log",
    benchmark:
        "results/benchmarks/split_dataset/{dataset}/{split}/seed{seed}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=ASK.table_memory,
        runtime=10,
    params:
        spec=ASK.split_spec,
        code=ASK.code("split_dataset"),
    script:
        "../../scripts/split_dataset.py"


rule balance_train:
    input:
        obs="results/data/{dataset}/obs.parquet",
        split="results/splits/{dataset}/{split}/seed{seed}.parquet",
    output:
        "results/train/{dataset}/{split}/seed{seed}.parquet",
    log:
        "results/logs/balance_train/{dataset}/{split}/seed{seed}.log",
    benchmark:
        "results/benchmarks/balance_train/{dataset}/{split}/seed{seed}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=ASK.table_memory,
        runtime=10,
    params:
        policy=ASK.balance_policy,
        code=ASK.code("balance_train"),
    script:
        "../../scripts/balance_train.py"
