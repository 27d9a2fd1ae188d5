"""What was done to the cells: the columns `condition` and `control_cell`, and what is counted of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.config.names import CONDITION, CONTROL_CELL
from annobench.core.errors import DataError, nearest
from annobench.core.parquet import NOT_GIVEN, Categorical
from annobench.data.prepare.columns import coded
from annobench.data.prepare.spec import PerturbationSpec

if TYPE_CHECKING:
    import pandas as pd

_UNS = "uns/"


class Conditions:
    """Maps blocks of a source's obs to conditions and control cells, and checks them as a whole.

    Parameters
    ----------
    spec
        `perturbation` of the dataset.
    columns
        Columns of the source's obs.
    source
        The file, in whose uns the pairs may lie; its name is in messages.

    Attributes
    ----------
    needed
        Columns of the source that are read.

    Raises
    ------
    DataError
        For a column that does not exist, and pairs that are not what they should be.
    """

    def __init__(self, spec: PerturbationSpec, columns: Sequence[str], source: Path) -> None:
        self._spec, self._file = spec, source.name
        in_uns = bool(spec.pairs) and str(spec.pairs).startswith(_UNS)
        self._pairs = _pairs_of(source, str(spec.pairs)) if in_uns else {}
        self._column = None if in_uns else spec.pairs
        self.needed = list(dict.fromkeys(filter(None, [spec.condition, self._column])))
        for key, column in (("condition", spec.condition), ("pairs", self._column)):
            if column is not None and column not in columns:
                raise DataError(
                    f"{self._file}: perturbation.{key}: there is no column '{column}'{nearest(column, columns)}"
                )
        self._counts: Counter[str] = Counter()
        self._controls: set[str] = set()  # ids of control cells
        self._paired: dict[str, str] = {}  # perturbed cell -> control cell

    def block(self, obs: "pd.DataFrame") -> dict[str, Categorical]:
        """The columns of some cells."""
        condition = coded(obs[self._spec.condition])
        self._counts.update(condition.counts())
        columns = {CONDITION: condition}
        if self._spec.pairs is None:
            return columns
        ids = obs.index.astype(str).to_numpy(dtype=object)
        control = condition == self._spec.control
        self._controls.update(ids[control])
        if self._column is not None:
            belongs = coded(obs[self._column]).to_text()
        else:
            belongs = np.array([self._pairs.get(cell, NOT_GIVEN) for cell in ids], dtype=object)
        belongs[control] = NOT_GIVEN
        given = np.flatnonzero(belongs != NOT_GIVEN)
        self._paired.update(zip(ids[given], belongs[given], strict=True))
        return columns | {CONTROL_CELL: Categorical.of(belongs)}

    def finish(self) -> dict[str, object]:
        """What the card says. Raises DataError where there are no control cells, or a pair names none."""
        counts, control = self._counts, self._spec.control
        if control not in counts:
            raise DataError(
                f"{self._file}: perturbation.control: no cell has '{control}' in the column "
                f"'{self._spec.condition}'{nearest(control, counts)}; effects are differences from control cells, so "
                "some are needed"
            )
        perturbed = {name: n for name, n in sorted(counts.items()) if name not in (control, NOT_GIVEN)}
        if not perturbed:
            raise DataError(
                f"{self._file}: perturbation.condition: every cell has '{control}' in the column "
                f"'{self._spec.condition}'; expected perturbed cells beside the controls"
            )
        facts: dict[str, object] = {
            "control": control,
            "control_cells": counts[control],
            "conditions": perturbed,
            "cells_without_condition": counts[NOT_GIVEN],
        }
        if self._spec.pairs is not None:
            wrong = [(cell, other) for cell, other in self._paired.items() if other not in self._controls]
            if wrong or not self._paired:
                what = (
                    f"cell '{wrong[0][0]}' is paired with '{wrong[0][1]}', which is no control cell; {len(wrong)} of "
                    f"{len(self._paired)} pairs are wrong"
                    if wrong
                    else "no perturbed cell is in a pair"
                )
                raise DataError(f"{self._file}: perturbation.pairs: {what}; expected ids of cells of '{control}'")
            facts["cells_paired"] = len(self._paired)
            facts["cells_without_pair"] = sum(perturbed.values()) - len(self._paired)
        return facts


def _pairs_of(source: Path, where: str) -> dict[str, str]:
    """Pairs in the uns of an h5ad: perturbed cell -> control cell."""
    import h5py
    from anndata.io import read_elem

    try:
        with h5py.File(source) as file:
            given = read_elem(file[where]) if where in file else None
            known = [_UNS + key for key in file.get("uns", {})]
    except OSError as error:
        raise DataError(f"{source.name}: perturbation.pairs: '{where}' cannot be read ({error})") from error
    if given is None:
        raise DataError(f"{source.name}: perturbation.pairs: there is no '{where}'{nearest(where, known)}")
    pairs: dict[str, str] = {}
    for condition, of_cells in given.items() if isinstance(given, Mapping) else ():
        if isinstance(of_cells, Mapping):
            pairs.update({str(cell): str(control) for cell, control in of_cells.items()})
        else:
            raise DataError(
                f"{source.name}: perturbation.pairs: {where}/{condition} is {type(of_cells).__name__}, expected a "
                "mapping of perturbed to control cells"
            )
    return pairs
