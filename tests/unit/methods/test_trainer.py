"""What is promised: a training is repeatable, survives any kill bit for bit, and is the same for parts and wholes."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score

from annobench.cells.store.loader import Loader
from annobench.cells.store.rows import MemoryRows, PackedRows
from annobench.core.counts import macro_f1_of_codes
from annobench.core.files import read_json, write_json
from annobench.core.parquet import write_columns
from annobench.core.paths import SCRIPTS
from annobench.fit import distributed, parent, predictions_file
from annobench.methods.torch import checkpoint as checkpoints
from annobench.methods.torch import networks
from annobench.methods.torch.checkpoint import Checkpoint
from annobench.methods.torch.inference import logits, outputs, precision, score
from annobench.methods.torch.losses import build_loss
from annobench.methods.torch.recipe import Recipe
from annobench.methods.torch.resident import SparseFeed
from annobench.methods.torch.trainer import Training, duration
from annobench.methods.torch.world import World
from annobench.ontology import Ontology
from helpers import KEEP, cells, fit_job

GENES, CLASSES = 30, 3


def problem(n: int = 300) -> tuple[csr_matrix, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = rng.integers(CLASSES, size=n)
    values = rng.poisson(1, (n, GENES)).astype("float32")
    values[np.arange(n), codes] += 4
    return csr_matrix(values), codes


def feed(matrix: csr_matrix, codes: np.ndarray, batch: int = 64, **more: Any) -> SparseFeed:
    return SparseFeed(Loader(MemoryRows(matrix), codes, batch_size=batch, **more))


def plain() -> torch.nn.Module:
    return build_loss("ce", torch.eye(CLASSES) > 0, None)


RECIPE = Recipe(learning_rate=5e-3, weight_decay=0.01, batch_size=64, epochs=5, min_steps=60, patience=3)


def fit(seed: int, *, validation: bool = True, n: int = 300, recipe: Recipe = RECIPE, **more: Any) -> torch.nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    matrix, codes = problem(n)
    network = networks.mlp(GENES, CLASSES, width=16, blocks=2)
    held_out = (feed(matrix[:60], codes[:60], shuffle=False), plain()) if validation else None
    Training(
        network, plain(), feed(matrix[60:], codes[60:], seed=seed), recipe, seed=seed, validation=held_out, **more
    ).run()
    return network


def answers(network: torch.nn.Module, n: int = 300, batch: int = 64) -> np.ndarray:
    return logits(network, feed(*problem(n), batch, shuffle=False))


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_training_learns_and_is_repeatable() -> None:
    _, codes = problem()
    first, again, other = fit(1), fit(1), fit(2)
    assert (answers(first).argmax(1) == codes).mean() > 0.9
    assert same(first, again)
    assert not same(first, other)


def test_training_without_validation_and_with_a_last_batch_of_one() -> None:
    _, codes = problem(125)
    network = fit(1, validation=False, n=125)  # 65 cells: batch norm could not take the last one alone
    assert (answers(network, 125).argmax(1) == codes).mean() > 0.8


def test_a_loss_that_explodes_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="the loss became .* lower the learning rate"):
        fit(1, recipe=Recipe(learning_rate=1e38, weight_decay=0.0, batch_size=64, epochs=5, min_steps=10, patience=3))


def test_early_stopping_keeps_the_best_epoch() -> None:
    matrix, codes = problem()
    network = networks.linear(GENES, CLASSES)
    held_out = feed(matrix[:60], codes[:60], shuffle=False)
    seen: list[tuple[float, float]] = []
    training = Training(
        network,
        plain(),
        feed(matrix[60:], codes[60:]),
        Recipe(learning_rate=1e-1, weight_decay=0.01, batch_size=64, epochs=40, min_steps=0, patience=4),
        seed=0,
        validation=(held_out, plain()),
        progress=lambda *_: seen.append(score(network, plain(), held_out)),
    )
    best = training.run()
    assert len(seen) == min(best + 4, 40)
    assert max(seen) == seen[best - 1] == score(network, plain(), held_out)


@pytest.mark.parametrize("batch", [7, 64, 1000])
def test_validation_in_parts_is_that_of_the_whole(batch: int) -> None:
    matrix, codes = problem()
    network = fit(1)
    found = score(network, plain(), feed(matrix, codes, batch, shuffle=False))
    values = answers(network)
    assert np.allclose(answers(network, batch=batch), values, atol=1e-6)
    assert found[0] == macro_f1_of_codes(codes, values.argmax(1))
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(values), torch.from_numpy(codes))
    assert found[1] == pytest.approx(-expected.item(), rel=1e-6)


def test_a_penalty_of_the_network_is_trained_away() -> None:
    class Penalised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.extra = networks.linear(GENES, CLASSES), torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, cells: Any) -> torch.Tensor:
            self.penalty = self.extra.square()
            return self.inner(cells)

    network = Penalised()
    recipe = Recipe(learning_rate=5e-2, weight_decay=0.0, batch_size=64, epochs=40, min_steps=0, patience=3)
    Training(network, plain(), feed(*problem()), recipe, seed=0).run()
    assert abs(network.extra.item()) < 0.2


def test_progress_says_where_it_is_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.methods.torch.trainer._REPORT", 0)
    said: list[tuple[float, str]] = []
    fit(1, progress=lambda fraction, text: said.append((fraction, text)))
    assert [fraction for fraction, _ in said] == sorted(fraction for fraction, _ in said)
    inside, end = said[0][1], said[-1][1]
    assert "epoch 1 of at most 15, " in inside
    assert "cells/s" in inside
    assert "left of this epoch, at most" in inside
    assert "best validation macro F1" in end
    assert [duration(s) for s in (5, 300, 9000, 400_000)] == ["5 s", "5.0 min", "2.5 h", "4.6 d"]


def test_precision_is_named_and_a_cpu_computes_in_float32() -> None:
    with pytest.raises(ValueError, match="'half', expected auto, float32 or bf16"):
        precision("half", "cpu")
    for _, (scores, _) in zip(range(1), outputs(fit(1), feed(*problem()), "bf16"), strict=False):
        assert scores.dtype == torch.float32
    assert np.array_equal(logits(fit(1), feed(*problem()), "bf16"), logits(fit(1), feed(*problem()), "float32"))


# --- checkpoints

KEY = {"code": "c", "data": "d", "parameters": {"width": "16"}}
EVERY = {"between": 0.0, "inside": 0.0}

CHILD = """
import json, os, signal, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[3])
from annobench.methods.torch.checkpoint import Checkpoint
import test_trainer as t

