"""The tables that an audit writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from annobench.core.parquet import write_columns
from annobench.score.metric import Row
from annobench.score.scored import Scored

TABLES = {
    "metrics": ["split", "seed", "shares_of", "kind", "name", "family", "metric", "variant", "rule", "value"],
    "margins": ["family", "metric", "variant", "rule", "control", "against", "margin", "low", "high", "over"],
    "types": ["split", "seed", "name", "reading", "label_id", "metric", "value"],
    "degs": ["name", "gene_of", "gene", "label_id", "value"],
    "spatial": ["name", "cell_id", "x", "y", "true", "predicted", "confidence"],
    "places": ["name", "cell_id", "x", "y", "label_id", "predicted"],
    "label_noise": ["metric", "share", "draw", "method", "flipped", "value"],
    "disputed": ["cell_id", "label_id", "predicted", "n_methods", "n_fits", "study", "donor"],
    "misplaced": ["method", "cell_id", "label_id", "predicted", "confidence", "n_wrong", "n_fits", "study", "donor"],
    "predicted": ["split", "seed", "method", "label_id", "cells", "confidence"],
}


@dataclass
class Tables:
    """Rows of all tables, of all splits and seeds.

    Parameters
    ----------
    rows
        Table -> rows.
    """

    rows: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def write(self, outputs: Mapping[str, Path]) -> None:
        """Write all tables; one without rows has its columns all the same."""
        for name, columns in TABLES.items():
            values = zip(*self.rows[name], strict=True) if self.rows[name] else [[]] * len(columns)
            write_columns(outputs[name], dict(zip(columns, map(list, values), strict=True)))


@dataclass(frozen=True)
class Recorder:
    """Adds rows of one split and seed to the tables.

    Parameters
    ----------
    tables
        Where to.
    split, seed
        Which it is.
    shares_of
        Whose shares the controls follow: `training` or `tested` labels.
    """

    tables: Tables
    split: str
    seed: int
    shares_of: str

    def metrics(self, kind: str, name: str, rows: Iterable[Row]) -> None:
        """Values of one labelling, of the kind `method` or `control`.

        Values of single classes, groups and bins are left out, and so are time, memory and status, which have no
        control.
        """
        for row in rows:
            # the few right answers of such a model are of types that both tissues have
            misleading = name == "unrelated_tissue" and row.metric == "auroc_correct"
            if row.level in ("overall", "rule") and row.family != "status" and not misleading:
                rule = row.group if row.level == "rule" else "-"
                about = (self.split, self.seed, self.shares_of, kind, name)
                self.tables.rows["metrics"].append(
                    (*about, row.family, row.metric, row.label_set, rule, float(row.value))
                )

    def types(self, name: str, reading: str, of_types: Mapping[str, Mapping[str, float]]) -> None:
        """Marker metrics of every type of a labelling: type -> metric -> value."""
        for label_id, of_type in of_types.items():
            for metric, value in of_type.items():
                row = (self.split, self.seed, name, reading, label_id, metric, float(value))
                self.tables.rows["types"].append(row)

    def degs(self, *row: object) -> None:
        """One field of a heat map: name, type of the gene, gene, type, value."""
        self.tables.rows["degs"].append(row)

    def places(self, *row: object) -> None:
        """One cell in a map of an embedding: name, cell, x, y, true and predicted type (empty: none given)."""
        self.tables.rows["places"].append(row)

    def predicted(self, method: str, scored: Scored) -> None:
        """How many cells a method gives each label, and its mean confidence in them, of one split and seed."""
        codes, confidence = scored.predicted_codes, scored.confidence
        for code in np.unique(codes):
            mine = codes == code
            mean = float("nan") if confidence is None else float(np.mean(confidence[mine]))
            row = (self.split, self.seed, method, scored.names[code], int(mine.sum()), mean)
            self.tables.rows["predicted"].append(row)

    def spatial(self, *row: object) -> None:
        """One cell in space: name, cell, x, y, true and predicted type, confidence."""
        self.tables.rows["spatial"].append(row)
