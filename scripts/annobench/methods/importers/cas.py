"""Reads the folder of a run of Cellarium CAS: the calls that it inferred, or calls made anew from its scores."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from annobench.core.errors import ConfigError, DataError
from annobench.core.files import read_foreign_json
from annobench.core.parquet import Categorical, to_arrow
from annobench.core.tables import INDEX, Wanted, column_names, read_table
from annobench.methods.shared import cas
from annobench.methods.shared.imports import ImportedPredictions
from annobench.ontology import ROOT, UNKNOWN, Ontology
from annobench.ontology.ids import canonical as as_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64] | NDArray[np.int32]

FILES = (
    "{path}/inferred_labels.csv",
    "{path}/metadata.json",
    "{path}/ontology_resource.json",
    "{path}/ontology_response.json",
)


def read(
    path: Path,
    ontology: Ontology,
    *,
    calls: Literal["inferred", "response"] = "inferred",
    level: Literal["cell", "cluster"] = "cell",
    use: Literal["id", "label"] = "id",
    top_k: int | None = None,
    min_score: float = 0.2,
    depth: Literal["shortest", "longest"] = "shortest",
) -> ImportedPredictions:
    """Read a run of CAS.

    The most granular call is the first label, and its score is the confidence. Calls are ordered by how granular they
    are, so that the scores of further ranks rise: they are not kept.

    Parameters
    ----------
    path
        The folder.
    ontology
        The release of the study; the run record says how that of the run differs.
    calls
        `inferred`: those of inferred_labels.csv. `response`: made from the scores in ontology_response.json as CAS
        makes them: of the terms with at least `min_score` the deepest, of equally deep ones that with the largest score
        (then the first in the ontology resource); the root, with score 1, where there are fewer.
    level
        With `inferred`: the calls of cells, or those of their clusters.
    use
        With `inferred`: read the ids, or the names of the terms (then `labels: name` is needed).
    top_k
        Most ranks; by default all in the file, or 3 with `response`.
    min_score
        With `response`: lowest score of a call.
    depth
        With `response`: length of the shortest or of the longest path from the root.

    Raises
    ------
    DataError
        Where the files do not belong together.
    """
    if top_k is not None and top_k < 1:
        raise ConfigError(f"options.top_k is {top_k}, expected 1 or more")
    if not min_score > 0:
        raise ConfigError(f"options.min_score is {min_score}, expected more than 0")
    resource = cas.Resource.load(path / cas.RESOURCE)
    if calls == "response":
        given = _from_response(path / cas.RESPONSE, resource, top_k or 3, min_score, depth)
    else:
        prefix = cas.CELL if level == "cell" else cas.CLUSTER
        given = _inferred(path / cas.LABELS, resource, prefix, "name" if use == "id" else "label", top_k)
    metadata = read_foreign_json(path / cas.METADATA)
    cells = metadata.get("n_cells")
    if cells is not None and cells != len(given.cell_ids):
        raise DataError(
            f"{given.file}: has {len(given.cell_ids)} cells, but {cas.METADATA} says n_cells {cells}; the two files "
            "are of different runs"
        )
    model = str(metadata.get("model_name") or "unknown")
    return replace(given, notes={"model": model, **given.notes, **resource.compared(ontology)})


def _inferred(path: Path, resource: cas.Resource, prefix: str, kind: str, top_k: int | None) -> ImportedPredictions:
    """Calls of inferred_labels.csv."""
    columns = column_names(path)
    if INDEX not in columns:
        raise DataError(f"{path.name}: its first column, '{columns[0]}', has a name; expected that of the cell ids")
    ranks = min(cas.ranks_of(columns, prefix, kind, path.name), top_k or len(columns))
    labels = [cas.column(prefix, kind, rank) for rank in range(1, ranks + 1)]
    score = cas.column(prefix, "score", 1)
    numbers = [score] if score in columns else []
    table = read_table(path, Wanted(ids=INDEX, texts=labels, numbers=numbers))
    given = ImportedPredictions.of(table, labels, (), score if numbers else None)
    if kind == "name":
        for column in given.labels:
            counts = column.counts()
            resource.check_has(path.name, (as_id(name) for name in counts if name.lower() not in ("", UNKNOWN)), counts)
    return replace(given, notes=given.without_score())


def _from_response(path: Path, resource: cas.Resource, top_k: int, min_score: float, depth: str) -> ImportedPredictions:
    """Calls made from the scores of all terms."""
    cells, cell, code, score = _scores(path, resource)
    depths = resource.depths[depth]
    if not depths:
        raise DataError(f"{resource.file}: has no {depth} path lengths from the root, which `calls: response` needs")
    keep = score >= min_score
    cell, code, score = cell[keep], code[keep], score[keep]
    deepness = np.array([depths.get(term, -1) for term in resource.ids])[code]
    if (deepness < 0).any():
        term = resource.ids[int(code[deepness < 0][0])]
        raise DataError(f"{resource.file}: has no {depth} path length from the root of '{term}'")
    order = np.lexsort((code, -score, -deepness, cell))
    cell, code, score = cell[order], code[order], score[order]
    rank = np.arange(len(cell)) - np.searchsorted(cell, cell)
    best = rank < top_k
    names = [*resource.ids, ROOT]
    codes = np.full((len(cells), top_k), len(resource.ids), dtype=np.int32)
    codes[cell[best], rank[best]] = code[best]
    confidence = np.ones(len(cells))
    confidence[cell[rank == 0]] = score[rank == 0]
    return ImportedPredictions(
        path.name,
        to_arrow(np.array(cells, dtype=object)),
        [Categorical(np.ascontiguousarray(column), names) for column in codes.T],
        None,
        confidence,
        np.arange(1, len(cells) + 1),
        "cell",
    )


def _scores(path: Path, resource: cas.Resource) -> "tuple[Sequence[str], Rows, Rows, NDArray[np.float64]]":
    """Ids of the cells; and of every match the number of its cell, the number of its term, and the score."""
    answers = cast(list[cas.Answer], read_foreign_json(path).get("data"))
    terms = {term: number for number, term in enumerate(resource.ids)}
    cells: list[str] = []
    matches: list[int] = []
    term_ids: list[str] = []
    scores: list[float] = []
    try:
        for answer in answers:
            cells.append(str(answer["query_cell_id"]))
            matches.append(len(answer["matches"]))
            for match in answer["matches"]:
                term_ids.append(match["cell_type_ontology_term_id"])
                scores.append(float(match["score"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: cell {len(cells)}: is not an answer of CAS ({error!r})") from error
    if not cells:
        raise DataError(f"{path.name}: holds no cells")
    cell = np.repeat(np.arange(len(cells)), matches)
    coded = Categorical.of(term_ids)
    used = {name: int(n) for name, n in zip(coded.names, np.bincount(coded.codes), strict=True)} if term_ids else {}
    resource.check_has(path.name, coded.names, used)
    return cells, cell, coded.recode([*terms]), np.array(scores)
