"""
Checkpoints: weights and vocabulary of backbones that methods share, and cells as tokens of a vocabulary.

in   config/checkpoints/<checkpoint>.yaml; results/data/<dataset>/cells.h5ad and store/ of prepared cells
out  results/checkpoints/<checkpoint>/weights.safetensors  weights of the encoder
     .../vocabulary.json, checkpoint.json                  its tokens; what it is made of, and which keys were dropped and why
     results/tokens/<dataset>/<checkpoint>/tokens.npz      tokens and values of every cell, once for all fits
     .../cells.parquet, card.json                          ids of the cells; how well genes and vocabulary fit

One that cannot be made has a record that says why, and fits that read it are skipped.
"""

from annobench.workflow.checkpoints import CheckpointRules

CHECKPOINTS = CheckpointRules(STUDY)


rule fetch_checkpoint:
    input:
        unpack(CHECKPOINTS.fetch_inputs),
    output:
        folder=directory("results/checkpoints/{checkpoint}"),
    log:
        "results/logs/fetch_checkpoint/{checkpoint}.log",
    benchmark:
        "results/benchmarks/fetch_checkpoint/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=CHECKPOINTS.fetched(),
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=CHECKPOINTS.memory_mb,
        runtime=CHECKPOINTS.minutes,
    params:
        spec=CHECKPOINTS.spec,
        local_state=CHECKPOINTS.local_state,
        code=CHECKPOINTS.code_of("fetch_checkpoint"),
    script:
        "../../scripts/fetch_checkpoint.py"


rule pretrain_checkpoint:
    input:
        unpack(CHECKPOINTS.pretrain_inputs),
    output:
        folder=directory("results/checkpoints/{checkpoint}"),
    log:
        "results/logs/pretrain_checkpoint/{checkpoint}.log",
    benchmark:
        "results/benchmarks/pretrain_checkpoint/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=CHECKPOINTS.pretrained(),
    conda:
        "../../envs/core.yaml"
    threads: CHECKPOINTS.threads
    resources:
        mem_mb=CHECKPOINTS.memory_mb,
        runtime=CHECKPOINTS.minutes,
    params:
        spec=CHECKPOINTS.spec,
        code=CHECKPOINTS.code_of("pretrain_checkpoint"),
    script:
        "../../scripts/pretrain_checkpoint.py"


rule tokenise_dataset:
    input:
        cells="results/data/{dataset}/cells.h5ad",
        store="results/data/{dataset}/store",
        card="results/data/{dataset}/card.json",
        checkpoint="results/checkpoints/{checkpoint}",
    output:
        folder=directory("results/tokens/{dataset}/{checkpoint}"),
    log:
        "results/logs/tokenise_dataset/{dataset}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/tokenise_dataset/{dataset}/{checkpoint}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=CHECKPOINTS.token_memory_mb,
        runtime=CHECKPOINTS.token_minutes,
    params:
        parts=CHECKPOINTS.parts,
        genes=CHECKPOINTS.gene_tables(),
        code=CHECKPOINTS.code_of("tokenise_dataset"),
    script:
        "../../scripts/tokenise_dataset.py"
