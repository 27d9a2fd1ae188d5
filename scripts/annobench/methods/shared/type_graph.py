"""Where cell types lie in the graph of the Cell Ontology: random walks with restart, reduced to a few dimensions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.records import lines_of, read_text
from annobench.ontology import ROOT, Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_LEAST_EDGE = 1e-3  # weight of an edge whose texts say the opposite: it stays an edge
_EQUAL = 1e-6  # singular values that differ by a smaller share belong together
_DIGITS = 9  # of similarities: types of the same place are then equal, whatever the order of the sums


@dataclass(frozen=True)
class TypeGraph:
    """Types in the space of the ontology.

    Attributes
    ----------
    types
        (n,) Cell Ontology ids.
    places
        (n, dimensions) float64, unit vectors.
    """

    types: tuple[str, ...]
    places: "Numbers"

    def similarity(self, of: Sequence[str], to: Sequence[str]) -> "Numbers":
        """Cosines of the places of types, (of, to)."""
        at = {name: i for i, name in enumerate(self.types)}
        first, second = (self.places[[at[name] for name in names]] for names in (of, to))
        return np.asarray(np.round(np.clip(first @ second.T, -1, 1), _DIGITS), dtype=np.float64)


def type_graph(
    ontology: Ontology,
    types: Sequence[str],
    *,
    dimensions: int,
    restart: float,
    texts: "Mapping[str, NDArray[np.floating]] | None" = None,
) -> TypeGraph:
    """Embed types by where random walks from them are.

    A walk steps along `is_a` relations, in either direction, and returns to where it began with probability `restart`.
    Where walks from each type are, as logarithms against the even distribution, is reduced by a singular value
    decomposition, and the vectors are scaled by the square root of the singular values, centred and brought to unit
    length (Wang et al., Nature
    Communications 2021, doi 10.1038/s41467-021-25725-x; the diffusion as in Cho et al., Cell Systems 2016, doi
    10.1016/j.cels.2016.10.017). The graph is that of the whole release; the decomposition is over the types asked for.

    Parameters
    ----------
    ontology
        The release.
    types
        Ids; one that the release does not have is a place of its own, without relations.
    dimensions
        Most dimensions. Fewer are used where there are no more, or where a group of equal singular values, which come
        from types of the same place, would be cut.
    restart
        Probability of each step to begin again, above 0 and at most 1.
    texts
        Vector of the description of a type, by id. An edge then weighs as much as the vectors of its ends are alike
        (cosine, from 0 to 1); where one is missing, the mean of the others.
    """
    from scipy.sparse import csc_matrix, identity
    from scipy.sparse.linalg import splu

    types = tuple(types)
    nodes = sorted({ROOT, *types, *(t for t in ontology.descendants(ROOT) if t in ontology)})
    at = {name: i for i, name in enumerate(nodes)}
    steps = _steps(ontology, nodes, at, texts)
    own = [at[name] for name in types]
    asked = np.zeros((len(nodes), len(types)))
    asked[own, np.arange(len(types))] = restart
    stays = identity(len(nodes), format="csc") - (1 - restart) * steps.T
    visits = splu(csc_matrix(stays)).solve(asked).T
    visits = np.maximum(visits, 0) / visits.sum(axis=1, keepdims=True)
    even = 1 / len(nodes)
    logs = np.log(visits + even) - np.log(even)
    vectors, values, _ = np.linalg.svd(logs, full_matrices=False)
    kept = _whole_groups(values, dimensions)
    places = vectors[:, :kept] * np.sqrt(values[:kept])
    if len(types) > 1:
        places -= places.mean(axis=0)  # what all types have in common tells none from another
    lengths = np.linalg.norm(places, axis=1, keepdims=True)
    return TypeGraph(types, np.divide(places, lengths, out=np.zeros_like(places), where=lengths > 0))


def _steps(
    ontology: Ontology,
    nodes: list[str],
    at: Mapping[str, int],
    texts: "Mapping[str, NDArray[np.floating]] | None",
) -> "NDArray[np.float64]":
    """Probability of a step from every node (row) to every other, sparse; rows of nodes without relations are 0."""
    from scipy.sparse import coo_matrix, diags

    edges = [(at[c], at[p]) for c in nodes if c in ontology.terms for p in ontology.terms[c].parents if p in at]
    weights = np.ones(len(edges)) if texts is None else _alike(edges, nodes, texts)
    first, second = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    both = coo_matrix(
        (np.tile(weights, 2), (np.concatenate([first, second]), np.concatenate([second, first]))),
        shape=(len(nodes), len(nodes)),
    ).tocsr()
    total = np.asarray(both.sum(axis=1)).ravel()
    return diags(np.divide(1, total, out=np.zeros_like(total), where=total > 0)) @ both


def _alike(
    edges: list[tuple[int, int]], nodes: list[str], texts: "Mapping[str, NDArray[np.floating]]"
) -> "NDArray[np.float64]":
    """Weight of every edge by the texts of its ends."""
    unit = {name: vector / max(float(np.linalg.norm(vector)), 1e-12) for name, vector in texts.items()}
    pairs = [(unit.get(nodes[child]), unit.get(nodes[parent])) for child, parent in edges]
    weights = np.array([np.nan if a is None or b is None else max(float(a @ b), _LEAST_EDGE) for a, b in pairs])
    known = ~np.isnan(weights)
    if not known.any():
        raise DataError(
            f"none of the {len(edges)} relations of the ontology has texts at both ends; are the ids of the "
            f"{len(texts)} texts Cell Ontology ids, such as CL:0000084?"
        )
    return np.where(known, weights, weights[known].mean())


def _whole_groups(values: "Numbers", most: int) -> int:
    """The largest number of leading singular values, at most `most`, that cuts no group of equal ones; at least 1."""
    values = values[values > _EQUAL * values[0]]
    if len(values) <= most:
        return len(values)
    kept = most
    while kept > 1 and values[kept - 1] - values[kept] <= _EQUAL * values[kept - 1]:
        kept -= 1
    return kept


def near(ontology: Ontology, types: Sequence[str], reach: int) -> list[str]:
    """Live terms below the root within some `is_a` steps, in either direction, of any of the types; sorted.

    The types themselves are not among them.
    """
    live = {term for term in ontology.descendants(ROOT) if term in ontology}
    children: dict[str, list[str]] = {}
    for term in live:
        for parent in ontology.terms[term].parents:
            children.setdefault(parent, []).append(term)
    found = edge = set(types) & live
    for _ in range(reach):
        beside = {other for term in edge for other in (*ontology.terms[term].parents, *children.get(term, ()))}
        edge = (beside & live) - found
        found = found | edge
    return sorted(found - set(types))


def read_types(path: Path, ontology: Ontology) -> list[str]:
    """Ids of a text file, one a line, in the order of the file; what stands behind a tab is for people.

    Raises DataError where the file is missing, a line is no live term of the release, or there is none.
    """
    if not path.is_file():
        raise DataError(f"parameters.types: there is no file '{path}'")
    found = []
    for number, line in enumerate(lines_of(read_text(path)), 1):
        text = line.split("\t")[0].strip()
        if not text or text.startswith("#"):
            continue
        term = ontology.resolve(text)
        if term is None:
            raise DataError(
                f"{path}, line {number}: '{text}' is no term of Cell Ontology {ontology.release}; expected an id such "
                "as CL:0000084"
            )
        found.append(term)
    if not found:
        raise DataError(f"{path}: holds no types; expected one Cell Ontology id a line")
    return list(dict.fromkeys(found))


def read_texts(path: Path) -> "dict[str, NDArray[np.floating]]":
    """Vectors of texts by id, from an .npz file with `ids` (n,) and `vectors` (n, dimensions).

    Raises DataError where the file is missing or holds something else.
    """
    if not path.is_file():
        raise DataError(f"parameters.texts: there is no file '{path}'")
    try:
        with np.load(path, allow_pickle=False) as archive:
            ids, vectors = archive["ids"], archive["vectors"]
    except (KeyError, ValueError, OSError) as error:
        raise DataError(f"{path}: expected an .npz file with the arrays ids and vectors: {error}") from error
    if ids.ndim != 1 or vectors.ndim != 2 or len(ids) != len(vectors) or vectors.dtype.kind != "f":
        raise DataError(
            f"{path}: ids have shape {ids.shape}, vectors {vectors.shape} of {vectors.dtype}; expected (n,) texts and "
            "(n, dimensions) numbers"
        )
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: vectors hold NaN or infinite values")
    return dict(zip(ids.astype(str).tolist(), vectors.astype(np.float64), strict=True))
