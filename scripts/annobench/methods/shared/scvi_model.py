"""Models of scvi-tools (`model.pt`), read without executing anything: genes and encoder of a trained scVI model.

A model is a zip of PyTorch that holds a pickle and the bytes of its tensors. The pickle is read by a restricted
unpickler: tensors and arrays are built from their bytes; other objects that such files hold (settings, the history of
the training) become bags that do nothing; and any further name ends the reading. No code of PyTorch, NumPy, pandas or
scvi-tools runs.
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.restricted_pickle import Call, RefusedError, check_numbers
from annobench.methods.shared.scvi_encoder import encoder_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2"}
_DTYPES |= {"Char": "<i1", "Byte": "<u1", "Bool": "?"}
_STORAGE = re.compile(rf"({'|'.join(_DTYPES)})Storage")
_INERT = re.compile(r"(pandas|numpy|scvi|anndata|scipy|torch)(\.\w+)*")
_PLAIN = {"set": set, "frozenset": frozenset, "slice": slice, "dict": dict, "list": list, "tuple": tuple, "int": int}
_ENCODER = "z_encoder."
_PARTS = ("model_state_dict", "var_names")


@dataclass(frozen=True)
class ScviModel:
    """The encoder of a trained scVI model.

    Parameters
    ----------
    genes
        (genes,) names of its genes, in order.
    arrays
        What `annobench.methods.shared.scvi_encoder.encoded` takes.
    left
        How many weights outside the encoder there are, which an embedding does not need.
    """

    genes: "NDArray[np.object_]"
    arrays: "dict[str, NDArray[np.float32]]"
    left: int


class _Bag:
    """Stands in for an object that is not needed: takes anything and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        self.state: object = None

    def __call__(self, *_: object, **__: object) -> "_Bag":
        return _Bag()

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Takes what a pickle appends."""

    def extend(self, values: object) -> None:
        """Takes what a pickle appends."""


class _Array(_Bag):
    """Stands in for numpy.ndarray; of texts its state has them."""

    def texts(self) -> "NDArray[np.object_] | None":
        """(n,) texts of an array of one dimension; None for any other."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            return None
        shape, data = self.state[1], self.state[4]
        if not isinstance(data, list) or shape != (len(data),) or not all(isinstance(one, str) for one in data):
            return None
        return np.array(data, dtype=object)


@dataclass(frozen=True)
class _Storage:
    """Stands in for the class of a storage; a pickle names it, and does not call it."""

    dtype: str


class _Reader(pickle.Unpickler):
    """An unpickler that knows tensors, arrays of texts and containers, and makes bags of other objects of a model."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        content = archive.read(f"{folder}data.pkl")
        check_numbers(content)
        super().__init__(io.BytesIO(content))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> object:
        if match := _STORAGE.fullmatch(name if module == "torch" else ""):
            return _Storage(_DTYPES[match[1]])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return Call(_tensor)
        if (module, name) == ("numpy", "ndarray"):
            return _Array
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return Call(lambda kind, *_: _Array() if kind is _Array else _Bag())
        if module in ("builtins", "__builtin__") and name in _PLAIN:
            return _PLAIN[name]
        if module == "collections" and name in ("OrderedDict", "defaultdict"):
            return OrderedDict if name == "OrderedDict" else Call(_default)
        if (module, name) == ("_codecs", "encode"):
            return _Bag
        if _INERT.fullmatch(module):
            return _Bag
        raise RefusedError(f"it asks for {module}.{name}, which no model needs; nothing was executed")

    def persistent_load(self, pid: object) -> "NDArray[np.generic]":
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _Storage):
            raise RefusedError("a reference to something that is no storage")
        _, kind, key, _, size = pid
        values = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype=kind.dtype)
        if len(values) < int(size):
            raise RefusedError(f"a storage of {size} numbers with {len(values)}")
        return values[: int(size)]


def _default(*_: object) -> "defaultdict[object, object]":
    return defaultdict(None)


def _tensor(*given: object) -> "NDArray[np.generic]":
    """The array of a tensor, copied out of its storage."""
    storage, offset, size, stride = given[:4]
    if not isinstance(storage, np.ndarray):
        raise RefusedError("a tensor without a storage")
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and isinstance(offset, int)):
        raise RefusedError("a tensor without a shape")
    if math.prod(size) > len(storage):
        raise RefusedError("a tensor larger than its storage")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if min(size, default=1) else 0
    if min((offset, *size, *stride)) < 0 or last >= max(len(storage), 1):
        raise RefusedError("a tensor beyond its storage")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False).copy()


def read_scvi_model(path: Path) -> ScviModel:
    """Read `model.pt`; raises DataError where it is no scVI model, or would run code."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if pickled is None:
                raise RefusedError("it holds no data.pkl")
            document = _Reader(archive, pickled.removesuffix("data.pkl")).load()
    except RefusedError as error:
        raise DataError(f"{path.name}: is refused: {error}") from None
    except Exception as error:  # a damaged file can raise anything
        raise DataError(
            f"{path.name}: is not a model of scvi-tools, or is cut off ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(document, Mapping) or not set(_PARTS) <= set(document):
        raise DataError(
            f"{path.name}: expected a mapping with {' and '.join(_PARTS)}; is it `model.pt` of a saved model?"
        )
    return _encoder(document, path.name)


def _encoder(document: Mapping[str, object], file: str) -> ScviModel:
    """Genes and encoder, checked against each other."""
    state, names = document["model_state_dict"], document["var_names"]
    genes = names.texts() if isinstance(names, _Array) else None
    if genes is None:
        raise DataError(f"{file}: var_names is not an array of texts")
    if not isinstance(state, Mapping) or not all(isinstance(one, np.ndarray) for one in state.values()):
        raise DataError(f"{file}: model_state_dict is not a mapping of names to tensors")
    inside = {key.removeprefix(_ENCODER): value for key, value in state.items() if key.startswith(_ENCODER)}
    first = inside.get("encoder.fc_layers.Layer 0.0.weight")
    if first is None or "mean_encoder.weight" not in inside:
        raise DataError(f"{file}: has no encoder z_encoder with a mean; it is a model of another kind")
    if first.shape[1] != len(genes):
        raise DataError(
            f"{file}: its first layer takes {first.shape[1]} values and there are {len(genes)} genes; models whose "
            "encoder reads the batch as well (encode_covariates) are not read here"
        )
    try:
        arrays = encoder_arrays(inside)
    except KeyError as error:
        raise DataError(f"{file}: key '{_ENCODER}{error.args[0]}' is missing") from error
    if wrong := [name for name, values in arrays.items() if not np.isfinite(values).all()]:
        raise DataError(f"{file}: {', '.join(wrong)}: values are NaN or infinite; the file is damaged")
    return ScviModel(genes, arrays, len(state) - len(inside))
