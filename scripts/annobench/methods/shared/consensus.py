"""Votes of several labellings of the same cells: for labels, or for terms of the ontology."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Literal

import numpy as np

from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Texts = NDArray[np.object_]

_EQUAL = 1e-12  # shares that differ by less are a tie


@dataclass(frozen=True)
class Consensus:
    """What members agree on.

    Attributes
    ----------
    labels
        (n, k) ids, best first; `unknown` where there are no more.
    shares
        (n, k) share of the votes for each, of all votes; 0 where there are no more.
    tied
        (n,) whether another label had the same claim to be the first, so that the lowest id decided.
    """

    labels: "Texts"
    shares: "NDArray[np.float64]"
    tied: "NDArray[np.bool_]"


def consensus(
    labels: "Texts",
    weights: Sequence[float],
    ontology: Ontology,
    *,
    scheme: Literal["labels", "ontology"] = "labels",
    majority: float = 0.5,
    top_k: int = 1,
) -> Consensus:
    """Count votes.

    With the scheme `labels`, each member votes for its label, and the label with most votes wins. With `ontology`, each
    votes for its label and all types above it but the root, as popV does (Ergen et al., Nature Genetics 2024, doi
    10.1038/s41588-024-01993-3); of the types with more than a share `majority` of the votes the deepest wins, then the
    one with most votes. Where no type has so many, the consensus is `unknown`. Ties go to the lowest id.

    `unknown` is a vote as any other, and loses every tie.

    Parameters
    ----------
    labels
        (members, n) ids or `unknown`.
    weights
        (members,) weight of each vote, at least 0, not all 0. The order of the members does not matter.
    ontology
        Relates the labels.
    majority
        From 0 to 1, for `ontology`.
    top_k
        Labels per cell, for `labels`; a consensus in the ontology is one.
    """
    members, n = labels.shape
    k = min(top_k, members) if scheme == "labels" else 1
    found = Consensus(np.full((n, k), UNKNOWN, dtype=object), np.zeros((n, k)), np.zeros(n, dtype=bool))
    if not n:
        return found
    total = fsum(weights)
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    # the members agree and differ in a few ways only, each of which is counted once
    ways, way = np.unique(codes.reshape(labels.shape), axis=1, return_inverse=True)
    for i, column in enumerate(ways.T):
        votes: dict[str, list[float]] = {}
        for weight, code in zip(weights, column, strict=True):
            if weight > 0:
                votes.setdefault(str(names[code]), []).append(weight)
        ranked, tied = _by_label(votes, total) if scheme == "labels" else _by_term(votes, total, ontology, majority)
        cells = np.flatnonzero(way.ravel() == i)
        found.tied[cells] = tied
        for rank, (name, share) in enumerate(ranked[:k]):
            found.labels[cells, rank], found.shares[cells, rank] = name, share
    return found


Votes = Mapping[str, Sequence[float]]
Ranked = list[tuple[str, float]]


def _by_label(votes: Votes, total: float) -> tuple[Ranked, bool]:
    """Labels by their share of the votes, and whether the first is tied."""
    shares = {name: fsum(own) / total for name, own in votes.items()}
    best = max(shares.values())
    first = _lowest(name for name, share in shares.items() if share > best - _EQUAL)
    rest = sorted((name for name in shares if name != first), key=lambda name: (-shares[name], _last(name)))
    tied = sum(share > best - _EQUAL for share in shares.values()) > 1
    return [(first, best), *((name, shares[name]) for name in rest)], tied


def _by_term(votes: Votes, total: float, ontology: Ontology, majority: float) -> tuple[Ranked, bool]:
    """The consensus in the ontology with its share of the votes, and whether it is tied."""
    own: dict[str, list[float]] = {}
    for label, weights in votes.items():
        for term in {label} if label == UNKNOWN else ontology.closure(label) | {label}:
            own.setdefault(term, []).extend(weights)
    shares = {term: fsum(weights) / total for term, weights in own.items()}
    able = {term: share for term, share in shares.items() if share > majority + _EQUAL}
    if not able:
        return [(UNKNOWN, shares.get(UNKNOWN, 0.0))], False
    deepest = max(map(ontology.depth, able))
    claims = {term: share for term, share in able.items() if ontology.depth(term) == deepest}
    best = max(claims.values())
    equal = [term for term, share in claims.items() if share > best - _EQUAL]
    return [(_lowest(equal), best)], len(equal) > 1


def _last(name: str) -> tuple[bool, str]:
    """Sorts by id, `unknown` last."""
    return (name == UNKNOWN, name)


def _lowest(names: Iterable[str]) -> str:
    return min(names, key=_last)
