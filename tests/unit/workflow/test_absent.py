"""What a study does when a file outside the repository went away."""

import json
from pathlib import Path

import pytest

from annobench.config.results import Fit, Results
from annobench.config.study import Study
from annobench.core.errors import ConfigError
from annobench.workflow.absent import check_nothing_went_away
from annobench.workflow.launch import resolve


def record(folder: Path, name: str, status: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"status": status}))


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANNOBENCH_DATA", raising=False)


@pytest.fixture(scope="module")
def study() -> Study:
    return resolve("adaptation_small")


def test_what_was_never_there_stops_nothing(study: Study, tmp_path: Path) -> None:
    check_nothing_went_away(study, results=Results(tmp_path))
    record(tmp_path / "checkpoints" / "scformer_mini", "checkpoint.json", "failed")
    check_nothing_went_away(study, results=Results(tmp_path))


def test_a_checkpoint_of_files_that_went_away(study: Study, tmp_path: Path) -> None:
    record(tmp_path / "checkpoints" / "scformer_mini", "checkpoint.json", "ok")
    with pytest.raises(ConfigError, match="names the variable ANNOBENCH_DATA, which is not set, but results were made"):
        check_nothing_went_away(study, results=Results(tmp_path))


@pytest.mark.parametrize(("status", "stops"), [("ok", True), ("skipped", False), ("failed", False)])
def test_a_fit_of_a_file_that_went_away(study: Study, tmp_path: Path, status: str, stops: bool) -> None:
    split = next(iter(study.all_splits()))
    method = "pca_logistic"
    study.methods[method]["files"] = ["mine/{dataset}.csv"]
    try:
        results = Results(tmp_path / "results")
        check_nothing_went_away(study, tmp_path, results)
        record(Path(results.fit(Fit(split.dataset, split.name, method, split.seeds[0]))), "run.json", status)
        if stops:
            with pytest.raises(ConfigError, match=f"'mine/{split.dataset}.csv' is not there any more"):
                check_nothing_went_away(study, tmp_path, results)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / f"{split.dataset}.csv").touch()
        check_nothing_went_away(study, tmp_path, results)
    finally:
        study.methods[method]["files"] = []
