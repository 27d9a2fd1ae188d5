"""A study: the YAML files, resolved into the list of splits and fits to run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from annobench.config.census import census_source
from annobench.config.checkpoints import checkpoints_of, pretraining_datasets
from annobench.config.decodings import check_decodings
from annobench.config.entities import decoded, load_dataset_with_parts, load_method, load_named, own_folder, parts_of
from annobench.config.evaluations import splits_of
from annobench.config.figures import named_figures
from annobench.config.metrics import check_metric
from annobench.config.published import published_files
from annobench.config.regimes import regime_class
from annobench.config.results import Fit, View
from annobench.config.schema import Document, load_yaml, validate
from annobench.config.split import Split
from annobench.config.uses import UsedMethods
from annobench.core.errors import ConfigError, nearest

Splits: TypeAlias = dict[tuple[str, str], Split]  # by dataset and name


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as it runs: validated, with defaults, and every file that it names.

    Attributes
    ----------
    name
        Its tables, figures and report lie in folders of this name.
    settings
        The configuration, with defaults filled in.
    datasets, methods, panels, rollups, releases, checkpoints, orthologues
        Files of config/, by name. Datasets include the parts of pairs. A method that is a decoding (`mlp_hce.leaf`) is
        that of the file without, and names it as `fitted`.
    splits
        Splits that are scored, by dataset and name, in the order of the configuration.
    fitted_splits
        Splits that are only fitted; scored splits name them as `fitted`.
    own
        The folder of the study, where it has a config/ of its own.
    only_used
        Methods among `methods` that the study does not list: they are fitted because others read their fits, and not
        scored.
    """

    name: str
    settings: Document
    datasets: dict[str, Document]
    methods: dict[str, Document]
    splits: Splits
    fitted_splits: Splits
    panels: dict[str, Document]
    rollups: dict[str, Document]
    releases: dict[str, Document]
    own: Path | None = None
    only_used: frozenset[str] = frozenset()
    checkpoints: dict[str, Document] = field(default_factory=dict)
    orthologues: dict[str, Document] = field(default_factory=dict)

    def fits(self) -> Iterator[Fit]:
        """All fits of the study, in the order of the configuration; fits that others read come before these."""
        found: dict[Fit, None] = {}

        def add(fit: Fit) -> None:
            if fit not in found:
                for used in self.fits_used_by(fit):
                    add(used)
                found[fit] = None

        for fit in self.scored_fits():
            add(fit)
        yield from found

    def scored_fits(self) -> Iterator[Fit]:
        """The fits that are scored: all but those that are only read by others."""
        yield from dict.fromkeys(map(self.fit_of, self.views()))

    def fits_used_by(self, fit: Fit) -> list[Fit]:
        """The fits of other methods that a fit reads: of the same dataset, split and seed."""
        used = dict.fromkeys(name for names in self.methods[fit.method]["uses"].values() for name in names)
        return [replace(fit, method=name) for name in used]

    def shown_methods(self) -> list[str]:
        """Names of the methods that tables and figures show: all but those that are only read by others."""
        return [name for name in self.methods if name not in self.only_used]

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
        return self.splits.get((dataset, name)) or self.fitted_splits[dataset, name]

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
        evaluations: dict[tuple[str, str], list[Split]] = {}
        for split in self.splits.values():
            evaluations.setdefault((split.dataset, split.evaluation), []).append(split)
        return evaluations


