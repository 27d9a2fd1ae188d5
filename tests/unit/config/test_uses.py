"""What is promised: a method that reads other fits has them planned before it, and a wrong `uses` never starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from annobench.config.method_facts import MethodFacts
from annobench.config.results import Fit, Results
from annobench.config.study import Study, load_study
from annobench.config.uses import reads_several, resolved_uses, used_outputs
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.fit.job import FitSettings, Use
from annobench.workflow.common import constraints_of
from annobench.workflow.fit import FitRules
from annobench.workflow.plan import Plan
from annobench.workflow.tables import TableRules

HOLDOUT = {"dataset": "simulated_small", "regime": "holdout"}
PROBE = {"label": "l", "summary": "s", "citation": "c", "licence": "l", "implementation": "probe"}


def study(**changes: Any) -> dict[str, Any]:
    return {"study": "s", "methods": ["probe_pca"], "controls": [], "seeds": [1], "evaluations": [HOLDOUT]} | changes


def refused(folder: Path, uses: dict[str, Any] | None, others: dict[str, Any] | None = None, **changes: Any) -> str:
    """The message for a study with the method `mine` of its own, which uses these, and further methods."""
    methods = folder / "config" / "methods"
    methods.mkdir(parents=True)
    for name, text in {"mine": PROBE | ({} if uses is None else {"uses": uses}), **(others or {})}.items():
        (methods / f"{name}.yaml").write_text(yaml.safe_dump(text))
    (folder / "s.yaml").write_text("study: s\n")
    with pytest.raises(ConfigError) as error:
        load_study(study(**({"methods": ["mine"]} | changes)), ROOT, str(folder / "s.yaml"))
    return str(error.value)


def place(method: str) -> SimpleNamespace:
    return SimpleNamespace(dataset="simulated_small", split="holdout", method=method, seed="1")


def test_what_is_read_is_fitted_first_and_not_shown() -> None:
    found = load_study(study(), ROOT)
    fits = [Fit("simulated_small", "holdout", name, 1) for name in ("pca_train", "probe_pca")]
    assert list(found.fits()) == fits
    assert list(found.scored_fits()) == fits[1:]
    assert found.fits_used_by(fits[1]) == fits[:1]
    assert (found.only_used, found.shown_methods()) == (frozenset({"pca_train"}), ["probe_pca"])
    assert constraints_of(found)["method"] == "probe_pca|pca_train"
    rules = FitRules(found)
    assert rules.inputs(place("probe_pca"))["uses"] == [Results().run(fits[0])]
    assert rules.inputs(place("pca_train"))["uses"] == []
    settings = FitSettings.from_params(rules.settings(place("probe_pca")))
    assert settings.method.uses == {"embedding": Use(output="embedding", methods=("pca_train",))}


def test_tables_show_it_only_where_it_is_listed(tmp_path: Path) -> None:
    for methods in (["probe_pca"], ["probe_pca", "pca_train"]):
        found = load_study(study(methods=methods), ROOT)
        assert list(TableRules(found).spec(None).methods) == methods
        assert len(TableRules(found).fit_files()["run"]) == len(methods)
        plan = Plan(found, Results(tmp_path))
        assert {one.method: one.fits for one in plan.methods} == {"pca_train": 1, "probe_pca": 1}
        assert f"2, {len(methods)} (2 fits left)" in plan.text()


def test_a_chain_is_fitted_from_its_end(tmp_path: Path) -> None:
    methods = tmp_path / "config" / "methods"
    methods.mkdir(parents=True)
    middle = PROBE | {"uses": {"embedding": "pca_logistic"}}
    (methods / "mine.yaml").write_text(yaml.safe_dump(middle))
    (tmp_path / "s.yaml").write_text("study: s\n")
    found: Study = load_study(study(methods=["probe_pca", "mine"], seeds=[1, 2]), ROOT, str(tmp_path / "s.yaml"))
    order = [(fit.method, fit.seed) for fit in found.fits()]
    assert order == [
        (m, s) for pair in (("pca_train", "probe_pca"), ("pca_logistic", "mine")) for s in (1, 2) for m in pair
    ]


def test_a_decoding_alone_has_its_fit_known() -> None:
    found = load_study(study(methods=["linear_hce.leaf"]), ROOT)
    assert FitRules(found).settings(place("linear_hce"))["method"]["implementation"] == "linear"
    assert found.shown_methods() == ["linear_hce.leaf"]


@pytest.mark.parametrize(
    ("uses", "part"),
    [
        ({"embeding": "pca_train"}, "mine.yaml: uses: unknown key 'embeding'; did you mean 'embedding'?"),
        (None, "mine.yaml: uses: key 'embedding' is missing; name the method whose embedding is read"),
        (
            {"embedding": ["pca_train", "pca_logistic"]},
            "mine.yaml: uses.embedding: expected one method, found a list of 2",
        ),
        (
            {"embedding": "pca_logistc"},
            "uses.embedding: methods: no file config/methods/pca_logistc.yaml; did you mean",
        ),
        ({"embedding": "majority"}, "uses.embedding: 'majority' gives no embedding (abilities.embedding)"),
        ({"embedding": "oracle"}, "uses.embedding: 'oracle' gives no embedding"),
        ({"embedding": "knn.leaf"}, "'knn.leaf' is a decoding of a fit; name the method that is fitted, 'knn'"),
        ({"embedding": 3}, "uses.embedding: expected ['string', 'array'], found a number (3)"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, uses: dict[str, Any] | None, part: str) -> None:
    assert part in refused(tmp_path, uses)


def test_a_method_without_uses_takes_none(tmp_path: Path) -> None:
    text = PROBE | {"implementation": "knn", "uses": {"embedding": "pca_train"}}
    assert "the implementation 'knn' reads no other fits" in refused(
        tmp_path, {"embedding": "pca_train"}, {"mine": text}
    )


def test_a_method_may_read_several_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = MethodFacts(uses={"votes": ("predictions",)})
    monkeypatch.setattr("annobench.config.uses.method_facts", lambda name: facts)
    for given in (["a", "b"], "a"):
        assert resolved_uses("vote", {"votes": given}, lambda *keys: "f") == {"votes": list(given)}
    assert used_outputs("vote") == {"votes": "predictions"}
    assert reads_several("vote") == {"votes"}


def test_a_vote_does_without_members_and_a_probe_does_not() -> None:
    assert reads_several("vote") == {"votes"}
    assert reads_several("probe") == set()


def test_rings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "mine -> mine is a ring" in refused(tmp_path / "a", {"embedding": "mine"})


@pytest.mark.parametrize(
    ("keep", "part"),
    [
        ({"embedding": False}, "keep.embedding: false, but 'mine' reads the embedding of 'pca_train'; set it to true"),
        ({"embedding_roles": ["test"]}, "keep.embedding_roles: has no train cells, but 'mine' reads the embedding of"),
        ({"embedding_roles": ["train", "val"]}, "keep.embedding_roles: has no test cells"),
    ],
)
def test_what_is_read_has_to_be_kept(tmp_path: Path, keep: dict[str, Any], part: str) -> None:
    assert part in refused(tmp_path, {"embedding": "pca_train"}, keep=keep)


def test_nothing_that_learns_runs_where_nothing_trains(tmp_path: Path) -> None:
    zero_shot = [{"dataset": "simulated_small", "regime": "zero_shot"}]
    message = refused(tmp_path, {"embedding": "pca_train"}, evaluations=zero_shot)
    assert "'mine' learns from training cells, and the regime zero_shot has none" in message
