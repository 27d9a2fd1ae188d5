"""`annobench new-dataset --file`: a dataset file from what a file of cells shows, and what it could not show."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.config.entities import load_dataset
from annobench.core.errors import AnnobenchError, ConfigError, nearest
from annobench.core.paths import ROOT
from annobench.data.sources.shared.foreign import H5AD
from annobench.workflow.own.findings import Findings, comment, scalar
from annobench.workflow.own.guess import (
    Choice,
    Column,
    choose_by_name,
    choose_ids,
    choose_label,
    named_like_labels,
    read_columns,
)
from annobench.workflow.own.labels import Knowledge, Proposal, check_labels
from annobench.workflow.own.lines import counted
from annobench.workflow.own.reading import OwnFile, own_file, stated_path
from annobench.workflow.own.values import best_slot, note_genes, note_matrix, read_slots

if TYPE_CHECKING:
    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.source import StoreFile

_ROLES = ("study", "donor", "batch", "assay", "tissue", "disease")
_PLURAL = {"study": "studies", "donor": "donors"}
_FAMILIES = 12  # studies that become families of the regime cross_study


def dataset_of_file(name: str, file: str, *, label: str | None = None, root: Path = ROOT) -> tuple[Findings, str]:
    """What a dataset file for a file of cells says, and a line on what the file holds.

    Parameters
    ----------
    name
        Of the dataset.
    file
        Cells in any format that datasets read.
    label
        The column of the labels; None to choose one.
    root
        The repository.

    Raises
    ------
    AnnobenchError
        For a file that cannot be read, or a column that it does not have.
    """
    found = Findings()
    with own_file(file) as own:
        slots = list(read_slots(own))
        slot = best_slot(slots)
        with own.open(slot.slot if slot else None) as source:
            head = f"{own.name}: {counted(source.n, 'cell')}" + (f", {counted(source.genes, 'gene')}" if slot else "")
            of_obs, unread = read_columns(source)
            _check_named(label, of_obs, own.name)
            note_matrix(found, slots, slot)
            note_genes(found, source, of_obs)
            roles = _cells(found, name, of_obs, label, root)
            _rest(found, source, own, roles)
        if unread:
            found.open.append(f"columns of obs that cannot be read: {', '.join(unread)}")
        found.lines = [*_head(name, own, head, root), *found.lines]
    return found, head


def _check_named(label: str | None, of_obs: Sequence[Column], file: str) -> None:
    """Raise an error where the column that the user named is not there or holds no labels."""
    if label is None:
        return
    known = {column.name: column for column in of_obs}
    if label not in known:
        raise ConfigError(f"{file}: obs has no column '{label}'{nearest(label, known)}")
    check_labels(known[label].values, known[label].cells, f"{file}: obs['{label}']")


# cells


def _cells(found: Findings, name: str, of_obs: Sequence[Column], label: str | None, root: Path) -> Mapping[str, Choice]:
    """Choose the columns of `cells`; returns them by role."""
    tissue = choose_by_name(of_obs, "tissue")
    knowledge = Knowledge.usual(list(tissue.column.values)[:20] if tissue else (), root)
    roles: dict[str, Choice] = {}
    ids = choose_ids(of_obs, knowledge.ontology)
    others = [column for column in of_obs if ids is None or column.name == label or column is not ids.column]
    labels = choose_label(others, knowledge.matcher, label)
    found.lines.append("cells:")
    _labels(found, name, labels, ids, of_obs=of_obs, knowledge=knowledge)
    taken = {choice.column.name for choice in (labels, ids) if choice}
    for role in _ROLES:
        if choice := choose_by_name(of_obs, role, taken):
            roles[role] = choice
            taken.add(choice.column.name)
            also = f"; also: {', '.join(choice.others)}" if choice.others else ""
            found.choose(role, choice.column.name, choice.why + also)
            found.lines.append(f"  {role}: {scalar(choice.column.name)}   # {comment(choice.why)}")
        elif role in ("study", "donor"):
            _no_role(found, role, of_obs)
    if organism := choose_by_name(of_obs, "organism", taken):
        found.lines.append(f"  columns: {{organism: {scalar(organism.column.name)}}}")
    return roles


def _no_role(found: Findings, role: str, of_obs: Sequence[Column]) -> None:
    consequence = {
        "study": "all cells are of one study, with the name of the dataset; nothing can be held out by study",
        "donor": "intervals resample cells, which makes them too narrow, and nothing can be held out by donor",
    }[role]
    like = [one.name for one in of_obs if role == "donor" and "sample" in one.name.lower() and one.is_of_groups]
    hint = f" (is it {like[0]}?)" if like else ""
    found.choose(role, "-", f"no column has such a name{hint}")
    found.open.append(f"no column of {_PLURAL[role]}{hint}: {consequence}")


def _labels(
    found: Findings,
    name: str,
    labels: Choice | None,
    ids: Choice | None,
    *,
    of_obs: Sequence[Column],
    knowledge: Knowledge,
) -> None:
    """The author's labels, their ids, and the label table."""
    chosen = labels or ids
    if chosen is None:
        found.choose("label", "-", "no column holds names of cell types; name one by --label (make: COLUMN=)")
        for one in named_like_labels(of_obs):
            found.open.append(f"obs['{one.name}'] is not taken for the labels: {one.described()}")
        found.open.append("no labels: such a dataset can be the query of a pair, and nothing else")
        found.lines.append("  label: null   # no column holds names of cell types")
        return
    column = chosen.column
    why = labels.why if labels else "the ids, because no column holds names"
    also = f"; also: {', '.join(labels.others)}" if labels and labels.others else ""
    found.choose("label", column.name, why + also)
    found.lines.append(f"  label: {scalar(column.name)}")
    if labels and labels.others:
        found.lines[-1] += f"   # or {comment(', '.join(labels.others))}"
    if labels and labels.column.missing:
        found.open.append(
            f"{counted(labels.column.missing, 'cell')} without a label: they train nothing, and are counted"
        )
    if ids is not None:
        found.choose("label_id", ids.column.name, ids.why)
        found.lines.append(f"  label_id: {scalar(ids.column.name)}   # {comment(ids.why)}")
        return
    proposal = Proposal.of(column.values, knowledge.matcher, column.missing)
    found.table = proposal.table(knowledge)
    sure, left, none = (proposal.chosen(kind) for kind in ("sure", "open", "no_type"))
    of = counted(len(proposal.cells), "label")
    what = f"{len(sure)} of {of} with a sure id ({counted(proposal.sum_of(sure), 'cell')})"
    found.choose("label_table", name, what + (f"; no type: {', '.join(none)}" if none else ""))
    found.lines.append(f"  label_table: {name}   # config/labels/{name}.tsv: {comment(what)}")
    if left:
        shown = ", ".join(left[:5]) + (", ..." if len(left) > 5 else "")
        n = f"{counted(len(left), 'label')} of {counted(proposal.sum_of(left), 'cell')}"
        found.open.append(f"{n} without a sure id ({shown}): choose from the candidates in config/labels/{name}.tsv")
    if not sure:
        found.open.append(
            f"no label has an id yet, so the dataset cannot be prepared: fill in config/labels/{name}.tsv"
        )


