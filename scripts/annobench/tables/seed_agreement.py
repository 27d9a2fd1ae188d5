"""Whether a method says the same again: labels of the same test cells by fits of several seeds."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from annobench.config.results import Fit
from annobench.core.parquet import positions, read_columns, take
from annobench.fit.predictions_file import Answers, read_answers
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.spec import ScoredSplit

COLUMNS = {
    "seed_agreement": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "method",
        "n_seeds",
        "n",
        "agreement",
        "pairwise",
        "pairwise_lowest",
    ),
}
MEANINGS = {
    "n_seeds": "Number of finished fits of the split, one for each seed.",
    "agreement": "Share of the test cells that get the same label in all of them.",
    "pairwise": "Share of the test cells that get the same label in two of them, mean over pairs.",
    "pairwise_lowest": "The same for the pair that agrees least.",
    "split": "Split.",
}


def seed_agreement(context: TableContext) -> pd.DataFrame:
    """Share of the test cells that get the same label in all seeds of a split, with or without a known label. Splits
    whose test cells are drawn anew by every seed have no row, nor have controls and decodings.
    """
    rows = []
    for split in context.spec.splits:
        for method in split.methods:
            if len(split.seeds) < 2 or context.spec.methods[method].kind != "method":
                continue
            codes = _labels(context, split, method)
            if codes is None:
                continue
            pairs = [float((a == b).mean()) for a, b in combinations(codes, 2)]
            rows.append(
                {
                    **{"dataset": split.dataset, "evaluation": split.evaluation, "regime": split.regime},
                    **{"split": split.split, "method": method, "n_seeds": len(codes), "n": codes.shape[1]},
                    "agreement": float((codes == codes[0]).all(axis=0).mean()),
                    "pairwise": float(np.mean(pairs)),
                    "pairwise_lowest": min(pairs),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS["seed_agreement"]))


def _labels(context: TableContext, split: ScoredSplit, method: str) -> "np.ndarray | None":
    """First labels as numbers, (seeds, cells); None where fewer than two fits have labels for the same test cells."""
    found: list[Answers] = []
    for seed in split.seeds:
        fit = Fit(split.dataset, split.fitted, context.spec.methods[method].fitted, seed)
        path, run = Path(context.results.predictions(fit)), Path(context.results.run(fit))
        if run.is_file() and path.is_file():
            answers = _tested(context, split, seed, read_answers(path))
            if len(answers.cell_ids):  # a failed fit has no rows
                found.append(answers)
    if len(found) < 2:
        return None
    names = sorted({name for one in found for name in one.labels[0].names})
    codes = []
    for one in found:
        rows = positions(found[0].cell_ids, one.cell_ids)
        if len(one.cell_ids) != len(rows) or (rows < 0).any():
            return None  # other cells
        codes.append(one.labels[0].recode(names)[rows])
    return np.stack(codes)


def _tested(context: TableContext, split: ScoredSplit, seed: int, answers: Answers) -> Answers:
    """The answers for the cells that a split tests: a fit may be scored on several sets of cells."""
    if split.fitted == split.split:
        return answers
    path = context.results.roles(split.dataset, split.split, seed)
    roles = read_columns(path, categorical=["role"], texts=["cell_id"])
    rows = positions(take(roles["cell_id"], np.flatnonzero(roles["role"] == "test")), answers.cell_ids)
    rows = rows[rows >= 0]
    return Answers(take(answers.cell_ids, rows), [answers.labels[0][rows]], None)
