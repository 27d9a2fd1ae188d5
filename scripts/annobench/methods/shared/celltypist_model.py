"""CellTypist model files, read without executing anything, and predictions as CellTypist makes them.

A model file is a pickle: whoever opens it with pickle runs whatever it says. Here the pickle is read by a machine that
knows a handful of names and gives plain stand-ins for them: arrays are built from their bytes, estimators become bags
of attributes, and every other name ends the reading. No code of numpy's or scikit-learn's unpickling runs, so neither
their versions nor crafted states matter.
"""

import io
import pickle
import pickletools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

_DTYPE = re.compile(r"[<>|=]?([?biuf]\d*|[USO]\d*)")
# linear models, the scaler, and the loss that a fitted SGDClassifier carries; all become bags
_ESTIMATORS = re.compile(r"sklearn\.(linear_model|preprocessing|_loss)(\.\w+)*|_loss(\.\w+)*")
_NUMBERED = {"PUT", "BINPUT", "LONG_BINPUT"}  # what a pickle says to remember a thing under a number
_BLOCK = 4096  # cells that are made dense at once
CLIP = 10.0  # CellTypist clips scaled expression from above


@dataclass(frozen=True)
class CellTypistModel:
    """What a model file holds.

    classes: (K,) names. features: (G,) gene symbols. coef: (R, G) and intercept: (R,) with R = K, or 1 for two classes.
    mean, scale: (G,), of the training cells; the mean is 0 where the model was not centred. description: its texts.
    """

    classes: "NDArray[Any]"
    features: "NDArray[Any]"
    coef: "NDArray[np.float64]"
    intercept: "NDArray[np.float64]"
    mean: "NDArray[np.float64]"
    scale: "NDArray[np.float64]"
    description: dict[str, Any]

    def decision(self, values: "csr_matrix", genes: Sequence[str]) -> "NDArray[np.float64]":
        """Decision value of every cell for every class, (cells, K).

        `values` is log1p of counts per 10,000, (cells, genes). Genes are matched by symbol, the first of several; genes
        that the query does not have count as if they were at the training mean. Raises DataError where none is shared.
        """
        known = {name: i for i, name in enumerate(self.features)}
        columns: dict[int, int] = {}
        for position, gene in enumerate(genes):
            if gene in known:
                columns.setdefault(known[gene], position)
        if not columns:
            raise DataError(
                f"the query shares no gene symbol with the model, which has {len(self.features)} such as "
                f"{', '.join(map(str, self.features[:3]))}; the query has {', '.join(map(str, genes[:3]))}"
            )
        features, taken = np.array(list(columns)), np.array(list(columns.values()))
        query = values.tocsc()[:, taken].tocsr()
        scores = np.empty((query.shape[0], len(self.intercept)))
        for start in range(0, query.shape[0], _BLOCK):
            dense = query[start : start + _BLOCK].toarray().astype(np.float64)
            scaled = np.minimum((dense - self.mean[features]) / self.scale[features], CLIP)
            scores[start : start + _BLOCK] = scaled @ self.coef[:, features].T + self.intercept
        return scores if scores.shape[1] > 1 else np.hstack([-scores, scores])

    def overlap(self, genes: Sequence[str]) -> tuple[int, int, int]:
        """Genes that model and query share, of the model, of the query."""
        return len(set(self.features) & set(genes)), len(self.features), len(genes)


def read_model(path: str | Path) -> CellTypistModel:
    """Read a model file; raises DataError for whatever is no CellTypist model, and executes nothing of it."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        _check_numbers(content)
        document = _Reader(io.BytesIO(content)).load()
        return _model(document)
    except _RefusedError as error:
        raise DataError(f"{path.name}: is refused: {error}") from None
    except Exception as error:  # a broken pickle ends in whatever its bytes happen to say
        what = f"{len(content)} bytes; {type(error).__name__}: {error}"
        raise DataError(f"{path.name}: is no CellTypist model, or is cut off ({what})") from error


def _check_numbers(content: bytes) -> None:
    """Python makes room for every number below the highest: four damaged bytes would ask for gigabytes."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _NUMBERED and not 0 <= int(argument or 0) < len(content):
            raise pickle.UnpicklingError(f"remembers something under the number {argument}")


class _RefusedError(Exception):
    """The file asks for something that a model has no use for."""