def load_study(config: Document, root: Path, source: str = "config") -> Study:
    """Validate a configuration and resolve every file that it names.

    Parameters
    ----------
    config
        The configuration as it was read: `config/config.yaml`, with a study merged over it.
    root
        The repository.
    source
        The file that errors name. A folder config/ beside it comes before that of the repository.

    Raises
    ------
    ConfigError
        A key or value is wrong, a file is missing, or parts of the study do not go together. The message names the file
        and the key, and the nearest name that there is.
    """
    settings = validate(config, "config", source)
    settings["figures"] = named_figures(settings["figures"], source)
    own = own_folder(source, root)
    methods, methods_of = _methods(settings, root, source, own)
    shown = set(methods)

    def load_used(name: str, where: str) -> None:
        methods[name] = load_method(name, root, where, own)

    used = UsedMethods(methods, load_used, settings["keep"], source)
    _check_untrained([one["regime"] for one in settings["evaluations"]], methods_of, used, source)
    checkpoints = checkpoints_of(methods, root, own)
    datasets = _datasets(settings, root, source, own)
    for dataset, where in pretraining_datasets(checkpoints):
        load_dataset_with_parts(dataset, root, where, datasets, own)
    splits, fitted = _splits(settings, datasets, methods_of, source)
    _check_metrics(settings["scoring"]["primary"], settings["scoring"]["metrics"], source)
    kinds = {name: method["kind"] for name, method in methods.items()}
    _check_baselines(settings["scoring"]["baselines"], kinds, splits, source)
    _check_published(settings["published"], splits, source)
    _check_contrasts(settings["contrasts"], splits, source)
    published_files(settings["published_values"], root, source)  # raises for a missing one

    def load(kind: str, names: Iterable[str | None]) -> dict[str, Document]:
        return {name: load_named(kind, name, root, source, own) for name in sorted({name for name in names if name})}

    censuses = [census for one in datasets.values() if (census := census_source(one))]
    return Study(
        name=settings["study"],
        settings=settings,
        datasets=datasets,
        methods=methods,
        splits=splits,
        fitted_splits=fitted,
        panels=load("panel", (split.genes.panel for split in splits.values())),
        rollups=load("rollup", [*(split.rollup for split in splits.values()), settings["scoring"]["merge"]]),
        releases=load("release", (census["built"] for census in censuses)),
        own=own,
        only_used=frozenset(methods) - shown,
        checkpoints=checkpoints,
        orthologues=load("orthologue", [settings["scoring"]["orthologues"]]),
    )


def _datasets(settings: Document, root: Path, source: str, own: Path | None) -> dict[str, Document]:
    """All datasets of a study by name: what is evaluated, its parts, and the unrelated cells that it names."""
    datasets: dict[str, Document] = {}
    evaluated = list(dict.fromkeys(evaluation["dataset"] for evaluation in settings["evaluations"]))
    for name in evaluated:
        load_dataset_with_parts(name, root, source, datasets, own)
    for name in list(datasets):
        if name in evaluated and (unrelated := datasets[name]["unrelated"]):
            load_dataset_with_parts(unrelated, root, f"config/datasets/{name}.yaml", datasets, own)
    return datasets


def _methods(
    settings: Document, root: Path, source: str, folder: Path | None
) -> tuple[dict[str, Document], list[list[str]]]:
    """All methods of a study by name, and the names of those that run in each of its evaluations."""
    methods: dict[str, Document] = {}

    def load(names: Iterable[str]) -> None:
        for name in names:
            if name not in methods:
                methods[name] = load_method(name, root, source, folder)

    def with_views(names: Sequence[str], decodings: Sequence[str]) -> list[str]:
        load(names)
        views = decoded(names, methods, decodings)
        load(views)
        return [*names, *views]

    check_decodings(settings["decodings"], settings["decoding_options"], source)
    for position, evaluation in enumerate(settings["evaluations"]):
        check_decodings(evaluation.get("decodings", []), {}, f"{source}: evaluations[{position}]")
    load(settings["controls"])
    whole = with_views(settings["methods"], settings["decodings"])
    of_each = []
    for evaluation in settings["evaluations"]:
        own, controls = whole, settings["controls"]
        if "methods" in evaluation or "decodings" in evaluation:
            used = {key: evaluation.get(key, settings[key]) for key in ("methods", "decodings")}
            own = with_views(used["methods"], used["decodings"])
        if not regime_class(evaluation["regime"]).TRAINS:
            controls = [name for name in controls if not methods[name]["abilities"]["trains"]]
        of_each.append(list(dict.fromkeys([*controls, *own])))
    return methods, of_each


