"""Rolling labels up: a coarser list of types to which fine labels belong.

The rule: a label belongs to the target with a root that is the label itself or an ancestor of it; of several such roots
the deepest decides (longest path from the top of the ontology), on a tie the target that stands first. Plasma cells,
which are lymphocytes, so go to a target `plasma cell` where there is one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annobench.core.errors import DataError
from annobench.ontology.graph import UNKNOWN, Ontology
from annobench.ontology.tree import class_tree


@dataclass(frozen=True)
class Rollup:
    """Targets (Cell Ontology ids) with their roots. Labels below no root are kept, or become `unknown`."""

    targets: Mapping[str, Sequence[str]]
    keep_others: bool = True

    @classmethod
    def from_config(cls, document: Mapping[str, Any], ontology: Ontology) -> "Rollup":
        """From a file of config/rollups. Raises DataError for an id that is no live term."""
        for label_id in [*document["targets"], *(root for roots in document["targets"].values() for root in roots)]:
            if label_id not in ontology:
                raise DataError(f"rollup: '{label_id}' is no live term of Cell Ontology {ontology.release}")
        return cls(document["targets"], document["others"] == "keep")

    def of(self, label: str, ontology: Ontology) -> str:
        """The target of one label."""
        if label == UNKNOWN:
            return UNKNOWN
        above = ontology.ancestors(label) | {label}
        found = [
            (-ontology.depth(root), place, target)
            for place, (target, roots) in enumerate(self.targets.items())
            for root in roots
            if root in above
        ]
        return min(found)[2] if found else label if self.keep_others else UNKNOWN

    def table(self, labels: Iterable[str], ontology: Ontology) -> dict[str, str]:
        """Label -> target, for every different label."""
        return {label: self.of(label, ontology) for label in sorted(set(labels))}


def siblings_merged(classes: Iterable[str], ontology: Ontology) -> dict[str, str]:
    """Class -> the type that it and its nearest relatives among the classes have in common, where that is not all.

    Without any table: every class becomes its parent in the tree of classes (see `class_tree`), unless that is a
    topmost node, which would join what is only related from afar. A class that others become stays, so that they are
    one type with it. What a coarser annotation of the same cells would say.
    """
    nodes = {node["label_id"]: node["parent"] for node in class_tree(sorted(set(classes) - {UNKNOWN}), ontology)}
    found = {}
    for label in classes:
        parent = nodes.get(label, "")
        found[label] = parent if parent and nodes[parent] else label
    return found | {label: label for label in set(found.values()) & set(found)}
