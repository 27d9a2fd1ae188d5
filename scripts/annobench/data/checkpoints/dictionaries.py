"""Mappings of names to numbers from JSON, or from pickles of plain mappings, of which nothing is executed."""

import io
import pickle
from pathlib import Path

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import read_foreign_json
from annobench.core.restricted_pickle import ArrayType, Call, RefusedError, check_numbers, scalar


class _Plain(pickle.Unpickler):
    """An unpickler that knows mappings, texts and numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "scalar":
            return Call(scalar)
        if (module, name) == ("numpy", "dtype"):
            return ArrayType
        raise RefusedError(f"it asks for {module}.{name}, which no dictionary needs; nothing was executed")

    def persistent_load(self, pid: object) -> object:
        raise RefusedError("a reference to something outside the file")


def read_dictionary(path: Path) -> dict[str, float]:
    """Names and numbers of a .json file, or of a pickle of a plain mapping; raises DataError for anything else."""
    if path.suffix == ".json":
        found: object = read_foreign_json(path)
    else:
        try:
            content = path.read_bytes()
            check_numbers(content)
            found = _Plain(io.BytesIO(content)).load()
        except RefusedError as error:
            raise DataError(f"{path.name}: is refused: {error}") from None
        except Exception as error:  # a damaged pickle can raise anything
            raise DataError(f"{path.name}: cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path.name}: holds {type(found).__name__}, expected a mapping of names to numbers")
    for name, number in found.items():
        if not isinstance(name, str) or not isinstance(number, int | float | np.number) or isinstance(number, bool):
            raise DataError(f"{path.name}: holds {name!r}: {number!r}, expected a name and a number")
    return {str(name): float(number) for name, number in found.items()}
