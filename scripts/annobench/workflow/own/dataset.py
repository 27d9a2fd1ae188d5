"""`annobench new-dataset --file`: a dataset file from what a file of cells shows, and what it could not show."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from annobench.cells.features import not_genes
from annobench.cells.gene_table import gene_keys, gene_table
from annobench.cells.genes import strip_version
from annobench.cells.matrix import SCALE
from annobench.cells.organism import Told, organism_of
from annobench.cells.spec import GenesSpec
from annobench.cells.told import NEAR, row_sums, told
from annobench.config.entities import load_dataset
from annobench.core.errors import AnnobenchError, ConfigError, nearest
from annobench.core.paths import ROOT
from annobench.data.sources.shared.foreign import H5AD
from annobench.fit.new_cells import state_of
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
from annobench.workflow.own.lines import columns as aligned
from annobench.workflow.own.lines import counted, wrapped
from annobench.workflow.own.reading import OwnFile, own_file, stated_path

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.source import StoreFile

_LOOKED_AT = 2000  # cells from which the state of a matrix is told
_STATES = ("counts", "log1p_cp10k", "log1p_cpm", "log1p", "log2", "normalised", "fractional_counts")  # the best first
_LOGARITHM = 40.0  # no logarithm of an expression is larger
_GUESS = "a guess: "
_ROLES = ("study", "donor", "batch", "assay", "tissue", "disease")
_PLURAL = {"study": "studies", "donor": "donors"}
_FAMILIES = 12  # studies that become families of the regime cross_study
_SYMBOL = re.compile(r"^[A-Za-z][A-Za-z0-9._-]*$")
_SHARE = 0.8


@dataclass(frozen=True)
class Slot:
    """A matrix of a file: what its values are (None where they do not show it), and why."""

    slot: str
    state: str | None
    why: str
    nbytes: int = 0


@dataclass
class Findings:
    """What was chosen, why, and what is left to people.

    Parameters
    ----------
    chosen
        Part, choice and reason, for the terminal.
    open
        What could not be told, or what people have to check.
    lines
        Of the dataset file.
    table
        The label table, where there is one.
    """

    chosen: list[tuple[str, str, str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    table: str | None = None

    def choose(self, part: str, choice: str, why: str) -> None:
        """Note a choice."""
        self.chosen.append((part, choice, why))


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
        slots = list(_slots(own))
        slot = _best(slots)
        with own.open(slot.slot if slot else None) as source:
            head = f"{own.name}: {counted(source.n, 'cell')}" + (f", {counted(source.genes, 'gene')}" if slot else "")
            of_obs, unread = read_columns(source)
            _check_named(label, of_obs, own.name)
            _matrix(found, slots, slot)
            _genes(found, source, of_obs)
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


def text_of(found: Findings, head: str, width: int | None = None) -> str:
    """What people read of the choices."""
    parts = [head, aligned(found.chosen, width, wrap=True)]
    if found.open:
        parts.append("to check or to decide:\n" + "\n".join(_item(text, width) for text in found.open))
    return "\n\n".join(parts)


def _item(text: str, width: int | None) -> str:
    return "- " + wrapped(text, width, "  ").removeprefix("  ")


# matrix


def _slots(own: OwnFile) -> Iterator[Slot]:
    with own.open() as file:
        names = file.slots
    for name in names:
        try:
            with own.open(name) as file:
                matrix = next(file.chunks(columns=[]))[0][:_LOOKED_AT]
                yield Slot(name, *_state(matrix), nbytes=file.nbytes)
        except (AnnobenchError, OSError, RuntimeError, KeyError) as error:
            yield Slot(name, None, f"cannot be read: {error}")


def _state(matrix: "csr_matrix") -> tuple[str | None, str]:
    """What values are, and how that is known."""
    matrix = matrix.astype(np.float64)
    if not matrix.nnz or not matrix.data.any():
        return None, "holds nothing but zeros"
    if not np.isfinite(matrix.data).all():
        return None, "holds values that are missing or infinite"
    if matrix.data.min() < 0:
        return None, f"holds negative values, down to {matrix.data.min():.3g}: it was scaled"
    seen, state = told(matrix), state_of(matrix)
    if seen is not None and state is not None:
        return state, str(seen)
    if seen is not None:
        corrected = seen.kind == "normalised" and seen.total is None
        return ("fractional_counts" if corrected else None), f"{_GUESS if corrected else ''}{seen}"
    sums = row_sums(matrix, "log1p")
    fits = [name for name, scale in SCALE.items() if matrix.data.max() < _LOGARITHM and sums.max() < scale * (1 + NEAR)]
    if not fits:
        return None, "its values show no sum that cells share, before or after a logarithm"
    near = fits[0]
    return near, f"{_GUESS}cells sum to {sums.max():,.6g} at most after expm1, as those of some of the genes would"


def _best(slots: Sequence[Slot]) -> Slot | None:
    """The slot to read: counts where there are any, X before raw before layers of counts before others."""

    def place(slot: Slot) -> tuple[int, int]:
        layer = slot.slot.removeprefix("layers/")
        order = {"X": 0, "raw": 1}.get(slot.slot, 2 if re.search("count|raw|umi", layer, re.IGNORECASE) else 3)
        return _STATES.index(str(slot.state)), order

    return min((slot for slot in slots if slot.state), key=place, default=None)


def _matrix(found: Findings, slots: Sequence[Slot], slot: Slot | None) -> None:
    if slot is None:
        for one in slots:
            found.open.append(f"{one.slot}: {one.why}")
        found.choose("matrix", "none", "no matrix whose values are known; methods that read expression are skipped")
        found.lines += ["matrix: {state: none}   # say where the values are and what: slot, state"]
        return
    others = "; ".join(f"{one.slot}: {one.state or one.why}" for one in slots if one is not slot)
    found.choose("matrix", f"{slot.slot}: {slot.state}", slot.why + (f" ({others})" if others else ""))
    found.lines += ["matrix:", f"  slot: {_scalar(slot.slot)}", f"  state: {slot.state}   # {_comment(slot.why)}"]
    if slot.why.startswith(_GUESS):
        found.open.append(f"what {slot.slot} holds could not be told for certain: {slot.state} is {slot.why}")


# genes


def _genes(found: Findings, source: "H5adFile | StoreFile", of_obs: Sequence[Column]) -> None:
    if not source.genes:
        return
    var = source.var
    spec = GenesSpec(id="auto", name="auto", require=())
    table = gene_table(var, spec, source.path.name)
    ids = int((table["feature_id"] != "").sum())
    name = _symbol_column(var, table)
    if name:
        table = gene_table(var, GenesSpec(id="auto", name=name, require=()), source.path.name)
        found.lines += [f"genes: {{name: {_scalar(name)}}}   # the column of var that holds symbols"]
    mask, kinds = not_genes(var, table["feature_name"].tolist())
    where = [_place(var, table, column) for column in ("feature_id", "feature_name")]
    other = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    why = f"Ensembl ids: {f'{ids:,} in {where[0]}' if ids else 'none'}; symbols: {where[1] or 'none'}"
    found.choose("genes", f"{int((~mask).sum()):,}", why + (f"; left out: {other}" if other else ""))
    if twice := int(gene_keys(table[~mask]).duplicated().sum()):
        found.open.append(f"{counted(twice, 'gene')} listed again: of each gene the column with most counts is kept")
    if mask.all():
        found.open.append("no feature is a gene by its type or name: set genes.features to all to keep them")
    if not ids and table["feature_name"].str.fullmatch(r"\d*").mean() > 0.5:
        found.open.append("var has neither Ensembl ids nor symbols: models and other data cannot be joined by genes")
    _organism(found, organism_of(table[~mask]), of_obs)


def _place(var: "pd.DataFrame", table: "pd.DataFrame", column: str) -> str:
    """Where ids or symbols were found: a column of var, or its row names; empty where there are none of their own."""
    if column == "feature_name" and _are_ids(table[column]).mean() > 0.5:
        return ""
    wanted = _begun(table[column])
    shares = {f"var['{name}']": (_begun(var[name]) == wanted).mean() for name in var}
    shares["the row names of var"] = (_begun(var.index.to_series()) == wanted).mean()
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] else ""


def _begun(texts: "pd.Series") -> "NDArray[np.object_]":
    """The first 15 letters, which an Ensembl id has before its version."""
    return texts.astype(str).str.slice(0, 15).to_numpy(dtype=object)


def _are_ids(texts: "pd.Series") -> "pd.Series":
    return texts.astype(str).map(strip_version) != ""


def _symbol_column(var: "pd.DataFrame", table: "pd.DataFrame") -> str | None:
    """A column of var that holds symbols, where those that are looked for are not there."""
    names = table["feature_name"]
    if (~_are_ids(names) & names.str.match(_SYMBOL)).mean() > 0.5:
        return None
    for column in var.columns:
        texts = var[column].astype(str)
        like = texts.str.match(_SYMBOL) & ~_are_ids(texts)
        if like.mean() >= _SHARE and texts.nunique() > len(var) / 2:
            return str(column)
    return None


def _organism(found: Findings, seen: Told, of_obs: Sequence[Column]) -> None:
    stated = choose_by_name(of_obs, "organism")
    said = list(stated.column.values) if stated else []
    wrong = [name for name in said if seen.contradicts(name)]
    if wrong:
        found.open.append(f"obs says that the organism is {wrong[0]}, but the genes tell {seen.organism} ({seen.by})")
    if said:
        found.choose("organism", ", ".join(said[:3]), f"obs['{stated.column.name}']" if stated else "")
    elif seen.organism:
        found.choose("organism", seen.organism, f"by the {seen.by} of {seen.share:.0%} of the genes")
    else:
        found.open.append("the organism cannot be told from the genes")


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
            found.lines.append(f"  {role}: {_scalar(choice.column.name)}   # {_comment(choice.why)}")
        elif role in ("study", "donor"):
            _no_role(found, role, of_obs)
    if organism := choose_by_name(of_obs, "organism", taken):
        found.lines.append(f"  columns: {{organism: {_scalar(organism.column.name)}}}")
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
    found.lines.append(f"  label: {_scalar(column.name)}")
    if labels and labels.others:
        found.lines[-1] += f"   # or {_comment(', '.join(labels.others))}"
    if labels and labels.column.missing:
        found.open.append(
            f"{counted(labels.column.missing, 'cell')} without a label: they train nothing, and are counted"
        )
    if ids is not None:
        found.choose("label_id", ids.column.name, ids.why)
        found.lines.append(f"  label_id: {_scalar(ids.column.name)}   # {_comment(ids.why)}")
        return
    proposal = Proposal.of(column.values, knowledge.matcher, column.missing)
    found.table = proposal.table(knowledge)
    sure, left, none = (proposal.chosen(kind) for kind in ("sure", "open", "no_type"))
    of = counted(len(proposal.cells), "label")
    what = f"{len(sure)} of {of} with a sure id ({counted(proposal.sum_of(sure), 'cell')})"
    found.choose("label_table", name, what + (f"; no type: {', '.join(none)}" if none else ""))
    found.lines.append(f"  label_table: {name}   # config/labels/{name}.tsv: {_comment(what)}")
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
        f"label: {_scalar(re.sub(r'[_.]', ' ', name).capitalize())}",
        f"summary: {_scalar(head.partition(': ')[2] + '. What the data is and what it is good for, in a sentence.')}",
        "citation: Whom to cite, with a DOI where there is one.",
        "licence: Licence of the data.",
        "source:",
        "  kind: local",
        f"  path: {_scalar(stated_path(own.given, root))}{format_}",
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
        found.lines += [f"  {key}: {{study: [{_scalar(one)}]}}" for key, one in _keys(studies).items()]
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


def _scalar(text: str) -> str:
    """A text as YAML writes it, on one line."""
    return yaml.safe_dump([text], default_flow_style=True, width=10_000, allow_unicode=True).strip()[1:-1]


def _comment(text: str) -> str:
    """A text for the end of a line."""
    short = " ".join(text.split())
    return short if len(short) <= 100 else short[:99].rstrip() + "…"


def check_written(name: str, written: Sequence[Path], root: Path) -> None:
    """Raise ConfigError, and remove what was written, where it cannot be read as a dataset."""
    try:
        load_dataset(name, root, "annobench new-dataset")
    except AnnobenchError:
        for path in written:
            path.unlink(missing_ok=True)
        raise
