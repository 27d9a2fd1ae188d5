"""Turn a fetched dataset, or the parts of a pair or a combined dataset, into the cells contract."""

from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.files import read_json
from annobench.data.prepare.combined import prepare_combined
from annobench.data.prepare.dataset import prepare_dataset
from annobench.data.prepare.pair import prepare_pair
from annobench.data.prepare.spec import DatasetSpec
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import Ontology
from annobench.workflow.driver import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with job(snakemake) as say:
    given, name = snakemake.input, snakemake.wildcards.dataset
    spec = DatasetSpec.from_params(snakemake.params.spec)
    ontology = Ontology.load(given.ontology)
    outputs = PreparedFiles(*(Path(snakemake.output[key]) for key in ("cells", "obs", "card")))
    if spec.parts:
        folders = [Path(cells).parent for cells in given.parts]
        parts = {part: PreparedFiles.within(folder) for part, folder in zip(spec.parts, folders, strict=True)}
        prepare = prepare_pair if spec.pair else prepare_combined
        prepare(name, spec, parts, outputs, ontology=ontology, report=say)
    else:
        record = Path(given.record)
        source = Path(given.folder) / read_json(record)["file"]
        labels = given.get("labels")
        table = Path(labels) if labels else None
        prepare_dataset(name, spec, source, record, outputs, ontology=ontology, label_table=table, report=say)
    Path(snakemake.output.store).mkdir(exist_ok=True)  # cells that are kept in memory have an empty one
