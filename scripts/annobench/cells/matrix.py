"""What the values of a matrix are, checked on every row."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.told import FEW, NEAR, NO_STATE, UNDO, Told, row_sums, shared_sum, told
from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_matrix, spmatrix

SCALE = {"log1p_cp10k": 1e4, "log1p_cpm": 1e6}
CONVERTED = {"log1p": "log1p", "log2": "log2", "normalised": "normalised"}  # state -> how values are undone


def csr_float32(values: "spmatrix | NDArray[np.number]") -> "csr_matrix":
    """A matrix of any form as CSR float32 (cells, genes) without zeros and duplicate entries."""
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(values, dtype="float32")
    # files may hold positions of two types, with which not everything works
    matrix = csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def check_finite(matrix: "csr_matrix", file: str, first: int = 0) -> None:
    """Refuse NaN, infinite and negative values, of counts and of log1p values; `first` is the number of row 0."""
    if not np.isfinite(matrix.data).all():
        row = first + _row_of(matrix, ~np.isfinite(matrix.data))
        raise DataError(
            f"{file}: matrix: {int((~np.isfinite(matrix.data)).sum())} values are NaN or infinite (first in row "
            f"{row}); repair the file"
        )
    if (matrix.data < 0).any():
        row = first + _row_of(matrix, matrix.data < 0)
        raise DataError(
            f"{file}: matrix: {int((matrix.data < 0).sum())} values are negative (lowest {matrix.data.min():g}, "
            f"first in row {row}); "
            "these look like scaled values, name the slot with the counts in `matrix.slot`"
        )


def check_counts(matrix: "csr_matrix", tolerance: float, file: str, first: int = 0) -> "csr_matrix":
    """Values within `tolerance` of whole numbers, rounded to them, in their type; raises DataError otherwise."""
    if matrix.data.dtype.kind in "iub":
        return matrix
    rounded = np.rint(matrix.data)
    away = np.abs(matrix.data - rounded)
    if away.max(initial=0.0) > tolerance:
        bad = away > tolerance
        raise DataError(
            f"{file}: matrix.state says counts, but {bad.sum()} of {len(bad)} values are not whole numbers "
            f"(first in row {first + _row_of(matrix, bad)}: {matrix.data[bad][0]:g}); {advice(matrix, told(matrix))}"
        )
    matrix.data = rounded
    matrix.eliminate_zeros()
    return matrix


def advice(matrix: "csr_matrix", seen: Told | None) -> str:
    """What values look like, and which value of `matrix.state` fits them or what else to do."""
    slot = "name the slot with the counts in `matrix.slot`"
    rounds = (
        "counts that a correction of ambient RNA (SoupX, DecontX, CellBender) made fractional are rounded by "
        "`matrix.state: fractional_counts`"
    )
    if seen is None:
        sums = np.asarray(matrix.sum(axis=1)).ravel()
        return (
            f"the cells sum to {sums.min():,.5g} to {sums.max():,.5g}, and to no common number after a logarithm is "
            f"undone; {slot}; {rounds}"
        )
    if seen.kind in NO_STATE:
        return f"these look like {seen}: {NO_STATE[seen.kind]}, or {slot}"
    if seen.total is None and seen.kind == "normalised":
        return f"these look like {seen}, or like counts that were corrected: {slot}; {rounds}"
    state = seen.kind
    if state == "log1p":
        known = [name for name, scale in SCALE.items() if seen.total and abs(seen.total / scale - 1) < NEAR]
        state = known[0] if known else "log1p" if seen.total else "log1p_cp10k or log1p_cpm"
    fits = "" if state == "log2" and seen.total is None else f", or set `matrix.state` to {state}"
    return f"these look like {seen}: {slot}{fits}"


@dataclass
class Rounded:
    """What rounding did to counts that a correction made fractional.

    Parameters
    ----------
    values, changed, lost
        Numbers of values that were not zero, that were not whole, and that became zero.
    before, after
        Sums of all of them.
    """

    values: int = 0
    changed: int = 0
    lost: int = 0
    before: float = 0.0
    after: float = 0.0

    def notes(self) -> dict[str, object]:
        """The entry of the card."""
        return {"from": "fractional_counts", **asdict(self)}

    def __str__(self) -> str:
        share = self.changed / max(self.values, 1)
        return (
            f"{self.changed:,} of {self.values:,} fractional counts rounded ({share:.1%}), {self.lost:,} to zero; "
            f"their sum changed from {self.before:,.6g} to {self.after:,.6g}"
        )

    def round(self, matrix: "csr_matrix", file: str) -> "csr_matrix":
        """Fractional counts as whole numbers; raises DataError for values that were normalised."""
        seen = told(matrix)
        if seen is not None and seen.kind != "counts" and (seen.total or seen.kind != "normalised"):
            raise DataError(f"{file}: matrix.state says fractional_counts, but {advice(matrix, seen)}")
        if matrix.data.dtype.kind in "iub":
            matrix = matrix.astype(np.float64)
        whole = np.rint(matrix.data)
        self.values += int(np.count_nonzero(matrix.data))
        self.changed += int((whole != matrix.data).sum())
        self.lost += int(((whole == 0) & (matrix.data != 0)).sum())
        self.before += float(matrix.data.sum(dtype=np.float64))
        self.after += float(whole.sum(dtype=np.float64))
        matrix.data = whole
        matrix.eliminate_zeros()
        return matrix


def recover_counts(matrix: "csr_matrix", state: str, totals: "ArrayLike", tolerance: float, file: str) -> "csr_matrix":
    """Counts from values and the total counts per cell (n,): before the logarithm, times total / sum, rounded."""
    if state not in (*SCALE, *CONVERTED):
        raise DataError(f"{file}: matrix.counts_from: counts cannot be had from the state '{state}'")
    try:
        totals = np.asarray(totals, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: matrix.counts_from: the column holds no numbers ({error})") from error
    if not np.isfinite(totals).all() or (totals <= 0).any():
        raise DataError(f"{file}: matrix.counts_from: the totals must be positive numbers for every cell")
    scale = SCALE[state] if state in SCALE else _scale(matrix, state, file)
    per_value = np.repeat(totals / scale, np.diff(matrix.indptr))
    undo = UNDO[CONVERTED.get(state, "log1p")]
    matrix.data = (undo(matrix.data.astype(float)) * per_value).astype("float32")
    return check_counts(matrix, tolerance, file)


def check_log1p(matrix: "csr_matrix", state: str, file: str) -> None:
    """Raise DataError unless values can be log1p of counts per 10,000 or per million.

    No row may sum to more than the scale. Rows over some of the genes sum to less, each to another number: rows that
    share a sum below the scale were normalised to that sum, or to the median of the cells.
    """
    scale, sums, seen = SCALE[state], row_sums(matrix, "log1p"), told(matrix)
    shared = shared_sum(sums)
    says = f"{file}: matrix.state says {state}, but "
    if sums.max(initial=0) > scale * (1 + NEAR):
        raise DataError(
            f"{says}row {int(sums.argmax())} sums to {sums.max():.3g} after expm1, more than {scale:g}; "
            f"{advice(matrix, seen)}"
        )
    if shared is not None and abs(shared / scale - 1) > NEAR:
        raise DataError(f"{says}every row sums to {shared:,.5g} after expm1, not to {scale:,g}; {advice(matrix, seen)}")
    if seen is not None and seen.kind != "log1p" and (seen.kind != "counts" or matrix.data.max() > 1):
        raise DataError(f"{says}{advice(matrix, seen)} (largest value: {matrix.data.max():.3g})")


def to_log1p(matrix: "csr_matrix", state: str, file: str) -> "csr_matrix":
    """log1p of values per 10,000 from another normalisation.

    Parameters
    ----------
    matrix
        Values (cells, genes) over all genes that were measured.
    state
        `log1p` or `log2` of values that were scaled to one sum per cell, whatever it is, or `normalised`: such values
        without a logarithm (CPM, TPM), or proportional to them (RPKM).
    file
        Named in messages.

    Returns
    -------
    CSR float32 (cells, genes).

    Raises
    ------
    DataError
        For values that are not of this state.
    """
    kind, seen = CONVERTED[state], told(matrix)
    if seen is not None and seen.kind != kind:
        raise DataError(f"{file}: matrix.state says {state}, but {advice(matrix, seen)}")
    sums = row_sums(matrix, kind)
    if state != "normalised":
        _scale(matrix, state, file)
    found = matrix.astype(np.float64)
    per_value = np.repeat(np.divide(1e4, sums, out=np.zeros_like(sums), where=sums > 0), np.diff(matrix.indptr))
    found.data = np.log1p(UNDO[kind](found.data) * per_value)
    return found.astype(np.float32)


def _scale(matrix: "csr_matrix", state: str, file: str) -> float:
    """What every cell sums to before the logarithm. Raises DataError where they do not share a sum."""
    sums = row_sums(matrix, CONVERTED[state])
    given = sums[sums > 0]
    if not len(given):
        return 1.0
    shared = shared_sum(sums) if len(given) >= FEW else float(np.median(given))
    if shared is None:
        raise DataError(
            f"{file}: matrix.state says {state}, but before the logarithm the cells sum to {given.min():,.5g} to "
            f"{given.max():,.5g}, expected one sum over all genes that were measured; {advice(matrix, told(matrix))}"
        )
    return shared


def _row_of(matrix: "csr_matrix", mask: "NDArray[np.bool_]") -> int:
    return int(np.searchsorted(matrix.indptr, np.flatnonzero(mask)[0], side="right") - 1)


def placed(matrix: "csr_matrix", columns: "tuple[NDArray[np.intp], NDArray[np.intp]]", genes: int) -> "csr_matrix":
    """Some columns of a matrix, moved to places among `genes` columns that are zero elsewhere.

    `columns` holds which columns are taken, and their places.
    """
    from scipy.sparse import csr_matrix

    taken, places = columns
    part = matrix[:, taken]
    if len(places) == genes:
        return part
    part = part.tocoo()
    return csr_matrix((part.data, (part.row, places[part.col])), shape=(matrix.shape[0], genes))
