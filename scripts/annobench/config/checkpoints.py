"""Checkpoints that methods of a study read, each with what it is made of.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from annobench.config.entities import config_file, load_named
from annobench.config.schema import Document, load_yaml
from annobench.config.uses import CHECKPOINTS as FOLDER
from annobench.core.errors import ConfigError

_LONGEST = 32767  # tokens of a cell: places are int16

Documents: TypeAlias = dict[str, Document]  # by name


def checkpoints_of(methods: Documents, root: Path, own: Path | None) -> Documents:
    """Checkpoints by name: those that methods read, and those whose shape these take.

    Raises ConfigError for one that does not exist or that is not made of what it can be made of.
    """
    found: Documents = {}

    def load(name: str, where: str) -> None:
        if name in found:
            return
        found[name] = load_named("checkpoint", name, root, where, own)
        _check(name, found, config_file("checkpoints", f"{name}.yaml", root, own))
        if like := found[name]["source"].get("like"):
            here = f"{FOLDER}/{name}.yaml: source.like"
            load(like, here)
            if found[like]["source"]["kind"] == "random":
                raise ConfigError(f"{here}: '{like}' is itself random; name a checkpoint that has a shape of its own")

    for name, method in methods.items():
        if method["checkpoint"]:
            load(method["checkpoint"], f"config/methods/{name}.yaml: checkpoint")
    return found


def _check(name: str, checkpoints: Documents, file: Path) -> None:
    source, where = checkpoints[name]["source"], f"{FOLDER}/{name}.yaml"
    if source["kind"] == "random" and "input" in load_yaml(file):
        raise ConfigError(f"{where}: input: a checkpoint of kind random takes that of '{source['like']}'; leave it out")
    if source["kind"] == "pretrain" and source["width"] % source["heads"]:
        raise ConfigError(
            f"{where}: source.heads is {source['heads']}, which does not divide source.width ({source['width']})"
        )
    if source["kind"] != "random":
        _check_input(name, checkpoints)
    files = ("arguments", "vocabulary", "weights", "medians")
    for key in set(source.get("sha256", ())) - {source.get(part) for part in files}:
        raise ConfigError(f"{where}: source.sha256: there is no file '{key}' among those that are read")


def _check_input(name: str, checkpoints: Documents) -> None:
    """Raise ConfigError where the input of a checkpoint does not go together with its layout, or with itself."""
    given, source, where = checkpoints[name]["input"], checkpoints[name]["source"], f"{FOLDER}/{name}.yaml"
    ranked = source.get("layout") == "geneformer"
    if (given["values"] == "ranks") != ranked:
        expected = "ranks" if ranked else "bins or counts"
        raise ConfigError(
            f"{where}: input.values is {given['values']}, expected {expected} for the layout "
            f"{source.get('layout', 'scgpt')}"
        )
    if ranked != bool(source.get("medians")):
        raise ConfigError(
            f"{where}: source.medians: the layout geneformer needs the file of medians, the layout scgpt has none"
        )
    if given["pooling"] == "cls" and given["cls"] is None:
        raise ConfigError(f"{where}: input.pooling is cls, but input.cls is null: there is no such token")
    special = sum(given[key] is not None for key in ("cls", "eos"))
    if not special < given["max_length"] <= _LONGEST:
        raise ConfigError(f"{where}: input.max_length is {given['max_length']}, expected {special + 1} to {_LONGEST:,}")
    if source["kind"] == "pretrain" and (given["pooling"], given["layer"], given["eos"]) != ("cls", None, None):
        raise ConfigError(f"{where}: input: a backbone that is trained here has neither layer, pooling nor eos")


def pretraining_datasets(checkpoints: Documents) -> Iterable[tuple[str, str]]:
    """Datasets on whose cells checkpoints are trained here, with the place that names each."""
    for name, checkpoint in checkpoints.items():
        if dataset := checkpoint["source"].get("dataset"):
            yield dataset, f"{FOLDER}/{name}.yaml: source.dataset"
