"""What is promised: SpatialCore itself runs where it is installed, and elsewhere the fit says how to install it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from annobench.config.entities import load_method
from annobench.core.errors import MethodSkipped
from annobench.core.paths import ROOT
from annobench.fit import predictions
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.exec import External
from annobench.ontology import Ontology
from helpers import cells

OTHER = "ANNOBENCH_SPATIALCORE_PYTHON"


def fitted(ontology: Ontology, n: int = 240) -> tuple[External, object]:
    block = load_method("spatialcore", ROOT, "")["exec"]
    data = cells(ontology, cells=n + 60, genes=120, seed=3)
    method = External(command=block["command"], format=block["format"])
    classes = sorted(set(data.obs["label_id"]))
    method.fit(data[:n].copy(), Context(seed=1, classes=classes, ontology=ontology))
    return method, data[n:].copy()


def test_without_spatialcore_a_fit_is_skipped(ontology: Ontology, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OTHER, raising=False)
    method, query = fitted(ontology)
    with pytest.raises(MethodSkipped, match=r"^spatialcore is not installed; use .* envs/spatialcore\.yaml"):
        joined(method.predict(query))


def test_another_python_is_called_where_one_is_named(
    ontology: Ontology, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1])\nsys.exit(9)\n")
    script.chmod(0o755)
    monkeypatch.setenv(OTHER, str(script))
    method, query = fitted(ontology)
    with pytest.raises(RuntimeError, match="ended with status 9"):
        joined(method.predict(query))


@pytest.mark.parametrize("n", [240, 1100], ids=["all at once", "mini-batches"])
def test_spatialcore_itself(ontology: Ontology, n: int) -> None:
    if not os.environ.get(OTHER):
        pytest.skip(f"spatialcore is not here: set {OTHER} to a Python that has it")
    method, query = fitted(ontology, n)
    truth = query.obs.pop("label_id")
    found = predictions.validate(joined(method.predict(query)), list(query.obs_names), set(truth))
    assert (found.labels[:, 0] == truth.to_numpy()).mean() > 0.5
    assert found.labels.shape[1] == 5
    assert found.confidence.min() >= 0.5  # what its z-score cannot go below
    again = joined(method.predict(query))
    assert np.array_equal(found.scores, again.scores)  # seeded from outside
