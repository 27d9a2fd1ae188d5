"""A study: the YAML files, resolved into the list of splits and fits to run."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annobench.config.census import census_source, check_census, release_parts
from annobench.config.marks import mark_files
from annobench.config.schema import fill, load_schema, load_yaml, validate
from annobench.errors import ConfigError, nearest
from annobench.methods.registry import resolve_parameters
from annobench.names import DECODINGS
from annobench.prepare import NO_LABELS
from annobench.runner.downloads import referenced


@dataclass(frozen=True)
class Split:
    """One concrete assignment of roles: a fold, a label fraction or a held-out family of one dataset.

    `evaluation` names the entry of the study that it belongs to; splits of one entry are averaged, others never.
    `fitted` names the split whose fits are scored on it: its own, but where one fit is scored on several sets of cells.
    """

    dataset: str
    name: str
    regime: str
    evaluation: str
    spec: dict[str, Any] = field(hash=False)
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    fitted: str


@dataclass(frozen=True)
class Fit:
    """The unit of work and of failure; or a view of one, where `split` or `method` only scores what another fitted."""

    dataset: str
    split: str
    method: str
    seed: int


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

    def views(self) -> Iterator[Fit]:
        """Everything that is scored, in the order of the configuration: fits, and views of fits."""
        for split in self.splits.values():
            for method in split.methods:
                for seed in split.seeds:
                    yield Fit(split.dataset, split.name, method, seed)

    def fit_of(self, view: Fit) -> Fit:
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
    methods = {}
    named = [
        *settings["controls"],
        *settings["methods"],
        *(m for e in settings["evaluations"] for m in e.get("methods", [])),
    ]
    for name in dict.fromkeys(named):
        methods[name] = load_method(name, root, source)
    datasets: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(evaluation["dataset"] for evaluation in settings["evaluations"]):
        _load_dataset_with_parts(name, root, source, datasets)
    for name in list(datasets):  # cells that do not belong to what is evaluated
        foreign = datasets[name]["foreign"]
        if foreign and any(name == evaluation["dataset"] for evaluation in settings["evaluations"]):
            _load_dataset_with_parts(foreign, root, f"config/datasets/{name}.yaml", datasets)
    splits: dict[tuple[str, str], Split] = {}
    fitted: dict[tuple[str, str], Split] = {}
    for position, evaluation in enumerate(settings["evaluations"]):
        where = f"{source}: evaluations[{position}]"
        before = {(split.dataset, split.evaluation) for split in splits.values()}
        for split in _expand(evaluation, settings, datasets[evaluation["dataset"]], where):
            place = (split.dataset, split.name)
            if (split.dataset, split.evaluation) in before or place in splits or place in fitted:
                raise ConfigError(
                    f"{where}: '{split.evaluation}' of '{split.dataset}' stands twice (split '{split.name}'); give one "
                    "of them another `name`"
                )
            fits_only = split.spec.get("part") == "both"
            (fitted if fits_only else splits)[place] = split
    _check_published(settings["published"], splits, source)
    _check_contrasts(settings["contrasts"], splits, source)
    mark_files(settings["marks"], root, source)  # raises for one that is not there
    specs = [split.spec for split in splits.values()]
    panels = {spec["genes"]["panel"] for spec in specs} - {None}
    rollups = {spec["rollup"] for spec in specs} | {settings["scoring"]["merge"]}
    return Study(
        settings["study"],
        settings,
        datasets,
        methods,
        splits,
        {name: load_named("panel", name, root, source) for name in sorted(panels)},
        {name: load_named("rollup", name, root, source) for name in sorted(rollups - {None})},
        fitted,
        _releases(datasets, root, source),
    )


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


def available(kind: str, root: Path) -> list[str]:
    """Names of the files in config/<kind> (datasets, methods or studies)."""
    return sorted(path.stem for path in (root / "config" / kind).glob("*.yaml"))


def load_method(name: str, root: Path, source: str) -> dict[str, Any]:
    """One method file, validated, with the defaults of its implementation filled in.

    A name that ends in a decoding (`mlp_hce.leaf`) is the method without, scored by its decoded labels. `fitted` names
    the method that is fitted.
    """
    fitted, _, decoding = name.rpartition(".")
    if decoding in DECODINGS:
        method = load_method(fitted, root, source)
        if method["decoding"] != "argmax":
            raise ConfigError(f"{source}: methods: '{name}': a fit is decoded once; name one of {', '.join(DECODINGS)}")
        if not method["abilities"]["probabilities"]:
            raise ConfigError(
                f"{source}: methods: '{name}': '{fitted}' gives no probabilities, so there is nothing to decode"
            )
        label = f"{method['label']}, {decoding.replace('_', '-')} decoding"
        return {**method, "label": label, "decoding": decoding, "kind": "decoding"}
    path = _find("methods", name, root, source)
    method = validate(load_yaml(path), "method", str(path.relative_to(root)))
    if (method["implementation"] == "exec") != ("exec" in method):
        raise ConfigError(f"{path.relative_to(root)}: `exec` goes with `implementation: exec`, and only with it")
    if method["needs"]["truth"] and method["kind"] != "control":
        raise ConfigError(f"{path.relative_to(root)}: needs.truth: only a control may see the labels of the test cells")
    _check_downloads(method, str(path.relative_to(root)))
    if "exec" not in method:  # a foreign command gets its parameters as they are
        method["parameters"] = resolve_parameters(
            method["implementation"], method["parameters"], str(path.relative_to(root))
        )
    return method | {"fitted": name, "decoding": "argmax"}


def _check_downloads(method: dict[str, Any], file: str) -> None:
    """Every file that is declared has an address and is used, and every one that is used is declared."""
    used = {name for value in method["parameters"].values() if (name := referenced(value))}
    for name in used - set(method["downloads"]):
        raise ConfigError(f"{file}: parameters: 'download:{name}' is not declared{nearest(name, method['downloads'])}")
    for name, download in method["downloads"].items():
        if not download["urls"] and not download["index"]:
            raise ConfigError(f"{file}: downloads.{name}: give `urls`, or an `index`, or both")
        if name not in used:
            raise ConfigError(f"{file}: downloads.{name}: no parameter uses it; give one the value 'download:{name}'")


def load_dataset(name: str, root: Path, source: str) -> dict[str, Any]:
    """One dataset file, validated."""
    path = _find("datasets", name, root, source)
    here = str(path.relative_to(root))
    dataset = validate(load_yaml(path), "dataset", here)
    if census := census_source(dataset):
        check_census(census, here)
    for key in ("label_id", "label_table"):
        if _unlabelled(dataset) and dataset["cells"][key] is not None:
            raise ConfigError(
                f"{here}: cells.label declares that there are no labels, but cells.{key} is "
                f"'{dataset['cells'][key]}'; name the column of the labels, or leave {key} out"
            )
    return dataset


def _unlabelled(dataset: dict[str, Any]) -> bool:
    """Whether a dataset declares that its cells have no labels."""
    return "source" in dataset and dataset["cells"]["label"] in NO_LABELS


def load_named(kind: str, name: str, root: Path, source: str) -> dict[str, Any]:
    """One file of config/panels, config/rollups or config/releases (`kind` is the word without s), validated."""
    path = _find(f"{kind}s", name, root, source)
    return validate(load_yaml(path), kind, str(path.relative_to(root)))


def _find(kind: str, name: str, root: Path, source: str) -> Path:
    path = root / "config" / kind / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"{source}: {kind}: no file config/{kind}/{name}.yaml{nearest(name, available(kind, root))}")
    return path


def _load_dataset_with_parts(name: str, root: Path, source: str, into: dict[str, dict[str, Any]]) -> None:
    if name in into:
        return
    into[name] = load_dataset(name, root, source)
    here = f"config/datasets/{name}.yaml"
    if census := census_source(into[name]):
        for part in release_parts(census, lambda built: load_named("release", built, root, here), here):
            _load_dataset_with_parts(part, root, f"config/releases/{census['built']}.yaml", into)
            if "pair" in into[part] or census_source(into[part]):
                raise ConfigError(
                    f"config/releases/{census['built']}.yaml: releases: '{part}' is a pair or of the Census itself; "
                    "name plain datasets"
                )
    pair = into[name].get("pair")
    if pair:
        for part in [*pair["references"], pair["query"]]:
            _load_dataset_with_parts(part, root, here, into)
            if "pair" in into[part]:
                raise ConfigError(f"{here}: pair: '{part}' is itself a pair; name plain datasets")
        for part in pair["references"]:
            if _unlabelled(into[part]):
                raise ConfigError(
                    f"{here}: pair: '{part}' declares no labels (cells.label), so nothing can train on it"
                )
        if pair["query"] in pair["references"]:
            raise ConfigError(f"{here}: pair: '{pair['query']}' is both reference and query")


_STEMS = {"low_label": "lowlabel", "cross_study": "crossstudy"}  # of split names; else the regime
# one fit is scored on cells of its own release and on those of a later one
_PARTS = {"": "both", "_id": "reference", "_ood": "query"}


def _expand(
    evaluation: dict[str, Any], settings: dict[str, Any], dataset: dict[str, Any], where: str
) -> Iterator[Split]:
    """The splits of one entry of `evaluations`."""
    regime = evaluation["regime"]
    _check_regime(evaluation, dataset, where)
    switches = _switches(evaluation)
    stem = evaluation.get("name") or _STEMS.get(regime, regime) + switches
    shared = {
        k: v
        for k, v in evaluation.items()
        if k not in ("dataset", "name", "seeds", "methods", "folds", "fractions", "held_out")
    }
    if regime == "kfold":
        folds = evaluation["folds"]
        parts = [(f"{stem}_{fold}", {"fold": fold, "folds": folds}) for fold in range(1, folds + 1)]
    elif regime == "low_label":
        parts = [(f"{stem}_{fraction:g}", {"fraction": fraction}) for fraction in evaluation["fractions"]]
    elif regime == "cross_study":
        families = dataset["families"]
        parts = [
            (f"{stem}_{family}", {"held_out": family, "rule": families[family]})
            for family in evaluation.get("held_out", list(families))
        ]
    elif regime == "release":
        parts = [(stem + end, {"part": part}) for end, part in _PARTS.items()]
    else:
        parts = [(stem, {})]
    for name, extra in parts:
        entry = evaluation.get("name") or regime + switches
        yield Split(
            dataset=evaluation["dataset"],
            name=name,
            regime=regime,
            evaluation=name if regime == "release" else entry,
            fitted=stem if regime == "release" else name,
            spec=shared | extra,
            seeds=tuple(evaluation.get("seeds", settings["seeds"])),
            methods=tuple(dict.fromkeys([*settings["controls"], *evaluation.get("methods", settings["methods"])])),
        )


def _switches(evaluation: dict[str, Any]) -> str:
    """What of an entry differs from the defaults, as part of its names: different splits never share a file."""
    root = load_schema("config")
    defaults = fill({"regime": evaluation["regime"]}, root["$defs"]["evaluation"], root)
    words = {"group_by": "", "folds": "folds", "test_fraction": "test", "val_fraction": "val"}
    words |= {"split_seed": "draw", "multiple": "multiple"}
    changed = {key: evaluation.get(key) for key in words if evaluation.get(key) != defaults.get(key)}
    parts = ["cells" if value is None else f"{words[key]}{value}" for key, value in changed.items()]
    balance = evaluation["balance"]
    if balance["policy"] != "none":
        usual = fill({"policy": balance["policy"]}, root["$defs"]["balance"], root)
        parts.append(f"{balance['policy']}{balance['max_cells']}")
        parts += [f"min{balance['min_cells']}"] if balance["min_cells"] != usual["min_cells"] else []
        parts += [balance["share"]] if balance["share"] != usual["share"] else []
        own = balance["min_per_source"] != usual["min_per_source"]
        parts += [f"persource{balance['min_per_source']}"] if own else []
        if shares := balance.get("target_proportions"):  # too long to be written out
            text = json.dumps(shares, sort_keys=True).encode()
            parts.append(f"shares{hashlib.sha256(text).hexdigest()[:8]}")
    genes = evaluation["genes"]
    parts += [f"panel{genes['panel']}"] if genes["panel"] else []
    parts += ["alltrained"] if genes["training"] == "all" else []
    parts += [f"rollup{evaluation['rollup']}"] if evaluation["rollup"] else []
    return "".join(f"_{part}" for part in parts)


def _check_regime(evaluation: dict[str, Any], dataset: dict[str, Any], where: str) -> None:
    name, regime = evaluation["dataset"], evaluation["regime"]
    shares = evaluation["balance"].get("target_proportions", {})
    if (whole := math.fsum(shares.values())) > 1 + 1e-9:
        raise ConfigError(f"{where}: balance.target_proportions: the shares add up to {whole:g}, expected 1 at most")
    if (regime in ("pair", "release")) != ("pair" in dataset):
        raise ConfigError(
            f"{where}: the regimes pair and release go with a dataset that declares a `pair`, and only with it; "
            f"'{name}' does not fit"
        )
    if _unlabelled(dataset):
        raise ConfigError(
            f"{where}: '{name}' declares no labels (cells.label), so nothing can train or be scored on it; name it as "
            "the query of a pair"
        )
    genes = evaluation["genes"]
    if genes["training"] == "all" and not genes["panel"] and dataset.get("pair", {}).get("genes") != "reference":
        raise ConfigError(
            f"{where}: genes.training: all genes of '{name}' are measured, so `all` is what `panel` is; name a "
            "genes.panel, or a pair with `genes: reference`"
        )
    if regime == "cross_study":
        families = dataset["families"]
        if not families:
            raise ConfigError(f"{where}: regime cross_study needs `families` in config/datasets/{name}.yaml")
        for family in evaluation.get("held_out", []):
            if family not in families:
                raise ConfigError(f"{where}: held_out: '{name}' has no family '{family}'{nearest(family, families)}")
