"""What the card says of a source, and prepare prints: what was left out, and the organism."""

from collections.abc import Mapping, Sequence

from annobench.cells.gene_names import strange_names
from annobench.cells.gene_table import ChosenGenes
from annobench.cells.organism import organism_of
from annobench.cells.store.h5ad import H5adFile
from annobench.cells.store.source import StoreFile
from annobench.core.errors import DataError
from annobench.data.prepare.card import Notes
from annobench.data.prepare.task import Task
from annobench.ontology.labels import MappedLabels


def source_notes(task: Task, genes: ChosenGenes, mapping: MappedLabels, organisms: Mapping[str, int]) -> Notes:
    """What the card says of the source, of the genes that were dropped, of the organism and of labels.

    Parameters
    ----------
    task
        The dataset.
    genes
        Its genes.
    mapping
        How its labels were mapped.
    organisms
        Number of cells by the column `organism` of obs; empty where the dataset declares none.
    """
    dropped: Notes = {
        "genes_not_required": genes.not_required,
        "duplicated_genes": genes.duplicates,
        "features_not_genes": dict(genes.not_genes),
    }
    if genes.nameless:
        dropped["genes_without_name_and_id"] = genes.nameless
    if genes.not_genes:
        each = ", ".join(f"{n:,} {kind}" for kind, n in genes.not_genes.items())
        task.report(f"left out {sum(genes.not_genes.values()):,} features that are no genes: {each}")
    if n := genes.not_required + genes.duplicates + genes.nameless:
        task.report(
            f"left out {n:,} genes: {genes.not_required:,} not required, {genes.duplicates:,} duplicates, "
            f"{genes.nameless:,} without name and id"
        )
    steps = task.fetched.get("steps", [])
    for step in steps if isinstance(steps, Sequence) else []:  # what the reader of a bundle has left out before
        dropped |= {key: step[key] for key in ("control_features",) if key in step}
    labels: Notes = {"labels_unmapped": mapping.unmapped, "labels_replaced": mapping.replaced}
    if mapping.respelled:
        labels["labels_respelled"] = mapping.respelled
    if mapping.unused:
        labels["labels_of_table_without_cells"] = mapping.unused
    if strange := strange_names(genes.table):
        labels["gene_names"] = strange
        for text in strange:
            task.report(f"warning: {text}")
    organism = _organism(task, genes, organisms)
    return {"source": task.fetched, "dropped": dropped, **labels, "organism": organism}


def _organism(task: Task, genes: ChosenGenes, organisms: Mapping[str, int]) -> Mapping[str, object]:
    """The organism that the genes tell, with a warning where the dataset says otherwise."""
    told = organism_of(genes.table)
    wrong = [name for name in organisms if told.contradicts(name)]
    if not wrong:
        return told.notes()
    warning = (
        f"cells.columns.organism says '{wrong[0]}', but {told.by} tell {told.organism} ({told.share:.0%} of them); "
        "correct the one, or name other columns by genes.id and genes.name"
    )
    task.report(f"warning: {warning}")
    return {**told.notes(), "warning": warning}


def no_values(file: H5adFile | StoreFile, slot: str) -> DataError:
    """The error for a matrix of zeros; it names the other slots."""
    others = ", ".join(name for name in file.slots if name != slot)
    return DataError(
        f"{file.path.name}: matrix.slot: all values of {slot} are zero; "
        + (f"the file also has {others}: name the slot with the counts" if others else "the file has no other slot")
    )
