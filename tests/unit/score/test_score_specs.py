"""What is promised: the specs of scoring and of the audit say what a study says, and come back as they were sent."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from annobench.config.entities import available
from annobench.config.results import Results
from annobench.core.parquet import write_columns
from annobench.core.paths import ROOT
from annobench.core.spec import SpecError
from annobench.score.spec import AuditedSplit, AuditSpec, ScoreSpec, audited_fits
from annobench.workflow.launch import resolve
from annobench.workflow.score import ScoreRules
from helpers import run_record


@pytest.mark.parametrize("name", [None, *available("studies", ROOT)])
def test_specs_of_every_study_come_back(name: str | None) -> None:
    one = resolve(name)
    rules = ScoreRules(one)
    scored = set()
    for fit in one.fits():
        place = SimpleNamespace(dataset=fit.dataset, split=fit.split, method=fit.method, seed=str(fit.seed))
        params = rules.score_spec(place)
        spec = ScoreSpec.from_params(json.loads(json.dumps(params)))
        assert spec.to_params() == params
        assert (spec.dataset, spec.seed) == (fit.dataset, fit.seed)
        assert len(rules.scored_roles(place)) == len(spec.views)
        scored |= {(spec.dataset, view.split, method, spec.seed) for view in spec.views for method in view.methods}
    assert scored == {(view.dataset, view.split, view.method, view.seed) for view in one.views()}
    for (dataset, evaluation), splits in one.evaluations().items():
        params = rules.audit_spec(SimpleNamespace(dataset=dataset, evaluation=evaluation))
        audit = AuditSpec.from_params(json.loads(json.dumps(params)))
        assert audit.to_params() == params
        assert str(ROOT) not in json.dumps(params)
        assert [split.split for split in audit.splits] == [split.name for split in splits]
        kinds = {one.methods[method]["kind"] for split in audit.splits for method in split.methods}
        assert kinds <= {"method"}


def test_the_order_of_keys_changes_no_params() -> None:
    one = {"targets": {"b": ["c"], "a": ["d"]}, "others": "keep"}
    base = {"dataset": "d", "seed": 1, "views": [{"split": "s", "methods": {"m": "argmax"}}]}
    first, second = (ScoreSpec.from_params(base | {"merge": rule}) for rule in (one, dict(reversed(one.items()))))
    assert json.dumps(first.to_params()) == json.dumps(second.to_params())
    with pytest.raises(SpecError, match="key 'bin' is unknown"):
        ScoreSpec.from_params(base | {"bin": 3})


def test_an_audit_looks_at_the_files_that_are_there(tmp_path: Path) -> None:
    results = Results(tmp_path)
    for seed, kinds in ((1, ("roles", "train")), (2, ("roles",))):
        for kind in kinds:
            path = Path(getattr(results, kind)("d", "s", seed))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_columns(path, {"cell_id": ["c"]})
    folder = tmp_path / "fits" / "d" / "s" / "m" / "seed1"
    folder.mkdir(parents=True)
    run_record(folder / "run.json")
    split = AuditedSplit(split="s", fitted="s", seeds=(1, 2, 3), methods=("m", "other"), panel="panel.csv")
    (there,) = audited_fits(AuditSpec(dataset="d", splits=(split,)), results)
    assert (there.split, there.seed, there.panel) == ("s", 1, Path("panel.csv"))
    assert there.fits == {"m": folder}
