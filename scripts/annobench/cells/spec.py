"""What a file of cells is said to hold: its matrix and its genes.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from dataclasses import dataclass

from annobench.core.spec import Spec

COUNTS = ("counts", "fractional_counts")  # values of matrix.state


@dataclass(frozen=True)
class MatrixSpec(Spec):
    """Where the expression values lie (`slot`) and what they are (`state`).

    Parameters
    ----------
    counts_from
        Column of obs with the total counts per cell, to recover counts from log1p values.
    tolerance
        Largest distance from a whole number for values taken as counts.
    """

    slot: str
    state: str
    counts_from: str | None
    tolerance: float

    @property
    def holds_counts(self) -> bool:
        """Whether the file holds the counts themselves, if need be to be rounded."""
        return self.state in COUNTS and not self.counts_from


@dataclass(frozen=True)
class GenesSpec(Spec):
    """Columns of var: Ensembl ids, symbols, and the columns that must be true of a gene that is kept.

    `features` is `genes`, or `all` to keep antibodies, guides, spike-ins and control probes as well.
    """

    id: str | None
    name: str
    require: tuple[str, ...]
    features: str = "genes"
