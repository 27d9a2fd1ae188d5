"""Audit one evaluation: every metric on its methods and on controls whose worth is known."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.results import Results
from annobench.ontology import Ontology
from annobench.score.audit.evaluate import audit_evaluation
from annobench.score.audit.splits import audited_splits
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    settings = json.loads(snakemake.params.settings)
    audit_evaluation(
        {
            **settings,
            "cells": snakemake.input.cells,
            "obs": snakemake.input.obs,
            "unrelated": snakemake.params.unrelated,
            "markers": snakemake.params.markers,
            "splits": audited_splits(settings["dataset"], settings["splits"], Results()),
        },
        Ontology.load(snakemake.input.ontology),
        {key: Path(path) for key, path in snakemake.output.items()},
    )
