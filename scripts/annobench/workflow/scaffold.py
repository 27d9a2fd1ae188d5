"""Files of a new method or dataset, from a template that runs as it is."""

import re
from pathlib import Path

from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT

_METHOD_YAML = """\
# yaml-language-server: $schema=../../workflow/schemas/method.schema.yaml
label: {label}
summary: What it does, in one or two sentences, its normalisation included.
citation: Whom to cite.
licence: Licence of the software behind it.
implementation: {name}
parameters: {{n_genes: 2000}}
resources: {{memory_mb: 2000, minutes: 10}}
estimate: {{seconds: 2, seconds_per_1000_cells: 1, disk_mb: 1}}
"""
_METHOD_PY = '''\
"""{label}: one sentence on what it does."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Context, Method, load_state, save_state
from annobench.methods.shared.features import ExpressionFeatures
from annobench.fit.predictions import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


class {kind}(Method):
    """The template: class means of log-normalised expression, and the softmax of their negative squared distance."""

    def __init__(self, *, n_genes: int | None = 2000) -> None:
        self.n_genes = n_genes

    def fit(self, train: "AnnData", context: Context) -> None:
        # genes are chosen on the training cells; `train.obs["label_id"]` holds the labels
        self._features = ExpressionFeatures(self.n_genes)
        values = self._features.fit(train)
        labels = train.obs["label_id"].astype(str).to_numpy()
        self._classes = np.unique(labels)
        self._means = np.vstack([np.asarray(values[labels == c].mean(axis=0)).ravel() for c in self._classes])
        self._top_k = context.top_k

    def predict(self, query: "AnnData") -> Predictions:
        values = self._features.transform(query)
        logits = 2 * np.asarray(values @ self._means.T) - (self._means**2).sum(axis=1)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        return Predictions.from_probabilities(query.obs_names, probabilities, self._classes.tolist(), self._top_k)

    def save(self, folder: Path) -> None:
        arrays = {{"means": self._means, **self._features.state()}}
        save_state(folder, arrays, classes=self._classes.tolist(), top_k=self._top_k)

    @classmethod
    def load(cls, folder: Path) -> "{kind}":
        arrays, values = load_state(folder)
        method = cls()
        method._features = ExpressionFeatures.restore(arrays)
        method._means, method._classes, method._top_k = arrays["means"], np.array(values["classes"]), values["top_k"]
        return method
'''
_DATASET_YAML = """\
# yaml-language-server: $schema=../../workflow/schemas/dataset.schema.yaml
label: {label}
summary: What the data is and what it is good for, in one or two sentences.
citation: Whom to cite, with a DOI where there is one.
licence: Licence of the data.
source:
  kind: local
  path: $ANNOBENCH_DATA/{name}.h5ad
matrix:
  slot: X            # X, raw or layers/NAME
  state: counts
cells:
  label: cell_type                          # the author's label
  label_id: cell_type_ontology_term_id      # delete this line where there are no Cell Ontology ids
  # label_table: {name}                     # config/labels/{name}.tsv: original label -> id, goes before label_id
  study: dataset_id
  donor: donor_id
  assay: assay
# families:                                 # for regime cross_study: what is held out together
#   other_lab: {{study: [the value of dataset_id]}}
resources: {{memory_mb: 4000, minutes: 30, disk_mb: 100, cells: 10000}}
"""


def new_method(name: str) -> list[str]:
    """Write scripts/annobench/methods/<name>.py and config/methods/<name>.yaml; returns their paths."""
    label, kind = name.replace("_", " ").capitalize(), "".join(part.capitalize() for part in re.split(r"[_.]", name))
    python = f"scripts/annobench/methods/{name}.py"
    return _write(
        name,
        r"^[a-z][a-z0-9_]*$",
        {
            python: _METHOD_PY.format(label=label, kind=kind),
            f"config/methods/{name}.yaml": _METHOD_YAML.format(name=name, label=label),
        },
    )


def new_dataset(name: str) -> list[str]:
    """Write config/datasets/<name>.yaml; returns its path."""
    label = name.replace("_", " ").capitalize()
    files = {f"config/datasets/{name}.yaml": _DATASET_YAML.format(name=name, label=label)}
    return _write(name, r"^[a-z][a-z0-9_.]*$", files)


def _write(name: str, pattern: str, files: dict[str, str]) -> list[str]:
    if not re.match(pattern, name):
        raise ConfigError(f"NAME: '{name}' does not match {pattern}; use lower-case letters, digits and underscores")
    for path in files:
        if (ROOT / path).exists():
            raise ConfigError(f"{path}: exists already; choose another name")
    for path, text in files.items():
        Path(ROOT / path).write_text(text, encoding="utf-8")
    return list(files)
