"""Build all tables of a study from the scores and run records of its fits."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annobench.aggregate import aggregate
from annobench.driver import job
from annobench.ontology import Ontology
from annobench.targets import AUDIT

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def _files(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else list(found)


with job(snakemake):
    aggregate(
        json.loads(snakemake.params.study),
        Ontology.load(snakemake.input.ontology),
        {name: _files(snakemake.input[f"audit_{name}"]) for name in AUDIT},
        {name: Path(path) for name, path in snakemake.output.items()},
    )
