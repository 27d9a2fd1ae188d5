"""A tree over the classes of a dataset, for drawing: the ontology is a graph, and a page is not."""

from typing import Any

from annobench.ontology.graph import ROOT, Ontology


def class_tree(classes: list[str], ontology: Ontology) -> list[dict[str, Any]]:
    """Nodes (label_id, label, parent, is_class) of a tree that holds all classes.

    Every term keeps one parent, the one with most of the classes below it (the deepest of these, then the lowest id);
    terms that are no class and have one child are left out. The parent of the topmost nodes is empty.
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
