"""The YAML files of a study of predictions made elsewhere."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from annobench.config.entities import available
from annobench.core.errors import ConfigError, DataError
from annobench.core.paths import ROOT
from annobench.ontology import Ontology
from annobench.workflow.outside.options import ScoreOptions, unique_name
from annobench.workflow.outside.predictions import Predictions
from annobench.workflow.outside.truth import (
    TrueCells,
    are_ids,
    read_label_table,
    read_true_cells,
    table_of_names,
    write_label_table,
)

STUDY = "score"
_ABOUT = {"citation": "-", "licence": "-"}
_HEAD = "# Written by `annobench score`. Edit it, and run it again: annobench run --study {study}\n"


@dataclass
class Sample:
    """Cells with true labels, and what was predicted for them.

    Parameters
    ----------
    name
        Name of the dataset.
    cells
        The file with the true labels.
    predictions
        Model -> its predictions for these cells.
    """

    name: str
    cells: TrueCells
    predictions: dict[str, Predictions] = field(default_factory=dict)


def samples_of(options: ScoreOptions, found: Sequence[Predictions]) -> list[Sample]:
    """The samples that predictions are of, in their order. Raises DataError where the file of one is not clear."""
    named = list(dict.fromkeys(one.sample for one in found if one.sample))
    if options.cells and options.cells.is_file() and len(named) > 1:
        raise DataError(
            f"the runs are of {len(named)} samples ({', '.join(map(str, named[:3]))}), and CELLS names one file; "
            "name a folder that holds the files of these names, or leave CELLS out"
        )
    samples: dict[Path, Sample] = {}
    taken = set(available("datasets", ROOT))
    for one in found:
        file = _truth_of(one, options)
        if file not in samples:
            name = unique_name(file.stem, taken)
            samples[file] = Sample(name, read_true_cells(file, options.label, options.groups))
            taken.add(name)
        if one.model in samples[file].predictions:
            raise ConfigError(f"PREDICTIONS: '{one.model}' predicts {file} twice; name each once")
        samples[file].predictions[one.model] = one
    return list(samples.values())


def _truth_of(one: Predictions, options: ScoreOptions) -> Path:
    """The file with the true labels of the cells that predictions are of."""
    given = options.cells
    if given is not None and given.is_file():
        return given.absolute()
    if one.sample is None:
        raise ConfigError(f"CELLS is missing; name the h5ad file with the true labels of the cells of {one.file}")
    stated = Path(one.sample).expanduser()
    if given is not None:
        return (given / stated.name).absolute()
    return stated if stated.is_absolute() else (one.place / stated).absolute()


# writing


def write_study(options: ScoreOptions, samples: Sequence[Sample], ontology: Ontology) -> Path:
    """Write datasets, label tables, methods and the study into the folder; returns the file of the study."""
    out = options.out.absolute()
    study = out / f"{STUDY}.yaml"
    own = {"truth": options.labels, "crosswalk": options.crosswalk}
    names = {"truth": "LABELS", "crosswalk": "CROSSWALK"}
    tables = {key: read_label_table(of, ontology, names[key]) for key, of in own.items() if of is not None}
    for name, table in tables.items():
        write_label_table(_config(out, "labels", f"{name}.tsv"), table)
    models = list(dict.fromkeys(model for sample in samples for model in sample.predictions))
    taken, methods = set(available("methods", ROOT)), {}
    for model in models:
        methods[model] = unique_name(model, taken)
        taken.add(methods[model])
    for sample in samples:
        _write_dataset(out, sample, options, ontology, tables)
    for model, method in methods.items():
        of_model = {sample.name: sample.predictions[model] for sample in samples if model in sample.predictions}
        _write_method(out, method, of_model, ontology, tables)
    columns = {"groups": sorted(_groups(options))} if options.groups else {}
    evaluations = [
        {
            "dataset": sample.name,
            "regime": "zero_shot",
            "methods": [methods[model] for model in sample.predictions],
            **({"columns": columns} if columns else {}),
        }
        for sample in samples
    ]
    document = {
        "study": STUDY,
        "title": "How good are these predictions?",
        "question": f"Predictions that were made elsewhere, beside the labels in '{options.label}'.",
        "seeds": [1],
        "methods": list(methods.values()),
        "evaluations": evaluations,
        "scoring": {"markers": None},  # the expression of the cells is not read
    }
    _write(study, document, study)
    return study


def _groups(options: ScoreOptions) -> dict[str, str]:
    """Name of a column in the prepared data -> its name in obs."""
    names: dict[str, str] = {}
    for group in options.groups:
        names[unique_name(group, names)] = group
    return names


def _write_dataset(
    out: Path, sample: Sample, options: ScoreOptions, ontology: Ontology, tables: Mapping[str, dict[str, str]]
) -> None:
    cells: dict[str, object] = {"label": options.label}
    if "truth" in tables:
        cells["label_table"] = "truth"
        unmapped = [text for text in sample.cells.texts if text not in tables["truth"]]
    elif are_ids(sample.cells.texts):
        cells["label_id"] = options.label
        unmapped = [text for text in sample.cells.texts if ontology.resolve(text) is None]
    else:
        table = table_of_names(sample.cells.texts, ontology, f"{sample.cells.file}, column '{options.label}'")
        write_label_table(_config(out, "labels", f"{sample.name}.tsv"), table)
        cells["label_table"] = sample.name
        unmapped = [text for text, label_id in table.items() if label_id == "unknown"]
    if unmapped:
        print(f"{sample.name}: true labels without an id, whose cells are not scored: {_some(unmapped)}")
    cells |= sample.cells.columns
    roles = set(sample.cells.columns)
    extra = {name: column for name, column in _groups(options).items() if name not in roles}
    cells |= {"columns": extra} if extra else {}
    millions = sample.cells.cells / 1e6
    document = {
        "label": sample.cells.file.stem,
        "summary": f"Cells of {sample.cells.file} with their true labels; expression is not read.",
        **_ABOUT,
        "source": {"kind": "local", "path": str(sample.cells.file)},
        "matrix": {"state": "none"},
        "cells": cells,
        "resources": {"cells": sample.cells.cells, "memory_mb": int(2000 + 4000 * millions), "minutes": 60},
    }
    _write(_config(out, "datasets", f"{sample.name}.yaml"), document, out / f"{STUDY}.yaml")


def _write_method(
    out: Path,
    name: str,
    of_samples: Mapping[str, Predictions],
    ontology: Ontology,
    tables: Mapping[str, dict[str, str]],
) -> None:
    first = next(iter(of_samples.values()))
    texts = tuple(dict.fromkeys(text for one in of_samples.values() for text in one.texts))
    parameters: dict[str, object] = {"path": _path(out, name, of_samples), "reader": first.reader}
    parameters |= {"options": first.options} if first.options else {}
    parameters |= _labels(texts, ontology, tables, str(first.file))
    document = {
        "label": first.model,
        "summary": "Predictions made elsewhere: " + ", ".join(str(one.file) for one in of_samples.values()) + ".",
        **_ABOUT,
        "implementation": "imported",
        "parameters": parameters,
        "resources": {"memory_mb": 2000, "minutes": 30},
    }
    shown = "".join(f", {key} in {_quoted(value)}" for key, value in first.options.items() if value)
    print(f"{first.model}: read as {first.reader}{shown}; labels are {_meaning(parameters)}", flush=True)
    _write(_config(out, "methods", f"{name}.yaml"), document, out / f"{STUDY}.yaml")


def _path(out: Path, name: str, of_samples: Mapping[str, Predictions]) -> str:
    """What a method reads, or for several datasets a path that the name of each completes."""
    if len(of_samples) == 1:
        return str(next(iter(of_samples.values())).file)
    first = next(iter(of_samples.values()))
    ending = "" if first.run else "." + first.file.name.partition(".")[2]
    folder = out / "predictions" / name
    folder.mkdir(parents=True, exist_ok=True)
    for dataset, one in of_samples.items():
        link = folder / f"{dataset}{ending}"
        if not (link.is_symlink() and os.readlink(link) == str(one.file)):
            link.unlink(missing_ok=True)
            link.symlink_to(one.file)
    return f"{folder}/{{dataset}}{ending}"


def _labels(
    texts: tuple[str, ...], ontology: Ontology, tables: Mapping[str, dict[str, str]], where: str
) -> dict[str, str]:
    """What the predicted labels are, for the parameters of the method."""
    if "crosswalk" in tables:
        return {"label_table": "crosswalk"}
    if are_ids(texts):
        return {"labels": "id"}
    if any(text in tables.get("truth", {}) for text in texts):
        return {"label_table": "truth"}
    table_of_names(texts, ontology, where)
    return {"labels": "name"}


def _quoted(value: object) -> str:
    return ", ".join(f"'{one}'" for one in (value if isinstance(value, list) else [value]))


def _meaning(parameters: Mapping[str, object]) -> str:
    if "label_table" in parameters:
        return f"mapped by config/labels/{parameters['label_table']}.tsv"
    return "Cell Ontology ids" if parameters["labels"] == "id" else "names of the Cell Ontology"


def _config(out: Path, kind: str, file: str) -> Path:
    return out / "config" / kind / file


def _write(path: Path, document: Mapping[str, object], study: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)
    path.write_text(_HEAD.format(study=study) + text, encoding="utf-8")


def _some(texts: Sequence[str]) -> str:
    return ", ".join(map(repr, texts[:5])) + (f" and {len(texts) - 5} more" if len(texts) > 5 else "")
