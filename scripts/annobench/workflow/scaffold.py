"""Files of a new method or dataset, from templates that run as they are."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from annobench.config.entities import available
from annobench.core.errors import ConfigError, nearest
from annobench.core.paths import ROOT

_VARIANT_YAML = """\
# yaml-language-server: $schema=../../workflow/schemas/{schema}.schema.yaml
extends: {base}   # below stands what differs: mappings are merged, lists replaced
label: {label}
summary: As `{base}`, but with what changes, in one sentence.
"""
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

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.fit.method import Abilities, Context, Method, Needs, Predictions, load_state, save_state
from annobench.methods.shared.features import ExpressionFeatures

if TYPE_CHECKING:
    from anndata import AnnData


class {kind}(Method):
    """The template: class means of log-normalised expression, and the softmax of their negative squared distance."""

    # what it cannot do without and what it gives, as literals; see annobench/config/method_facts.py
    needs = Needs()
    abilities = Abilities(probabilities=True)

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

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        values = self._features.transform(query)
        logits = 2 * np.asarray(values @ self._means.T) - (self._means**2).sum(axis=1)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        yield Predictions.from_probabilities(query.obs_names, probabilities, self._classes.tolist(), self._top_k)

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


def new_method(name: str, base: str | None = None, *, root: Path = ROOT) -> list[str]:
    """Write scripts/annobench/methods/<name>.py and config/methods/<name>.yaml; returns their paths.

    With `base`, the method is a variant of that one: a YAML file that extends it, and no Python file. Raises
    ConfigError for a name that is taken or not allowed, and for a base that does not exist.
    """
    if base is not None:
        return _new_variant("method", name, base, root)
    kind = "".join(part.capitalize() for part in name.split("_"))
    files = {
        f"scripts/annobench/methods/{name}.py": _METHOD_PY.format(label=_label(name), kind=kind),
        f"config/methods/{name}.yaml": _METHOD_YAML.format(name=name, label=_label(name)),
    }
    return _write(name, r"^[a-z][a-z0-9_]*$", files, root)


def new_dataset(name: str, base: str | None = None, *, root: Path = ROOT) -> list[str]:
    """Write config/datasets/<name>.yaml, which extends `base` where one is given; returns its path."""
    if base is not None:
        return _new_variant("dataset", name, base, root)
    files = {f"config/datasets/{name}.yaml": _DATASET_YAML.format(name=name, label=_label(name))}
    return _write(name, r"^[a-z][a-z0-9_.]*$", files, root)


def new_dataset_of_file(
    name: str, file: str, label: str | None = None, *, width: int | None = None, root: Path = ROOT
) -> tuple[str, list[str]]:
    """Write config/datasets/<name>.yaml for a file of cells, and a label table where it has no ids.

    Parameters
    ----------
    name
        Of the dataset.
    file
        Cells in any format that datasets read.
    label
        Column of the labels; None to choose one.
    width
        Characters of a line of the terminal; None to cut nothing off.
    root
        The repository.

    Returns
    -------
    What was chosen and why, for people, and the paths that were written.
    """
    from annobench.workflow.own.dataset import check_written, dataset_of_file
    from annobench.workflow.own.findings import text_of

    path, table = f"config/datasets/{name}.yaml", f"config/labels/{name}.tsv"
    _check_new(name, r"^[a-z][a-z0-9_.]*$", [path, table], root)
    found, head = dataset_of_file(name, file, label=label, root=root)
    files = {path: "\n".join(found.lines) + "\n"} | ({table: found.table} if found.table else {})
    _put(files, root)
    check_written(name, [root / one for one in files], root)
    return text_of(found, head, width), list(files)


def _new_variant(schema: str, name: str, base: str, root: Path) -> list[str]:
    known = available(f"{schema}s", root)
    if base not in known:
        raise ConfigError(f"BASE: no file config/{schema}s/{base}.yaml{nearest(base, known)}")
    text = _VARIANT_YAML.format(schema=schema, base=base, label=_label(name))
    return _write(name, r"^[a-z][a-z0-9_.]*$", {f"config/{schema}s/{name}.yaml": text}, root)


def _label(name: str) -> str:
    return re.sub(r"[_.]", " ", name).capitalize()


def _check_new(name: str, pattern: str, paths: Iterable[str], root: Path) -> None:
    if not re.match(pattern, name):
        raise ConfigError(f"NAME: '{name}' does not match {pattern}; use lower-case letters, digits and underscores")
    for path in paths:
        if (root / path).exists():
            raise ConfigError(f"{path}: exists already; choose another name")


def _write(name: str, pattern: str, files: dict[str, str], root: Path) -> list[str]:
    _check_new(name, pattern, files, root)
    _put(files, root)
    return list(files)


def _put(files: Mapping[str, str], root: Path) -> None:
    """Write texts into files of the repository; raises ConfigError where that is not allowed."""
    for path, text in files.items():
        try:
            (root / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{root / path}: cannot be written ({error.strerror})") from error
