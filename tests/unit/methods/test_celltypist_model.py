"""What is promised: a model file opens or is refused, nothing of it runs, and it predicts as CellTypist does."""

import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annobench.core.errors import DataError, MethodSkipped
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.celltypist_pretrained import CellTypistPretrained
from annobench.methods.shared.celltypist_model import CLIP, read_model
from annobench.ontology import Ontology
from helpers import cells, toy_ontology

NAMES = {"CL:0000084": "T cell", "CL:0000236": "B cell", "CL:0000623": "natural killer cell"}


@pytest.fixture(scope="module")
def data(ontology: Ontology) -> ad.AnnData:
    return cells(ontology, cells=200, genes=80, seed=5)


def logged(data: ad.AnnData) -> ad.AnnData:
    """Symbols as names, log1p of counts per 10,000: what CellTypist asks for."""
    found = data.copy()
    found.var_names = found.var["feature_name"].astype(str)
    sc.pp.normalize_total(found, target_sum=1e4)
    sc.pp.log1p(found)
    return found


def trained(data: ad.AnnData, ontology: Ontology, path: Path, *, classes: int = 5, **options: Any) -> Any:
    """A model of the real package, written by it."""
    import celltypist

    train = logged(data)
    train.obs["name"] = [ontology.label(i) for i in train.obs["label_id"]]
    kept = sorted(set(train.obs["name"]))[:classes]
    train = train[train.obs["name"].isin(kept)].copy()
    model = celltypist.train(train, labels="name", n_jobs=1, date="-", random_state=1, **options)
    model.write(str(path))
    return model


