"""What is promised: a rule reruns exactly when code that it imports changes; comments and docstrings do not count."""

from pathlib import Path

import pytest

from annobench.core import codehash


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package: a imports b inside a function, c stands apart."""
    package = tmp_path / "annobench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from annobench.b import g\n    return g()\n")
    (package / "b.py").write_text('"""Doc."""\n\ndef g():\n    """Doc."""\n    return 1\n')
    (package / "c.py").write_text("import annobench.a\n")
    monkeypatch.setattr(codehash, "SCRIPTS", tmp_path)
    monkeypatch.setattr(codehash, "ROOT", tmp_path)
    return package


def fresh(*modules: str) -> str:
    for cached in (codehash.code_hash, codehash._facts, codehash._path, codehash._imports, codehash._known):
        cached.cache_clear()
    return codehash.code_hash(*modules)


def test_a_change_behind_an_import_inside_a_function_counts(library: Path) -> None:
    before = fresh("annobench.a")
    (library / "b.py").write_text("def g():\n    return 2\n")
    assert fresh("annobench.a") != before


def test_a_change_elsewhere_does_not_count(library: Path) -> None:
    before = fresh("annobench.a")
    (library / "c.py").write_text("x = 1\n")
    assert fresh("annobench.a") == before


def test_comments_and_docstrings_do_not_count(library: Path) -> None:
    before = fresh("annobench.a")
    (library / "b.py").write_text('"""Other words."""\n\n# a comment\ndef g():\n    """Other."""\n    return 1\n')
    assert fresh("annobench.a") == before


def test_imports_for_type_checkers_do_not_count(library: Path) -> None:
    before = fresh("annobench.b")
    (library / "b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import annobench.c\ndef g():\n    return 1\n"
    )
    with_typing = fresh("annobench.b")
    (library / "c.py").write_text("y = 2\n")
    assert fresh("annobench.b") == with_typing != before


def test_a_missing_module_is_an_error(library: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"annobench\.nowhere"):
        fresh("annobench.nowhere")


def reached(*modules: str) -> set[str]:
    """Modules whose code counts for a rule that begins with `modules`."""
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            queue.extend(codehash._imports(module))
    return seen


@pytest.mark.parametrize(
    "family", ["flat", "topk", "hierarchical", "ontology_aware", "calibration", "markers", "resources"]
)
@pytest.mark.parametrize("module", ["score_fit", "audit_evaluation", "aggregate_scores", "annobench.report.page"])
def test_scores_audits_tables_and_the_page_depend_on_every_metric(module: str, family: str) -> None:
    """Families are found by the names of their files, which the registry says with PLUGINS."""
    assert f"annobench.score.metrics.{family}" in reached(module)


def test_fits_do_not_depend_on_figures_tables_or_reports() -> None:
    for method in ("logistic_regression", "mlp", "exec"):
        seen = reached("annobench.fit.parent", "annobench.fit.child", f"annobench.methods.{method}")
        others = ("figures", "tables", "report", "score", "workflow")
        assert not [m for m in seen if m.split(".")[1:2] and m.split(".")[1] in others]
        assert not [m for m in seen if m.startswith("annobench.methods.") and m.rsplit(".", 1)[1] in {"knn", "oracle"}]


@pytest.mark.parametrize(
    "driver", ["prepare_dataset", "split_dataset", "balance_train", "fit_method", "score_fit", "audit_evaluation"]
)
def test_steps_do_not_depend_on_how_a_study_is_resolved(driver: str) -> None:
    """What a study says reaches a step through its spec; a change of the code that reads studies refits nothing."""
    resolving = {f"annobench.config.{name}" for name in ("study", "evaluations", "entities", "schema", "manual")}
    assert not reached(driver) & resolving


def test_what_an_earlier_process_read_is_read_once(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit = []
    monkeypatch.setattr(codehash.atexit, "register", at_exit.append)
    (codehash.ROOT / ".snakemake").mkdir()
    before = fresh("annobench.a")
    at_exit[0]()
    (kept,) = (codehash.ROOT / ".snakemake").iterdir()
    with monkeypatch.context() as context:
        context.setattr(codehash, "_read", None)  # would fail
        assert fresh("annobench.a") == before
    (library / "b.py").write_text("def g():\n    return 2\n")
    assert fresh("annobench.a") != before
    for broken in ("", "[1]", '{"a": {}}', kept.read_text()[:50]):
        kept.write_text(broken)
        assert fresh("annobench.a") != before
