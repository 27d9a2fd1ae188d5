"""Card and cells file of a prepared dataset."""

from collections.abc import Mapping
from shutil import rmtree
from typing import TYPE_CHECKING

from annobench.core.files import atomic, sha256_of, write_json
from annobench.data.prepare.task import PreparedFiles
from annobench.ontology import UNKNOWN, Ontology

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


Notes = dict[str, object]  # entries of the card


def write_cells(
    name: str, cells: "AnnData", outputs: PreparedFiles, ontology: Ontology, notes: Mapping[str, object]
) -> None:
    """Write cells.h5ad, obs.parquet and, last, card.json."""
    for folder in (outputs.store, outputs.begun):  # of other settings
        rmtree(folder, ignore_errors=True)
    table = cells.obs.reset_index(names="cell_id").astype(str)
    with atomic(outputs.cells) as path:
        cells.write_h5ad(path)
    with atomic(outputs.obs) as path:
        table.to_parquet(path, index=False)
    write_card(
        name,
        outputs,
        ontology,
        genes=cells.var,
        counts={key: cells.obs[key].value_counts().to_dict() for key in ("label_id", "study", "donor")},
        facts={
            "matrix": str(cells.uns["annobench"]["matrix"]),
            "storage": "memory",
            "cells": cells.n_obs,
            "cells_without_counts": int((cells.X.sum(axis=1) == 0).sum()) if cells.n_vars else 0,
            **notes,
        },
    )


def write_card(
    name: str,
    outputs: PreparedFiles,
    ontology: Ontology,
    *,
    genes: "pd.DataFrame",
    counts: Mapping[str, Mapping[str, int]],
    facts: Mapping[str, object],
) -> None:
    """Write card.json; `counts` has the number of cells by label_id, study and donor."""
    number = {key: {str(value): int(n) for value, n in of.items()} for key, of in counts.items()}
    write_json(
        outputs.card,
        {
            "dataset": name,
            "ontology": ontology.release,
            "genes": len(genes),
            "genes_with_ensembl_id": int((genes["feature_id"] != "").sum()),
            "labels": {i: {"label": ontology.label(i), "cells": n} for i, n in number["label_id"].items()},
            "cells_with_unknown_label": number["label_id"].get(UNKNOWN, 0),
            "studies": number["study"],
            "donors": number["donor"],
            "sha256": sha256_of(outputs.cells),
            **facts,
        },
    )
