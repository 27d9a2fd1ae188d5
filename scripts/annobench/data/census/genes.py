"""The genes of a dataset: by Ensembl id, in the order of the release."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.data.census.filters import read_values
from annobench.data.census.release import Release
from annobench.data.census.rows import ID
from annobench.data.census.spec import GeneChoice
from annobench.data.spec import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_THERE = -1  # number of a gene that the release lacks and that is written as zeros


def wanted_genes(
    release: Release, choice: GeneChoice, datasets: Sequence[int], *, zeros: bool
) -> "tuple[dict[str, NDArray[np.int64] | list[str]], Step]":
    """Columns soma_joinid, feature_id and feature_name of the genes that are taken, and what the record says.

    `datasets` are the numbers of the datasets whose cells are taken. A gene that the release does not have is an error,
    or comes last and is zero everywhere (`zeros`).
    """
    table = release.var.read(column_names=[ID, "feature_id", "feature_name"]).concat()
    number, ids, names = (table[key].to_pylist() for key in (ID, "feature_id", "feature_name"))
    absent: list[str] = []
    if choice.file:
        asked = set(read_values(choice.file, choice.column))
        absent = sorted(asked - set(ids))
        if absent and not zeros:
            raise DataError(
                f"source.genes: {release.where} lacks {len(absent)} of {len(asked)} genes of {choice.file} (such "
                f"as {', '.join(absent[:3])}); the ids are Ensembl's without version. Take another list, or set "
                "missing_genes to zero"
            )
        taken = np.array([name in asked for name in ids])
    elif choice.measured:
        taken = _measured_by_all(release, np.array(number), datasets)
    else:
        taken = np.ones(len(ids), dtype=bool)
    if not taken.any():
        raise DataError(f"source.genes: no gene of {release.where} is left; take another list")
    # in the order of the release
    chosen = sorted(np.flatnonzero(taken).tolist(), key=number.__getitem__)
    genes: dict[str, NDArray[np.int64] | list[str]] = {
        ID: np.array([*(number[i] for i in chosen), *(NOT_THERE for _ in absent)], dtype=np.int64),
        "feature_id": [*(ids[i] for i in chosen), *absent],
        "feature_name": [*(names[i] for i in chosen), *absent],
    }
    about: Step = {"genes": len(chosen) + len(absent), "genes_in_release": len(ids), "missing_genes": absent}
    return genes, about


def _measured_by_all(release: Release, genes: "NDArray[np.int64]", datasets: Sequence[int]) -> "NDArray[np.bool_]":
    """Which genes every one of the datasets has measured, by the release's own matrix."""
    counts = np.zeros(int(genes.max()) + 1, dtype=np.int64)
    for table in release.presence.read((np.array(sorted(datasets), dtype=np.int64), slice(None))).tables():
        there = table["soma_data"].to_numpy().astype(bool)
        np.add.at(counts, table["soma_dim_1"].to_numpy()[there], 1)
    return counts[genes] == len(datasets)
