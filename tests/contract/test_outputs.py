"""What is promised: a fit reads no more than its method needs, and leaves what the method gives."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest

from annobench.cells.panel import MEASURED
from annobench.cells.stored_cells import StoredCells
from annobench.core.parquet import read_columns
from annobench.fit.child import main
from annobench.fit.decisions import UNRELATED, read_decisions
from annobench.fit.embedding import read_embedding
from annobench.fit.inputs import load_cells
from annobench.fit.job import FitJob
from annobench.fit.method import Abilities, Context, Embedding, Expression, Method, Needs
from annobench.fit.predictions import Predictions
from annobench.fit.predictions_file import read
from annobench.fit.run_record import FitResult
from annobench.methods.majority import Majority
from helpers import KEEP, fit_job

LABELS = {"label_id", "label", "label_original"}
Fit = Callable[..., FitResult]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Runs the child process of a fit here, with a class as its method; its output is then in tmp_path."""
    monkeypatch.setattr("annobench.fit.child.die_with_parent", lambda: None)

    def run(files: dict[str, str], kind: type[Method], **changes: Any) -> FitResult:
        monkeypatch.setattr("annobench.fit.registry.load_class", lambda name: kind)
        stated = {"needs": kind.needs.to_params(), "abilities": kind.abilities.to_params()}
        job: FitJob = fit_job(files, "majority", **stated | changes)
        (tmp_path / "job.json").write_text(json.dumps(job.to_params()))
        main(tmp_path / "job.json")
        return FitResult.from_params(json.loads((tmp_path / "result.json").read_text()))

    return run


def ids(files: dict[str, str], role: str) -> list[str]:
    if role == "train":
        return list(read_columns(files["train"])["cell_id"])
    table = read_columns(files["split"])
    return list(table["cell_id"][table["role"] == role])


# cells


