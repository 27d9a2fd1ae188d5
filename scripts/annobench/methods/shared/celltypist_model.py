"""CellTypist model files, read without executing anything, and decision values as CellTypist computes them.

A model file is a pickle, and opening a pickle with Python's pickle runs whatever code it names. Here the pickle is read
by a restricted unpickler that knows a handful of names and returns plain stand-ins for them: arrays are built from
their bytes, estimators become bags of attributes, and any other name ends the reading. No unpickling code of numpy or
scikit-learn runs, so that neither their versions nor crafted states matter.
"""

import io
import pickle
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError
from annobench.core.restricted_pickle import ArrayType, Call, RefusedError, check_numbers, scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

# linear models, the scaler, and the loss that a fitted SGDClassifier holds; all become bags
_ESTIMATORS = re.compile(r"sklearn\.(linear_model|preprocessing|_loss)(\.\w+)*|_loss(\.\w+)*")
_BLOCK = 4096  # cells per dense block
CLIP = 10.0  # CellTypist clips scaled expression from above


@dataclass(frozen=True)
class CellTypistModel:
    """A CellTypist model: one-against-rest logistic regression on standardised expression.

    Attributes
    ----------
    classes
        Class names, (K,).
    features
        Gene symbols, (G,).
    coef, intercept
        (R, G) and (R,), with R = K, or R = 1 for two classes.
    mean, scale
        (G,), of the training cells, in log1p of counts per 10,000. The mean is 0 where the model was not centred.
    description
        What the file says of the model.
    """

    classes: "NDArray[Any]"
    features: "NDArray[Any]"
    coef: "NDArray[np.float64]"
    intercept: "NDArray[np.float64]"
    mean: "NDArray[np.float64]"
    scale: "NDArray[np.float64]"
    description: "dict[str, object]"

    def decision(self, values: "csr_matrix", genes: Sequence[str]) -> "NDArray[np.float64]":
        """Decision value of every cell for every class.

        Parameters
        ----------
        values
            log1p of counts per 10,000, CSR (cells, genes).
        genes
            Gene symbols of the columns. Of duplicates the first is used; genes that are missing count as if they were
            at the training mean.

        Returns
        -------
        NDArray
            float64 (cells, K).

        Raises
        ------
        DataError
            Query and model share no gene.
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
        """Numbers of genes: shared by model and query, of the model, of the query."""
        return len(set(self.features) & set(genes)), len(self.features), len(genes)


def read_model(path: str | Path) -> CellTypistModel:
    """Read a model file without executing any of it; raises DataError where it is not a CellTypist model."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        check_numbers(content)
        document = _Reader(io.BytesIO(content)).load()
        return _model(document)
    except RefusedError as error:
        raise DataError(f"{path.name}: is refused: {error}") from None
    except Exception as error:  # a broken pickle can raise anything
        what = f"{len(content)} bytes; {type(error).__name__}: {error}"
        raise DataError(f"{path.name}: is not a CellTypist model, or is cut off ({what})") from error


class _Bag:
    """Stands in for an estimator or scaler: holds its attributes, without methods."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, object] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.state = state


class _Array:
    """Stands in for numpy.ndarray; `value` is built from shape, type and bytes, or from a list of texts."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("an array without a state")
        _, shape, kind, fortran, data = state
        if not isinstance(kind, ArrayType) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise RefusedError("an array without a plain type or shape")
        if kind.dtype.kind == "O":
            if not isinstance(data, list) or not all(type(item) in (str, int) for item in data):
                raise RefusedError("an array of objects other than texts")
            flat = np.array([str(item) for item in data], dtype=object)  # clusters may have numbers as names
        elif isinstance(data, bytes):
            flat = np.frombuffer(data, dtype=kind.dtype)
        else:
            raise RefusedError("an array without bytes")
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _Array:
        raise RefusedError("an array of an unknown class")
    return _Array()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedError("an encoding")
    return text.encode("latin1")


def _new(kind: object, *_: object) -> _Bag:
    if kind is not _Bag:
        raise RefusedError("an object of an unknown class")
    return _Bag()