class Killed(Checkpoint):
    left = int(sys.argv[2])

    def save(self, tensors, progress):
        super().save(tensors, progress)
        Killed.left -= 1
        if Killed.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

t.fit(1, checkpoint=Killed(Path(sys.argv[1]), lambda: t.KEY, between=0, inside=float(sys.argv[4])))
"""


def killed(folder: Path, saves: int, inside: float = 0.0) -> int:
    """Train in a process that is killed after some checkpoints; returns its status."""
    paths = json.dumps([str(SCRIPTS), str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", CHILD, str(folder), str(saves), paths, str(inside)]
    return subprocess.run(command, timeout=120).returncode


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint of a killed training; tests copy it."""
    folder = tmp_path_factory.mktemp("stopped")
    assert killed(folder, 7) == -signal.SIGKILL
    return folder


# 4 batches an epoch, 5 checkpoints of it: in its first batch; at its end, in the middle, several times; far on
@pytest.mark.parametrize("saves", [[1], [4, 9, 2], [60]])
def test_a_killed_training_ends_with_the_same_weights_bit_for_bit(tmp_path: Path, saves: list[int]) -> None:
    for number in saves:
        assert killed(tmp_path, number) == -signal.SIGKILL
    said: list[str] = []
    resumed = fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, **EVERY), progress=lambda _, text: said.append(text))
    assert said[0].startswith("resumed in epoch")
    assert same(resumed, fit(1))


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Killed from outside, wherever it happens to be: writing, training or validating."""
    paths = json.dumps([str(SCRIPTS), str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", CHILD, str(tmp_path), "10000", paths, "0"]
    for wait in (0.0, 0.013, 0.05):
        process = subprocess.Popen(command)
        while not (tmp_path / checkpoints.FILE).is_file() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    said: list[str] = []
    assert same(fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, say=said.append)), fit(1))
    assert not said


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, **EVERY))
    begun: list[float] = []
    again = fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, **EVERY), progress=lambda f, _: begun.append(f))
    assert same(first, again)
    assert begun == [0]  # the message that it was resumed; no epoch after it


@pytest.mark.parametrize("key", [{**KEY, "code": "other"}, {**KEY, "data": "x"}, {**KEY, "parameters": {"width": "8"}}])
def test_a_checkpoint_of_another_job_is_set_aside(tmp_path: Path, stopped: Path, key: dict[str, Any]) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    said: list[str] = []
    assert same(fit(1, checkpoint=Checkpoint(tmp_path, lambda: key, say=said.append)), fit(1))
    changed = next(name for name in KEY if KEY[name] != key[name])
    assert f"another job (another {changed})" in said[0]
    assert (tmp_path / checkpoints.UNUSABLE).is_file()


@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "empty"])
def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path, stopped: Path, damage: str) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / checkpoints.FILE
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 4
    if damage == "header":  # the number of the epoch
        at = content.index(b'\\"epoch\\": ') + len(b'\\"epoch\\": ')
        content[at] = ord("9")
    path.write_bytes({"cut": content[:-50], "empty": b""}.get(damage, content))
    said: list[str] = []
    assert same(fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, say=said.append)), fit(1))
    assert "not used" in said[0]
    assert (tmp_path / checkpoints.UNUSABLE).is_file()


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    said: list[str] = []
    assert same(fit(1, checkpoint=Checkpoint(tmp_path, lambda: KEY, **EVERY, say=said.append)), fit(1))
    assert "no checkpoint could be written" in said[0]
    assert not list(tmp_path.iterdir())


def test_a_short_training_writes_no_checkpoint(tmp_path: Path) -> None:
    fit(1, checkpoint=Checkpoint(tmp_path, lambda: pytest.fail("the key is not needed")))
    assert not list(tmp_path.iterdir())


# --- several processes


class Joint:
    """The batches of two ranks as one."""

    def __init__(self, matrix: csr_matrix, codes: np.ndarray) -> None:
        rows = MemoryRows(matrix)
        self.loaders = [Loader(rows, codes, batch_size=32, rank=rank, world=2) for rank in range(2)]
        self.cells = sum(int(loader.sizes.sum()) for loader in self.loaders)
        self.matrix, self.codes = matrix, codes

    def __len__(self) -> int:
        return len(self.loaders[0])

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Any]:
        from annobench.cells.store.batch import Batch

        for pair in zip(*(loader.epoch(number, start) for loader in self.loaders), strict=True):
            rows = np.concatenate([batch.rows for batch in pair])
            batch = Batch.from_csr(self.matrix[rows], self.codes[rows])
            yield batch, torch.from_numpy(batch.codes)


WEIGHTS = torch.tensor([1.0, 5.0, 0.5])
RANK = """
import json, os, signal, sys
sys.path[:0] = json.loads(sys.argv[2])
import torch
import test_trainer as t
from annobench.methods.torch.world import World
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
world = World.current()
if sys.argv[3:] == ["kill"] and world.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
network = t.joint_training(world, *sys.argv[3:])
torch.save(network.state_dict(), sys.argv[1] + ("" if world.rank == 0 else ".other"))
torch.distributed.destroy_process_group()
"""


def joint_training(world: World, kind: str = "linear") -> torch.nn.Module:
    torch.manual_seed(0)
    matrix, codes = problem(331)
    network = networks.linear(GENES, CLASSES) if kind == "linear" else networks.mlp(GENES, CLASSES, width=8, blocks=2)
    if world.size == 1:
        cells: Any = Joint(matrix[:271], codes[:271])
    else:
        cells = feed(matrix[:271], codes[:271], 32, rank=world.rank, world=world.size)
    held_out = feed(matrix[271:], codes[271:], shuffle=False)
    loss = build_loss("ce", torch.eye(CLASSES) > 0, WEIGHTS)
    recipe = Recipe(learning_rate=1e-2, weight_decay=0.01, batch_size=64, epochs=6, min_steps=0, patience=3)
    Training(network, loss, cells, recipe, seed=0, validation=(held_out, plain()), world=world).run()
    return network


def launched(tmp_path: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    paths = json.dumps([str(SCRIPTS), str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    return subprocess.run(
        [*command, str(tmp_path / "weights.pt"), paths, *more],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    done = launched(tmp_path)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "weights.pt", weights_only=True)
    expected = joint_training(World()).state_dict()
    for name, tensor in expected.items():
        assert torch.allclose(tensor, found[name], atol=1e-6), name


def test_two_processes_end_with_the_same_network_where_batches_have_statistics(tmp_path: Path) -> None:
    """Batch norm sees other cells in either process; weights and running statistics are the same all the same."""
    done = launched(tmp_path, "mlp")
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"weights.pt{end}", weights_only=True) for end in ("", ".other"))
    alone = joint_training(World(), "mlp").state_dict()
    untrained = networks.mlp(GENES, CLASSES, width=8, blocks=2).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        if name.endswith("running_mean"):  # of the same cells as in one process, in halves of its batches
            off = (tensor - alone[name]).norm()
            assert off < 0.5 * (untrained[name] - alone[name]).norm(), name


def test_the_command_ends_when_a_process_dies(tmp_path: Path) -> None:
    done = launched(tmp_path, "kill")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr


def test_packed_and_plain_rows_train_alike() -> None:
    matrix, codes = problem()
    found = []
    for rows in (PackedRows(matrix), MemoryRows(normalised(matrix))):
        torch.manual_seed(0)
        network = networks.linear(GENES, CLASSES)
        Training(network, plain(), SparseFeed(Loader(rows, codes, batch_size=64)), RECIPE, seed=0).run()
        found.append(network.weight.detach())
    assert torch.allclose(*found, atol=1e-4)


def normalised(matrix: csr_matrix) -> csr_matrix:
    dense = matrix.toarray()
    return csr_matrix(np.log1p(dense / dense.sum(1, keepdims=True) * 1e4))


# --- in a fit


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, ontology: Ontology) -> dict[str, str]:
    """Files of a fit."""
    folder = tmp_path_factory.mktemp("inputs")
    data = cells(ontology, cells=240, genes=40)
    data.obs["label"] = data.obs["label_original"] = data.obs["label_id"]
    data.write_h5ad(folder / "cells.h5ad")
    roles = ["train"] * 160 + ["val"] * 30 + ["test"] * 50
    write_columns(folder / "split.parquet", {"cell_id": list(data.obs_names), "role": roles})
    train_cells = data.obs.iloc[:160]
    columns = {"cell_id": list(train_cells.index), "label_id": list(train_cells["label_id"])}
    write_columns(folder / "train.parquet", columns | {"source": list(train_cells["study"])})
    ontology.save(folder / "cl.json")
    names = {"cells": "cells.h5ad", "split": "split.parquet", "train": "train.parquet", "ontology": "cl.json"}
    return {key: str(folder / name) for key, name in names.items()}


LINEAR: dict[str, Any] = {
    "implementation": "linear",
    "parameters": {"recipe": {"min_steps": 100}},
    "abilities": {"streams": True, "parallel": True},
    "device": "cpu",
    "keep": KEEP | {"decisions": False},
}


def child(inputs: dict[str, str], work: Path, **changes: Any) -> dict[str, Any]:
    """Run the child process of a fit; returns what it reports."""
    work.mkdir()
    write_json(work / "job.json", fit_job(inputs, **LINEAR | changes).to_params())
    command = [sys.executable, "-m", "annobench.fit.child", str(work / "job.json")]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, timeout=120, check=True)
    return read_json(work / "result.json")


def test_a_job_with_two_processes(inputs: dict[str, str], tmp_path: Path) -> None:
    results = [child(inputs, tmp_path / str(n), processes=n, checkpoint=str(tmp_path / f"c{n}")) for n in (1, 2)]
    assert [result["status"] for result in results] == ["ok", "ok"]
    assert results[0]["trainable_parameters"] == results[1]["trainable_parameters"]
    one, two = (predictions_file.read(tmp_path / name / "predictions.parquet") for name in "12")
    assert (one.labels[:, 0] == two.labels[:, 0]).mean() > 0.8  # another order of the cells, the same method


def test_a_process_that_fails_is_named(inputs: dict[str, str], tmp_path: Path) -> None:
    result = child(inputs, tmp_path / "work", processes=2, parameters={"recipe": {"learning_rate": 1e38}})
    assert result["status"] == "failed"
    assert "of the 2 that train together failed: FloatingPointError: the loss became" in result["reason"]


def test_a_process_that_is_killed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of the library's own processes one that kills itself."""
    package = tmp_path / "annobench" / "fit"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()  # else the installed package goes before it
    (package / "distributed.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL) if os.environ['RANK'] == '1' else time.sleep(60)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    begin = time.monotonic()
    with pytest.raises(distributed.ProcessFailedError, match=r"process 1 of the 2 .* failed: Signal 9 \(SIGKILL\)"):
        distributed.launch(tmp_path / "job.json", 2)
    assert time.monotonic() - begin < 50  # the other one was ended as well


def test_checkpoints_stay_for_the_same_job_only(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("cells", "split", "train", "ontology")}
    for name in ("split", "train"):
        Path(paths[name]).write_text(name)
    facts = {"code": "a", "data_sha256": "b", "downloads": {}}
    job = fit_job(paths, "linear", facts=facts)
    fit_folder = tmp_path / "fit"
    kept = parent._checkpoint_folder(job, fit_folder)
    for change in ({"limits": {"memory_mb": 1, "seconds": 5}}, {"threads": 4}):
        assert parent._checkpoint_folder(fit_job(paths, "linear", **{"facts": facts} | change), fit_folder) == kept
    for change in ({"seed": 2}, {"parameters": {"loss": "hce"}}, {"facts": facts | {"code": "c"}}):
        (kept / "deep").mkdir(parents=True, exist_ok=True)
        (fit_folder / "run.json").write_text("{}")
        parent._clear(fit_folder, kept)
        assert [path.name for path in fit_folder.iterdir()] == [".checkpoint"]
        assert (kept / "deep").is_dir()
        other = fit_job(paths, "linear", **{"facts": facts} | change)
        parent._clear(fit_folder, parent._checkpoint_folder(other, fit_folder))
        assert not list(fit_folder.iterdir())


def kill_after_checkpoint(fit_folder: Path) -> None:
    """Kill the child of a fit as soon as there is a checkpoint."""
    while not list(fit_folder.glob(f".checkpoint/*/{checkpoints.FILE}")):
        time.sleep(0.05)
    for child in psutil.Process().children():
        if any("annobench.fit.child" in word for word in child.cmdline()):
            child.kill()


@pytest.mark.slow  # it waits for a checkpoint, and for a limit of time
def test_a_fit_that_was_stopped_goes_on_and_then_leaves_nothing(
    inputs: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    limits = {"memory_mb": 3000, "seconds": 300}  # a checkpoint after ten
    whole = fit_job(inputs, **LINEAR | {"parameters": {"recipe": {"min_steps": 50_000_000}}, "limits": limits})
    fit_folder = tmp_path / "fit"
    killer = threading.Thread(target=kill_after_checkpoint, args=(fit_folder,), daemon=True)
    killer.start()
    parent.run_fit(whole, fit_folder, tmp_path / "attempt.json")
    assert read_json(fit_folder / "run.json")["status"] == "killed"
    saved = list(fit_folder.glob(f".checkpoint/*/{checkpoints.FILE}"))
    assert len(saved) == 1
    capfd.readouterr()
    parent.run_fit(replace(whole, limits=replace(whole.limits, seconds=30)), fit_folder, tmp_path / "attempt.json")
    assert "resumed in epoch" in capfd.readouterr().out


def test_selection_by_the_rule_of_the_paper() -> None:
    """A prediction below the label is right; classes that are neither labelled nor predicted do not count."""
    predicted, true = np.array([1, 1, 2, 0, 2, 1]), np.array([0, 1, 0, 1, 2, 0])
    below = torch.eye(4, dtype=torch.bool)
    below[0, 1] = True
    network = networks.linear(4, 4)
    network.load_state_dict({"weight": torch.eye(4), "bias": torch.zeros(4)})
    cells = feed(csr_matrix(np.eye(4, dtype="float32")[predicted]), true, batch=4, shuffle=False)
    corrected = np.array([0, 1, 2, 0, 2, 0])
    found, _ = score(network, plain(), cells, below=below)
    expected = f1_score(true, corrected, average="macro")
    assert found == pytest.approx(expected)
    assert score(network, plain(), cells)[0] == pytest.approx(f1_score(true, predicted, average="macro"))
    only = feed(csr_matrix(np.eye(4, dtype="float32")[[2, 2]]), np.array([0, 2]), batch=4, shuffle=False)
    assert score(network, plain(), only, below=below)[0] == pytest.approx((0 + 2 / 3) / 2)


def test_selection_needs_its_classes() -> None:
    with pytest.raises(ValueError, match="selection is 'loss', expected macro_f1 or ontology_macro_f1"):
        replace(RECIPE, selection="loss")
    matrix, codes = problem(60)
    recipe = replace(RECIPE, selection="ontology_macro_f1", epochs=2, min_steps=0)
    with pytest.raises(ValueError, match="needs the reachability"):
        Training(networks.linear(GENES, CLASSES), plain(), feed(matrix, codes), recipe, seed=1).run()