@pytest.fixture(params=["memory", "store"])
def unreadable(request: Any, jobs: dict[str, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    """Inputs of a fit whose matrix is damaged."""
    original = Path(jobs[request.param]["cells"]).parent
    folder = tmp_path / "data"
    shutil.copytree(original, folder)
    if request.param == "memory":
        with h5py.File(folder / "cells.h5ad", "a") as file:
            del file["X/data"]
    else:
        for records in (folder / "store").glob("*.records"):
            records.write_bytes(bytes(records.stat().st_size))
    return jobs[request.param] | {"cells": str(folder / "cells.h5ad")}


class Names(Method):
    """Knows cells by their ids."""

    needs = Needs(cells="none")
    abilities = Abilities(probabilities=False, trains=False)
    seen: ad.AnnData

    def fit(self, train: ad.AnnData, context: Context) -> None:
        assert train.X is None
        assert set(context.classes) == set(train.obs["label_id"])
        self._label = context.classes[0]

    def predict(self, query: ad.AnnData) -> Iterator[Predictions]:
        assert query.X is None
        assert not LABELS & set(query.obs)
        yield Predictions.from_labels(query.obs_names, [self._label] * query.n_obs)


def test_a_method_without_need_of_the_matrix_never_reads_it(
    unreadable: dict[str, str], jobs: dict[str, dict[str, str]], fit: Fit, tmp_path: Path
) -> None:
    result = fit(unreadable, Names)
    assert (result.status, result.reason) == ("ok", None)
    assert list(read(tmp_path / "predictions.parquet").cell_ids) == ids(unreadable, "test")
    assert result.genes == {"train": 60, "test": 60}
    assert fit(unreadable, Majority).status in ("failed", "broken_input")  # which shows that it cannot be read


@pytest.mark.parametrize("training", ["panel", "all"])
@pytest.mark.parametrize("storage", ["memory", "store"])
def test_what_is_left_of_the_cells_is_that_of_the_whole(
    jobs: dict[str, dict[str, str]], storage: str, training: str
) -> None:
    more = {"training": training, "panel": str(Path(jobs[storage]["split"]).with_name("panel.csv"))}
    whole, bare = (
        load_cells(fit_job(jobs[storage], "majority", needs={"truth": True, "cells": cells}, **more))
        for cells in ("matrix", "none")
    )
    assert bare.truth == whole.truth
    for name in ("train", "validation", "query", "calibration"):
        with_matrix, without = getattr(whole, name), getattr(bare, name)
        assert without.X is None
        assert without.obs.astype(str).equals(with_matrix.obs.astype(str))
        assert list(without.var_names) == list(with_matrix.var_names)
    assert (MEASURED in bare.query.var) == (MEASURED in whole.query.var) == (training == "all")


# the test cells while fitting


class Looks(Majority):
    """Looks at the test cells while it fits."""

    needs = Needs(query=True)

    def fit(self, train: ad.AnnData, context: Context) -> None:
        assert context.query is not None
        assert not LABELS & set(context.query.obs)
        self.names = list(context.query.obs_names)
        super().fit(train, context)

    def predict(self, query: ad.AnnData) -> Iterator[Predictions]:
        if not query.obs_names[0].startswith(("noise", "shuffled")):
            assert list(query.obs_names) == self.names
        return super().predict(query)


class Peeks(Majority):
    """Does not say that it looks."""

    def fit(self, train: ad.AnnData, context: Context) -> None:
        assert context.query is None
        assert context.truth is None
        super().fit(train, context)


@pytest.mark.parametrize("kind", [Looks, Peeks])
def test_only_a_method_that_says_so_sees_the_test_cells(
    jobs: dict[str, dict[str, str]], fit: Fit, kind: type[Method]
) -> None:
    assert fit(jobs["memory"], kind).reason is None


# what is left


class Embeds(Method):
    """Gives an embedding and no labels."""

    abilities = Abilities(predictions=False, embedding=True, streams=True, trains=False)

    def embed(self, query: ad.AnnData | StoredCells) -> Iterator[Embedding]:
        assert not LABELS & set(query.obs)
        matrix = (query.to_memory() if isinstance(query, StoredCells) else query).X
        hides = MEASURED in query.var and not query.var[MEASURED].all()
        if hides:
            assert matrix[:, ~query.var[MEASURED].to_numpy()].nnz == 0
        yield Embedding(query.obs_names.to_numpy(), matrix.toarray()[::-1][::-1])


@pytest.mark.parametrize("training", ["panel", "all"])
@pytest.mark.parametrize("storage", ["memory", "store"])
@pytest.mark.parametrize("roles", [["test"], ["train", "test"], ["train", "val", "test"]])
def test_the_embedding_has_the_cells_of_the_roles_asked_for(
    jobs: dict[str, dict[str, str]], fit: Fit, tmp_path: Path, storage: str, training: str, roles: list[str]
) -> None:
    files = jobs[storage] | {"panel": str(Path(jobs[storage]["split"]).with_name("panel.csv"))}
    result = fit(files, Embeds, training=training, keep=KEEP | {"embedding_roles": roles})
    assert (result.reason, result.outputs) == (None, ("embedding",))
    assert not (tmp_path / "predictions.parquet").exists()
    found = read_embedding(tmp_path / "embedding.npz")
    asked = [(role, cell) for role in roles for cell in ids(files, role)]
    assert list(zip(found.roles, found.cell_ids, strict=True)) == asked
    whole = ad.read_h5ad(jobs["memory"]["cells"])[found.cell_ids.tolist()].to_df()
    kept = [gene for i, gene in enumerate(whole) if i % 4 == 0]  # those of the panel
    values = found.values if training == "panel" else found.values[:, [list(whole).index(gene) for gene in kept]]
    assert np.array_equal(values, whole[kept].to_numpy())


def test_an_embedding_is_not_kept_where_nobody_asks(jobs: dict[str, dict[str, str]], fit: Fit) -> None:
    result = fit(jobs["memory"], Embeds, keep=KEEP | {"embedding": False})
    assert (result.status, result.outputs) == ("ok", ())


class Perturbs(Method):
    """Predicts one count of every gene, and its condition."""

    abilities = Abilities(predictions=False, expression=True)

    def predict_expression(self, query: ad.AnnData, conditions: Any) -> Expression:
        assert query.X is None  # what is to be predicted is not shown
        return Expression(query.obs_names.to_numpy(), np.array(conditions), np.ones(query.shape))


def test_expression_is_predicted_under_the_condition_of_each_cell(
    jobs: dict[str, dict[str, str]], fit: Fit, tmp_path: Path
) -> None:
    files = jobs["memory"]
    skipped = fit(files, Perturbs)
    assert skipped.status == "skipped"
    assert "obs has no column 'condition'" in str(skipped.reason)
    cells = ad.read_h5ad(files["cells"])
    cells.obs["condition"] = np.where(np.arange(cells.n_obs) % 2, "stimulated", "control")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    result = fit(files | {"cells": str(tmp_path / "cells.h5ad")}, Perturbs)
    assert (result.reason, result.outputs) == (None, ("expression",))
    found = ad.read_h5ad(tmp_path / "expression.h5ad")
    assert list(found.obs_names) == ids(files, "test")
    assert list(found.obs["condition"]) == list(cells.obs["condition"][found.obs_names])
    assert (found.X == 1).all()


# the contract


def test_a_class_without_what_it_states_is_refused() -> None:
    with pytest.raises(TypeError, match=r"abilities.embedding is true, but there is no method `embed`"):

        class Boasts(Majority):
            abilities = Abilities(embedding=True)

    with pytest.raises(TypeError, match=r"abilities.predictions is true, but there is no method `predict`"):

        class Silent(Method):
            pass

    with pytest.raises(TypeError, match="none of predictions, embedding and expression"):

        class Idle(Method):
            abilities = Abilities(predictions=False)


class Returns(Majority):
    """Forgets to yield."""

    def predict(self, query: ad.AnnData) -> Any:
        return next(super().predict(query))


def test_predictions_that_are_returned_are_refused_with_advice(jobs: dict[str, dict[str, str]], fit: Fit) -> None:
    assert fit(jobs["memory"], Returns).reason == (
        "predict returned Predictions, expected an iterator of Predictions; write `yield` where it says `return`"
    )


@pytest.mark.parametrize("storage", ["memory", "store"])
def test_doublets_are_made_where_the_study_asks(
    jobs: dict[str, dict[str, str]], fit: Fit, tmp_path: Path, storage: str
) -> None:
    assert fit(jobs[storage], Majority).reason is None
    plain = read_decisions(tmp_path / "decisions.npz")
    assert "doublets" not in plain["part"]
    assert fit(jobs[storage], Majority, keep=KEEP | {"doublets": True, "model": False}).reason is None
    found = read_decisions(tmp_path / "decisions.npz")
    assert (found["part"] == "doublets").sum() == UNRELATED
    others = found["part"] != "doublets"
    assert found["part"][others].tolist() == plain["part"].tolist()  # all else stays as it was
    assert (found["decisions"][others] == plain["decisions"]).all()