# the rest of the file


def _head(name: str, own: OwnFile, head: str, root: Path) -> list[str]:
    format_ = "" if own.format == H5AD else f"\n  format: {own.format}"
    return [
        "# yaml-language-server: $schema=../../workflow/schemas/dataset.schema.yaml",
        f"label: {scalar(re.sub(r'[_.]', ' ', name).capitalize())}",
        f"summary: {scalar(head.partition(': ')[2] + '. What the data is and what it is good for, in a sentence.')}",
        "citation: Whom to cite, with a DOI where there is one.",
        "licence: Licence of the data.",
        "source:",
        "  kind: local",
        f"  path: {scalar(stated_path(own.given, root))}{format_}",
    ]


def _rest(found: Findings, source: "H5adFile | StoreFile", own: OwnFile, roles: Mapping[str, Choice]) -> None:
    names = source.obs(columns=[]).index
    if repeated := int(names.duplicated().sum()):
        cells = next(i for i, line in enumerate(found.lines) if line == "cells:")
        said = f"{repeated:,} cell id{' is' if repeated == 1 else 's are'} listed twice"
        found.lines.insert(cells + 1, f"  duplicated_ids: suffix   # {said}")
        found.open.append(f"{said}: a number is put at their end")
    if "study" in roles and 1 < len(roles["study"].column.values) <= _FAMILIES:
        studies = sorted(roles["study"].column.values)
        found.lines.append("families:   # what the regime cross_study holds out")
        found.lines += [f"  {key}: {{study: [{scalar(one)}]}}" for key, one in _keys(studies).items()]
        found.choose("families", f"{len(studies)}", "one for each study, for the regime cross_study")
    with suppress(AnnobenchError, OSError, KeyError):
        if source.coordinates() is not None:
            found.lines.append("spatial: true   # obsm['spatial']")
            found.choose("spatial", "yes", "obsm['spatial'] holds coordinates; set spatial_unit to µm, mm or px")
    memory = max(1000, _rounded(1000 + 4 * source.nbytes / 1e6, 500))
    disk = max(1, _rounded(source.nbytes / 2e6, 1))
    found.lines.append(f"resources: {{memory_mb: {memory}, minutes: 30, disk_mb: {disk}, cells: {source.n}}}")
    found.open.append("summary, citation and licence are yours to write")


def _rounded(value: float, step: int) -> int:
    return int(-(-value // step) * step)


def _keys(studies: Sequence[str]) -> dict[str, str]:
    """Studies by names that families may have."""
    found: dict[str, str] = {}
    for i, study in enumerate(studies, start=1):
        key = re.sub(r"[^a-z0-9]+", "_", study.lower()).strip("_") or f"study_{i}"
        found[key if key not in found else f"{key}_{i}"] = study
    return found


def check_written(name: str, written: Sequence[Path], root: Path) -> None:
    """Raise ConfigError, and remove what was written, where it cannot be read as a dataset."""
    try:
        load_dataset(name, root, "annobench new-dataset")
    except AnnobenchError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
