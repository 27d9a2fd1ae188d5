"""What every embedding is checked for, part by part: rounding, effective rank, collapsed dimensions, length of rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLLAPSED = 1e-6  # of the largest standard deviation: a dimension below tells cells apart by rounding only
ROUNDING = 1e-6  # of the largest value: float32 has 24 bits, 6e-8, and sums of products have an error of several
UNIT = 1e-3  # from 1: lengths of unit rows that were kept in half precision
MOST_DIMENSIONS = 4096  # whose products (134 MB) are summed; of more there is no effective rank


@dataclass(frozen=True)
class Geometry:
    """Numbers that describe an embedding without its labels.

    Parameters
    ----------
    cells, dimensions
        Its shape.
    effective_rank
        exp of the entropy of the singular values of the centred matrix, these divided by their sum: the number of
        dimensions that are in use, between 1 and `dimensions` (Roy and Vetterli, EUSIPCO 2007). 0 where all cells lie
        at one point; None beyond `MOST_DIMENSIONS`.
    collapsed_dimensions
        Dimensions whose standard deviation is below 1e-6 of the largest one.
    unit_norm
        Whether every cell has length 1, to 0.001.
    largest_deviation, largest_value
        The largest standard deviation of a dimension, and the largest absolute value.
    """

    cells: int
    dimensions: int
    effective_rank: float | None
    collapsed_dimensions: int
    unit_norm: bool
    largest_deviation: float
    largest_value: float

    @property
    def is_constant(self) -> bool:
        """Whether the cells differ by no more than rounding."""
        return self.cells > 1 and self.largest_deviation <= ROUNDING * self.largest_value

    def notes(self) -> dict[str, str | int | float]:
        """For run records."""
        rank = "not computed" if self.effective_rank is None else round(self.effective_rank, 3)
        return {
            "cells": self.cells,
            "dimensions": self.dimensions,
            "effective_rank": rank,
            "collapsed_dimensions": self.collapsed_dimensions,
            "unit_norm": self.unit_norm,
        }

    @classmethod
    def of(cls, values: "NDArray[np.floating]") -> "Geometry":
        """That of a matrix (cells, dimensions)."""
        parts = GeometryOfParts(values.shape[1])
        for start in range(0, len(values), _PART):
            parts.add(values[start : start + _PART])
        return parts.result()


_PART = 8192  # cells of which a copy in float64 is made


class GeometryOfParts:
    """Sums over parts of an embedding; memory does not grow with the number of cells.

    Sums are of differences from the first cell, in float64: an offset that all cells share costs no precision.

    Parameters
    ----------
    dimensions
        Columns of the embedding.
    """

    def __init__(self, dimensions: int) -> None:
        self._n, self._dimensions = 0, dimensions
        self._first: NDArray[np.float64] | None = None
        self._sums, self._squares = np.zeros(dimensions), np.zeros(dimensions)
        self._products = np.zeros((dimensions, dimensions)) if dimensions <= MOST_DIMENSIONS else None
        self._largest, self._unit = 0.0, True

    def add(self, values: "NDArray[np.floating]") -> None:
        """Take the next cells, (n, dimensions) finite numbers."""
        if not len(values):
            return
        part = np.asarray(values, dtype=np.float64)
        if self._first is None:
            self._first = part[0].copy()
        self._n += len(part)
        self._largest = max(self._largest, float(np.abs(part).max()))
        lengths = np.einsum("ij,ij->i", part, part)
        self._unit = self._unit and bool((np.abs(np.sqrt(lengths) - 1) <= UNIT).all())
        part = part - self._first
        self._sums += part.sum(axis=0)
        self._squares += np.einsum("ij,ij->j", part, part)
        if self._products is not None:
            self._products += part.T @ part

    def result(self) -> Geometry:
        """The geometry of all cells so far."""
        n = max(self._n, 1)
        deviations = np.sqrt(np.maximum(self._squares / n - (self._sums / n) ** 2, 0))
        largest = float(deviations.max(initial=0))
        return Geometry(
            cells=self._n,
            dimensions=self._dimensions,
            effective_rank=None if self._products is None else self._effective_rank(self._products / n, self._sums / n),
            # where all are zero there is nothing beside which one is collapsed: then all are
            collapsed_dimensions=int((deviations <= COLLAPSED * largest).sum()),
            unit_norm=self._n > 0 and self._unit,
            largest_deviation=largest,
            largest_value=self._largest,
        )

    def _effective_rank(self, products: "NDArray[np.float64]", mean: "NDArray[np.float64]") -> float:
        """From the mean products of two dimensions; their eigenvalues are squares of the singular values."""
        eigenvalues = np.linalg.eigvalsh(products - np.outer(mean, mean))
        largest = float(eigenvalues.max(initial=0))
        # what eigenvalues of rounding are: without this cut a matrix of rank 1 would seem to have more
        noise = largest * len(eigenvalues) * np.finfo(np.float64).eps
        return effective_rank(np.sqrt(eigenvalues[eigenvalues > noise]))


def effective_rank(singular_values: "NDArray[np.floating]") -> float:
    """Exponential of the entropy of singular values divided by their sum (Roy and Vetterli, EUSIPCO 2007).

    Parameters
    ----------
    singular_values
        (k,) none negative.

    Returns
    -------
    Between 1 and the number of positive values; 0 where there is none.
    """
    positive = singular_values[singular_values > 0]
    if not len(positive):
        return 0.0
    shares = positive / positive.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
