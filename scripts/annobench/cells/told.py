"""What the values of a matrix show themselves to be, whatever was said of them.

Values that were divided by the depth of the cell sum to one number in every cell, once the right logarithm is undone.
Where only some genes are left they do not; but the values of a cell are then still whole multiples of its smallest one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Undo = Callable[[NDArray[np.float64]], NDArray[np.float64]]

UNDO: "dict[str, Undo]" = {
    "log1p": np.expm1,
    "log2": lambda values: np.exp2(values) - 1,
    "twice": lambda values: np.expm1(np.expm1(values)),
    "log10": lambda values: np.power(10.0, values) - 1,
    "root": np.square,
    "normalised": lambda values: values,
}
NO_STATE = {  # kinds that no state of a matrix is, and what to do
    "twice": "take it once",
    "log10": "undo it (10^x - 1)",
    "root": "undo it (square the values)",
}
NEAR = 0.05  # of a scale: sums that are taken for it
_SPREAD = 0.005  # of the median: how far the sums of cells that share one lie apart, from the 1 % to the 99 % quantile
_ROWS = 2000  # cells that are looked at
FEW = 5  # cells without which nothing is told
_HIGH = 40.0  # no logarithm of an expression is larger
_TOLD_WHOLE = 1e5  # squares of float32 below this are near a whole number only if they are one
_MULTIPLE = 50  # multiples up to here are compared with whole numbers


@dataclass(frozen=True)
class Told:
    """What values are.

    Parameters
    ----------
    kind
        `counts`, or the key of `UNDO` that leads to values before the logarithm (`twice`: it was taken twice).
    total
        What every cell then sums to; None where the cells share no sum.
    """

    kind: str
    total: float | None

    def __str__(self) -> str:
        each = "of some of the genes" if self.total is None else f"that sum to {self.total:,.5g} in every cell"
        return {
            "counts": "whole numbers",
            "log1p": f"log1p of values {each}",
            "log2": f"log2(x + 1) of values {each}",
            "twice": f"values {each}, of which the logarithm was taken twice",
            "log10": f"log10(x + 1) of values {each}",
            "root": "square roots of counts" if self.total is None else f"square roots of values {each}",
            "normalised": f"values {each}, without a logarithm",
        }[self.kind]


def shared_sum(sums: "NDArray[np.floating]") -> float | None:
    """The sum that the cells share; None where they do not, or where there are too few to say."""
    given = sums[sums > 0]
    if len(given) < FEW or not np.isfinite(given).all():
        return None
    low, middle, high = np.quantile(given, [0.01, 0.5, 0.99])
    return float(middle) if high - low <= _SPREAD * middle else None


def row_sums(matrix: "csr_matrix", kind: str) -> "NDArray[np.float64]":
    """Sum of every row (n,) before the logarithm, which `kind` names."""
    with np.errstate(over="ignore"):
        values = UNDO[kind](matrix.data.astype(np.float64))
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.bincount(rows, values, matrix.shape[0]).astype(np.float64)


def told(matrix: "csr_matrix") -> Told | None:
    """What values (cells, genes) are, from at most 2,000 of the cells; None where they show nothing.

    They must be finite and not negative.
    """
    step = -(-matrix.shape[0] // _ROWS) if matrix.shape[0] else 1
    part = matrix[::step]
    if not len(part.data):
        return None
    if (part.data == np.rint(part.data)).all():
        return Told("counts", None)
    if _near_whole(np.square(part.data.astype(np.float64))):
        return Told("root", None)
    kinds = [kind for kind in UNDO if kind in ("normalised", "root") or part.data.max() < _HIGH]
    for kind in kinds:
        if (total := shared_sum(row_sums(part, kind))) is not None:
            return Told(kind, total)
    # squares of whole multiples are whole multiples: of roots it would tell nothing
    shares = {kind: _whole_multiples(part, kind) for kind in kinds if kind != "root"}
    best = max(shares, key=lambda kind: shares[kind])
    others = [share for kind, share in shares.items() if kind != best]
    return Told(best, None) if shares[best] > 0.9 and max(others, default=0.0) < 0.5 else None


def _near_whole(values: "NDArray[np.float64]") -> bool:
    """Whether all values are whole numbers, but for the rounding of float32; of large ones nobody can tell."""
    away = np.abs(values - np.rint(values))
    return bool(values.max() < _TOLD_WHOLE and (away <= 3e-7 * values + 1e-6).all())


def _whole_multiples(matrix: "csr_matrix", kind: str) -> float:
    """Share of values that are a whole multiple of the smallest of their cell, but not that one itself."""
    with np.errstate(over="ignore"):
        values = UNDO[kind](matrix.data.astype(np.float64))
    width = np.diff(matrix.indptr)
    if not np.isfinite(values).all() or not (width > 0).any():
        return 0.0
    least = np.repeat(np.minimum.reduceat(values, matrix.indptr[:-1][width > 0]), width[width > 0])
    multiple = np.divide(values, least, out=np.full_like(values, np.inf), where=least > 0)
    looked = (multiple > 1.05) & (multiple < _MULTIPLE)
    if looked.sum() < FEW * 10:
        return 0.0
    away = np.abs(multiple[looked] - np.rint(multiple[looked]))
    return float((away < 0.02).mean())
