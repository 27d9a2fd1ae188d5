"""What tables of the page call things: labels of datasets, evaluations, methods and metrics, not names in files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from annobench.config.controls import CONTROLS
from annobench.score.registry import METRICS

ALL = "all"
_METHODS = ("method", "method_a", "method_b", "base")
_DROPPED = ("regime", "dataset")


@dataclass(frozen=True)
class Names:
    """Labels by name.

    Attributes
    ----------
    datasets, methods
        Name -> label.
    evaluations
        `dataset/evaluation` -> its label.
    splits
        (dataset, split) -> its label.
    """

    datasets: Mapping[str, str]
    methods: Mapping[str, str]
    evaluations: Mapping[str, str]
    splits: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def dataset(self, name: str) -> str:
        """A dataset, cut at the first comma of its label where that still tells it from the others."""
        label = self.datasets.get(name, name)
        short = label.split(",")[0]
        same = [other for other in self.datasets.values() if other.split(",")[0] == short]
        return short if len(same) < 2 else label

    def place(self, dataset: str, evaluation: str) -> str:
        """An evaluation of a dataset."""
        if dataset == ALL:
            return "mean of all evaluations"
        if evaluation == ALL:
            return f"{self.dataset(dataset)}, all evaluations"
        return f"{self.dataset(dataset)}, {self.evaluations.get(f'{dataset}/{evaluation}', evaluation)}"

    def method(self, name: str) -> str:
        """A method or a control."""
        return self.methods.get(name) or (CONTROLS[name].label if name in CONTROLS else name)

    def metric(self, name: str) -> str:
        """A metric."""
        return METRICS[name].label if name in METRICS else name

    def shown(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table for people: the evaluation first, labels for names, titles of columns without underscores."""
        changed = {name: table[name].map(self.method, na_action="ignore") for name in _METHODS if name in table}
        if "metric" in table:
            changed["metric"] = table["metric"].map(self.metric)
        if {"dataset", "split"} <= {*table}:
            keys = zip(table["dataset"], table["split"], strict=True)
            labels = [None if key[1] == ALL else self.splits.get(key) or key[1] for key in keys]
            changed["split"] = pd.Series(labels, table.index, dtype=object)
        first = {}
        if {"dataset", "evaluation"} <= {*table}:
            keys = zip(table["dataset"], table["evaluation"], strict=True)
            first["evaluation"] = pd.Series([self.place(*key) for key in keys], table.index, dtype=object)
        elif "dataset" in table:
            first["dataset"] = table["dataset"].map(self.dataset)
        others = {name: changed.get(name, table[name]) for name in table if name not in (*first, *_DROPPED)}
        return pd.DataFrame({**first, **others}).rename(columns=title)


def title(column: str) -> str:
    """The title of a column."""
    return METRICS[column].label if column in METRICS else column.replace("_", " ")
