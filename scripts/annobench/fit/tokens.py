"""The tokens that a fit reads: whether they are those of its cells, and what the run record says of them.

The fit is given folders; which cells are in its split it knows by their ids.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import read_json
from annobench.fit.run_record import Note

if TYPE_CHECKING:
    from annobench.fit.job import FitJob


def given_tokens(job: "FitJob") -> Mapping[str, Note]:
    """What is known of the tokens of a job; empty for a method that reads none.

    Raises
    ------
    MethodSkipped
        They could not be made, or hold genes that a panel hides from this split.
    DataError
        They were made from other cells.
    """
    if not job.needs.tokens:
        return {}
    if job.files.tokens is None or job.files.weights is None:
        raise DataError("the method reads tokens (needs.tokens), but the job names no folder of them")
    card = read_json(Path(job.files.tokens) / "card.json")
    if card["status"] != "ok":
        raise MethodSkipped(f"there are no tokens of these cells for '{card['checkpoint']}': {card['reason']}")
    if card["data_sha256"] != job.facts.data_sha256:
        raise DataError(
            f"{job.files.tokens}: these tokens were made from other cells than those of {job.files.cells}; delete the "
            "folder and run again"
        )
    if job.files.panel:
        raise MethodSkipped(
            "tokens hold all genes of the cells, and this split hides those that its panel does not measure; take a "
            "split without a panel"
        )
    return {
        "checkpoint": card["checkpoint"],
        "weights_sha256": card["weights_sha256"],
        "vocabulary_sha256": card["vocabulary_sha256"],
        "known_genes": card["genes"]["known"],
        "lost_genes": card["genes"]["lost"],
        "lost_expression": card["lost_expression"],
        "cells_without_known_gene": card["cells"]["without_known_gene"],
        "cells_cut": card["cells"]["cut"],
        "sees_cells": bool(card["pretrained_on"]),
    }
