"""The splits of a study."""

from pathlib import Path

import pandas as pd

from annobench.config.regimes import Regime, split_columns
from annobench.core.parquet import read_columns
from annobench.ontology import UNKNOWN
from annobench.tables.shared.columns import filled
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.spec import ScoredSplit

COLUMNS = {
    "splits": (
        "dataset",
        "evaluation",
        "regime",
        "split",
        "label",
        "seed",
        "<setting>",
        "train",
        "val",
        "test",
        "unused",
        "left_out_train",
        "left_out_test",
        "left_out_classes_train",
        "left_out_classes_test",
        "classes_train",
        "classes_test",
        "unseen",
        "unknown",
    )
}
MEANINGS = {
    "label": "What people call the split among those of its evaluation.",
    "seed": "Seed of the split.",
    "<setting>": "One column for every setting that tells the splits of an evaluation apart: fold, fraction, held_out.",
    "train": "Cells that train, after balancing.",
    "val": "Validation cells.",
    "test": "Test cells.",
    "unused": "Cells that have no part in the split.",
    "left_out_train": "Cells among these that do not train because the test side lacks their class (cross_organism).",
    "left_out_test": "Cells among these that are not tested because the training side lacks their class.",
    "left_out_classes_train": "Classes that only the training side has, and which are left out of it.",
    "left_out_classes_test": "Classes that only the test side has, and which are left out of it.",
    "classes_train": "Classes that train.",
    "classes_test": "Classes of the test cells.",
    "unseen": "Test cells of a class that no training cell has.",
    "unknown": "Test cells whose own label is unknown.",
}


def splits(context: TableContext) -> pd.DataFrame:
    """Sizes of every split: cells per role, classes, and test cells whose class no training cell has."""
    rows = []
    for split in context.spec.splits:
        for seed in split.seeds:
            sizes = _sizes(context, split, seed)
            if sizes:
                key = {name: getattr(split, name) for name in ("dataset", "evaluation", "regime", "split", "label")}
                rows.append({**key, "seed": seed, **split.within_evaluation, **sizes})
    return pd.DataFrame(rows, columns=filled(COLUMNS["splits"], split_columns()))


def _sizes(context: TableContext, split: ScoredSplit, seed: int) -> dict[str, int]:
    """Cells and classes of one draw; empty where its files are not there (a partial study)."""
    roles = Path(context.results.roles(split.dataset, split.split, seed))
    train = Path(context.results.train(split.dataset, split.fitted, seed))
    if not (roles.is_file() and train.is_file()):
        return {}
    regime = Regime.from_params(split.settings) if split.settings else None
    names = list(dict.fromkeys(["label_id", *(regime.columns() if regime else [])]))
    obs = read_columns(context.results.obs(split.dataset), names, categorical=names)
    labels = obs["label_id"]
    role = read_columns(roles, ["role"], categorical=["role"])["role"]
    training = read_columns(train, ["label_id"], categorical=["label_id"])["label_id"].counts()
    test, of_role = labels[role == "test"].counts(), role.counts()
    left_out = regime.left_out(obs) if regime else {}
    return {
        "train": sum(training.values()),
        **{name: of_role.get(name, 0) for name in ("val", "test", "unused")},
        **{f"left_out_{side}": sum(left_out.get(side, {}).values()) for side in ("train", "test")},
        **{f"left_out_classes_{side}": len(left_out.get(side, {})) for side in ("train", "test")},
        "classes_train": len(training),
        "classes_test": len(set(test) - {UNKNOWN}),
        "unseen": sum(n for label, n in test.items() if label not in training and label != UNKNOWN),
        "unknown": test.get(UNKNOWN, 0),
    }
