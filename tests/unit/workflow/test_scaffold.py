"""What is promised: the files of a new method or dataset are valid as they are written."""

import ast
from pathlib import Path

import pytest

from annobench.config.entities import load_dataset, load_method
from annobench.config.schema import load_yaml, validate
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.workflow.scaffold import new_dataset, new_method


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("scripts/annobench/methods", "config/methods", "config/datasets"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("methods/mlp_ce", "datasets/pbmc68k"):
        (tmp_path / "config" / f"{name}.yaml").write_text((ROOT / "config" / f"{name}.yaml").read_text())
    return tmp_path


def test_a_new_method_is_two_files(root: Path) -> None:
    assert new_method("my_own", root=root) == ["scripts/annobench/methods/my_own.py", "config/methods/my_own.yaml"]
    tree = ast.parse((root / "scripts/annobench/methods/my_own.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["MyOwn"]
    validate(load_yaml(root / "config/methods/my_own.yaml"), "method", "my_own.yaml")


def test_a_variant_of_a_method_is_its_base_under_another_name(root: Path) -> None:
    assert new_method("mlp_mine", "mlp_ce", root=root) == ["config/methods/mlp_mine.yaml"]
    said = {"label": "", "summary": "", "fitted": ""}
    found, base = (load_method(name, root, "study.yaml") for name in ("mlp_mine", "mlp_ce"))
    assert found["label"] == "Mlp mine"
    assert found | said == base | said


def test_a_new_dataset_and_its_variant_are_valid(root: Path) -> None:
    assert new_dataset("mine", root=root) == ["config/datasets/mine.yaml"]
    assert load_dataset("mine", root, "study.yaml")["source"]["path"] == "$ANNOBENCH_DATA/mine.h5ad"
    assert new_dataset("mine.two", "mine", root=root) == ["config/datasets/mine.two.yaml"]
    said = {"label": "", "summary": ""}
    found, base = (load_dataset(name, root, "study.yaml") for name in ("mine.two", "mine"))
    assert found | said == base | said


def test_names_that_are_taken_wrong_or_unknown_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="mlp_ce.yaml: exists already; choose another name"):
        new_method("mlp_ce", "mlp_ce", root=root)
    with pytest.raises(ConfigError, match="'My-Own' does not match"):
        new_method("My-Own", root=root)
    with pytest.raises(ConfigError, match=r"BASE: no file config/methods/mlp_cee.yaml; did you mean 'mlp_ce'\?"):
        new_method("mine", "mlp_cee", root=root)
