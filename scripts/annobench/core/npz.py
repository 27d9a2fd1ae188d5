"""npz files larger than memory: arrays are written part by part and read memory-mapped.

An npz is a zip of npy files. Here nothing is compressed, so that an array has the same layout in the file as in memory;
numpy.load reads such files like any other.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_LOCAL_HEADER = 30  # bytes before the name of a member of a zip


class NpzWriter:
    """Writes arrays one after another into an npz. Not atomic by itself."""

    def __init__(self, path: str | Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)

    def add(self, name: str, values: "NDArray[np.generic]") -> None:
        """Write a whole array."""
        with self.open(name, values.dtype, values.shape) as member:
            member.write(np.ascontiguousarray(values).data if values.size else b"")

    @contextmanager
    def open(self, name: str, dtype: "DTypeLike", shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
        """Write an array of known shape, whose bytes the caller writes in C order."""
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            header = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
            npy.write_array_header_2_0(member, header)
            yield member

    def close(self) -> None:
        """Write the list of arrays."""
        self._archive.close()

    def __enter__(self) -> "NpzWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mapped(path: str | Path, name: str) -> "NDArray[Any]":
    """One array of an npz: memory-mapped, or read if it is compressed."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
        lengths = [
            int.from_bytes(header[at : at + 2], "little") for at in (26, 28)
        ]  # of the name and of the extra field
        file.seek(sum(lengths), 1)
        read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject or 0 in shape:
            raise ValueError(f"{path}: {name} cannot be mapped")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
