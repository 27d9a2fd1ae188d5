"""`annobench model`: what a CellTypist model, the model of a fit or a checkpoint knows, and how to use it."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from annobench.cells.organism import organism_of
from annobench.config.extends import shown
from annobench.core.errors import ConfigError, DataError
from annobench.core.files import expanded
from annobench.core.paths import ROOT
from annobench.data.checkpoints.spec import RECORD
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.fit.saved_model import FACTS, SavedModel
from annobench.methods.celltypist_pretrained import class_ids
from annobench.methods.shared.celltypist_model import CellTypistModel, read_model
from annobench.ontology import UNKNOWN
from annobench.workflow.own.labels import Knowledge, Proposal, table_path, write_table
from annobench.workflow.own.lines import columns
from annobench.workflow.own.reading import stated_path

_GENES = 5  # that are shown
_ABOUT = ("date", "version", "source", "url", "details")  # what a model file says of itself


def describe(
    place: str, out: str | None = None, *, force: bool = False, width: int | None = None, root: Path = ROOT
) -> str:
    """What `annobench model` prints; writes a label table of the classes of a CellTypist model where `out` names one.

    Parameters
    ----------
    place
        A CellTypist model file; the folder of a fit, or its folder `model`; the folder of a checkpoint.
    out
        Name of a table in config/labels, or a .tsv file.
    force
        Overwrite the table.
    width
        Characters of a line of the terminal; None to cut nothing off.
    root
        The repository.

    Raises
    ------
    AnnobenchError
        For anything else, and for a model that cannot be read.
    """
    path = expanded(place)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_dir() and out:
        raise ConfigError(
            "--out is for the classes of a CellTypist model; a fit and a checkpoint have Cell Ontology ids"
        )
    if (path / RECORD).is_file():
        return _checkpoint(path, width)
    if path.is_dir():
        if not any((path / name).exists() for name in (FACTS, f"model/{FACTS}", "run.json", "model")):
            raise DataError(
                f"{path}: is no model: expected a CellTypist model file, the folder of a fit "
                "(results/fits/.../seed1) or that of a checkpoint (results/checkpoints/NAME)"
            )
        return _fit(path, width)
    return _celltypist(path, out, force=force, width=width, root=root)


def _rows(rows: Sequence[tuple[str, str]], width: int | None) -> str:
    return columns([row for row in rows if row[1]], width, wrap=True)


def _named(values: Sequence[str]) -> str:
    return ", ".join(values[:_GENES]) + (", ..." if len(values) > _GENES else "")


# CellTypist


def _celltypist(path: Path, out: str | None, *, force: bool, width: int | None, root: Path) -> str:
    table = table_path(out, root) if out else None
    if table is not None and table.exists() and not force:
        raise ConfigError(f"{table}: exists; choose another name, or overwrite it by --force")
    model = read_model(path)
    knowledge = Knowledge.usual()
    found = Proposal.of(dict.fromkeys(map(str, model.classes), 0), knowledge.matcher)
    about = [(key, str(model.description.get(key) or "")) for key in _ABOUT]
    facts = [
        ("kind", "CellTypist, one-against-rest logistic regression; read without executing anything of the file"),
        ("classes", f"{len(model.classes)}"),
        ("genes", f"{len(model.features):,} symbols ({_named(list(map(str, model.features)))})"),
        ("organism", _organism(model)),
        ("input", "log1p of counts per 10,000"),
        *about,
    ]
    mapped = _mapped(model, knowledge)
    how = "its own class names are enough" if mapped == len(model.classes) else "by a label table"
    parts = [
        f"{path.name}\n{_rows(facts, width)}",
        f"Cell Ontology {knowledge.ontology.release}: {mapped} of {len(model.classes)} classes are names or ids of it; "
        f"{how}",
        found.text(knowledge, width, "class"),
    ]
    name = (table.stem if out and table else "NAME") if mapped < len(model.classes) else None
    if table is not None:
        write_table(table, found.table(knowledge), force=force)
        parts.append(f"wrote {shown(table, root)}{found.to_do()}")
    elif name:
        parts.append("To write this as a label table, add --out NAME (config/labels/NAME.tsv) or --out FILE.tsv.")
    parts.append("Lines of a method, for config/methods/NAME.yaml:\n\n" + method_lines(path, model, name, root))
    return "\n\n".join(parts)


def _mapped(model: CellTypistModel, knowledge: Knowledge) -> int:
    """Number of classes that the method finds without a table."""
    try:
        return sum(label != UNKNOWN for label in class_ids(model, None, knowledge.ontology))
    except DataError:  # none of them
        return 0


def _organism(model: CellTypistModel) -> str:
    import pandas as pd

    names = list(map(str, model.features))
    seen = organism_of(pd.DataFrame({"feature_id": [""] * len(names), "feature_name": names}))
    return f"{seen.organism}, as the {seen.by} of {seen.share:.0%} of them says" if seen.organism else ""


def method_lines(path: Path, model: CellTypistModel, table: str | None, root: Path = ROOT) -> str:
    """A method file that applies a model.

    Parameters
    ----------
    path, model
        The file and what it holds.
    table
        Name of the label table of its classes; None where its class names are enough.
    root
        The repository.
    """
    where = stated_path(path, root)
    megabytes = max(1, round(path.stat().st_size / 1e6))
    labels = {"labels": table} if table else {}
    files = [where, *([f"config/labels/{table}.tsv"] if table else [])]
    document = {
        "label": f"CellTypist, {path.stem.replace('_', ' ')}",
        "summary": f"A CellTypist model of others, {len(model.classes)} classes and {len(model.features):,} genes.",
        "citation": "Dominguez Conde et al., Science 2022, doi 10.1126/science.abl5197; and whom the model is from",
        "licence": "Licence of the model.",
        "implementation": "celltypist_pretrained",
        "parameters": {"model": where, **labels},
        "files": files,
        "resources": {"memory_mb": 2000, "minutes": 10},
        "estimate": {"seconds": 2, "seconds_per_1000_cells": 0.4, "disk_mb": megabytes},
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).rstrip()


# the model of a fit


def _fit(path: Path, width: int | None) -> str:
    saved = SavedModel.open(path)
    facts = saved.facts
    genes = saved.genes
    ids = int((genes["feature_id"] != "").sum())
    organism = organism_of(genes).organism
    size = sum(file.stat().st_size for file in saved.folder.rglob("*") if file.is_file())
    rows = [
        ("kind", f"the model of a fit: {facts.method} ({facts.implementation}), seed {facts.seed}"),
        ("trained on", f"{facts.dataset}, {facts.split}"),
        ("classes", f"{len(facts.classes)}"),
        ("genes", f"{len(genes):,}, {ids:,} with an Ensembl id ({_named(genes['feature_name'].tolist())})"),
        ("organism", organism or ""),
        ("input", facts.matrix),
        ("ontology", f"Cell Ontology {facts.ontology}"),
        (
            "gives",
            "labels"
            + (", an embedding" if facts.embedding else "")
            + (", calibrated confidence" if facts.calibration else ""),
        ),
        ("size", f"{size / 1e6:.1f} MB"),
    ]
    classes = [(label, facts.labels.get(label, "")) for label in facts.classes]
    return "\n\n".join(
        [
            f"{path}\n{_rows(rows, width)}",
            "classes:\n"
            + "\n".join(f"  {line}" for line in columns(classes, width and width - 2, wrap=True).splitlines()),
            f"To annotate cells with it: annobench annotate {path} CELLS.h5ad OUT.h5ad",
        ]
    )


# checkpoints


def _checkpoint(path: Path, width: int | None) -> str:
    stored = StoredCheckpoint.open(path)
    record, shape, read = stored.record, stored.shape, stored.input
    special = [token for token in stored.vocabulary if token.startswith("<")]
    genes = [token for token in stored.vocabulary if not token.startswith("<")]
    rows = [
        ("kind", f"a checkpoint ({record.kind})"),
        ("genes", f"{len(genes):,} in its vocabulary ({_named(genes)})"),
        ("tokens", f"{len(special)} special ones: {_named(special)}" if special else ""),
        ("organism", record.organism),
        ("shape", ", ".join(f"{key} {value}" for key, value in shape.to_params().items())),
        ("input", ", ".join(f"{key} {value}" for key, value in read.to_params().items() if value is not None)),
        ("parameters", f"{record.parameters:,}" if record.parameters else ""),
    ]
    usage = f"Methods read it by `checkpoint: {record.name}` (annobench list methods, docs/checkpoints.md)."
    return f"{path}\n{_rows(rows, width)}\n\nA checkpoint has no classes: methods train a head on it.\n{usage}"
