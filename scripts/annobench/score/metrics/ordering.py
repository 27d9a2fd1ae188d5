"""Whether neighbours in an embedding are neighbours in time, or along another order.

sequential_alignment: 1 - D / B, from 0 to 1; D is the mean difference between the position of a cell and those of its
15 nearest neighbours, B the mean difference of all pairs of cells. 1: neighbours share their position; 0: they are no
nearer than cells at random.

silhouette_order: the label silhouette with every position as a label of its own.

Source: cz-benchmarks 0.15.1, which estimates B by draws without a seed; here it is exact. Its `adaptive_k`, which takes
more neighbours where cells are sparse, is an option.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.neighbours import Neighbours
from annobench.core.errors import DataError
from annobench.score.evidence import Evidence
from annobench.score.metric import Family, Metric, Row
from annobench.score.metrics.shared.columns import cells_with
from annobench.score.metrics.shared.silhouettes import label_silhouettes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """Options of the family: neighbours of a cell, and whether their number is adapted to the density."""

    k: int = 15
    adaptive_k: bool = False


_MOST, _LEAST = 50, 3  # neighbours of a cell, where their number is adapted

METRICS = [
    Metric(
        name="sequential_alignment",
        label="sequential alignment",
        meaning="how much nearer in order the neighbours of a cell are than cells at random",
        low=0,
        high=1,
        best=1,
        needs=("order",),
    ),
    Metric(
        name="silhouette_order",
        label="silhouette of the order",
        meaning="how far the positions lie apart in the embedding, as if they were labels; rescaled to 0 to 1",
        low=0,
        high=1,
        best=1,
        needs=("order",),
    ),
]


def expected_difference(positions: "Array") -> float:
    """Mean absolute difference of all pairs of different cells."""
    n, ordered = len(positions), np.sort(positions)
    # the i-th smallest is the larger one of i pairs and the smaller one of n - 1 - i
    return float((ordered * (2 * np.arange(n) - n + 1)).sum() / (n * (n - 1) / 2))


def sequential_alignment(
    neighbours: Neighbours, positions: "NDArray[np.floating]", k: int = 15, *, adaptive_k: bool = False
) -> float:
    """The score of the module.

    Parameters
    ----------
    neighbours
        Of every cell.
    positions
        (n,) where in the order a cell is.
    k
        Neighbours that count.
    adaptive_k
        Take between half and twice as many, the more the sparser the cells lie.

    Raises
    ------
    ValueError
        For too few cells, or where all have one position.
    """
    x = np.asarray(positions, dtype=np.float64)
    n, given = neighbours.indices.shape
    if n < k + 1:
        raise ValueError(f"{n} cells, but the score compares each with {k} others")
    expected = expected_difference(x)
    if expected == 0:
        raise ValueError("all cells have the same position")
    number = _adapted(neighbours, k) if adaptive_k else np.full(n, k)
    most = min(int(number.max()), given)
    differences = np.abs(x[neighbours.nearest(most).indices] - x[:, None])
    counts = np.arange(most) < number[:, None]
    observed = (differences * counts).sum(axis=1) / counts.sum(axis=1)
    return float(np.clip(1 - observed.mean() / expected, 0, 1))


def _adapted(neighbours: Neighbours, k: int) -> "NDArray[np.intp]":
    """Neighbours that count for every cell: more where they lie far away."""
    n = len(neighbours.indices)
    among = max(2, min(30, max(2, 3 * k, n // 4), n - 1))  # the cell itself among them
    density = 1 / (neighbours.distances[:, among - 2].astype(np.float64) + 1e-10)
    low, high = np.percentile(density, [10, 90])
    relative = np.clip((density - low) / (high - low + 1e-10), 0, 1)
    number = np.round(k * (0.5 + 1.5 * (1 - relative))).astype(np.intp)
    most = min(_MOST, n // 2)
    return np.full(n, _LEAST, dtype=np.intp) if most < _LEAST else np.clip(number, _LEAST, most)


def positions_of(names: list[str], column: str = "order") -> "Array":
    """Values of a column as numbers. Raises DataError for one that is none."""
    values = []
    for name in names:
        try:
            values.append(float(name))
        except ValueError:
            raise DataError(
                f"obs: column '{column}' holds '{name}', expected numbers: positions in time or along a trajectory"
            ) from None
    return np.array(values)


def compute(evidence: Evidence) -> Iterator[Row]:
    """Both values; the log says where there is none."""
    options = evidence.options("ordering", Options())
    part = cells_with(evidence, "order")
    if part is None:
        return
    x, n = positions_of(part.names)[part.codes], len(part.cells)

    def row(metric: str, value: float) -> Row:
        return Row("ordering", metric, "-", "overall", "all", value, n)

    yield row("silhouette_order", float(label_silhouettes(evidence.embedding[part.cells], part.codes).mean()))
    if n <= options.k:
        print(f"sequential_alignment: {n} cells, each is compared with {options.k} others", flush=True)
        return
    value = sequential_alignment(part.neighbours, x, options.k, adaptive_k=options.adaptive_k)
    yield row("sequential_alignment", value)


FAMILY = Family("ordering", tuple(METRICS), needs=("embedding", "order"), compute=compute, order=23, on_request=True)
