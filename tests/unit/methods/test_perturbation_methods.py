"""What is promised: methods predict conditions that they never saw, and say of which they know nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from annobench.config.entities import available, load_method
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.files import sha256_of
from annobench.core.paths import ROOT
from annobench.fit.method import Context
from annobench.methods.control_expression import ControlExpression
from annobench.methods.imported_expression import ImportedExpression
from annobench.methods.perturbation_knn import PerturbationKnn
from annobench.methods.perturbation_linear import PerturbationLinear
from annobench.methods.perturbed_mean import PerturbedMean
from annobench.methods.shared.perturbation import Naming, Profiles, located_sets, named
from helpers import toy_ontology

CONTROL = np.array([3.0, 2.0, 1.0, 1.0, 0.5, 2.5])
EFFECTS = {"G0": [-1, 0.5, 0, 0, 0, 0], "G1": [0.5, -1, 0, 0, 0, 0], "G2": [0, 0, -0.5, 0.4, 0, 0]}
CONTEXT = Context(seed=1, classes=["A"], ontology=toy_ontology(), dataset="d")


def cells(conditions: Sequence[str], profiles: dict[str, Any], n: int = 4, **facts: Any) -> ad.AnnData:
    """Log-normalised cells, n of every condition, around its profile; genes G0 to G5."""
    rng = np.random.default_rng(0)
    names = np.repeat(np.array(conditions, dtype=object), n)
    spread = rng.normal(0, 0.05, (len(names), 6))
    spread[:, 1] = spread[:, 0]  # two genes that vary together
    values = np.maximum(np.array([profiles[name] for name in names]) + spread, 0)
    obs = pd.DataFrame({"condition": names, "label_id": "A"}, index=[f"c{i}" for i in range(len(names))])
    genes = [f"G{i}" for i in range(6)]
    var = pd.DataFrame({"feature_id": "", "feature_name": genes}, index=genes)
    made = ad.AnnData(csr_matrix(values.astype(np.float32)), obs=obs, var=var)
    made.uns["annobench"] = {"matrix": "log1p_cp10k", "control": "none", "separator": "+", "no_gene": ["ctrl"]} | facts
    return made


def training(*more: str, **facts: Any) -> ad.AnnData:
    profiles = {"none": CONTROL, **{name: CONTROL + effect for name, effect in EFFECTS.items()}}
    profiles |= dict.fromkeys(more, CONTROL)
    return cells(list(profiles), profiles, **facts)


def query(*conditions: str) -> ad.AnnData:
    made = cells(conditions, dict.fromkeys(conditions, CONTROL), n=2)
    bare = ad.AnnData(obs=made.obs, var=made.var)
    bare.uns["annobench"] = dict(made.uns["annobench"])
    return bare


def predicted(method: Any, train: ad.AnnData, *conditions: str) -> np.ndarray:
    """What a method predicts for one cell of every condition, (conditions, genes)."""
    method.fit(train, CONTEXT)
    asked = query(*conditions)
    found = method.predict_expression(asked, asked.obs["condition"].tolist())
    assert found.state == "log1p_cp10k"
    assert list(found.cell_ids) == list(asked.obs_names)
    assert (found.values[::2] == found.values[1::2]).all()  # the same for all cells of a condition
    return np.asarray(found.values[::2])


def means(train: ad.AnnData, condition: str) -> np.ndarray:
    return np.asarray(train[train.obs["condition"] == condition].X.mean(axis=0)).ravel()


def test_controls_predict_the_controls_or_the_mean_of_the_others() -> None:
    train = training()
    control = train[train.obs["condition"] == "none"].X.toarray()
    assert predicted(ControlExpression(), train, "new")[0] == pytest.approx(control.mean(axis=0), abs=1e-5)
    median = predicted(ControlExpression(statistic="median"), train, "new")[0]
    assert median == pytest.approx(np.median(control, axis=0), abs=1e-5)
    whole = np.mean([means(train, name) for name in EFFECTS], axis=0)
    assert predicted(PerturbedMean(), train, "new", "other") == pytest.approx(np.array([whole, whole]), abs=1e-5)


def test_conditions_count_the_same_however_many_cells_they_have() -> None:
    train = training()
    few = train[[i for i, name in enumerate(train.obs_names) if train.obs["condition"].iloc[i] != "G0" or name == "c4"]]
    expected = np.mean([means(few, name) for name in EFFECTS], axis=0)
    assert predicted(PerturbedMean(), few.copy(), "new")[0] == pytest.approx(expected, abs=1e-5)


def test_one_hot_effects_add_up() -> None:
    """Without a penalty to speak of, two genes together do what each does alone, up to the mean effect."""
    method = PerturbationLinear(features="one_hot", ridge=1e-6)
    train = training()
    found = predicted(method, train, "G0", "G0+ctrl", "G0+G1", "unseen")
    effects = {name: means(train, name) - means(train, "none") for name in EFFECTS}
    mean = np.mean(list(effects.values()), axis=0)
    assert found[0] == pytest.approx(means(train, "G0"), abs=1e-3)
    assert found[1] == pytest.approx(found[0])
    both = means(train, "none") + effects["G0"] + effects["G1"] - mean
    assert found[2] == pytest.approx(np.maximum(both, 0), abs=1e-3)
    assert found[3] == pytest.approx(means(train, "none") + mean, abs=1e-5)
    assert method.notes is not None
    assert (method.notes["conditions_unknown"], method.notes["unknown"]) == (1, ("unseen",))


def test_the_bilinear_baseline_is_its_formula() -> None:
    train = training()
    found = predicted(PerturbationLinear(components=2, ridge=0.1), train, "G4")[0]
    dense = train.X.toarray().astype(float).T
    dense -= dense.mean(axis=1, keepdims=True)
    centred = dense - dense.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    genes = u[:, :2] * s[:2]
    effects = np.array([means(train, name) - means(train, "none") for name in EFFECTS]).T
    b, rows, eye = effects.mean(axis=1), genes[[0, 1, 2]], 0.1 * np.eye(2)
    left = np.linalg.inv(genes.T @ genes + eye) @ genes.T
    right = rows @ np.linalg.inv(rows.T @ rows + eye)
    expected = means(train, "none") + genes @ (left @ (effects - b[:, None]) @ right) @ genes[4] + b
    assert found == pytest.approx(expected, abs=1e-4)


def test_gene_sets_say_what_an_unseen_gene_does(tmp_path: Path) -> None:
    sets = tmp_path / "sets.gmt"
    sets.write_text("one\twhat\tG0\tG4\ntwo\twhat\tG1\tG2\n")
    method = PerturbationLinear(features="gene_sets", gene_sets=str(sets), ridge=1e-6)
    train = training()
    found = predicted(method, train, "G4", "G5")
    assert found[0] == pytest.approx(means(train, "G0"), abs=1e-3)  # the only other gene of its set
    assert method.notes is not None
    assert method.notes["unknown"] == ("G5",)
    assert method.notes["sha256"] == {str(sets): sha256_of(sets)}
    with pytest.raises(MethodSkipped, match="there is no file 'nowhere.gmt'"):
        predicted(PerturbationLinear(features="gene_sets", gene_sets="nowhere.gmt"), train, "G4")
    sets.write_text("one\twhat\tG0\nx\twhat\n")
    with pytest.raises(DataError, match="line 2: the gene set 'x' has no genes"):
        located_sets(sets)
    sets.write_text("far\twhat\tG7\n")
    with pytest.raises(MethodSkipped, match="`gene_sets` know 0 of 3 training conditions"):
        predicted(method, train, "G4")


def test_the_nearest_perturbation_is_that_of_the_gene_that_varies_alike() -> None:
    """G1 varies with G0, which is perturbed in training; G1 itself is not."""
    train = training()
    train = train[train.obs["condition"] != "G1"].copy()
    found = predicted(PerturbationKnn(neighbours=1, components=3), train, "G1", "G1+G0", "nobody")
    assert found[0] == pytest.approx(means(train, "G0"), abs=1e-4)
    assert found[1] == pytest.approx(means(train, "G0"), abs=1e-4)
    mean = np.mean([means(train, name) for name in ("G0", "G2")], axis=0)
    assert found[2] == pytest.approx(mean, abs=1e-4)


def test_conditions_that_no_gene_of_the_data_names_are_named() -> None:
    train = training()
    train.obs["condition"] = train.obs["condition"].replace({"G0": "TET1", "G1": "SRC"})
    for method in (PerturbationKnn(), PerturbationLinear()):
        with pytest.raises(
            MethodSkipped, match=r"of 3 training conditions 1 name genes of the data.*not among the genes: SRC, TET1"
        ):
            method.fit(train, CONTEXT)
    assert named(Profiles.of(train), "it", fewest=1).tolist() == [0]


def test_training_cells_without_controls_or_conditions_are_refused() -> None:
    train = training()
    with pytest.raises(DataError, match="no training cell is a control .condition 'none'."):
        Profiles.of(train[train.obs["condition"] != "none"].copy())
    with pytest.raises(MethodSkipped, match="no training cell is perturbed"):
        PerturbedMean().fit(train[train.obs["condition"] == "none"].copy(), CONTEXT)
    del train.uns["annobench"]["control"]
    with pytest.raises(MethodSkipped, match="declares no `perturbation`"):
        Profiles.of(train)


def test_words_that_are_no_gene_and_genes_that_are_missing() -> None:
    naming = Naming({"A": 0, "B": 1}, "+", ["ctrl"])
    assert naming.genes("A+ctrl") == [0]
    assert naming.genes("A+B") == [0, 1]
    assert naming.genes("A+C") == []  # an unknown gene is not left out silently
    assert naming.genes("ctrl") == []


# predictions that were made elsewhere


def means_table(path: Path, **changes: Any) -> Path:
    frame = pd.DataFrame([[1.0, 2, 3, 4, 5, 6], [6.0, 5, 4, 3, 2, 1]], index=["G4", "G5"])
    frame.columns = [f"G{i}" for i in range(6)]
    frame = frame.rename(**changes) if changes else frame
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".h5ad":
        ad.AnnData(frame.to_numpy(), obs=pd.DataFrame(index=frame.index), var=pd.DataFrame(index=frame.columns)).write(
            path
        )
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.parquet", "m.h5ad"])
def test_means_are_joined_by_the_name_of_the_condition(tmp_path: Path, name: str) -> None:
    file = means_table(tmp_path / name)
    method = ImportedExpression(path=str(file), rows="conditions")
    assert predicted(method, training(), "G5", "G4").tolist() == [[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]]
    assert method.notes is not None
    assert method.notes["sha256"] == {str(file): sha256_of(file)}
    assert (method.notes["conditions_missing"], method.notes["genes_missing"]) == (0, 0)


def imported_cells(path: Path, ids: Sequence[str], values: Any = None, **obs: Any) -> Path:
    values = np.arange(6.0 * len(ids)).reshape(len(ids), 6) if values is None else np.array(values)
    frame = pd.DataFrame(obs, index=list(ids))
    var = pd.DataFrame(index=[f"G{i}" for i in range(values.shape[1])])
    ad.AnnData(np.asarray(values, dtype=np.float32), obs=frame, var=var).write_h5ad(path)
    return path


def run(method: ImportedExpression, *conditions: str) -> np.ndarray:
    method.fit(training(), CONTEXT)
    asked = query(*conditions)
    return np.asarray(method.predict_expression(asked, asked.obs["condition"].tolist()).values)


def test_cells_are_joined_by_id_in_whatever_order(tmp_path: Path) -> None:
    file = imported_cells(tmp_path / "d.h5ad", ["c1", "x", "c0"])
    found = run(ImportedExpression(path=str(tmp_path / "{dataset}.h5ad")), "G4")
    assert found.tolist() == [list(range(12, 18)), list(range(6))]
    assert file.is_file()


def test_predicted_cells_of_a_condition_are_dealt_to_its_cells(tmp_path: Path) -> None:
    file = imported_cells(tmp_path / "p.h5ad", list("abc"), condition=["G4", "G5", "G4"])
    method = ImportedExpression(path=str(file), rows="conditions", condition="condition")
    assert run(method, "G4", "G5")[:, 0].tolist() == [0, 12, 6, 6]


def test_counts_are_normalised(tmp_path: Path) -> None:
    file = imported_cells(tmp_path / "p.h5ad", ["c0", "c1"], [[1, 1, 0, 0, 0, 0], [3, 1, 0, 0, 0, 0]])
    found = run(ImportedExpression(path=str(file), state="counts"), "G4")
    assert found[1, :2] == pytest.approx(np.log1p([7500, 2500]))


def test_what_is_missing_is_the_control_or_an_error_and_is_counted(tmp_path: Path) -> None:
    file = means_table(tmp_path / "m.csv", columns={"G5": "X"})
    method = ImportedExpression(path=str(file), rows="conditions", missing="control")
    found = predicted(method, training(), "G4", "G9")
    control = means(training(), "none")
    assert found[0] == pytest.approx([1, 2, 3, 4, 5, control[5]], abs=1e-5)
    assert found[1] == pytest.approx(control, abs=1e-5)
    assert method.notes is not None
    assert (method.notes["conditions_missing"], method.notes["missing"]) == (1, ("G9",))
    assert (method.notes["genes_missing"], method.notes["missing_gene"]) == (1, ("G5",))
    assert (method.notes["conditions_surplus"], method.notes["genes_surplus"]) == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": "conditions"}, r"1 of 2 tested conditions are missing \(G9\), and `missing` is error"),
        ({"rows": "conditions", "missing_genes": "error", "missing": "control"}, r"1 of 6 genes are missing \(G5\)"),
        ({"rows": "cells"}, r"none of its cells \(such as 'G4'\) is among those tested \(such as 'c0'\)"),
        ({"rows": "conditions", "condition": "guide"}, "condition: there is no column 'guide'"),
        ({"rows": "conditions", "genes": "id"}, r"none of its 6 genes \(such as 'G0'\)"),
    ],
)
def test_wrong_conditions_and_genes_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    file = means_table(tmp_path / "m.csv", columns={"G5": "X"})
    with pytest.raises(DataError, match=message):
        run(ImportedExpression(path=str(file), **options), "G4", "G9")


def test_files_that_cannot_be_predictions_are_refused(tmp_path: Path) -> None:
    values = np.ones((2, 6))
    values[1, 3] = np.nan
    file = imported_cells(tmp_path / "p.h5ad", ["c0", "c1"], values)
    with pytest.raises(DataError, match="1 values are NaN or infinite"):
        run(ImportedExpression(path=str(file)), "G4")
    text = tmp_path / "t.csv"
    text.write_text("condition,G0\nG4,high\n")
    with pytest.raises(DataError, match=r"t.csv: cannot be read as predicted expression"):
        run(ImportedExpression(path=str(text), rows="conditions"), "G4")
    with pytest.raises(MethodSkipped, match=r"there is no file 'd.h5ad'; run it"):
        run(ImportedExpression(path="{dataset}.h5ad", how="run it"), "G4")


def test_methods_of_scgenept_say_how_their_file_is_made() -> None:
    names = [name for name in available("methods", ROOT) if name.startswith("scgenept")]
    assert len(names) == 6
    models = set()
    for name in names:
        parameters = load_method(name, ROOT, "s")["parameters"]
        model = Path(parameters["path"]).stem
        assert f"run the model {model} of" in parameters["how"]
        models.add(model)
    assert len(models) == 6
