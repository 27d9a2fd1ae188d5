"""
Splits: who trains, who selects, who is tested; and which of the training cells are used.

in   results/data/<dataset>/obs.parquet
out  results/splits/<dataset>/<split>/seed<k>.parquet  cell_id, role
     results/train/<dataset>/<split>/seed<k>.parquet   cell_id, label_id, source: the balanced selection
"""

from annobench.workflow.splits import SplitRules

SPLITS = SplitRules(STUDY)


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
        mem_mb=SPLITS.memory_mb,
        runtime=10,
    params:
        spec=SPLITS.split_spec,
        code=SPLITS.split_code,
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
        mem_mb=SPLITS.memory_mb,
        runtime=10,
    params:
        spec=SPLITS.balance_spec,
        code=SPLITS.code_of("balance_train"),
    script:
        "../../scripts/balance_train.py"