def _check_untrained(regimes: Sequence[str], methods_of: list[list[str]], used: UsedMethods, source: str) -> None:
    """Raise ConfigError for a method that learns from training cells, itself or by what it reads, where none are."""
    for position, (regime, names) in enumerate(zip(regimes, methods_of, strict=True)):
        for name in names if not regime_class(regime).TRAINS else ():
            if learner := used.learner(name):
                what = f"'{name}'" if learner == name else f"'{learner}', whose fit '{name}' reads,"
                raise ConfigError(
                    f"{source}: evaluations[{position}]: methods: {what} learns from training cells, and the regime "
                    f"{regime} has none; give the entry `methods` of its own that have learned elsewhere"
                )


def _splits(
    settings: Document, datasets: dict[str, Document], methods_of: list[list[str]], source: str
) -> tuple[Splits, Splits]:
    """All splits of a study: those that are scored, and those that are only fitted."""
    splits: Splits = {}
    fitted: Splits = {}
    for position, evaluation in enumerate(settings["evaluations"]):
        where = f"{source}: evaluations[{position}]"
        before = {(split.dataset, split.evaluation) for split in splits.values()}
        for split in splits_of(
            evaluation,
            datasets[evaluation["dataset"]],
            seeds=evaluation.get("seeds", settings["seeds"]),
            methods=methods_of[position],
            where=where,
            parts=[datasets[part] for part in parts_of(datasets[evaluation["dataset"]])],
        ):
            place = (split.dataset, split.name)
            if (split.dataset, split.evaluation) in before or place in splits or place in fitted:
                raise ConfigError(
                    f"{where}: '{split.evaluation}' of '{split.dataset}' is listed twice (split '{split.name}'); give "
                    "one of them another `name`"
                )
            (splits if split.scored else fitted)[place] = split
    return splits, fitted


def _check_metrics(primary: str, others: Iterable[str], source: str) -> None:
    """The primary metric can rank, and the others have a value for every fit."""
    check_metric(primary, f"{source}: scoring.primary", ranks=True)
    for position, name in enumerate(others):
        check_metric(name, f"{source}: scoring.metrics[{position}]", ranks=False)


def _check_baselines(baselines: list[str], kinds: dict[str, str], splits: Splits, source: str) -> None:
    """Raise ConfigError for a baseline that does not run in the study, or that is not ranked."""
    where = f"{source}: scoring.baselines"
    known = sorted({method for split in splits.values() for method in split.methods})
    for name in baselines:
        if name not in known:
            raise ConfigError(
                f"{where}: '{name}' does not run in this study{nearest(name, known)}; add it to `methods`"
            )
        if kinds[name] != "method":
            raise ConfigError(f"{where}: '{name}' is a {kinds[name]}, which has no rank; name methods")
    if baselines and not [name for name in known if kinds[name] == "method" and name not in baselines]:
        raise ConfigError(f"{where}: every method is a baseline, so that there is nothing to hold against one")


def _check_published(published: Document | None, splits: Splits, source: str) -> None:
    """Raise ConfigError where what is compared with a published table is not part of the study."""
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


def _check_contrasts(contrasts: list[dict[str, str]], splits: Splits, source: str) -> None:
    """Raise ConfigError where names of contrasts repeat, or its two methods never run on the same cells."""
    names: set[str] = set()
    known = sorted({method for split in splits.values() for method in split.methods})
    for position, contrast in enumerate(contrasts):
        where, base, method = f"{source}: contrasts[{position}]", contrast["base"], contrast["method"]
        if contrast["name"] in names:
            raise ConfigError(f"{where}.name: '{contrast['name']}' is listed twice; give one of them another name")
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


def named_study(path: Path) -> Document:
    """Read a study file; raises ConfigError where its study has another name than the file.

    Two files with one name would overwrite each other's results.
    """
    document = load_yaml(path)
    if document.get("study") != path.stem:
        raise ConfigError(
            f"{path}: study: expected '{path.stem}', the name of the file, found '{document.get('study')}'; results "
            "are written under that name"
        )
    return document
