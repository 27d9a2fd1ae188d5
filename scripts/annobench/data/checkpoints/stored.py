"""Checkpoints as the rules keep them: weights.safetensors, vocabulary.json, medians.json, checkpoint.json."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import atomic, read_json, sha256_of, write_json
from annobench.data.checkpoints.layout import own_weights
from annobench.data.checkpoints.spec import (
    MEDIANS,
    RECORD,
    VOCABULARY,
    WEIGHTS,
    CheckpointRecord,
    InputSpec,
    Shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint that is here.

    Parameters
    ----------
    folder
        Of results/checkpoints.
    record
        What it is.
    shape, input
        The record's, which a checkpoint that is here has.
    vocabulary
        Token -> number.
    medians
        Token of a gene -> median expression, where cells are ranked.
    """

    folder: Path
    record: CheckpointRecord
    shape: Shape
    input: InputSpec
    vocabulary: Mapping[str, int]
    medians: Mapping[str, float] | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "StoredCheckpoint":
        """Open a folder; raises DataError where it holds no checkpoint, or not the files that its record names."""
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise DataError(f"{folder}: holds no {RECORD}; it is no checkpoint")
        record = CheckpointRecord.read(folder)
        if record.status != "ok" or record.shape is None or record.input is None:
            raise DataError(f"{folder}: there is no checkpoint: {record.reason}")
        for name, stated in ((VOCABULARY, record.vocabulary_sha256), (MEDIANS, record.medians_sha256)):
            if (name == VOCABULARY or stated) and (not (folder / name).is_file() or sha256_of(folder / name) != stated):
                raise DataError(f"{folder / name}: is not the file of {RECORD}; delete the folder and run again")
        medians = read_json(folder / MEDIANS) if record.medians_sha256 else None
        return cls(folder, record, record.shape, record.input, read_json(folder / VOCABULARY), medians)

    def weights(self) -> "dict[str, NDArray[np.float32]]":
        """Weights of the encoder by the names of its module; raises DataError unless they are those of the record."""
        from safetensors.numpy import load_file

        path = self.folder / WEIGHTS
        if sha256_of(path) != self.record.weights_sha256:
            raise DataError(f"{path}: is not the file of {RECORD}; delete the folder and run again")
        return own_weights(load_file(path), self.shape, str(path)).arrays


def write_checkpoint(
    folder: Path,
    record: CheckpointRecord,
    weights: "Mapping[str, NDArray[np.float32]]",
    vocabulary: Mapping[str, int],
    medians: Mapping[str, float] | None = None,
) -> None:
    """Write a checkpoint, the record with the hashes of the other files last."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / WEIGHTS) as temporary:
        save_file(dict(weights), temporary)
    write_json(folder / VOCABULARY, dict(vocabulary))
    if medians is not None:
        write_json(folder / MEDIANS, dict(medians))
    replace(
        record,
        parameters=sum(values.size for values in weights.values()),
        weights_sha256=sha256_of(folder / WEIGHTS),
        vocabulary_sha256=sha256_of(folder / VOCABULARY),
        medians_sha256=None if medians is None else sha256_of(folder / MEDIANS),
    ).write(folder)
