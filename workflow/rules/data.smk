"""
Data: sources become prepared datasets.

in   config/datasets/<dataset>.yaml, config/labels/<table>.tsv
out  results/ontology/cl-<release>[-obo].json    the Cell Ontology, one release
     results/data/<dataset>/source/, source.json  the fetched files, and where every byte came from
     results/data/<dataset>/cells.h5ad            prepared cells
     results/data/<dataset>/store/                their counts, if there are many cells; else empty
     results/data/<dataset>/obs.parquet           their observations
     results/data/<dataset>/card.json             what the dataset holds, and what was dropped and why
     results/panels/<panel>.csv                   genes of a panel: feature_id, feature_name
     results/orthologues/<name>.csv               one-to-one pairs of gene symbols of two organisms
     results/files/<method>/<download>/, .json    a file that a method declares, and its origin or why it is missing
"""

from annobench.workflow.data import DataRules

DATA = DataRules(STUDY)


rule fetch_ontology:
    input:
        file=DATA.ontology_file,
    output:
        "results/ontology/{ontology}.json",
    log:
        "results/logs/fetch_ontology/{ontology}.log",
    benchmark:
        "results/benchmarks/fetch_ontology/{ontology}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        spec=DATA.ontology_spec,
        code=DATA.code_of("fetch_ontology"),
    script:
        "../../scripts/fetch_ontology.py"


rule fetch_dataset:
    input:
        unpack(DATA.fetch_inputs),
    output:
        folder=directory("results/data/{dataset}/source"),
        record="results/data/{dataset}/source.json",
    log:
        "results/logs/fetch_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/fetch_dataset/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=DATA.fetch_memory_mb,
        runtime=DATA.minutes,
    params:
        spec=DATA.source_spec,
        local_state=DATA.local_state,
        code=DATA.fetch_code,
    script:
        "../../scripts/fetch_dataset.py"


rule fetch_file:
    output:
        folder=directory("results/files/{method}/{download}"),
        record="results/files/{method}/{download}.json",
    log:
        "results/logs/fetch_file/{method}/{download}.log",
    benchmark:
        "results/benchmarks/fetch_file/{method}/{download}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        spec=DATA.download_spec,
        code=DATA.code_of("fetch_file"),
    script:
        "../../scripts/fetch_file.py"


rule prepare_dataset:
    input:
        unpack(DATA.prepare_inputs),
        ontology=TARGETS.ontology,
    output:
        cells="results/data/{dataset}/cells.h5ad",
        obs="results/data/{dataset}/obs.parquet",
        store=directory("results/data/{dataset}/store"),
        card="results/data/{dataset}/card.json",
    log:
        "results/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/prepare_dataset/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=DATA.memory_mb,
        runtime=DATA.minutes,
    params:
        spec=DATA.dataset_spec,
        code=DATA.code_of("prepare_dataset"),
    script:
        "../../scripts/prepare_dataset.py"


rule fetch_panel:
    input:
        files=DATA.panel_files,
    output:
        genes="results/panels/{panel}.csv",
        record="results/panels/{panel}.json",
    log:
        "results/logs/fetch_panel/{panel}.log",
    benchmark:
        "results/benchmarks/fetch_panel/{panel}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        spec=DATA.panel_spec,
        code=DATA.panel_code,
    script:
        "../../scripts/fetch_panel.py"


rule fetch_orthologues:
    input:
        files=DATA.orthologue_files,
    output:
        pairs="results/orthologues/{orthologue}.csv",
        record="results/orthologues/{orthologue}.json",
    log:
        "results/logs/fetch_orthologues/{orthologue}.log",
    benchmark:
        "results/benchmarks/fetch_orthologues/{orthologue}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        spec=DATA.orthologue_spec,
        code=DATA.orthologue_code,
    script:
        "../../scripts/fetch_orthologues.py"
