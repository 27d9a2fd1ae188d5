"""What is promised: a method names a checkpoint that exists, its jobs are planned, and a wrong name never starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from annobench.config.entities import available, load_named
from annobench.config.results import Results
from annobench.config.study import load_study
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.data.checkpoints.spec import CheckpointSpec, Downloads, LocalFiles, Pretraining, Random
from annobench.fit.job import FitSettings
from annobench.workflow.checkpoints import CheckpointRules
from annobench.workflow.common import constraints_of
from annobench.workflow.fit import FitRules
from annobench.workflow.launch import failed_records
from annobench.workflow.plan import Plan
from annobench.workflow.targets import Targets

HOLDOUT = {"dataset": "simulated_small", "regime": "holdout"}
FROZEN = {"label": "l", "summary": "s", "citation": "c", "licence": "l", "implementation": "frozen_backbone"}
SCGPT = {"kind": "local", "path": "x"}
RANKED = SCGPT | {"layout": "geneformer", "medians": "m.json"}
TRAINED = {"kind": "pretrain", "dataset": "simulated_small"}
ABOUT = {"label": "l", "summary": "s", "citation": "c", "licence": "l", "organism": "any"}


def study(*methods: str) -> dict[str, Any]:
    return {"study": "s", "methods": list(methods), "controls": [], "seeds": [1], "evaluations": [HOLDOUT]}


def refused(folder: Path, method: dict[str, Any], checkpoint: dict[str, Any] | None = None) -> str:
    """The message for a study whose method `mine` reads the checkpoint `own`."""
    for kind, text in (("methods", {"mine": method}), ("checkpoints", {"own": checkpoint} if checkpoint else {})):
        (folder / "config" / kind).mkdir(parents=True)
        for name, document in text.items():
            (folder / "config" / kind / f"{name}.yaml").write_text(yaml.safe_dump(document))
    (folder / "s.yaml").write_text("study: s\n")
    with pytest.raises(ConfigError) as error:
        load_study(study("mine"), ROOT, str(folder / "s.yaml"))
    return str(error.value)


def place(**wildcards: str) -> Any:
    return SimpleNamespace(dataset="simulated_small", split="holdout", seed="1", **wildcards)


@pytest.mark.parametrize("name", available("checkpoints", ROOT))
def test_every_checkpoint_is_valid(name: str) -> None:
    kinds = {"local": LocalFiles, "url": Downloads, "random": Random, "pretrain": Pretraining}
    document = load_named("checkpoint", name, ROOT, "")
    spec = CheckpointSpec.of(document)
    assert type(spec.source) is kinds[document["source"]["kind"]]
    assert CheckpointSpec.from_params(spec.to_params()) == spec


def test_what_a_method_reads_is_made_before_it() -> None:
    found = load_study(study("probe_scformer_mini_random", "probe_pancreas_mini"), ROOT)
    assert set(found.checkpoints) == {"scformer_mini_random", "scformer_mini", "pancreas_mini"}
    assert "pancreas" in found.datasets  # to train on
    assert "pancreas" not in found.scored_datasets()
    rules, results = FitRules(found), Results()
    inputs = rules.inputs(place(method="frozen_pancreas_mini"))
    assert inputs["tokens"] == [results.tokens("simulated_small", "pancreas_mini")]
    assert inputs["weights"] == [results.checkpoint("pancreas_mini")]
    assert rules.inputs(place(method="probe_pancreas_mini"))["tokens"] == []
    settings = FitSettings.from_params(rules.settings(place(method="frozen_pancreas_mini")))
    assert (settings.method.needs.tokens, settings.method.needs.cells) == (True, "none")
    jobs = CheckpointRules(found)
    assert (jobs.fetched(), jobs.pretrained()) == ("scformer_mini_random|scformer_mini", "pancreas_mini")
    assert jobs.fetch_inputs(place(checkpoint="scformer_mini_random"))["like"] == [results.checkpoint("scformer_mini")]
    assert jobs.pretrain_inputs(place(checkpoint="pancreas_mini"))["cells"] == results.cells("pancreas")
    assert jobs.parts(place()) == ["simulated_small"]
    assert constraints_of(found)["checkpoint"] == "scformer_mini_random|scformer_mini|pancreas_mini"
    targets = Targets(found)
    assert targets.tokens() == [
        results.tokens("simulated_small", name) for name in ("scformer_mini_random", "pancreas_mini")
    ]
    assert "fetch_checkpoint, pretrain_checkpoint, tokenise_dataset  2, 1, 2" in Plan(found, results).text()


def test_a_study_without_checkpoints_has_none_of_their_jobs() -> None:
    found = load_study(study("pca_train"), ROOT)
    assert (found.checkpoints, Targets(found).tokens()) == ({}, [])
    assert (CheckpointRules(found).fetched(), constraints_of(found)["checkpoint"]) == ("(?!)", "(?!)")
    assert "fetch_checkpoint" not in Plan(found, Results()).text()


def test_what_could_not_be_made_is_made_again_by_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = load_study(study("frozen_scformer_mini"), ROOT)
    monkeypatch.setattr("annobench.workflow.launch.resolve", lambda name: found)
    made, tokens = Targets(found).checkpoints()[0], Targets(found).tokens()[0]
    for folder, name, status in ((made, "checkpoint.json", "failed"), (tokens, "card.json", "ok")):
        Path(folder).mkdir(parents=True)
        (Path(folder) / name).write_text(f'{{"status": "{status}"}}')
    assert failed_records("s") == [made]
    (Path(tokens) / "card.json").write_text('{"status": "failed"}')
    assert failed_records("s") == [made, tokens]


@pytest.mark.parametrize(
    ("method", "checkpoint", "message"),
    [
        (FROZEN, None, "mine.yaml: key 'checkpoint' is missing: the implementation 'frozen_backbone' reads tokens"),
        (
            FROZEN | {"implementation": "pca", "checkpoint": "scformer_mini"},
            None,
            "mine.yaml: checkpoint: the implementation 'pca' reads no tokens (needs.tokens)",
        ),
        (
            FROZEN | {"checkpoint": "scformer_mino"},
            None,
            "config/methods/mine.yaml: checkpoint: checkpoints: no file config/checkpoints/scformer_mino.yaml; did you "
            "mean 'scformer_mini'?",
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "random", "like": "scformer_mini_random"}},
            "own.yaml: source.like: 'scformer_mini_random' is itself random",
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "random", "like": "scformer_mini"}, "input": {"bins": 5}},
            "own.yaml: input: a checkpoint of kind random takes that of 'scformer_mini'; leave it out",
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "pretrain", "dataset": "simulated_small", "heads": 3}},
            "own.yaml: source.heads is 3, which does not divide source.width (64)",
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "pretrain", "dataset": "simulated_smell"}},
            "own.yaml: source.dataset: datasets: no file config/datasets/simulated_smell.yaml; did you mean",
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "local", "path": "x", "sha256": {"best.pt": "0" * 64}}},
            "own.yaml: source.sha256: there is no file 'best.pt' among those that are read",
        ),
        *(
            (FROZEN | {"checkpoint": "own"}, ABOUT | {"source": source, "input": given}, f"own.yaml: {message}")
            for source, given, message in (
                (RANKED, {}, "input.values is bins, expected ranks for the layout geneformer"),
                (SCGPT, {"values": "ranks"}, "input.values is ranks, expected bins or counts for the layout scgpt"),
                (
                    RANKED | {"medians": None},
                    {"values": "ranks"},
                    "source.medians: the layout geneformer needs the file",
                ),
                (SCGPT | {"medians": "m"}, {}, "source.medians: the layout geneformer needs the file of medians"),
                (RANKED, {"values": "ranks", "cls": None}, "input.pooling is cls, but input.cls is null"),
                (RANKED, {"values": "ranks", "eos": "<eos>", "max_length": 2}, "input.max_length is 2, expected 3 to"),
                (TRAINED, {"pooling": "mean"}, "input: a backbone that is trained here has neither layer, pooling nor"),
            )
        ),
        (
            FROZEN | {"checkpoint": "own"},
            ABOUT | {"source": {"kind": "hub", "path": "x"}},
            "source.kind: 'hub' is not allowed",
        ),
    ],
)
def test_wrong_files_are_refused(
    tmp_path: Path, method: dict[str, Any], checkpoint: dict[str, Any] | None, message: str
) -> None:
    assert message in refused(tmp_path, method, checkpoint)
