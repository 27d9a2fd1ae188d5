"""What the columns of obs hold, by their names and by their values."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.core.errors import AnnobenchError
from annobench.core.missing import is_missing
from annobench.core.records import plain
from annobench.ontology import UNKNOWN, Ontology
from annobench.ontology.ids import is_id
from annobench.ontology.matching import Matcher
from annobench.workflow.own.lines import counted
from annobench.workflow.own.reading import text_counts

if TYPE_CHECKING:
    import pandas as pd

    from annobench.cells.store.h5ad import H5adFile
    from annobench.cells.store.source import StoreFile

_MOST = 1000  # different values of a column of labels
_FEW = 50  # that a column may have, however few cells there are
_SHOWN = 3
_SURE = 3  # labels that are names of types, in a column whose name does not say so
_LABEL = 4.0  # points that make a column one of labels
_OF_NAME, _IN_NAME, _OF_CLUSTERS = 10.0, 5.0, 1.0  # points of a column by its name
_OF_VALUES = 6.0  # points of a column whose values are all names of types

# names without case, hyphens and blanks; the first one that a column has is taken
NAMES: dict[str, tuple[str, ...]] = {
    "label": (
        *("celltype", "celltypes", "celltypelabel", "authorcelltype", "celltypeoriginal", "celltypeannotation"),
        *("cellannotation", "annotation", "annotations", "originalannotation", "curatedannotation", "freeannotation"),
        *("cellontologyclass", "bulklabels", "celllabel", "celllabels", "label", "labels", "subclass", "celltypes1"),
        *("predictedcelltype", "cellidentity", "celltypefine", "celltypel2", "celltypemain", "cellsubtype"),
    ),
    "study": ("study", "dataset", "datasetid", "studyid", "publication", "project", "sourcestudy", "datasetname"),
    "donor": (
        *("donorid", "donor", "patientid", "patient", "subjectid", "subject", "individual", "individualid"),
        *("participant", "participantid", "personid", "mouseid", "mouse", "animalid", "animal", "donors", "patients"),
    ),
    "batch": (
        *("batch", "batchid", "library", "libraryid", "sample", "sampleid", "samplename", "lane", "channel", "run"),
        *("runid", "origident", "experiment", "plate", "pool", "capture", "gemwell", "gem"),
    ),
    "assay": ("assay", "technology", "platform", "chemistry", "protocol", "method", "tech", "librarykit", "sequencing"),
    "tissue": ("tissue", "organ", "tissuename", "organname", "tissuegeneral", "anatomicalsite", "region"),
    "disease": ("disease", "diagnosis", "diseasestate", "healthstatus", "diseasestatus"),
    "organism": ("organism", "species", "organismname"),
}
_CLUSTERS = re.compile(r"louvain|leiden|cluster|seurat")
_LABEL_PART = re.compile(r"celltype|annotation|celllabel|cellclass")
_NEEDS_SEVERAL = ("batch",)  # a column with one value says nothing


@dataclass(frozen=True)
class Column:
    """A column of obs.

    Parameters
    ----------
    name
        Its name.
    values
        Number of cells by value, the most frequent first; missing values and texts that mean missing are left out.
    cells
        Number of all cells.
    kind
        Of its values, as numpy names kinds: `O` for texts and categories.
    """

    name: str
    values: Mapping[str, int]
    cells: int
    kind: str

    @property
    def missing(self) -> int:
        """Number of cells without a value."""
        return self.cells - sum(self.values.values())

    @property
    def is_of_groups(self) -> bool:
        """Whether cells share its values: no decimal numbers, and no value of its own for nearly every cell."""
        n = len(self.values)
        return 0 < n <= max(_FEW, self.cells // 2) and self.kind != "f" and not self.name.startswith("=")

    def described(self) -> str:
        """Its values, for people."""
        n = len(self.values)
        if not n:
            return "no cell has a value"
        shown = ", ".join(list(self.values)[:_SHOWN])
        text = f"{counted(n, 'value')} ({shown}{', ...' if n > _SHOWN else ''})"
        return f"{text}, missing in {counted(self.missing, 'cell')}" if self.missing else text


@dataclass(frozen=True)
class Choice:
    """A column that was chosen, why, and which others there would be."""

    column: Column
    why: str
    others: tuple[str, ...] = ()


def read_columns(file: "H5adFile | StoreFile") -> tuple[list[Column], list[str]]:
    """All columns of obs, and the names of those that cannot be read."""
    found, unread = [], []
    for name in file.columns:
        try:
            values = file.obs(columns=[name])[name]
        except (AnnobenchError, OSError, KeyError, ValueError):
            unread.append(name)
            continue
        found.append(_column(name, values))
    return found, unread


def _column(name: str, values: "pd.Series") -> Column:
    import pandas as pd

    given = values.dropna()
    kind = "O" if isinstance(given.dtype, pd.CategoricalDtype) else given.dtype.kind
    if kind == "f" and (given % 1 == 0).all():
        kind = "i"  # whole numbers beside missing values
    texts = {text: n for text, n in text_counts(given).items() if not is_missing(text)}
    return Column(name, {text: n for text, n in texts.items() if plain(text).lower() != UNKNOWN}, len(values), kind)


def squeezed(name: str) -> str:
    """A name as names are compared."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