@pytest.mark.parametrize(
    "options",
    [{}, {"classes": 2}, {"use_SGD": True}, {"use_SGD": True, "classes": 2}, {"with_mean": False}],
    ids=["logistic", "two classes", "SGD", "SGD, two classes", "not centred"],
)
def test_it_predicts_as_celltypist_does(
    data: ad.AnnData, ontology: Ontology, tmp_path: Path, options: dict[str, Any]
) -> None:
    import celltypist

    theirs = trained(data, ontology, tmp_path / "m.pkl", **options)
    ours = read_model(tmp_path / "m.pkl")
    query = logged(data)[:, ::2].copy()  # every other gene is missing
    query.X.data[::7] = 9.2  # far above what training saw
    dense = query[:, np.isin(query.var_names, ours.features)]
    at = [list(ours.features).index(gene) for gene in dense.var_names]
    assert ((dense.X.toarray() - ours.mean[at]) / ours.scale[at]).max() > CLIP  # so clipping is tested
    found = ours.decision(query.X.tocsr(), list(query.var_names))
    query.X = query.X.toarray()  # its own code fails on sparse values where the model is not centred
    expected = celltypist.annotate(query, model=theirs)
    assert np.abs(found - expected.decision_matrix.to_numpy()).max() < 1e-6
    assert ours.classes.tolist() == expected.decision_matrix.columns.tolist()
    assert ours.classes[found.argmax(axis=1)].tolist() == expected.predicted_labels["predicted_labels"].tolist()
    shared, of_model, of_query = ours.overlap(list(query.var_names))
    assert 30 < shared <= 40 == of_query
    assert of_model == len(ours.features) <= 80  # CellTypist leaves out genes without counts


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def payloads(target: Path) -> dict[str, Any]:
    """Documents that would make a file if anything of them ran."""
    command = f"touch {target}"
    crafted = np.array(["a", "b"], dtype=object)
    return {
        "os.system": {"Model": Calls(os.system, command), "Scaler_": 1},
        "eval": {"Model": Calls(eval, f"open({str(target)!r}, 'w')"), "Scaler_": 1},
        "getattr": Calls(getattr, "", "upper"),
        "open": Calls(open, str(target), "w"),
        "in description": {"description": Calls(os.system, command)},
        "in an array": np.array([Calls(os.system, command)], dtype=object),
        "namespace": SimpleNamespace(a=crafted),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", sorted(payloads(Path("x"))))
def test_nothing_of_a_file_is_executed(tmp_path: Path, name: str, protocol: int) -> None:
    target = tmp_path / "made"
    file = tmp_path / "m.pkl"
    file.write_bytes(pickle.dumps(payloads(target)[name], protocol=protocol))
    with pytest.raises(DataError, match=r"m\.pkl: is refused: it asks for .*nothing was executed"):
        read_model(file)
    assert not target.exists()


def build(*instructions: bytes) -> bytes:
    """A pickle by hand."""
    return b"\x80\x02" + b"".join(instructions) + b"."


HAND_MADE = {
    "a state for a function": build(b"c_codecs\nencode\n", b"}X\x01\x00\x00\x00aK\x01s", b"b"),
    "attributes for a function": build(b"c_codecs\nencode\n", b"N}X\x08\x00\x00\x00__code__K\x01s\x86", b"b"),
    "a state for a class": build(b"cnumpy\ndtype\n", b"}", b"b"),
    "a structured type": build(b"cnumpy\ndtype\n", b"X\x02\x00\x00\x00V8\x85R"),
    "a type from no text": build(b"cnumpy\ndtype\n", b"K\x01\x85R"),
    "an array of another class": build(
        b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\nK\x00\x85C\x01b\x87R"
    ),
    "a reference outwards": build(b"X\x01\x00\x00\x00aQ"),
    "an attribute of a module": build(b"cnumpy\nndarray.__class__\n"),
    "not a model": pickle.dumps({"a": 1}),
    "a list": pickle.dumps([1, 2]),
    "nothing": b"",
    "text": b"this is no pickle",
}


@pytest.mark.parametrize("name", sorted(HAND_MADE))
def test_crafted_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.pkl").write_bytes(HAND_MADE[name])
    with pytest.raises(DataError, match=r"m\.pkl: is"):
        read_model(tmp_path / "m.pkl")


def test_object_arrays_never_come_from_bytes(tmp_path: Path) -> None:
    """numpy would take such bytes for pointers."""
    honest = pickle.dumps(np.array([1.5, 2.5]), protocol=2)
    crafted = honest.replace(b"f8", b"O8")
    assert crafted != honest
    (tmp_path / "m.pkl").write_bytes(crafted)
    with pytest.raises(DataError, match="an array of objects other than texts"):
        read_model(tmp_path / "m.pkl")


@pytest.fixture(scope="module")
def written(data: ad.AnnData, ontology: Ontology, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.pkl"
    trained(data, ontology, path)
    return path


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(written: Path, tmp_path: Path, share: float) -> None:
    content = written.read_bytes()
    file = tmp_path / "cut.pkl"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="is not a CellTypist model, or is cut off"):
        read_model(file)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=20))
