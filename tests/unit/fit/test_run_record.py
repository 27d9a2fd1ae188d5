"""What is promised: run.json is what its schema says, and is read with types."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from annobench.config.schema import load_schema
from annobench.core.errors import DataError
from annobench.core.spec import SpecError
from annobench.fit.job import Limits
from annobench.fit.run_record import OUTPUTS, CellCounts, RunRecord
from helpers import run_record

SCHEMA: dict[str, Any] = load_schema("run")
STATED = {
    "limits": Limits(memory_mb=2000, seconds=60),
    "cells": CellCounts(train=7, val=2, test=3),
    "genes": {"train": 40, "test": 40},
    "outputs": ("predictions", "model"),
    "versions": {"python": "3.12"},
    "parameters": {"n_genes": None},
    "host": "h",
    "started": "2026-01-01T00:00:00+00:00",
    "threads": 2,
    "total_seconds": 2.5,
    "cpu_seconds": 2.0,
    "peak_rss_mb": 300.0,
    "data_sha256": "0" * 64,
    "code": "abc",
}


def test_the_schema_describes_every_field() -> None:
    names = {field.name for field in fields(RunRecord)}
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == names
    assert SCHEMA["properties"]["outputs"]["items"]["enum"] == list(OUTPUTS)
    assert all("description" in each for each in SCHEMA["properties"].values())


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    run_record(tmp_path / "run.json", **STATED)
    record = RunRecord.read(tmp_path / "run.json")
    Draft202012Validator(SCHEMA).validate(json.loads((tmp_path / "run.json").read_text()))
    assert {name: getattr(record, name) for name in STATED} == STATED
    assert record.ok
    assert record.has("model")
    assert not record.has("embedding")


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        RunRecord.read(path)
    run_record(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"probabilities": True}))
    with pytest.raises(SpecError, match="key 'probabilities' is unknown"):
        RunRecord.read(path)
