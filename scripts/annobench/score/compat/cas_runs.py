"""Reading annotation runs of cellarium-cas: one folder per run, with labels of every cell and how they were made.

| file | what is read |
| --- | --- |
| `inferred_labels.csv` | the cell id (first column) and, for every rank k, `cas_cell_type_name_k`: a Cell Ontology id |
| `metadata.json` | `input_path`, the h5ad file with the cells, and `model_name` |
| `ontology_resource.json` | the labels and how they are related |
| `ontology_response.json` | nothing, but it must be there |
"""

import csv
import glob
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.elements import Frame
from annobench.cells.not_h5ad import not_h5ad
from annobench.cells.store.h5ad import opened_h5ad
from annobench.core.errors import DataError, nearest
from annobench.core.parquet import Categorical, positions, to_categorical
from annobench.core.records import lines_of, read_text

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from annobench.cells.elements import Column

LABELS, METADATA = "inferred_labels.csv", "metadata.json"
RESOURCE, RESPONSE = "ontology_resource.json", "ontology_response.json"
NAME = "cas_cell_type_name_"  # the columns of ids; `label` in their place are names
_SHOWN = 10
_BLOCK = 1 << 16  # cells whose ids are Python objects at the same time


@dataclass(frozen=True)
class CasRun:
    """One annotation run.

    Parameters
    ----------
    folder
        Where its files lie.
    model
        `model_name` of its metadata.
    sample
        `input_path` of its metadata, as it is written there.
    """

    folder: Path
    model: str
    sample: str

    @property
    def labels(self) -> Path:
        """The table of labels."""
        return self.folder / LABELS

    def columns(self) -> list[str]:
        """Columns of the table of labels; raises DataError where there are no ids of labels."""
        with open(self.labels, encoding="utf-8-sig", newline="") as handle:
            header = next(csv.reader(handle), [])
        if f"{NAME}1" not in header:
            raise DataError(f"{self.labels}: there is no column '{NAME}1'{nearest(NAME, header)}")
        return header

    def ranks(self) -> list[str]:
        """Columns of ids, best first; they stop at the first rank that is missing."""
        header, found = self.columns(), list[str]()
        while (name := f"{NAME}{len(found) + 1}") in header:
            found.append(name)
        return found


def find_runs(places: Sequence[str]) -> list[CasRun]:
    """The runs at some places, in order of their folders; see `run_folders`."""
    return [_read_run(folder) for folder in run_folders(places)]


def run_folders(places: Sequence[str]) -> list[Path]:
    """Folders of runs: each place is one, or a parent of some, a pattern, or a .txt file with one path per line.

    Raises DataError where a place holds none, and where a folder beside others lacks the table of labels.
    """
    folders: dict[Path, None] = {}
    for place in places:
        for path in _expanded(place):
            inside = [path] if (path / LABELS).is_file() else sorted(one for one in path.iterdir() if one.is_dir())
            lacking = [one.name for one in inside if not (one / LABELS).is_file()]
            if not inside or lacking:
                what = f"{lacking[0]} has no {LABELS}" if lacking else f"there is no {LABELS}, here or one folder below"
                raise DataError(f"{path}: {what}; name folders of annotation runs, or a folder that holds only such")
            folders |= dict.fromkeys(one.absolute() for one in inside)
    return sorted(folders)


def _expanded(place: str) -> list[Path]:
    path = Path(place).expanduser()
    if path.suffix == ".txt" and path.is_file():
        lines = lines_of(read_text(path))
        found = [path.parent / Path(line.strip()).expanduser() for line in lines if line.strip()]
    else:
        found = [Path(one) for one in sorted(glob.glob(str(path)))]
    missing = [one for one in found or [path] if not one.is_dir()]
    if missing:
        raise DataError(f"there is no folder '{missing[0]}'")
    return found


def _read_run(folder: Path) -> CasRun:
    lacking = [name for name in (METADATA, RESOURCE, RESPONSE) if not (folder / name).is_file()]
    if lacking:
        raise DataError(f"{folder}: there is no {' and no '.join(lacking)}; a run of cellarium-cas has all four files")
    path = folder / METADATA
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sample = found["input_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected JSON with `input_path`, the file with the cells ({error!r})") from error
    return CasRun(folder, str(found.get("model_name") or "unknown"), str(sample))


# cells


@dataclass(frozen=True)
class Truth:
    """True labels of the cells of an h5ad file, in its order.

    Parameters
    ----------
    file
        The file.
    ids
        (n,) ids, Arrow binary.
    label
        (n,) true labels; a missing one is the text `nan`.
    groups
        Other columns of obs, (n,) each.
    """

    file: Path
    ids: "pa.ChunkedArray"
    label: Categorical
    groups: Mapping[str, Categorical]


