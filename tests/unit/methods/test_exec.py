"""What is promised: what an external command writes is read as its language writes it, or refused with the line."""

import json
import sys
from pathlib import Path

import pytest

from annobench.core.errors import PredictionError
from annobench.fit.method import Context
from annobench.fit.predictions import joined, validate
from annobench.methods.exec import External
from annobench.ontology import Ontology
from helpers import cells

T, B = "CL:0000084", "CL:0000236"


def predicted(folder: Path, ontology: Ontology, rows: bytes) -> tuple[External, list[str]]:
    """The method after a command that wrote these bytes, with `{0}`, `{1}`, ... for the ids of six cells."""
    data = cells(ontology, cells=12, genes=5, seed=1)
    train, test = data[:6].copy(), data[6:].copy()
    for i, cell in enumerate(test.obs_names):
        rows = rows.replace(f"{{{i}}}".encode(), cell.encode())
    (folder / "rows").write_bytes(rows)
    script = folder / "write.py"
    script.write_text("import shutil, sys\nshutil.copy(sys.argv[1], sys.argv[2] + '/predictions.csv')\n")
    method = External(command=f"{sys.executable} {script} {folder / 'rows'} {{output}}")
    method.fit(train, Context(seed=1, classes=[], ontology=ontology))
    found = validate(joined(method.predict(test)), test.obs_names, ontology.terms)
    return method, found.labels[:, 0].tolist()


@pytest.mark.parametrize(
    "rows",
    [
        f"cell_id,label_1\n{{0}},{T}\n{{1}},{B}\n{{2}},{T}\n{{3}},NA\n{{4}},unknown\n{{5}},{T}\n".encode(),
        f"\ufeffcell_id;label;confidence\r\n{{0}};{T};0,9\r\n{{1}};{B};0,8\r\n{{2}};{T};1\r\n"
        f"{{3}};;0,5\r\n{{4}};None;0,1\r\n{{5}};{T};0,2\r\n".encode(),
        f'"cell_id","label"\n"1","{{0}}","CL_0000084"\n"2","{{1}}","cl:0000236"\n"3","{{2}}","{T}"\n"4","{{3}}",NA\n'
        f'"5","{{4}}",NA\n"6","{{5}}","http://purl.obolibrary.org/obo/CL_0000084"\n'.encode(),
        f"cell_id\tlabel\n{{0}}\t{T} \n{{1}}\t{B}\n{{2}}\t{T}\n{{3}}\t\n{{4}}\tunknown\n{{5}}\t{T}\n".encode("latin-1"),
    ],
)
def test_predictions_as_languages_write_them(tmp_path: Path, ontology: Ontology, rows: bytes) -> None:
    method, labels = predicted(tmp_path, ontology, rows)
    assert labels == [T, B, T, "unknown", "unknown", T]
    assert method.notes is not None
    assert method.notes["cells_unknown"] == 2


def test_obsolete_ids_become_their_successors_and_are_named(tmp_path: Path, ontology: Ontology) -> None:
    old = next(key for key, term in ontology.terms.items() if term.obsolete and ontology.resolve(key))
    rows = "cell_id,label\n" + "".join(f"{{{i}}},{old}\n" for i in range(6))
    method, labels = predicted(tmp_path, ontology, rows.encode())
    assert set(labels) == {ontology.resolve(old)}
    assert method.notes is not None
    assert method.notes["replaced"] == (f"{old} -> {ontology.resolve(old)}",)
    json.dumps(method.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "cell_id,label\n{0},T cell\n{1},x\n",
            f"2 of 2 labels .* are not ids of .* write {T} for 'T cell'",
        ),
        ("cell_id,label\n{0},CL:9999999\n", r"1 of 1 labels \(CL:9999999\) are not ids"),
        (
            "cell_id,label,confidence\n{0},CL:0000084,0,93\n{1},CL:0000236,0,5\n",
            "line 2: .*'0,93' a number with",
        ),
        ("cell_id,label\n{0},CL:0000084\n{1},CL:0000236,x\n", "predictions.csv, line 3: has 3 fields, expected 2"),
        ('cell_id,label\n{0},"CL:0000084\n', "predictions.csv, line 2: .*is a quote missing"),
        ("cell,label\n{0},CL:0000084\n", "expected the columns cell_id and label_1, found cell, label"),
    ],
)
def test_what_is_refused(tmp_path: Path, ontology: Ontology, rows: str, message: str) -> None:
    with pytest.raises(PredictionError, match=message):
        predicted(tmp_path, ontology, rows.encode())