class _Bag:
    """Stands in for an estimator or scaler: keeps its attributes, and has none that do anything."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state


class _Type:
    """Stands in for numpy.dtype."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise _RefusedError(f"an array type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order, *rest = state[1:5]
        if any(part is not None for part in rest) or order not in ("<", ">", "|", "="):
            raise _RefusedError("a structured array type")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands in for numpy.ndarray; `value` is built from shape, type and bytes, or from a list of texts."""

    def __init__(self, *_: Any) -> None:
        self.value: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Type) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise _RefusedError("an array without a plain type or shape")
        if kind.dtype.kind == "O":
            if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
                raise _RefusedError("an array of objects that are no texts")
            flat = np.array(data, dtype=object)
        elif isinstance(data, bytes):
            flat = np.frombuffer(data, dtype=kind.dtype)
        else:
            raise _RefusedError("an array without bytes")
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _Call:
    """A function that a pickle may call, and do nothing else with: a state could change a plain function."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("a state for a function")

    def __setattr__(self, name: str, value: Any) -> None:
        raise _RefusedError("an attribute of a function")


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise _RefusedError("an array of an unknown class")
    return _Array()


def _scalar(kind: Any, data: Any = b"") -> Any:
    if not isinstance(kind, _Type) or kind.dtype.kind not in "biuf" or not isinstance(data, bytes):
        raise _RefusedError("a number without a plain type")
    return np.frombuffer(data, dtype=kind.dtype)[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError("an encoding")
    return text.encode("latin1")


def _new(kind: Any, *_: Any) -> _Bag:
    if kind is not _Bag:
        raise _RefusedError("an object of an unknown class")
    return _Bag()


_NAMES = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Call(_encode),
    ("copyreg", "_reconstructor"): _Call(_new),
    ("copy_reg", "_reconstructor"): _Call(_new),
    ("builtins", "object"): None,
    ("__builtin__", "object"): None,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Call(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Call(_scalar) for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    """Knows arrays, numbers, texts, and scikit-learn's linear models and scaler by name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        if _ESTIMATORS.fullmatch(module):
            return _Bag
        raise _RefusedError(f"it asks for {module}.{name}, which no model needs; nothing was executed")

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError("a reference to something outside the file")


def _model(document: Any) -> CellTypistModel:
    if not isinstance(document, dict) or not {"Model", "Scaler_"} <= set(document):
        raise _RefusedError("expected a mapping with Model and Scaler_")
    parts = [document["Model"], document["Scaler_"]]
    if not all(isinstance(part, _Bag) for part in parts):
        raise _RefusedError("Model and Scaler_ are no estimators")
    estimator, scaler = (part.state for part in parts)

    def array(of: dict[str, Any], name: str, dimensions: int, *, text: bool = False) -> "NDArray[Any]":
        found = of.get(name)
        if not isinstance(found, _Array) or found.value.ndim != dimensions:
            raise _RefusedError(f"{name} is no array with {dimensions} dimensions")
        value = found.value
        if text != (value.dtype.kind in "OU"):
            raise _RefusedError(f"{name} holds {value.dtype}")
        if not text and not np.isfinite(value).all():
            raise _RefusedError(f"{name} holds NaN or infinite values")
        return value.astype(object if text else np.float64)

    classes, features = array(estimator, "classes_", 1, text=True), array(estimator, "features", 1, text=True)
    coef, intercept = array(estimator, "coef_", 2), array(estimator, "intercept_", 1)
    scale = array(scaler, "scale_", 1)
    mean = array(scaler, "mean_", 1) if scaler.get("with_mean", True) else np.zeros_like(scale)
    rows = 1 if len(classes) == 2 and len(coef) == 1 else len(classes)
    wanted = {"coef_": (coef.shape, (rows, len(features))), "intercept_": (intercept.shape, (rows,))}
    wanted |= {"mean_": (mean.shape, features.shape), "scale_": (scale.shape, features.shape)}
    for name, (shape, expected) in wanted.items():
        if shape != expected:
            raise _RefusedError(f"{name} has shape {shape}, expected {expected}")
    if len(set(classes)) < len(classes) or len(classes) < 2 or (scale <= 0).any():
        raise _RefusedError("fewer than two classes, a class that stands twice, or a scale that is not positive")
    description = document.get("description")
    texts = description if isinstance(description, dict) else {}
    return CellTypistModel(classes, features, coef, intercept, mean, scale, texts)
