"""What is promised: every study gives the jobs of its fits, and they reach the child process unchanged."""

import json
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import pytest

from annobench.config.entities import available
from annobench.config.schema import load_yaml
from annobench.config.study import Study, load_study
from annobench.core.paths import ROOT, SCRIPTS
from annobench.core.spec import SpecError
from annobench.fit.job import FitJob, FitSettings
from annobench.workflow.fit import FitRules
from helpers import fit_job

FILES = {"cells": "c.h5ad", "split": "s.parquet", "train": "t.parquet", "ontology": "cl.json"}


@cache
def study(name: str | None) -> Study:
    text = load_yaml(ROOT / "config" / "config.yaml")
    if name:
        text |= load_yaml(ROOT / "config" / "studies" / f"{name}.yaml")
    return load_study(text, ROOT, f"{name}.yaml")


@pytest.mark.parametrize("name", [None, *available("studies", ROOT)])
def test_every_fit_of_a_study_has_its_settings(name: str | None) -> None:
    rules, seen = FitRules(study(name)), set()
    for fit in study(name).fits():
        if (fit.dataset, fit.split, fit.method) in seen:
            continue
        seen.add((fit.dataset, fit.split, fit.method))
        params = rules.settings(SimpleNamespace(dataset=fit.dataset, split=fit.split, method=fit.method))
        text = json.dumps(params)
        assert text == json.dumps(params, sort_keys=True)
        settings = FitSettings.from_params(json.loads(text))
        assert settings.to_params() == params
        method = study(name).methods[fit.method]
        assert (settings.method.exec is None) == (method["implementation"] != "exec")
        assert settings.device == "cpu" or settings.method.uses_gpu
        job = fit_job(FILES, "majority", **{key: params[key] for key in ("device", "keep", "top_k", "training")})
        assert FitJob.from_params(json.loads(json.dumps(job.to_params()))) == job
    assert seen


def test_a_job_names_what_is_wrong() -> None:
    params = fit_job(FILES, "majority").to_params()
    method = params["settings"]["method"] | {"needs": {"count": True}}
    wrong = params | {"settings": params["settings"] | {"method": method}}
    with pytest.raises(SpecError, match=r"FitJob.settings.method.needs: key 'count' is unknown"):
        FitJob.from_params(wrong)
    with pytest.raises(SpecError, match="key 'threads' is missing"):
        FitJob.from_params({key: value for key, value in params.items() if key != "threads"})


def test_the_job_and_the_record_are_light() -> None:
    """The Snakefile and the parent process of every fit import them."""
    code = (
        "import sys; import annobench.fit.job, annobench.fit.run_record, annobench.fit.parent; "
        "print(sorted({'numpy', 'pandas', 'yaml', 'anndata'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_code_of_a_fit_includes_the_parts_that_its_parameters_name() -> None:
    """Methods that differ in their loss only have different code: a change in one loss refits its methods only."""
    entry = {"dataset": "simulated_small", "regime": "holdout"}
    names = ["linear_ce", "linear_hce", "hce_linear_hce"]
    found = load_study({"study": "s", "methods": names, "evaluations": [entry]}, ROOT)
    code = {
        name: FitRules(found).code(SimpleNamespace(dataset="simulated_small", split="holdout", method=name, seed="1"))
        for name in names
    }
    assert code["linear_ce"] != code["linear_hce"] == code["hce_linear_hce"]
