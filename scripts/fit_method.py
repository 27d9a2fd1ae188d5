"""Fit one method on one split in a child process, and record what happened."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.files import read_json
from annobench.fit.downloads import downloaded
from annobench.fit.job import Facts, FitFiles, FitJob, FitSettings, Identity, Limits
from annobench.fit.parent import failure, run_fit
from annobench.fit.uses import folders_of
from annobench.workflow.driver import files_of, job, only_file

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    wildcards, resources = snakemake.wildcards, snakemake.resources
    names = ("cells", "split", "train", "ontology", "panel", "unrelated", "tokens", "weights")
    paths = {name: only_file(snakemake.input.get(name)) for name in names}
    card = read_json(snakemake.input.card)
    files = downloaded(snakemake.input.get("downloads", []))
    record = run_fit(
        FitJob(
            settings=FitSettings.from_params(snakemake.params.settings),
            identity=Identity(
                dataset=wildcards.dataset, split=wildcards.split, method=wildcards.method, seed=int(wildcards.seed)
            ),
            files=FitFiles.from_params({**paths, "uses": folders_of(files_of(snakemake.input.get("uses")))}),
            limits=Limits(memory_mb=resources.limit_mb, seconds=resources.limit_seconds),
            facts=Facts(
                data_sha256=card["sha256"],
                code=snakemake.params.code,
                gene_overlap=card.get("overlap"),
                downloads=files.facts,
            ),
            threads=snakemake.threads,
            gpus=resources.cuda_jobs,
            downloads=files.paths,
            missing=files.missing,
            # not a param: a change of it must not refit what is there
            on_failure=snakemake.config.get("on_failure", "record"),
        ),
        Path(snakemake.output.run).parent,
        Path(snakemake.log[0]).with_suffix(".attempt.json"),
    )
    if line := failure(record, Path(snakemake.log[0])):
        say(line)
    for text in (record.notes or {}).get("warnings", []):
        say(f"{wildcards.method} on {wildcards.dataset}: {text}")