# labels


def choose_ids(columns: Iterable[Column], ontology: Ontology) -> Choice | None:
    """The column of Cell Ontology ids: most of its cells have a live one."""
    rated = []
    for column in columns:
        total = sum(column.values.values())
        ids = {text: n for text, n in column.values.items() if is_id(text)}
        live = sum(n for text, n in ids.items() if ontology.resolve(text))
        if total and live > total / 2 and "tissue" not in column.name.lower():
            rated.append((live, "celltype" in squeezed(column.name), column))
    if not rated:
        return None
    live, _, best = max(rated, key=lambda one: one[:2])
    without = best.cells - live
    why = counted(len(best.values), "Cell Ontology id") + (
        f"; {counted(without, 'cell')} without a live one" if without else ""
    )
    return Choice(best, why, tuple(one.name for *_, one in rated if one is not best))


def choose_label(columns: Sequence[Column], matcher: Matcher, named: str | None = None) -> Choice | None:
    """The column of the author's labels: by its name, and by how many cells have a label that is a name of a type.

    Parameters
    ----------
    columns
        Of obs, without those that hold ids.
    matcher
        Finds terms for labels.
    named
        The column that the user named.
    """
    rated: list[tuple[float, float, Column]] = []
    others = {name for role, names in NAMES.items() if role != "label" for name in names}
    for column in columns:
        if column.name != named and not (column.is_of_groups and column.kind not in "bf"):
            continue
        if column.name != named and (len(column.values) > _MOST or "ontology" in column.name.lower()):
            continue
        sure = {text: n for text, n in column.values.items() if _is_sure(matcher, text)}
        share = sum(sure.values()) / max(sum(column.values.values()), 1)
        of_name = _points_of_name(column.name)
        if column.name != named and not of_name and (len(sure) < _SURE or squeezed(column.name) in others):
            continue
        points = of_name + _OF_VALUES * share
        if column.name == named or points >= _LABEL:
            rated.append((float("inf") if column.name == named else points, share, column))
    if not rated:
        return None
    ordered = sorted(rated, key=lambda one: -one[0])
    _, share, best = ordered[0]
    why = f"{counted(len(best.values), 'label')}; {share:.0%} of the cells have one that is a name of the Cell Ontology"
    return Choice(best, why, tuple(one.name for *_, one in ordered[1:]))


def named_like_labels(columns: Iterable[Column]) -> list[Column]:
    """Columns whose names say that they hold labels."""
    return [column for column in columns if _points_of_name(column.name) >= _IN_NAME - 1]


def _is_sure(matcher: Matcher, text: str) -> bool:
    return matcher.match(text, 0).label_id not in (None, UNKNOWN)


def _points_of_name(name: str) -> float:
    short = squeezed(name)
    if short in NAMES["label"]:
        return _OF_NAME - NAMES["label"].index(short) / len(NAMES["label"])
    if _CLUSTERS.search(short):
        return _OF_CLUSTERS
    return _IN_NAME if _LABEL_PART.search(short) else 0.0


# donors, studies and the like


def choose_by_name(columns: Sequence[Column], role: str, taken: Iterable[str] = ()) -> Choice | None:
    """The column of a role of `NAMES`: the first of its names whose values make groups of cells.

    Parameters
    ----------
    columns
        Of obs.
    role
        Key of `NAMES`.
    taken
        Names of columns that have another role.
    """
    taken = set(taken)
    least = 2 if role in _NEEDS_SEVERAL else 1
    fits: Callable[[Column], bool] = lambda one: (  # noqa: E731
        one.is_of_groups and one.kind != "b" and len(one.values) >= least and one.name not in taken
    )
    found = [column for name in NAMES[role] for column in columns if squeezed(column.name) == name and fits(column)]
    if not found:
        return None
    several = [column for column in found if len(column.values) > 1]
    best = (several or found)[0]
    return Choice(best, best.described(), tuple(one.name for one in found if one is not best))
