"""Methods, datasets, panels, roll-ups, releases, checkpoints, orthologues: one YAML file each, validated and resolved.

They lie in config/ of the repository. A study outside of it may have a config/ of its own beside its file, which comes
first: `own` is the folder of such a study.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from annobench.config.census import census_source, check_census, release_parts
from annobench.config.decodings import PROBABILITIES, decoding_facts, decodings
from annobench.config.downloads import referenced
from annobench.config.extends import Extended, load_extended, shown
from annobench.config.names import CONDITION, NO_LABELS, OBS_COLUMNS, OTHER_COLUMNS
from annobench.config.parameters import Origin, part_files, resolve_parameters
from annobench.config.plugins import method_facts
from annobench.config.schema import Document, load_yaml, validate
from annobench.config.uses import check_checkpoint, resolved_uses
from annobench.config.values import Value
from annobench.core.errors import ConfigError, nearest


def own_folder(study: str | Path, root: Path) -> Path | None:
    """The folder of a study file that has a config/ of its own; None for studies of the repository."""
    file = Path(study)
    folder = file.parent.resolve()  # as the current folder is named once it is entered: paths below it are relative
    return folder if file.is_file() and (folder / "config").is_dir() and folder != root.resolve() else None


def config_file(kind: str, file: str, root: Path, own: Path | None = None) -> Path:
    """Path of a file of config/<kind>: that of the study where it has one, else that of the repository."""
    mine = own and own / "config" / kind / file
    return mine if mine and mine.is_file() else root / "config" / kind / file


def available(kind: str, root: Path, own: Path | None = None) -> list[str]:
    """Names of the files in config/<kind> (datasets, methods or studies)."""
    folders = [folder / "config" / kind for folder in (own, root) if folder]
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def load_method(name: str, root: Path, source: str, own: Path | None = None) -> Document:
    """One method file, validated, with the defaults of its implementation filled in.

    A name that ends in a decoding (`mlp_hce.leaf`) is the method without, scored by its decoded labels. `fitted` names
    the method that is fitted.
    """
    fitted, _, decoding = name.rpartition(".")
    if decoding in decodings():
        method = load_method(fitted, root, source, own)
        if method["decoding"] != "argmax":
            known = ", ".join(decodings())
            raise ConfigError(f"{source}: methods: '{name}': a fit is decoded once; name one of {known}")
        if not _suits(method["abilities"], decoding):
            lacks = "probabilities" if method["abilities"]["predictions"] else "labels"
            raise ConfigError(
                f"{source}: methods: '{name}': '{fitted}' gives no {lacks}, so there is nothing to decode"
            )
        label = f"{method['label']}, {decoding_facts(decoding).label} decoding"
        return {**method, "label": label, "decoding": decoding, "kind": "decoding"}
    file = _read("methods", name, root, source, own)
    method = validate(file.document, "method", file.origin)
    if (method["implementation"] == "exec") != ("exec" in method):
        raise ConfigError(f"{file.origin('exec')}: `exec` goes with `implementation: exec`, and only with it")
    method |= _facts(method, file.origin)
    method["uses"] = resolved_uses(method["implementation"], method["uses"], file.origin)
    check_checkpoint(method["implementation"], method["checkpoint"], file.origin)
    if method["needs"]["truth"] and method["kind"] != "control":
        raise ConfigError(
            f"{file.origin('kind')}: kind: the implementation needs the labels of the test cells (needs.truth), and "
            "only a control may see the labels; write `kind: control`"
        )
    _check_downloads(method, file.origin)
    if "exec" not in method:  # an external command gets its parameters as they are
        method["parameters"] = resolve_parameters(method["implementation"], method["parameters"], file.origin)
        method["files"] = [*method["files"], *_path_of_table(method["parameters"], own)]
        method["files"] += filter(_is_path, method_facts(method["implementation"]).files_of(method["parameters"]))
        method["files"] += part_files(method["implementation"], method["parameters"])
    return method | {"fitted": name, "decoding": "argmax"}


def _is_path(file: str) -> bool:
    """Whether a file is one of this machine, not a download, whose record is an input of the fit."""
    return referenced(file) is None


def _path_of_table(parameters: dict[str, Value], own: Path | None) -> list[str]:
    """Replace the name of a label table of the study by its path, which a fit reads; returns the path, if it is one."""
    name = parameters.get("label_table")
    table = own and own / "config" / "labels" / f"{name}.tsv"
    if table and table.is_file():
        parameters["label_table"] = str(table)
    named = str(parameters.get("label_table"))
    return [named] if named.endswith(".tsv") else []


def _suits(given: Mapping[str, bool], decoding: str) -> bool:
    """Whether a method with these abilities gives what a decoding needs."""
    return bool(
        given["predictions"] and (given["probabilities"] or PROBABILITIES not in decoding_facts(decoding).needs)
    )


def decoded(names: Iterable[str], methods: Mapping[str, Document], wanted: Iterable[str]) -> list[str]:
    """Names of the views that decode every method among `names`, in their order; controls are not decoded."""
    wanted = list(wanted)
    chosen = [name for name in names if methods[name]["kind"] == "method"]
    return [
        f"{name}.{decoding}" for name in chosen for decoding in wanted if _suits(methods[name]["abilities"], decoding)
    ]


def _facts(method: Document, origin: Origin) -> dict[str, Document]:
    """Needs and abilities of a method: what its class states, and of what that leaves to the file, what this says."""
    name = method["implementation"]
    facts = method_facts(name)
    stated = {"needs": facts.needs.to_params(), "abilities": facts.abilities.to_params()}
    for part in stated:
        for key in method[part]:
            if f"{part}.{key}" not in facts.set_by_yaml and stated[part].get(key) != method[part][key]:
                raise ConfigError(
                    f"{origin(part, key)}: {part}.{key}: the class in scripts/annobench/methods/{name}.py states it; "
                    "change it there, and leave it out here"
                )
    return {part: values | method[part] for part, values in stated.items()}


def _check_downloads(method: Document, origin: Origin) -> None:
    """Every file that is declared has an address and is used, and every one that is used is declared."""
    used = {name: key for key, value in method["parameters"].items() if (name := referenced(value))}
    for name in set(used) - set(method["downloads"]):
        where = origin("parameters", used[name])
        raise ConfigError(f"{where}: parameters: 'download:{name}' is not declared{nearest(name, method['downloads'])}")
    for name, download in method["downloads"].items():
        where = f"{origin('downloads', name)}: downloads.{name}"
        if download["distribution"] and not (download["archive"] and download["member"]):
            raise ConfigError(f"{where}: a `distribution` needs the `archive`, one of its files, and its `member`")
        if not (download["urls"] or download["index"] or download["distribution"]):
            raise ConfigError(f"{where}: give `urls`, or an `index`, or both; or a `distribution`")
        if name not in used:
            raise ConfigError(f"{where}: no parameter uses it; give one the value 'download:{name}'")


def load_dataset(name: str, root: Path, source: str, own: Path | None = None) -> Document:
    """One dataset file, validated."""
    file = _read("datasets", name, root, source, own)
    dataset = validate(file.document, "dataset", file.origin)
    if census := census_source(dataset):
        check_census(census, file.file)
    for key in ("label_id", "label_table"):
        if unlabelled(dataset) and dataset["cells"][key] is not None:
            raise ConfigError(
                f"{file.origin('cells', key)}: cells.label declares that there are no labels, but cells.{key} is "
                f"'{dataset['cells'][key]}'; name the column of the labels, or leave {key} out"
            )
    _check_columns(dataset, file)
    return dataset


def _check_columns(dataset: Document, file: Extended) -> None:
    """Extra columns of obs neither replace others nor repeat the labels, which methods must not see."""
    cells = dataset["cells"]
    if "perturbation" in dataset and "pair" in dataset:
        raise ConfigError(
            f"{file.origin('perturbation')}: perturbation: a pair of datasets has none; declare it in a plain dataset"
        )
    if "perturbation" in dataset and CONDITION in cells["columns"]:
        raise ConfigError(
            f"{file.origin('cells', 'columns')}: cells.columns: '{CONDITION}' is the column that `perturbation` makes; "
            "leave one of them out"
        )
    for name, column in cells["columns"].items():
        if name in (*OBS_COLUMNS, *OTHER_COLUMNS) or name.startswith("spatial_"):
            raise ConfigError(
                f"{file.origin('cells', 'columns')}: cells.columns: '{name}' is the name of another column of the "
                "prepared data; choose another name"
            )
        if column in (cells["label"], cells["label_id"]):
            raise ConfigError(
                f"{file.origin('cells', 'columns')}: cells.columns.{name}: '{column}' holds the labels, which methods "
                "would then see of test cells; leave it out"
            )


def unlabelled(dataset: Document) -> bool:
    """Whether a dataset declares that its cells have no labels."""
    return "source" in dataset and dataset["cells"]["label"] in NO_LABELS


def load_named(kind: str, name: str, root: Path, source: str, own: Path | None = None) -> Document:
    """One file of config/panels, rollups, releases, checkpoints, orthologues (`kind` has no s), validated."""
    path = _find(f"{kind}s", name, root, source, own)
    return validate(load_yaml(path), kind, shown(path, root))


def _read(kind: str, name: str, root: Path, source: str, own: Path | None) -> Extended:
    return load_extended(_find(kind, name, root, source, own), root)


def _find(kind: str, name: str, root: Path, source: str, own: Path | None) -> Path:
    path = config_file(kind, f"{name}.yaml", root, own)
    if not path.is_file():
        near = nearest(name, available(kind, root, own))
        raise ConfigError(f"{source}: {kind}: no file config/{kind}/{name}.yaml{near}")
    return path


def load_dataset_with_parts(
    name: str, root: Path, source: str, into: dict[str, Document], own: Path | None = None
) -> None:
    """Load a dataset, and the datasets that it is a pair, a combination or a release of, into a mapping by name."""
    if name in into:
        return
    into[name] = load_dataset(name, root, source, own)
    here = f"config/datasets/{name}.yaml"
    if census := census_source(into[name]):
        for part in release_parts(census, lambda built: load_named("release", built, root, here, own), here):
            load_dataset_with_parts(part, root, f"config/releases/{census['built']}.yaml", into, own)
            if "source" not in into[part] or census_source(into[part]):
                raise ConfigError(
                    f"config/releases/{census['built']}.yaml: releases: '{part}' is a pair, combined of others or of "
                    "the Census itself; name plain datasets"
                )
    key = "pair" if "pair" in into[name] else "combined"
    for part in parts_of(into[name]):
        load_dataset_with_parts(part, root, here, into, own)
        if "source" not in into[part]:
            what = "a pair" if "pair" in into[part] else "combined of others"
            raise ConfigError(f"{here}: {key}: '{part}' is itself {what}; name plain datasets")
    pair = into[name].get("pair")
    for part in pair["references"] if pair else parts_of(into[name]):
        if unlabelled(into[part]):
            raise ConfigError(f"{here}: {key}: '{part}' declares no labels (cells.label), so nothing can train on it")
    if pair and pair["query"] in pair["references"]:
        raise ConfigError(f"{here}: pair: '{pair['query']}' is both reference and query")


def parts_of(dataset: Mapping[str, object]) -> list[str]:
    """The datasets that a pair, the query last, or a combined dataset is made of; none for any other."""
    pair, combined = dataset.get("pair"), dataset.get("combined")
    if isinstance(pair, Mapping):
        return [*pair["references"], pair["query"]]
    return list(combined["datasets"]) if isinstance(combined, Mapping) else []
