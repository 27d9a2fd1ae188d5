"""What a study must have for a figure: predicates that the figures name in NEEDS, and the figures that it has.

A new need is one function here. Imported while the Snakefile is parsed: standard library, config and specs only.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from annobench.config.entities import parts_of
from annobench.config.factors import pairs
from annobench.config.figures import figure_facts
from annobench.config.method_factors import method_factors
from annobench.config.metrics import metric_facts
from annobench.config.study import Study
from annobench.core.errors import ConfigError, nearest
from annobench.data.spec import has_real_cells

OF_EMBEDDINGS = ("clustering", "silhouette", "integration", "ordering", "probes")  # metric families with a best value
_NEEDS: dict[str, Callable[[Study], bool]] = {}


def need(predicate: Callable[[Study], bool]) -> Callable[[Study], bool]:
    """Let figures name a predicate in NEEDS."""
    _NEEDS[predicate.__name__] = predicate
    return predicate


def drawable(study: Study) -> list[str]:
    """The figures of a study for which it has data."""
    regimes = {split.regime for split in study.splits.values()}
    facts = map(figure_facts, study.settings["figures"])
    return [
        one.name
        for one in facts
        if (not one.regimes or regimes & set(one.regimes)) and all(met(name, study, one.name) for name in one.needs)
    ]


def met(name: str, study: Study, figure: str) -> bool:
    """Whether a study has what a figure needs. Raises ConfigError for a need without a predicate."""
    if name not in _NEEDS:
        raise ConfigError(f"figures/{figure}.py: NEEDS: there is no need '{name}'{nearest(name, _NEEDS)}")
    return _NEEDS[name](study)


@need
def markers(study: Study) -> bool:
    """A marker table, and cells that are not simulated: their genes are markers of nothing."""
    return study.settings["scoring"]["markers"] is not None and any(map(has_real_cells, _tested(study)))


@need
def published(study: Study) -> bool:
    """A published table to set results beside."""
    return study.settings["published"] is not None


@need
def spatial(study: Study) -> bool:
    """Test cells with coordinates."""
    return any(cells["spatial"] for cells in _tested(study))


@need
def factors(study: Study) -> bool:
    """A factor that changes within the study: training genes, the balance policy, merging of labels, or one of
    methods.
    """
    switches = {(split.genes.training, split.balance.policy) for split in study.splits.values()}
    of_two_methods = any(True for _ in pairs(method_factors(study)))
    return study.settings["scoring"]["merge"] is not None or len(switches) > 1 or of_two_methods


@need
def embeddings(study: Study) -> bool:
    """Scores of embeddings: an evaluation names such a family, or names none and a method predicts no labels."""
    return _computes(study, OF_EMBEDDINGS)


@need
def embedding_scores(study: Study) -> bool:
    """Such scores, of which the study shows one (`scoring.primary`, `scoring.metrics`)."""
    scoring = study.settings["scoring"]
    shown = {metric_facts()[name].family for name in (scoring["primary"], *scoring["metrics"])}
    return _computes(study, shown.intersection(OF_EMBEDDINGS))


@need
def probes(study: Study) -> bool:
    """Probes of embeddings, in the same way."""
    return _computes(study, ("probes",))


def _computes(study: Study, families: Collection[str]) -> bool:
    """Whether an evaluation has scores of embeddings of one of these families."""
    of = {name: method["abilities"] for name, method in study.methods.items()}
    return any(
        not set(families).isdisjoint(split.metric_families)
        if split.metric_families is not None
        else any(of[name]["embedding"] and not of[name]["predictions"] for name in split.methods)
        for split in study.splits.values()
    )


@need
def sweep(study: Study) -> bool:
    """A sweep of the resolution of clusters."""
    return any(split.metric_options.get("clustering", {}).get("sweep") for split in study.splits.values())


@need
def decisions(study: Study) -> bool:
    """Decision values, which confidence rules are computed from."""
    return bool(study.settings["keep"]["decisions"])


@need
def contrasts(study: Study) -> bool:
    """Pairs of methods that the study compares."""
    return bool(study.settings["contrasts"])


@need
def decodings(study: Study) -> bool:
    """Methods that are scored by another decoding as well."""
    return any(method["kind"] == "decoding" for method in study.methods.values())


@need
def published_values(study: Study) -> bool:
    """Published values to draw beside the results."""
    return bool(study.settings["published_values"])


def _tested(study: Study) -> list[Mapping[str, Any]]:
    """The datasets that test cells come from: of a pair the query, of a combined dataset those behind it."""
    parts = {name: parts_of(study.datasets[name]) for name in study.scored_datasets()}
    tested = {name: of[-1:] if "pair" in study.datasets[name] else of for name, of in parts.items()}
    return [study.datasets[part] for name, of in tested.items() for part in of or [name]]
