"""Render the self-contained page of a study."""

import json
from typing import TYPE_CHECKING

from annobench.report.page import render
from annobench.workflow.driver import job
from annobench.workflow.targets import TABLES

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake):
    inputs = snakemake.input
    render(
        json.loads(snakemake.params.study),
        {name: inputs[name] for name in TABLES},
        [inputs.figures] if isinstance(inputs.figures, str) else list(inputs.figures),
        [inputs.cards] if isinstance(inputs.cards, str) else list(inputs.cards),
        inputs.provenance,
        snakemake.output[0],
    )
