"""Layered drawing of a directed graph without cycles, left to right: layers, order within them, heights.

The three steps of Sugiyama, Tagawa & Toda (1981): longest paths give layers, edges that skip layers get a bend in each,
sweeps by barycentre put every layer in an order with few crossings. Heights then draw nodes towards their children, and
less towards their parents, under the order and the room that they need: a weighted isotonic regression per layer.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Node = Hashable
Edge = tuple[Node, Node]  # parent and child
_SWEEPS = 24
_CHILDREN = 4.0  # pull of a child on its parent, where that of a parent on its child is 1


@dataclass
class Layered:
    """Places of the nodes of one connected graph.

    Attributes
    ----------
    layers
        Nodes and bends of every layer, from top to bottom; a bend is the tuple (parent, child, layer).
    heights
        Of nodes and bends, growing downwards from 0.
    chains
        Edge -> nodes and bends that it passes, its ends included.
    """

    layers: list[list[Node]]
    heights: dict[Node, float] = field(default_factory=dict)
    chains: dict[Edge, list[Node]] = field(default_factory=dict)

    @property
    def height(self) -> float:
        """Distance between the middles of the highest and the lowest node."""
        return max(self.heights.values(), default=0.0)


def components(nodes: Sequence[Node], edges: Iterable[Edge]) -> list[list[Node]]:
    """Connected parts, the largest first; the nodes of each in their order."""
    group = {node: node for node in nodes}

    def root(node: Node) -> Node:
        while group[node] != node:
            group[node] = node = group[group[node]]
        return node

    for parent, child in edges:
        group[root(child)] = root(parent)
    parts: dict[Node, list[Node]] = {}
    for node in nodes:
        parts.setdefault(root(node), []).append(node)
    return sorted(parts.values(), key=lambda part: -len(part))


def place(nodes: Sequence[Node], edges: Sequence[Edge], room: Mapping[Node, float], bend: float) -> Layered:
    """Lay out one connected graph; the same input gives the same drawing.

    Parameters
    ----------
    nodes, edges
        The graph.
    room
        The height that every node takes. Neighbours in a layer are at least half of what both take apart.
    bend
        The height that a bend takes.

    Raises
    ------
    graphlib.CycleError
        Where the graph has a cycle.
    """
    level = _levels(nodes, edges)
    layers: list[list[Node]] = [[] for _ in range(max(level.values(), default=0) + 1)]
    for node in _depth_first(nodes, edges):
        layers[level[node]].append(node)
    chains: dict[Edge, list[Node]] = {}
    for parent, child in edges:
        bends = [(parent, child, at) for at in range(level[parent] + 1, level[child])]
        for one in bends:
            layers[one[2]].append(one)
        chains[parent, child] = [parent, *bends, child]
    links = [pair for chain in chains.values() for pair in pairwise(chain)]
    layered = Layered(_ordered(layers, links), chains=chains)
    size = {node: room.get(node, bend) for layer in layered.layers for node in layer}
    layered.heights = _heights(layered.layers, links, size)
    return layered


def _levels(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[Node, int]:
    """Longest path from a node without parents; those without parents come just before their first child."""
    parents: dict[Node, list[Node]] = {node: [] for node in nodes}
    children: dict[Node, list[Node]] = {node: [] for node in nodes}
    for parent, child in edges:
        parents[child].append(parent)
        children[parent].append(child)
    level: dict[Node, int] = {}
    for node in TopologicalSorter(parents).static_order():
        level[node] = 1 + max((level[p] for p in parents[node]), default=-1)
    for node in nodes:
        if not parents[node] and children[node]:
            level[node] = min(level[child] for child in children[node]) - 1
    least = min(level.values(), default=0)
    return {node: at - least for node, at in level.items()}


def _depth_first(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Node]:
    """Nodes from the first root downwards, so that siblings start beside each other."""
    children: dict[Node, list[Node]] = {node: [] for node in nodes}
    for parent, child in edges:
        children[parent].append(child)
    below = {child for _, child in edges}
    visited: dict[Node, None] = {}
    stack = [node for node in reversed(nodes) if node not in below]
    while stack:
        node = stack.pop()
        if node not in visited:
            visited[node] = None
            stack += reversed(children[node])
    return list(visited)


def _ordered(layers: list[list[Node]], links: Sequence[tuple[Node, Node]]) -> list[list[Node]]:
    """The order with the fewest crossings that sweeps by barycentre pass through."""
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


def crossings(layers: Sequence[Sequence[Node]], links: Sequence[tuple[Node, Node]]) -> int:
    """Number of pairs of links between neighbouring layers that cross."""
    place = {node: (at, i) for at, layer in enumerate(layers) for i, node in enumerate(layer)}
    total = 0
    for at in range(len(layers) - 1):
        ends = np.array([(place[a][1], place[b][1]) for a, b in links if place[a][0] == at]).reshape(-1, 2)
        total += int((np.sign(np.subtract.outer(ends[:, 0], ends[:, 0])) * np.sign(
            np.subtract.outer(ends[:, 1], ends[:, 1])) < 0).sum()) // 2  # fmt: skip
    return total


def _heights(
    layers: Sequence[Sequence[Node]],
    links: Sequence[tuple[Node, Node]],
    size: Mapping[Node, float],
) -> dict[Node, float]:
    before, after = _neighbours(links)
    offsets = []
    for layer in layers:
        gaps = [(size[a] + size[b]) / 2 for a, b in pairwise(layer)]
        offsets.append(np.concatenate([[0.0], np.cumsum(gaps)]))
    y: dict[Node, float] = {}
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


def _isotonic(values: "NDArray[np.float64]", weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
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
    links: Sequence[tuple[Node, Node]],
) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    before: dict[Node, list[Node]] = {}
    after: dict[Node, list[Node]] = {}
    for a, b in links:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    return before, after
