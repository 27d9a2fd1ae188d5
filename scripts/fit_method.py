"""Fit one method on one split in a child process, and record what happened."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.files import read_json
from annobench.fit.downloads import downloaded
from annobench.fit.parent import run_fit
from annobench.workflow.driver import job, only_file

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    wildcards, resources = snakemake.wildcards, snakemake.resources
    card = read_json(snakemake.input.card)
    paths, files, missing = downloaded(snakemake.input.get("downloads", []))
    run_fit(
        {
            **json.loads(snakemake.params.method),
            **{key: str(Path(snakemake.input[key]).resolve()) for key in ("cells", "split", "train", "ontology")},
            **{key: only_file(snakemake.input.get(key)) for key in ("panel", "unrelated")},
            "training": snakemake.params.training,
            **{"downloads": paths, "missing": missing},
            "seed": int(wildcards.seed),
            "threads": snakemake.threads,
            "gpus": resources.cuda_jobs,
            "limits": {"memory_mb": resources.limit_mb, "seconds": resources.limit_seconds},
            "identity": {key: wildcards[key] for key in ("dataset", "split", "method")} | {"seed": int(wildcards.seed)},
            "facts": {
                "data_sha256": card["sha256"],
                "code": snakemake.params.code,
                "gene_overlap": card.get("overlap"),
                "downloads": files,
            },
            # not a param: a change of it must not refit what is there
            "on_failure": snakemake.config.get("on_failure", "record"),
        },
        Path(snakemake.output.run).parent,
        Path(snakemake.log[0]).with_suffix(".attempt.json"),
    )
