"""A tree over the classes of a dataset: the ontology is a graph, which cannot be drawn on a page."""

from typing import TypedDict

from annobench.ontology.graph import ROOT, Ontology


class Node(TypedDict):
    """A term in a tree of classes; `parent` is empty for the topmost nodes."""

    label_id: str
    label: str
    parent: str
    is_class: bool


def class_tree(classes: list[str], ontology: Ontology) -> list[Node]:
    """The nodes of a tree that holds all classes.

    Every term keeps one parent: the one with most classes below it (then the deepest, then the lowest id). Terms that
    are not classes and have one child are left out.
    """
    below = {
        node: sum(node == c or node in ontology.ancestors(c) for c in classes)
        for c in classes
        for node in ontology.closure(c)
    }
    parent: dict[str, str] = {}
    queue = list(classes)
    while queue:
        node = queue.pop()
        choices = [p for p in (ontology.terms[node].parents if node in ontology.terms else ()) if p != ROOT]
        if node in parent or not choices:
            continue
        parent[node] = min(choices, key=lambda p: (-below[p], -ontology.depth(p), p))
        queue.append(parent[node])
    children: dict[str, list[str]] = {}
    for child, above in parent.items():
        children.setdefault(above, []).append(child)
    kept = {
        node
        for node in set(parent) | set(children) | set(classes)
        if node in classes or len(children.get(node, [])) > 1
    }

    def nearest_kept(node: str) -> str:
        node = parent.get(node, "")
        while node and node not in kept:
            node = parent.get(node, "")
        return node

    return [
        {"label_id": node, "label": ontology.label(node), "parent": nearest_kept(node), "is_class": node in classes}
        for node in sorted(kept)
    ]
