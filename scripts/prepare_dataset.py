"""Turn a fetched dataset, or the parts of a pair, into the cells contract."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.files import read_json
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.pair import prepare_pair
from annobench.ontology import Ontology
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    name = snakemake.wildcards.dataset
    dataset = json.loads(snakemake.params.dataset)
    ontology = Ontology.load(snakemake.input.ontology)
    outputs = {key: Path(snakemake.output[key]) for key in ("cells", "obs", "card")}
    if "pair" in dataset:
        names = [*dataset["pair"]["references"], dataset["pair"]["query"]]
        parts = dict(
            zip(
                names, zip(map(Path, snakemake.input.parts), map(Path, snakemake.input.cards), strict=True), strict=True
            )
        )
        prepare_pair(name, dataset, parts, ontology, outputs, say)
    else:
        record = Path(snakemake.input.record)
        source = Path(snakemake.input.folder) / read_json(record)["file"]
        labels = snakemake.input.get("labels")
        prepare_dataset(name, dataset, source, record, ontology, Path(labels) if labels else None, outputs, say)
    Path(snakemake.output.store).mkdir(exist_ok=True)  # cells that are kept in memory have an empty one
