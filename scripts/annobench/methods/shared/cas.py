"""The folder of a run of Cellarium CAS (cellarium-cas 1.8): names of its files and columns, and its Cell Ontology."""

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict, cast

from annobench.core.errors import DataError
from annobench.core.files import read_foreign_json
from annobench.fit.method import Notes
from annobench.methods.shared.matching import SHOWN
from annobench.ontology import ROOT, Ontology

LABELS, METADATA = "inferred_labels.csv", "metadata.json"
RESOURCE, RESPONSE = "ontology_resource.json", "ontology_response.json"
CELL, CLUSTER = "cas_cell_type", "cas_cluster_type"  # prefixes of columns
_NAMES = "cell_ontology_term_id_to_cell_type"


class _Document(TypedDict, total=False):
    """What `ontology_resource.json` holds, as far as it is read."""

    cl_names: list[str]
    cell_ontology_term_id_to_cell_type: dict[str, str]
    children_dictionary: dict[str, list[str]]
    ancestors_dictionary: dict[str, list[str]]
    shortest_path_lengths_from_cell_root: dict[str, int]
    longest_path_lengths_from_cell_root: dict[str, int]


class Match(TypedDict):
    """Score of one term."""

    score: float
    cell_type_ontology_term_id: str
    cell_type: str


class Answer(TypedDict):
    """What `ontology_response.json` holds of one cell."""

    query_cell_id: str
    matches: list[Match]
    total_weight: float
    total_neighbors: int
    total_neighbors_unrecognized: int


def column(prefix: str, kind: str, rank: int) -> str:
    """Name of a column: `label` (a name), `name` (an id) or `score` of a rank, 1 for the most granular call."""
    return f"{prefix}_{kind}_{rank}"


def ranks_of(columns: Sequence[str], prefix: str, kind: str, file: str) -> int:
    """Number of ranks that a file has. Raises DataError where it has none, or where one is left out."""
    found = {int(match[1]) for name in columns if (match := re.fullmatch(rf"{prefix}_{kind}_(\d+)", name))}
    missing = [rank for rank in range(1, max(found, default=1) + 1) if rank not in found]
    if not found:
        raise DataError(f"{file}: there is no column '{column(prefix, kind, 1)}'; run `annotate` with --infer-labels")
    if missing:
        raise DataError(
            f"{file}: there is a column '{column(prefix, kind, max(found))}', but no "
            f"'{column(prefix, kind, missing[0])}'; ranks must have no gap"
        )
    return len(found)


@dataclass(frozen=True)
class Resource:
    """The Cell Ontology of a run: `ontology_resource.json`.

    Parameters
    ----------
    file
        Name of the file, for messages.
    ids
        Ids of the terms, in the order of the file.
    names
        Name of every term.
    children
        Direct children by id.
    depths
        `shortest` and `longest`: length of the path from the root by id; empty where the file does not have it.
    stated
        Ancestors by id, where the file states them; else empty.
    """

    file: str
    ids: Sequence[str]
    names: Mapping[str, str]
    children: Mapping[str, Sequence[str]]
    depths: Mapping[str, Mapping[str, int]]
    stated: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, path: Path) -> "Resource":
        """Read the file; raises DataError for one that lacks a key, or a name."""
        document = cast(_Document, read_foreign_json(path))
        for key, kind in (("cl_names", list), (_NAMES, dict), ("children_dictionary", dict)):
            if not isinstance(document.get(key), kind):
                raise DataError(f"{path.name}: has no '{key}'; it is not the ontology resource of a CAS run")
        ids, names = document["cl_names"], document["cell_ontology_term_id_to_cell_type"]
        nameless = [term for term in ids if term not in names]
        if nameless:
            raise DataError(f"{path.name}: {len(nameless)} of {len(ids)} terms (such as '{nameless[0]}') have no name")
        depths = {
            "shortest": document.get("shortest_path_lengths_from_cell_root") or {},
            "longest": document.get("longest_path_lengths_from_cell_root") or {},
        }
        stated = document.get("ancestors_dictionary") or {}
        return cls(path.name, ids, names, document["children_dictionary"], depths, stated)

    @classmethod
    def of(cls, ontology: Ontology) -> "Resource":
        """From a release: the root and all live terms below it."""
        ids = sorted({ROOT} | {term for term in ontology.descendants(ROOT) if term in ontology})
        children: dict[str, list[str]] = {term: [] for term in ids}
        for term in ids:
            for parent in ontology.terms[term].parents:
                if parent in children:
                    children[parent].append(term)
        shortest, queue = {ROOT: 0}, deque([ROOT])
        while queue:
            parent = queue.popleft()
            for child in children[parent]:
                if child not in shortest:
                    shortest[child] = shortest[parent] + 1
                    queue.append(child)
        longest = {term: ontology.depth(term) for term in ids}
        names = {term: ontology.label(term) for term in ids}
        where = f"Cell Ontology {ontology.release}"
        return cls(where, ids, names, children, {"shortest": shortest, "longest": longest}, {})

    def document(self) -> dict[str, object]:
        """What the file holds."""
        return {
            "cl_names": self.ids,
            _NAMES: self.names,
            "children_dictionary": self.children,
            "shortest_path_lengths_from_cell_root": self.depths["shortest"],
            "longest_path_lengths_from_cell_root": self.depths["longest"],
        }

    @cached_property
    def parents(self) -> dict[str, list[str]]:
        """Direct parents by id."""
        found: dict[str, list[str]] = {}
        for parent, children in self.children.items():
            for child in children:
                found.setdefault(child, []).append(parent)
        return found

    def ancestors(self, term: str) -> frozenset[str]:
        """All strict ancestors of a term among the terms of the file, the root included."""
        if self.stated:
            above = set(self.stated.get(term, ()))
        else:
            above, queue = set(), [term]
            while queue:
                new = set(self.parents.get(queue.pop(), ())) - above
                above |= new
                queue += new
        return frozenset(above - {term}) & frozenset(self.ids)

    def compared(self, ontology: Ontology) -> Notes:
        """How its terms differ from those of a release, for run records."""
        obsolete = [term for term in self.ids if term in ontology.terms and term not in ontology]
        missing = [term for term in self.ids if term not in ontology.terms]
        renamed = [term for term in self.ids if term in ontology and self.names[term] != ontology.label(term)]
        return {
            "ontology_terms": len(self.ids),
            "ontology_terms_missing": len(missing),
            "ontology_missing": tuple(missing[:SHOWN]),
            "ontology_terms_obsolete": len(obsolete),
            "ontology_obsolete": tuple(f"{t} -> {ontology.resolve(t) or 'nothing'}" for t in obsolete[:SHOWN]),
            "ontology_terms_renamed": len(renamed),
            "ontology_renamed": tuple(
                f"{term}: '{self.names[term]}', now '{ontology.label(term)}'" for term in renamed[:SHOWN]
            ),
        }

    def check_has(self, file: str, terms: Iterable[str], counts: Mapping[str, int]) -> None:
        """Raise DataError for ids of another file of the run that are not terms of this one."""
        odd = Counter({term: counts.get(term, 0) for term in terms if term not in self.names})
        if odd:
            shown = ", ".join(term for term, _ in odd.most_common(SHOWN)) + (", ..." if len(odd) > SHOWN else "")
            raise DataError(
                f"{file}: {len(odd)} ids of {odd.total()} cells are not in {self.file} ({shown}); the two files are of "
                "different runs or ontologies"
            )
