"""
Census: cells of a CELLxGENE Census release are selected, fetched in chunks, and gathered by fetch_dataset (data.smk).

in   config/datasets/<dataset>.yaml of kind census; config/releases/<built>.yaml, results/data/<part>/ for releases built here
out  results/releases/<built>/<date>/, .json          a release in the form of the Census, and what became of its parts
     results/data/<dataset>/selection/cells.parquet   the selected cells, with their annotations
     results/data/<dataset>/selection/genes.parquet   the selected genes
     results/data/<dataset>/selection/record.json     release, filters, counts of what was dropped, republished datasets
     results/data/<dataset>/chunks/<chunk>/           counts of some of the cells, a store
"""

from annobench.workflow.census import CensusRules

CENSUS = CensusRules(STUDY)


rule build_release:
    input:
        unpack(CENSUS.built_inputs),
    output:
        folder=directory("results/releases/{built}/{date}"),
        record="results/releases/{built}/{date}.json",
    log:
        "results/logs/build_release/{built}/{date}.log",
    benchmark:
        "results/benchmarks/build_release/{built}/{date}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=CENSUS.built_memory,
        runtime=CENSUS.built_minutes,
    params:
        spec=CENSUS.built_spec,
        code=CENSUS.code_of("build_release"),
    script:
        "../../scripts/build_release.py"


rule select_census_cells:
    input:
        unpack(CENSUS.select_inputs),
    output:
        cells="results/data/{dataset}/selection/cells.parquet",
        genes="results/data/{dataset}/selection/genes.parquet",
        record="results/data/{dataset}/selection/record.json",
    log:
        "results/logs/select_census_cells/{dataset}.log",
    benchmark:
        "results/benchmarks/select_census_cells/{dataset}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=CENSUS.select_memory,
        runtime=DATA.minutes,
    params:
        spec=CENSUS.select_spec,
        tables=CENSUS.table_state,
        code=CENSUS.code_of("select_census_cells"),
    script:
        "../../scripts/select_census_cells.py"


rule fetch_census_chunk:
    input:
        unpack(CENSUS.chunk_inputs),
    output:
        folder=directory("results/data/{dataset}/chunks/{chunk}"),
    log:
        "results/logs/fetch_census_chunk/{dataset}/{chunk}.log",
    benchmark:
        "results/benchmarks/fetch_census_chunk/{dataset}/{chunk}.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=CENSUS.chunk_memory,
        runtime=CENSUS.chunk_minutes,
    params:
        spec=CENSUS.chunk_spec,
        code=CENSUS.code_of("fetch_census_chunk"),
    script:
        "../../scripts/fetch_census_chunk.py"