def test_damaged_files_open_or_are_refused(written: Path, tmp_path: Path, changes: list[tuple[float, int]]) -> None:
    content = bytearray(written.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    file = tmp_path / "damaged.pkl"
    file.write_bytes(content)
    try:
        model = read_model(file)
    except DataError:
        return
    assert model.coef.shape == (len(model.classes), len(model.features))
    assert np.isfinite(model.coef).all()


def test_a_number_that_asks_for_gigabytes_is_refused(written: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04Nr" + struct.pack("<I", 50_000_000) + written.read_bytes()[2:])
    with pytest.raises(DataError, match="under the number 50000000"):
        read_model(tmp_path / "m.pkl")


def test_models_that_do_not_fit_together_are_refused(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    model = read_model(written)
    first = struct.pack("<d", model.coef[0, 0])
    assert content.count(first) == 1
    (tmp_path / "nan.pkl").write_bytes(content.replace(first, struct.pack("<d", float("nan"))))
    with pytest.raises(DataError, match="coef_ holds NaN"):
        read_model(tmp_path / "nan.pkl")
    (tmp_path / "twice.pkl").write_bytes(content.replace(b"natural killer cell", b"classical monocyte "))
    for spread in (0.0, -1.0):
        changed = content.replace(struct.pack("<d", model.scale[0]), struct.pack("<d", spread))
        (tmp_path / "scale.pkl").write_bytes(changed)
        with pytest.raises(DataError, match="scale that is not positive"):
            read_model(tmp_path / "scale.pkl")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_model(tmp_path / "nowhere.pkl")


def pickled(model: Any, path: Path, *, classes: Any = None, features: Any = None) -> Path:
    """A model of CellTypist, with other classes or features, as it writes it."""
    if classes is not None:
        model.classifier.classes_ = classes
    if features is not None:
        model.classifier.features = features
    model.write(str(path))
    return path


@pytest.mark.parametrize(
    "classes",
    [
        np.arange(5),
        np.arange(5, dtype=np.uint8),
        np.arange(5, dtype=float),
        np.array([0, 1, 2, 3, 4], dtype=object),
        np.array(list("01234"), dtype=object),
        np.array(list("01234")),
    ],
    ids=lambda classes: f"{classes.dtype}",
)
def test_classes_may_be_numbered(data: ad.AnnData, ontology: Ontology, tmp_path: Path, classes: Any) -> None:
    model = trained(data, ontology, tmp_path / "m.pkl")
    assert read_model(pickled(model, tmp_path / "n.pkl", classes=classes)).classes.tolist() == list("01234")


def test_a_gene_that_is_listed_twice_is_refused(data: ad.AnnData, ontology: Ontology, tmp_path: Path) -> None:
    model = trained(data, ontology, tmp_path / "m.pkl")
    features = model.classifier.features.copy()
    features[7] = features[3]
    with pytest.raises(DataError, match=rf"1 genes are listed twice \(such as {features[3]}\)"):
        read_model(pickled(model, tmp_path / "n.pkl", features=features))


def test_a_model_of_a_gpu_says_how_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"ccuml.linear_model.logistic_regression\nLogisticRegression\n.")
    with pytest.raises(DataError, match=r"trained on a GPU \(use_GPU=True\).*Convert it"):
        read_model(path)


def test_no_shared_gene_is_an_error(written: Path, data: ad.AnnData) -> None:
    with pytest.raises(DataError, match="shares no gene symbol with the model, which has"):
        read_model(written).decision(data.X.tocsr(), [f"other{i}" for i in range(data.n_vars)])


# the method


def context(ontology: Ontology) -> Context:
    return Context(seed=1, classes=[], ontology=ontology)


def test_the_method_predicts_ids(written: Path, data: ad.AnnData, ontology: Ontology, tmp_path: Path) -> None:
    method = CellTypistPretrained(model=str(written))
    method.fit(data, context(ontology))
    found = joined(method.predict(data))
    assert (found.labels[:, 0] == data.obs["label_id"]).mean() > 0.9  # it was trained on them
    assert found.probabilities is None
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1
    method.save(tmp_path)
    again = joined(CellTypistPretrained.load(tmp_path).predict(data))
    assert (again.labels == found.labels).all()
    assert np.array_equal(again.scores, found.scores)


def test_decision_values_far_below_zero_are_ranked(written: Path, data: ad.AnnData, ontology: Ontology) -> None:
    """Models of mini-batch SGD reach values whose sigmoids are all zero."""
    method = CellTypistPretrained(model=str(written))
    method.fit(data, context(ontology))
    before = joined(method.predict(data))
    method._model.intercept[:] -= 3000
    after = joined(method.predict(data))
    assert (after.labels == before.labels).all()
    assert after.confidence.max() == 0


def test_classes_without_an_id_are_unknown_and_a_table_goes_first(
    written: Path, data: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = CellTypistPretrained(model=str(written))
    with pytest.raises(DataError, match="none of the 5 classes of the model .* set parameters.labels"):
        method.fit(data, context(toy_ontology()))
    table = tmp_path / "config" / "labels" / "mine.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("original\tlabel_id\tcomment\nB cell\tB\t\n")
    monkeypatch.setattr("annobench.methods.celltypist_pretrained.ROOT", tmp_path)
    method = CellTypistPretrained(model=str(written), labels="mine")
    method.fit(data, context(toy_ontology()))
    found = joined(method.predict(data))
    assert set(found.labels[:, 0]) == {"B", "unknown"}
    unknown = int((found.labels[:, 0] == "unknown").sum())
    assert method.notes is not None
    assert method.notes["classes_without_id"] == 4
    assert method.notes["cells_unknown"] == unknown > 0
    (text,) = method.notes["warnings"]
    assert f"so that {unknown} of {data.n_obs} cells are `unknown`; map them in config/labels/mine.tsv" in text


def test_few_shared_genes_are_said(written: Path, data: ad.AnnData, ontology: Ontology) -> None:
    method = CellTypistPretrained(model=str(written))
    method.fit(data, context(ontology))
    list(method.predict(data))
    assert method.notes is not None
    assert method.notes["warnings"] == ()
    list(method.predict(data[:, :20].copy()))
    shared = method.notes["genes_shared"]
    assert f"the cells have {shared} of the {method.notes['genes_of_model']} genes of" in method.notes["warnings"][0]


def test_what_is_missing_is_a_skip(written: Path, data: ad.AnnData, ontology: Ontology) -> None:
    with pytest.raises(MethodSkipped, match=r"there is no file '/nowhere/m\.pkl'"):
        CellTypistPretrained(model="/nowhere/m.pkl").fit(data, context(ontology))
    other = data.copy()
    other.var["feature_name"] = [f"other{i}" for i in range(data.n_vars)]
    method = CellTypistPretrained(model=str(written))
    method.fit(other, context(ontology))
    with pytest.raises(MethodSkipped, match=r"shares none of its \d+ genes with the 80 of the query"):
        joined(method.predict(other))


def test_all_real_models_open(real_data: Path) -> None:
    files = sorted((real_data / "celltypist_models").rglob("*.pkl"))
    if not files:
        pytest.skip("the real models are not here")
    models = [read_model(file) for file in files]
    assert len(models) == 18
    assert {len(model.classes) for model in models} >= {7, 33, 98}


@pytest.mark.parametrize(
    # shares of pbmc3k whose prediction is of the right lineage; the breast model has blood cells among its types
    ("name", "kind", "low", "high"),
    [
        ("celltypist_immune", "method", 0.95, 1),
        ("celltypist_kidney", "control", 0, 0.01),
        ("celltypist_breast", "control", 0.5, 1),
    ],
)
def test_declared_models_on_real_blood(
    real_data: Path, ontology: Ontology, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, low: float, high: float
) -> None:
    from annobench.config.entities import load_method
    from annobench.core.files import expanded
    from annobench.core.paths import ROOT

    monkeypatch.setenv("ANNOBENCH_DATA", str(real_data))
    settings = load_method(name, ROOT, "")
    assert settings["kind"] == kind
    assert all((ROOT / expanded(file)).is_file() for file in settings["files"])
    assert settings["parameters"]["model"] in settings["files"]
    data = ad.read_h5ad(real_data / "pbmc_multistudy" / "pbmc3k_2638.h5ad")
    data.var["feature_name"], data.uns["annobench"] = data.var_names, {"matrix": "counts"}
    method = CellTypistPretrained(**settings["parameters"])
    method.fit(data, Context(seed=1, classes=[], ontology=ontology))
    said = joined(method.predict(data)).labels[:, 0].astype(str)
    lineages = ["CL:0000084", "CL:0000945", "CL:0000623", "CL:0000113", "CL:0000763"]  # T, B, NK, phagocyte, myeloid

    def of(label_id: str) -> set[str]:
        return (ontology.ancestors(label_id) | {label_id}) & set(lineages)

    truth = data.obs["cell_type_ontology_term_id"].astype(str)
    right = np.mean([bool(of(a) & of(b)) for a, b in zip(said, truth, strict=True)])
    assert low <= right <= high