def read_truth(file: Path, label: str, groups: Sequence[str] = ()) -> Truth:
    """Read ids and some columns of obs of an h5ad file, and nothing else of it.

    Raises DataError where it is not one, or has no such column.
    """
    import pyarrow as pa

    try:
        with opened_h5ad(file, ["obs"]) as handle:
            obs = Frame(handle["obs"], f"{file}: obs", handle.get("uns"))
            for name in (label, *groups):
                if name not in obs.columns:
                    raise DataError(f"{file}: obs has no column '{name}'{nearest(name, obs.columns)}")
            columns = {name: _texts(obs.column(name)) for name in (label, *groups)}
            parts = [slice(at, at + _BLOCK) for at in range(0, obs.n, _BLOCK)]
            blocks = [pa.array(obs.index(part), pa.large_string()).cast(pa.large_binary()) for part in parts]
    except (OSError, KeyError, RuntimeError) as error:
        raise not_h5ad(file, error) from error
    return Truth(file, pa.chunked_array(blocks, pa.large_binary()), columns.pop(label), columns)


def _texts(values: "Column") -> Categorical:
    """Values of a column as texts; a missing one is the text `nan`."""
    import pandas as pd

    if isinstance(values, pd.Categorical):
        whole = Categorical.of([*map(str, values.categories), "nan"])  # two categories may read the same
        return Categorical(whole.codes[values.codes], whole.names)
    return Categorical.of(
        ["nan" if missing else str(one) for one, missing in zip(values, pd.isna(values), strict=True)]
    )


@dataclass(frozen=True)
class Labels:
    """Labels of the cells of a run, in the order of its table.

    Parameters
    ----------
    ids
        (n,) ids, Arrow binary.
    ranks
        For every rank (n,) labels, best first.
    """

    ids: "pa.ChunkedArray"
    ranks: list[Categorical]


def read_labels(run: CasRun, top_k: int) -> Labels:
    """Read the ids of the labels of a run, up to `top_k` ranks; raises DataError where the table is broken."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    first, ranks = run.columns()[0], run.ranks()[:top_k]
    text = pa.dictionary(pa.int32(), pa.string())
    try:
        table = arrow_csv.read_csv(
            run.labels,
            read_options=arrow_csv.ReadOptions(block_size=1 << 22),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=[first, *ranks],
                column_types={first: pa.large_binary()} | dict.fromkeys(ranks, text),
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{run.labels}: is not a readable table ({error})") from error
    return Labels(table.column(0), [to_categorical(table.column(i + 1)) for i in range(len(ranks))])


@dataclass(frozen=True)
class Joined:
    """Cells of a run and their truth, as positions in a list of labels.

    Parameters
    ----------
    true
        (n,) true labels.
    ranks
        For every rank (n,) predicted labels, best first.
    """

    true: "NDArray[np.int32]"
    ranks: "list[NDArray[np.int32]]"

    def tops(self) -> "Iterator[NDArray[np.int32]]":
        """Predictions of top 1, top 2, ...: the truth where it is among the first k labels, else the first label."""
        hit: NDArray[np.bool_] | None = None
        for codes in self.ranks:
            if hit is None:
                hit = codes == self.true
                yield codes
            else:
                hit |= codes == self.true
                yield np.where(hit, self.true, self.ranks[0])


def joined(run: CasRun, labels: Labels, truth: Truth, universe: Sequence[str]) -> Joined:
    """Join labels and truth by cell id, in the order of the truth.

    Raises DataError where the cells are not the same, or a label is not in the universe.
    """
    _check_universe(run, labels, truth, set(universe))
    true = truth.label.recode(universe)
    ranks = [one.recode(universe) for one in labels.ranks]
    if not labels.ids.equals(truth.ids):  # usually both are in one order
        rows = _rows(run, labels, truth)
        ranks = [codes[rows] for codes in ranks]
    return Joined(true, ranks)


def _rows(run: CasRun, labels: Labels, truth: Truth) -> "NDArray[np.int64]":
    given, wanted = labels.ids.combine_chunks(), truth.ids.combine_chunks()
    rows = positions(wanted, given)
    lacking = int((rows < 0).sum())
    if lacking or len(given) != len(wanted):
        example = wanted[int(np.argmin(rows))] if lacking else given[0]
        raise DataError(
            f"{run.labels}: has {len(given):,} cells, {truth.file} has {len(wanted):,}, and {lacking:,} of these are "
            f"not among the first (such as '{example.as_py().decode() if example is not None else ''}'); cells are "
            "joined by id, and COMPAT=cas needs the same cells, each once"
        )
    if len(np.unique(rows)) != len(rows):
        raise DataError(f"{truth.file}: cell ids are listed twice; COMPAT=cas needs each once")
    return rows


def _check_universe(run: CasRun, labels: Labels, truth: Truth, universe: set[str]) -> None:
    """Raise DataError for labels that the ontology resource does not have."""
    outside = {
        "true": sorted(set(truth.label.counts()) - universe),
        "predicted": sorted(set().union(*(one.counts() for one in labels.ranks)) - universe),
    }
    wrong = [f"{kind}: {', '.join(map(repr, names[:_SHOWN]))}" for kind, names in outside.items() if names]
    if wrong:
        raise DataError(
            f"{run.folder}: labels that are not in cl_names of {RESOURCE} ({'; '.join(wrong)}), which cellarium-cas "
            "refuses; map them to its Cell Ontology ids, or leave COMPAT=cas out"
        )