_NAMES = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): ArrayType,
    ("_codecs", "encode"): Call(_encode),
    ("copyreg", "_reconstructor"): Call(_new),
    ("copy_reg", "_reconstructor"): Call(_new),
    ("builtins", "object"): None,
    ("__builtin__", "object"): None,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): Call(_reconstruct) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): Call(scalar) for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows arrays, numbers, texts, and scikit-learn's linear models and scaler."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        if _ESTIMATORS.fullmatch(module):
            return _Bag
        if module.split(".")[0] in ("cuml", "cupy", "cudf"):
            raise RefusedError(
                f"it was trained on a GPU (use_GPU=True) and holds {module}.{name}. Convert it where cuml is "
                "installed: load it with CellTypist, replace its classifier by a LogisticRegression of scikit-learn "
                "with the same coef_, intercept_, classes_ and features, and write it again; or train it without "
                "use_GPU"
            )
        raise RefusedError(f"it asks for {module}.{name}, which no model needs; nothing was executed")

    def persistent_load(self, pid: object) -> object:
        raise RefusedError("a reference to something outside the file")


def _number_as_text(value: float) -> str:
    """The number of a class as obs would write it: 3, not 3.0."""
    return str(int(value)) if float(value).is_integer() else str(value)


def _model(document: object) -> CellTypistModel:
    """The model in an unpickled document; raises RefusedError where a part is missing or of another shape."""
    if not isinstance(document, dict) or not {"Model", "Scaler_"} <= set(document):
        raise RefusedError("expected a mapping with Model and Scaler_")
    model, standardiser = document["Model"], document["Scaler_"]
    if not isinstance(model, _Bag) or not isinstance(standardiser, _Bag):
        raise RefusedError("Model and Scaler_ are not estimators")
    estimator, scaler = model.state, standardiser.state

    def array(of: dict[str, object], name: str, dimensions: int, *, text: bool = False) -> "NDArray[Any]":
        part = of.get(name)
        if not isinstance(part, _Array) or part.value.ndim != dimensions:
            raise RefusedError(f"{name} is not an array with {dimensions} dimensions")
        value = part.value
        if text != (value.dtype.kind in "OU"):
            raise RefusedError(f"{name} holds {value.dtype}")
        if not text and not np.isfinite(value).all():
            raise RefusedError(f"{name} holds NaN or infinite values")
        return value.astype(object if text else np.float64)

    numbered = estimator.get("classes_")
    if isinstance(numbered, _Array) and numbered.value.dtype.kind in "iufb":  # clusters, as their numbers are written
        numbered.value = np.array([_number_as_text(one) for one in numbered.value.ravel().tolist()], dtype=object)
    classes, features = array(estimator, "classes_", 1, text=True), array(estimator, "features", 1, text=True)
    coef, intercept = array(estimator, "coef_", 2), array(estimator, "intercept_", 1)
    scale = array(scaler, "scale_", 1)
    mean = array(scaler, "mean_", 1) if scaler.get("with_mean", True) else np.zeros_like(scale)
    rows = 1 if len(classes) == 2 and len(coef) == 1 else len(classes)
    wanted = {"coef_": (coef.shape, (rows, len(features))), "intercept_": (intercept.shape, (rows,))}
    wanted |= {"mean_": (mean.shape, features.shape), "scale_": (scale.shape, features.shape)}
    for name, (shape, expected) in wanted.items():
        if shape != expected:
            raise RefusedError(f"{name} has shape {shape}, expected {expected}")
    if len(set(classes)) < len(classes) or len(classes) < 2 or (scale <= 0).any():
        raise RefusedError("fewer than two classes, a class that is listed twice, or a scale that is not positive")
    twice = [name for name, n in Counter(features.tolist()).items() if n > 1]
    if twice:
        raise RefusedError(
            f"{len(twice)} genes are listed twice (such as {twice[0]}), and nothing says which coefficient counts; "
            "train the model on genes with unique names"
        )
    description = document.get("description")
    texts = description if isinstance(description, dict) else {}
    return CellTypistModel(classes, features, coef, intercept, mean, scale, texts)
