"""Checkpoints: what a killed training needs to resume, in one file whose loading executes no code.

A safetensors file, whose header holds the progress as JSON and a SHA-256 of both. It is written under a temporary name,
flushed to the disk and renamed, so that a kill at any moment leaves the previous one.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FILE = "checkpoint.safetensors"
UNUSABLE = "checkpoint.unusable"
VERSION = 1


Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes
    ----------
    epoch, batch
        The next batch; epochs count from 1, batches from 0.
    best
        Validation score of the best epoch.
    best_epoch
        0 before the first validation.
    seconds
        Training time so far, over all attempts.
    """

    epoch: int
    batch: int
    best: tuple[float, float]
    best_epoch: int
    seconds: float


class Checkpoint:
    """The checkpoint of one training, in a folder of its own.

    Parameters
    ----------
    folder
        Made where it is missing.
    key
        Returns what must be equal for a checkpoint to be used (code, data, parameters). Called only where a file is
        read or written, since it may take a second.
    between
        Seconds from one checkpoint to the next at the ends of epochs.
    inside
        The same within an epoch.
    say
        Takes messages for the log.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[], Mapping[str, Json]],
        *,
        between: float = 10,
        inside: float = 300,
        say: Callable[[str], None] = lambda text: print(text, flush=True),
    ) -> None:
        self.path = folder / FILE
        self._make_key, self._key = key, ""
        self._between, self._inside, self._say = between, inside, say
        self._last = time.monotonic()

    @property
    def key(self) -> str:
        """The key as JSON."""
        self._key = self._key or json.dumps(self._make_key(), sort_keys=True)
        return self._key

    def due(self, *, inside: bool) -> bool:
        """Whether enough time has passed since the last one, inside an epoch or at its end."""
        return time.monotonic() - self._last >= (self._inside if inside else self._between)

    def save(self, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        """Write a checkpoint. If the disk is full, log it and keep the previous one: the training goes on."""
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({"version": VERSION, "key": self.key, **asdict(progress)}, sort_keys=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(whole, temporary, {"state": text, "sha256": _digest(whole, text)})
            _flush(temporary)
            os.replace(temporary, self.path)
            _flush(self.path.parent)
        except (OSError, SafetensorError) as error:
            self._say(f"no checkpoint could be written to {self.path}: {error}")
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], Progress] | None:
        """Tensors and progress; None where there is no checkpoint.

        A checkpoint that is damaged or of another job is set aside.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            text = header.get("state", "")
            reason = "" if header.get("sha256") == _digest(tensors, text) else "its SHA-256 is not that of its content"
            state = {} if reason else json.loads(text)
        except (OSError, SafetensorError, ValueError) as error:
            reason, tensors, state = str(error), {}, {}
        if not reason and state.get("version") != VERSION:
            reason = f"it has version {state.get('version')}, expected {VERSION}"
        if not reason and state["key"] != self.key:
            reason = f"it is of another job ({_difference(json.loads(state['key']), json.loads(self.key))})"
        if not reason:
            f1, loss = state["best"]
            place = state["epoch"], state["batch"]
            return tensors, Progress(*place, (f1, loss), state["best_epoch"], state["seconds"])
        aside = self.path.with_name(UNUSABLE)
        os.replace(self.path, aside)
        self._say(f"{self.path}: not used: {reason}; set aside as {aside.name}, training starts again")
        return None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _difference(found: Mapping[str, Json], wanted: Mapping[str, Json]) -> str:
    """Names of what differs between two keys."""
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return "another " + ", ".join(names).replace("_", " ")
