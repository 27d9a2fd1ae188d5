"""Layered drawing of a directed graph without cycles, left to right: layers, order within them, heights.

The three steps of Sugiyama, Tagawa & Toda (1981): longest paths give layers, edges that skip layers get a bend in each,
sweeps by barycentre put every layer in an order with few crossings. Heights then draw nodes towards their children, and
less towards their parents, under the order and the room that they need: a weighted isotonic regression per layer.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

import numpy as np

Edge = tuple[Any, Any]
_SWEEPS = 24
_CHILDREN = 4.0  # pull of a child on its parent, where that of a parent on its child is 1


@dataclass
class Layered:
    """Where the nodes of one connected graph stand.

    layers: nodes and bends of every layer, from top to bottom; a bend is the tuple (parent, child, layer). heights: of
    all of them, growing downwards from 0. chains: edge -> what it passes, its ends included.
    """

    layers: list[list[Hashable]]
    heights: dict[Hashable, float] = field(default_factory=dict)
    chains: dict[Edge, list[Hashable]] = field(default_factory=dict)

    @property
    def height(self) -> float:
        """Of the highest and lowest middle of a node."""
        return max(self.heights.values(), default=0.0)


def components(nodes: Sequence[Any], edges: Iterable[Edge]) -> list[list[Any]]:
    """Connected parts, the largest first; in each the nodes in their order."""
    group = {node: node for node in nodes}

    def root(node: Any) -> Any:
        while group[node] != node:
            group[node] = node = group[group[node]]
        return node

    for parent, child in edges:
        group[root(child)] = root(parent)
    found: dict[Any, list[Any]] = {}
    for node in nodes:
        found.setdefault(root(node), []).append(node)
    return sorted(found.values(), key=lambda part: -len(part))


def place(nodes: Sequence[Any], edges: Sequence[Edge], room: Mapping[Any, float], bend: float) -> Layered:
    """Lay out one connected part.

    room: the height that every node takes; bend: that of a bend. Nodes that stand one above the other are never nearer
    than half of what both take. The same input gives the same drawing. Raises graphlib.CycleError.
    """
    level = _levels(nodes, edges)
    layers: list[list[Hashable]] = [[] for _ in range(max(level.values(), default=0) + 1)]
    for node in _depth_first(nodes, edges):
        layers[level[node]].append(node)
    chains: dict[Edge, list[Hashable]] = {}
    for parent, child in edges:
        bends = [(parent, child, at) for at in range(level[parent] + 1, level[child])]
        for one in bends:
            layers[one[2]].append(one)
        chains[parent, child] = [parent, *bends, child]
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    found = Layered(_ordered(layers, links), chains=chains)
    size = {node: room.get(node, bend) for layer in found.layers for node in layer}
    found.heights = _heights(found.layers, links, size)
    return found


def _levels(nodes: Sequence[Any], edges: Sequence[Edge]) -> dict[Any, int]:
    """Longest path from a node without parents; those without parents stand just before their first child."""
    parents: dict[Any, list[Any]] = {node: [] for node in nodes}
    children: dict[Any, list[Any]] = {node: [] for node in nodes}
    for parent, child in edges:
        parents[child].append(parent)
        children[parent].append(child)
    level: dict[Any, int] = {}
    for node in TopologicalSorter(parents).static_order():
        level[node] = 1 + max((level[p] for p in parents[node]), default=-1)
    for node in nodes:
        if not parents[node] and children[node]:
            level[node] = min(level[child] for child in children[node]) - 1
    least = min(level.values(), default=0)
    return {node: at - least for node, at in level.items()}


def _depth_first(nodes: Sequence[Any], edges: Sequence[Edge]) -> list[Any]:
    """Nodes from the first root downwards, so that siblings start beside each other."""
    children: dict[Any, list[Any]] = {node: [] for node in nodes}
    for parent, child in edges:
        children[parent].append(child)
    below = {child for _, child in edges}
    found: dict[Any, None] = {}
    stack = [node for node in reversed(nodes) if node not in below]
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack += reversed(children[node])
    return list(found)


def _ordered(layers: list[list[Hashable]], links: Sequence[tuple[Hashable, Hashable]]) -> list[list[Hashable]]:
    """The order with the fewest crossings among those that sweeps by barycentre pass through."""
    before, after = _neighbours(links)
    best, fewest = [list(layer) for layer in layers], crossings(layers, links)
    current = [list(layer) for layer in layers]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        steps = range(1, len(current)) if down else range(len(current) - 2, -1, -1)
        for at in steps:
            beside = current[at - 1] if down else current[at + 1]
            rank = {node: i for i, node in enumerate(beside)}
            wanted = {}
            for i, node in enumerate(current[at]):
                ranks = [rank[n] for n in (before if down else after).get(node, []) if n in rank]
                wanted[node] = float(np.mean(ranks)) if ranks else i * len(beside) / max(1, len(current[at]))
            current[at].sort(key=lambda node: wanted[node])  # stable: equals keep their order
        crossed = crossings(current, links)
        if crossed < fewest:
            best, fewest = [list(layer) for layer in current], crossed
    return best


def crossings(layers: Sequence[Sequence[Hashable]], links: Sequence[tuple[Hashable, Hashable]]) -> int:
    """Number of pairs of links between neighbouring layers that cross."""
    place = {node: (at, i) for at, layer in enumerate(layers) for i, node in enumerate(layer)}
    total = 0
    for at in range(len(layers) - 1):
        ends = np.array([(place[a][1], place[b][1]) for a, b in links if place[a][0] == at]).reshape(-1, 2)
        total += int((np.sign(np.subtract.outer(ends[:, 0], ends[:, 0])) * np.sign(
            np.subtract.outer(ends[:, 1], ends[:, 1])) < 0).sum()) // 2  # fmt: skip
    return total


def _heights(
    layers: Sequence[Sequence[Hashable]],
    links: Sequence[tuple[Hashable, Hashable]],
    size: Mapping[Hashable, float],
) -> dict[Hashable, float]:
    before, after = _neighbours(links)
    offsets = []
    for layer in layers:
        gaps = [(size[a] + size[b]) / 2 for a, b in pairwise(layer)]
        offsets.append(np.concatenate([[0.0], np.cumsum(gaps)]))
    y: dict[Hashable, float] = {}
    for layer, offset in zip(layers, offsets, strict=True):
        y |= dict(zip(layer, (offset - offset.mean()).tolist(), strict=True))
    for sweep in range(2 * _SWEEPS):
        order = range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1)
        for at in order:
            wanted, weights = [], []
            for node in layers[at]:
                ends = [*before.get(node, []), *after.get(node, [])]
                pull = np.repeat([1.0, _CHILDREN], [len(before.get(node, [])), len(after.get(node, []))])
                wanted.append(np.average([y[end] for end in ends], weights=pull) if ends else y[node])
                weights.append(max(1.0, pull.sum()))
            fitted = _isotonic(np.array(wanted) - offsets[at], np.array(weights)) + offsets[at]
            y |= dict(zip(layers[at], fitted.tolist(), strict=True))
    top = min(y.values(), default=0.0)
    return {node: height - top for node, height in y.items()}


def _isotonic(values: Any, weights: Any) -> Any:
    """The nearest values that never fall: neighbours that do are pooled."""
    blocks: list[list[float]] = []  # mean, weight, length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, more, n = blocks.pop()
            last = blocks[-1]
            blocks[-1] = [(last[0] * last[1] + mean * more) / (last[1] + more), last[1] + more, last[2] + n]
    return np.repeat([block[0] for block in blocks], [int(block[2]) for block in blocks])


def _neighbours(
    links: Sequence[tuple[Hashable, Hashable]],
) -> tuple[dict[Hashable, list[Hashable]], dict[Hashable, list[Hashable]]]:
    before: dict[Hashable, list[Hashable]] = {}
    after: dict[Hashable, list[Hashable]] = {}
    for a, b in links:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    return before, after
