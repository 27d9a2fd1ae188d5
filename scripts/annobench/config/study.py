"""A study: the YAML files, resolved into the list of splits and fits to run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annobench.config.census import census_source
from annobench.config.entities import decoded, load_dataset_with_parts, load_method, load_named
from annobench.config.evaluations import splits_of
from annobench.config.figures import named_figures
from annobench.config.published import published_files
from annobench.config.results import Fit, View
from annobench.config.schema import load_yaml, validate
from annobench.config.split import Split
from annobench.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Study:
    """A validated study: `settings` is the configuration with defaults filled in.

    `splits` are scored; `fitted_splits` are only fitted, and scored by splits that name them. A method with a decoding
    (`mlp_hce.leaf`) is scored from the fits of the method without.
    """

    name: str
    settings: dict[str, Any]
    datasets: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    splits: dict[tuple[str, str], Split]
    panels: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollups: dict[str, dict[str, Any]] = field(default_factory=dict)
    fitted_splits: dict[tuple[str, str], Split] = field(default_factory=dict)
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def fits(self) -> Iterator[Fit]:
        """All fits of the study, in the order of the configuration."""
        yield from dict.fromkeys(map(self.fit_of, self.views()))

    def views(self) -> Iterator[View]:
        """Everything that is scored, in the order of the configuration: fits, and views of fits."""
        for split in self.splits.values():
            for method in split.methods:
                for seed in split.seeds:
                    yield View(split.dataset, split.name, method, seed)

    def fit_of(self, view: View) -> Fit:
        """The fit that a view shows."""
        fitted = self.splits[view.dataset, view.split].fitted
        return Fit(view.dataset, fitted, self.methods[view.method]["fitted"], view.seed)

    def split(self, dataset: str, name: str) -> Split:
        """A split, scored or only fitted."""
        found = self.splits.get((dataset, name))
        return found or self.fitted_splits[dataset, name]

    def all_splits(self) -> list[Split]:
        """Scored and fitted splits."""
        return [*self.fitted_splits.values(), *self.splits.values()]

    def scored_on(self, dataset: str, fitted: str) -> list[Split]:
        """The splits that score the fits of a split."""
        return [split for split in self.splits.values() if (split.dataset, split.fitted) == (dataset, fitted)]

    def scored_datasets(self) -> list[str]:
        """Datasets that are evaluated themselves (components of a pair are not)."""
        return list(dict.fromkeys(split.dataset for split in self.splits.values()))

    def evaluations(self) -> dict[tuple[str, str], list[Split]]:
        """The splits of every evaluation, by dataset and name of the evaluation."""
        found: dict[tuple[str, str], list[Split]] = {}
        for split in self.splits.values():
            found.setdefault((split.dataset, split.evaluation), []).append(split)
        return found


def load_study(config: dict[str, Any], root: Path, source: str = "config") -> Study:
    """Validate a configuration and resolve every file that it names.

    `root` is the repository; `source` is the file that errors name. Raises ConfigError.
    """
    settings = validate(config, "config", source)
    settings["figures"] = named_figures(settings["figures"], source)
    methods, methods_of = _methods(settings, root, source)
    datasets: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(evaluation["dataset"] for evaluation in settings["evaluations"]):
        load_dataset_with_parts(name, root, source, datasets)
    for name in list(datasets):  # cells that do not belong to what is evaluated
        unrelated = datasets[name]["unrelated"]
        if unrelated and any(name == evaluation["dataset"] for evaluation in settings["evaluations"]):
            load_dataset_with_parts(unrelated, root, f"config/datasets/{name}.yaml", datasets)
    splits: dict[tuple[str, str], Split] = {}
    fitted: dict[tuple[str, str], Split] = {}
    for position, evaluation in enumerate(settings["evaluations"]):
        where = f"{source}: evaluations[{position}]"
        before = {(split.dataset, split.evaluation) for split in splits.values()}
        for split in splits_of(
            evaluation,
            datasets[evaluation["dataset"]],
            seeds=evaluation.get("seeds", settings["seeds"]),
            methods=methods_of[position],
            where=where,
        ):
            place = (split.dataset, split.name)
            if (split.dataset, split.evaluation) in before or place in splits or place in fitted:
                raise ConfigError(
                    f"{where}: '{split.evaluation}' of '{split.dataset}' stands twice (split '{split.name}'); give one "
                    "of them another `name`"
                )
            (splits if split.scored else fitted)[place] = split
    _check_published(settings["published"], splits, source)
    _check_contrasts(settings["contrasts"], splits, source)
    published_files(settings["published_values"], root, source)  # raises for one that is not there
    panels = {panel for split in splits.values() if (panel := split.genes.panel)}
    rollups = {name for split in splits.values() if (name := split.rollup)}
    rollups |= {settings["scoring"]["merge"]} - {None}
    return Study(
        settings["study"],
        settings,
        datasets,
        methods,
        splits,
        {name: load_named("panel", name, root, source) for name in sorted(panels)},
        {name: load_named("rollup", name, root, source) for name in sorted(rollups)},
        fitted,
        _releases(datasets, root, source),
    )


def _methods(settings: Mapping[str, Any], root: Path, source: str) -> tuple[dict[str, dict[str, Any]], list[list[str]]]:
    """All methods of a study by name, and the names of those that run in each of its evaluations."""
    methods: dict[str, dict[str, Any]] = {}

    def load(names: Iterable[str]) -> None:
        for name in names:
            if name not in methods:
                methods[name] = load_method(name, root, source)

    def with_views(names: Sequence[str], decodings: Sequence[str]) -> list[str]:
        load(names)
        views = decoded(names, methods, decodings)
        load(views)
        return [*names, *views]

    load(settings["controls"])
    whole = with_views(settings["methods"], settings["decodings"])
    of_each = []
    for evaluation in settings["evaluations"]:
        own = whole
        if "methods" in evaluation or "decodings" in evaluation:
            used = {key: evaluation.get(key, settings[key]) for key in ("methods", "decodings")}
            own = with_views(used["methods"], used["decodings"])
        of_each.append(list(dict.fromkeys([*settings["controls"], *own])))
    return methods, of_each


def _releases(datasets: dict[str, dict[str, Any]], root: Path, source: str) -> dict[str, dict[str, Any]]:
    """The files of config/releases from which datasets of the study are taken."""
    built = {census["built"] for dataset in datasets.values() if (census := census_source(dataset))}
    return {name: load_named("release", name, root, source) for name in sorted(built - {None})}


def _check_published(published: dict[str, Any] | None, splits: dict[tuple[str, str], Split], source: str) -> None:
    """What stands beside a published table must be part of the study."""
    if published is None:
        return
    where, dataset = f"{source}: published", published["dataset"]
    known: dict[str, set[str]] = {}
    for split in splits.values():
        if split.dataset == dataset:
            known.setdefault(split.evaluation, set()).update(split.methods)
    places = [published["evaluation"], *(column["evaluation"] for column in published["columns"].values())]
    for name in places:
        if name not in known:
            raise ConfigError(f"{where}: '{dataset}' has no evaluation '{name}' in this study{nearest(name, known)}")
    for key, column in published["columns"].items():
        methods = known[column["evaluation"]]
        if column["method"] not in methods:
            raise ConfigError(
                f"{where}.columns.{key}: '{column['method']}' does not run in {column['evaluation']}"
                f"{nearest(column['method'], methods)}"
            )


def _check_contrasts(contrasts: list[dict[str, str]], splits: dict[tuple[str, str], Split], source: str) -> None:
    """Names are different, and both methods of a contrast run on the same cells."""
    names: set[str] = set()
    known = sorted({method for split in splits.values() for method in split.methods})
    for position, contrast in enumerate(contrasts):
        where, base, method = f"{source}: contrasts[{position}]", contrast["base"], contrast["method"]
        if contrast["name"] in names:
            raise ConfigError(f"{where}.name: '{contrast['name']}' stands twice; give one of them another name")
        names.add(contrast["name"])
        for key in ("base", "method"):
            if contrast[key] not in known:
                raise ConfigError(
                    f"{where}.{key}: '{contrast[key]}' does not run in this study{nearest(contrast[key], known)}; add "
                    "it to `methods`"
                )
        if base == method:
            raise ConfigError(f"{where}: base and method are both '{base}'; name two different methods")
        if not any({base, method} <= set(split.methods) for split in splits.values()):
            raise ConfigError(f"{where}: no evaluation runs both '{base}' and '{method}'; add the missing one to it")


def named_study(path: Path) -> dict[str, Any]:
    """Read a study file; raises ConfigError where its study has another name: two could overwrite each other."""
    document = load_yaml(path)
    if document.get("study") != path.stem:
        raise ConfigError(
            f"{path}: study: expected '{path.stem}', the name of the file, found '{document.get('study')}'; results "
            "lie under that name"
        )
    return document
