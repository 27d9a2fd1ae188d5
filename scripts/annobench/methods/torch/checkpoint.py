"""Checkpoints: what a training needs to go on after it was killed, in one file whose loading executes no code.

The file is a safetensors file; its header holds the numbers beside the tensors as JSON, and a SHA-256 of both. It is
written beside its place, flushed to the disk and renamed, so that a kill at any moment leaves the one before it.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FILE = "checkpoint.safetensors"
UNUSABLE = "checkpoint.unusable"
VERSION = 1


class Checkpoint:
    """The checkpoint of one training in a folder of its own.

    key: gives what must be the same for the checkpoint to be used (code, data, parameters); asked only where a file is
    read or written, since it may cost a second. between: seconds from one checkpoint to the next at ends of epochs;
    inside: the same inside an epoch. say: takes messages.
    """

    def __init__(
        self,
        folder: Path,
        key: Callable[[], Mapping[str, Any]],
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

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write; where there is no room, say so and keep the one before: training is worth more than its insurance."""
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps({"version": VERSION, "key": self.key, **state}, sort_keys=True)
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

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state; None where there is none, or one that is damaged or of another job, which is set aside."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
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
            return tensors, state
        aside = self.path.with_name(UNUSABLE)
        os.replace(self.path, aside)
        self._say(f"{self.path}: not used: {reason}; set aside as {aside.name}, training begins anew")
        return None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return "another " + ", ".join(names).replace("_", " ")
