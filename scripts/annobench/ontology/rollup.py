"""Rolling labels up to a coarser list of types.

A label belongs to the target with a root that is the label itself or an ancestor of it. Of several such roots the
deepest decides (longest path from the top of the ontology), on a tie the target that is listed first. So plasma cells,
which are lymphocytes, go to a target `plasma cell` where there is one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annobench.core.errors import DataError
from annobench.ontology.graph import UNKNOWN, Ontology
from annobench.ontology.labels import check_live
from annobench.ontology.tree import class_tree


@dataclass(frozen=True)
class Rollup:
    """A coarser list of types.

    Parameters
    ----------
    targets
        Cell Ontology id -> its roots: the ids whose descendants are rolled up to it.
    keep_others
        Whether labels below no root are kept; otherwise they become `unknown`.
    """

    targets: Mapping[str, Sequence[str]]
    keep_others: bool = True

    @classmethod
    def from_config(cls, document: Mapping[str, Any], ontology: Ontology) -> "Rollup":
        """From a file of config/rollups. Raises DataError for an id that is not a live term."""
        named = [*document["targets"], *(root for roots in document["targets"].values() for root in roots)]
        ids = {given: check_live(given, ontology, "rollup") for given in named}
        targets = {ids[target]: [ids[root] for root in roots] for target, roots in document["targets"].items()}
        if len(targets) < len(document["targets"]):
            twice = next(one for one in document["targets"] if [*ids.values()].count(ids[one]) > 1)
            raise DataError(f"rollup: the target '{twice}' is listed twice, in two spellings; keep one")
        return cls(targets, document["others"] == "keep")

    def of(self, label: str, ontology: Ontology) -> str:
        """The target of one label."""
        if label == UNKNOWN:
            return UNKNOWN
        above = ontology.ancestors(label) | {label}
        reached = [
            (-ontology.depth(root), place, target)
            for place, (target, roots) in enumerate(self.targets.items())
            for root in roots
            if root in above
        ]
        return min(reached)[2] if reached else label if self.keep_others else UNKNOWN

    def table(self, labels: Iterable[str], ontology: Ontology) -> dict[str, str]:
        """Label -> target, for the distinct labels."""
        return {label: self.of(label, ontology) for label in sorted(set(labels))}


def siblings_merged(classes: Iterable[str], ontology: Ontology) -> dict[str, str]:
    """Class -> its parent in the tree of classes (see `class_tree`), as a coarser annotation of the cells would say.

    Classes below a topmost node stay, since that would join distant relatives. So does a class that others are merged
    into.
    """
    nodes = {node["label_id"]: node["parent"] for node in class_tree(sorted(set(classes) - {UNKNOWN}), ontology)}
    merged = {}
    for label in classes:
        parent = nodes.get(label, "")
        merged[label] = parent if parent and nodes[parent] else label
    return merged | {label: label for label in set(merged.values()) & set(merged)}
