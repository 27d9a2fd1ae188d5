"""The graph of cell types: ancestors, descendants, and reachability over any list of classes.

Only `is_a` relations between Cell Ontology terms count. A label that is not a live term of the release has no
ancestors, so that metrics stay defined for it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.core.files import read_json
from annobench.core.records import plain
from annobench.ontology.ids import canonical

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROOT = "CL:0000000"  # "cell"
UNKNOWN = "unknown"  # the label_id of a cell whose type is not known


@dataclass(frozen=True)
class Term:
    """One ontology term; `replaced_by` is the successor that an obsolete term names."""

    label: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    obsolete: bool = False
    replaced_by: str | None = None


class Ontology:
    """One release of the Cell Ontology.

    Parameters
    ----------
    release
        Its date.
    terms
        Terms by id (`CL:0000084`), obsolete and merged ones included. A term that is its own parent, as releases have
        had it, loses that parent: it says nothing.

    Raises
    ------
    DataError
        Where a parent is not among the terms, or terms are above each other.
    """

    def __init__(self, release: str, terms: dict[str, Term]) -> None:
        self.release = release
        own = [key for key, term in terms.items() if key in term.parents]
        changed = {key: replace(terms[key], parents=tuple(p for p in terms[key].parents if p != key)) for key in own}
        self.terms = terms | changed
        self._check_parents()
        self._ancestors: dict[str, frozenset[str]] = {}
        self._depths: dict[str, int] = {}

    def _check_parents(self) -> None:
        """Raise DataError for a parent that is not there, and for terms that are above each other."""
        for key, term in self.terms.items():
            lacking = next((parent for parent in term.parents if parent not in self.terms), None)
            if lacking:
                raise DataError(
                    f"Cell Ontology {self.release}: {key} ({term.label}) has the parent {lacking}, which the file does "
                    "not hold; it is a part of a release. Take cl-basic.obo of the release, which holds all terms"
                )
        waiting = {key: len(term.parents) for key, term in self.terms.items()}
        below: dict[str, list[str]] = {}
        for key, term in self.terms.items():
            for parent in term.parents:
                below.setdefault(parent, []).append(key)
        ready = [key for key, number in waiting.items() if not number]
        done = 0
        while ready:
            done += 1
            for child in below.get(ready.pop(), ()):
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        if done < len(self.terms):
            raise DataError(
                f"Cell Ontology {self.release}: the release file is broken: {' is below '.join(self._circle(waiting))}"
            )

    def _circle(self, waiting: dict[str, int]) -> list[str]:
        """Terms of which each is below the next, back to the first; among those that wait for a parent."""
        path: list[str] = [next(key for key, number in waiting.items() if number)]
        while path[-1] not in path[:-1]:
            path.append(next(parent for parent in self.terms[path[-1]].parents if waiting[parent]))
        return path[path.index(path[-1]) :]

    @classmethod
    def load(cls, path: str | Path) -> "Ontology":
        """Read the JSON that `save` writes."""
        document = read_json(path)
        terms = {
            key: Term(t["label"], tuple(t["parents"]), tuple(t["synonyms"]), t["obsolete"], t["replaced_by"])
            for key, t in document["terms"].items()
        }
        return cls(document["release"], terms)

    def save(self, path: str | Path) -> None:
        """Write the release as JSON, with sorted keys."""
        document = {"release": self.release, "terms": {key: asdict(term) for key, term in sorted(self.terms.items())}}
        Path(path).write_text(json.dumps(document, indent=0, sort_keys=True), encoding="utf-8")

    def __contains__(self, label_id: str) -> bool:
        """Whether the id is a live (not obsolete) term."""
        return label_id in self.terms and not self.terms[label_id].obsolete

    def above(self, labels: Iterable[str]) -> "Ontology":
        """The part of the release that holds some terms and all above them, without synonyms."""
        wanted = {one for label in labels for one in (label, *self.ancestors(label)) if one in self.terms}
        terms = {key: replace(self.terms[key], synonyms=(), replaced_by=None) for key in wanted}
        return Ontology(self.release, terms)

    def label(self, label_id: str) -> str:
        """Name of a term; the id itself where the release does not have it."""
        return self.terms[label_id].label if label_id in self.terms else label_id

    @cached_property
    def _names(self) -> dict[str, str]:
        """Name in lower case -> live id: labels first, then exact synonyms of one term only, then obsolete labels."""
        names: dict[str, str] = {}
        taken: Counter[str] = Counter()
        live = {key: term for key, term in sorted(self.terms.items()) if not term.obsolete}
        for term in live.values():
            taken.update({name.lower() for name in term.synonyms})
        for key, term in self.terms.items():
            successor = self.resolve(key) if term.obsolete else None
            if successor:
                names[term.label.lower().removeprefix("obsolete ")] = successor
        for key, term in live.items():
            names |= {name.lower(): key for name in term.synonyms if taken[name.lower()] == 1}
        names |= {term.label.lower(): key for key, term in live.items()}
        names.pop("", None)  # releases hold obsolete terms without a name
        return names

    def find(self, name: str) -> str | None:
        """The live term with a name (label, exact synonym, or former label), in any case; None if there is none."""
        return self._names.get(plain(name).lower())

    def resolve(self, label_id: str) -> str | None:
        """The live term of an id in any spelling: itself, or its replacement if it is obsolete or merged; else None."""
        seen = set()
        current: str | None = label_id if label_id in self.terms else canonical(label_id)
        while current in self.terms and current not in seen:
            if not self.terms[current].obsolete:
                return current
            seen.add(current)
            current = self.terms[current].replaced_by
        return None

    def ancestors(self, label_id: str) -> frozenset[str]:
        """All strict ancestors of a term, the root included; empty for an id that is not in the release."""
        if label_id not in self._ancestors:
            above: set[str] = set()
            queue = list(self.terms[label_id].parents) if label_id in self.terms else []
            while queue:
                parent = queue.pop()
                if parent not in above:
                    above.add(parent)
                    queue.extend(self.terms[parent].parents)
            self._ancestors[label_id] = frozenset(above)
        return self._ancestors[label_id]

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for key, term in self.terms.items():
            for parent in term.parents:
                children.setdefault(parent, []).append(key)
        return children

    def descendants(self, label_id: str) -> frozenset[str]:
        """All strict descendants of a term."""
        below: set[str] = set()
        queue = list(self._children.get(label_id, []))
        while queue:
            child = queue.pop()
            if child not in below:
                below.add(child)
                queue.extend(self._children.get(child, []))
        return frozenset(below)

    def depth(self, label_id: str) -> int:
        """Longest path from the root; 0 for the root and for an id that is not in the release."""
        if label_id not in self._depths:
            parents = self.terms[label_id].parents if label_id in self.terms else ()
            self._depths[label_id] = 1 + max((self.depth(parent) for parent in parents), default=-1)
        return self._depths[label_id]

    def reachability(self, classes: Sequence[str]) -> "NDArray[np.bool_]":
        """Which classes lie at or below which.

        The closure is taken over the whole ontology and then restricted, so that a relation through a type that is not
        among the classes is kept.

        Parameters
        ----------
        classes
            Cell Ontology ids.

        Returns
        -------
        R (classes, classes), with R[i, j] true where j is i or a descendant of i.
        """
        import numpy as np

        position = {label_id: i for i, label_id in enumerate(classes)}
        matrix = np.eye(len(classes), dtype=bool)
        for label_id, j in position.items():
            for ancestor in self.ancestors(label_id):
                if ancestor in position:
                    matrix[position[ancestor], j] = True
        return matrix

    def closure(self, label_id: str) -> frozenset[str]:
        """A term and its ancestors without the root: the node set of the hierarchical F-measure.

        Kiritchenko et al., Advances in Artificial Intelligence 2006, doi 10.1007/11766247_34.
        """
        return (self.ancestors(label_id) | {label_id}) - {ROOT}

    def reduced_edges(self, classes: Iterable[str]) -> list[tuple[str, str]]:
        """Edges (ancestor, descendant) of the transitive reduction of the ontology over some classes."""
        chosen = sorted(set(classes))
        above = {c: self.ancestors(c) & set(chosen) for c in chosen}
        edges = []
        for child in chosen:
            for parent in sorted(above[child]):
                if not any(parent in above[middle] for middle in above[child]):
                    edges.append((parent, child))
        return edges
