"""What is promised: what a metric says of itself is read without importing it, and decides what a study may rank by."""

from dataclasses import fields
from pathlib import Path

import pytest

from annobench.config import metrics
from annobench.config.metrics import MetricFacts, check_metric, metric_facts
from annobench.config.schema import load_yaml
from annobench.config.study import load_study
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.score.registry import METRICS


def test_facts_are_those_of_the_metrics() -> None:
    facts = metric_facts()
    assert set(facts) == set(METRICS)
    for name, metric in METRICS.items():
        for field in fields(MetricFacts):
            assert getattr(facts[name], field.name) == getattr(metric, field.name), (name, field.name)


def test_labels_and_meanings_are_for_people() -> None:
    labels = [metric.label for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)
    for metric in METRICS.values():
        assert "_" not in metric.label
        assert metric.meaning
        assert metric.low < metric.high
        assert metric.best is None or metric.low <= metric.best <= metric.high


def test_every_metric_with_a_best_value_for_a_fit_may_rank() -> None:
    ranking = {name for name, facts in metric_facts().items() if facts.ranks}
    assert {"macro_f1", "hierarchical_f1_macro", "brier", "ece", "aurc", "fit_seconds", "completed"} <= ranking
    assert not {"f1", "bin_accuracy", "unknown_share", "marker_cv", "unknown_rate"} & ranking
    config = load_yaml(ROOT / "config" / "config.yaml")
    for name in sorted(ranking):
        study = load_study(config | {"scoring": {"primary": name}}, ROOT)
        assert study.settings["scoring"]["primary"] == name


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ({"primary": "macro_f2"}, "scoring.primary: there is no metric 'macro_f2'; did you mean 'macro_f1'?"),
        (
            {"primary": "ontology_f1"},
            "'ontology_f1' has no single value for a fit: it has a value for every class",
        ),
        ({"primary": "unknown_rate"}, "'unknown_rate' has no single value for a fit: it has a value for every rule"),
        ({"primary": "marker_purity"}, "'marker_purity' has no single value for a fit: the audit alone computes it"),
        ({"primary": "finer_share"}, "'finer_share' has no best value, so it cannot rank methods"),
        (
            {"metrics": ["accuracy", "acuracy"]},
            "metrics[1]: there is no metric 'acuracy'; did you mean 'accuracy'?",
        ),
        ({"metrics": ["f1"]}, "scoring.metrics[0]: 'f1' has no single value for a fit"),
    ],
)
def test_what_cannot_rank_is_refused(scoring: dict[str, object], message: str) -> None:
    config = load_yaml(ROOT / "config" / "config.yaml")
    with pytest.raises(ConfigError) as error:
        load_study(config | {"scoring": scoring}, ROOT, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: scoring.")
    assert message in str(error.value)


def test_a_metric_without_a_best_value_may_be_shown() -> None:
    check_metric("finer_share", "here", ranks=False)


def family(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "mine.py").write_text(text)
    monkeypatch.setattr(metrics, "plugins", lambda room: ["mine"])
    monkeypatch.setattr(metrics, "plugin_path", lambda room, name: folder / "mine.py")
    metric_facts.cache_clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "METRICS is missing"),
        ("METRICS = [Metric(name=n) for n in 'ab']", "must be a list of Metric(...), spelt out"),
        ("METRICS = [Metric(name='a', label='b', low=0, high=1)]", "line 1: a metric lacks best"),
        ("METRICS = [Metric(name='a', label=NAME, low=0, high=1, best=1)]", "label of a metric must be a literal"),
        (
            "METRICS = [Metric(name='a', label='b', low=0, high=1, best=1), "
            "Metric(name='a', label='b', low=0, high=1, best=1)]",
            "there is a metric 'a' in mine.py as well",
        ),
    ],
)
def test_a_family_that_says_too_little_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    family(tmp_path, monkeypatch, text)
    try:
        with pytest.raises(ConfigError, match="mine.py") as error:
            metric_facts()
        assert message in str(error.value)
    finally:
        metric_facts.cache_clear()


def test_an_infinite_range_is_written_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family(tmp_path, monkeypatch, "METRICS = [Metric(name='a', label='b', low=0, high=INFINITE, best=0)]")
    try:
        facts = metric_facts()["a"]
        assert (facts.high, facts.lower_is_better, facts.ranks) == (float("inf"), True, True)
    finally:
        metric_facts.cache_clear()
