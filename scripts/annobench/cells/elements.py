"""Elements of h5ad files in every layout that anndata and the writers of R have used, read in parts.

A table (obs, var) is a group of columns, or a compound dataset (anndata before 0.7). A column holds numbers, texts (of
variable or fixed length), codes of categories (beside them, in `__categories` of the table, or in uns) or values with a
mask. Nothing is guessed: an encoding that is not known is refused by its name.
"""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from annobench.core.errors import DataError

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    from numpy.typing import NDArray

    Element: TypeAlias = h5py.Dataset | h5py.Group
    Column: TypeAlias = NDArray[np.generic] | pd.api.extensions.ExtensionArray

_ALL = slice(None)
_FLAT = ("", "array", "string-array", "string", "numeric-scalar", "bytes")  # encodings of a dataset
_CATEGORIES = "__categories"
_LOGICAL = {"TRUE": True, "FALSE": False, "NA": None}  # names of R's three logical values


class Frame:
    """The obs or var of an h5ad file.

    Parameters
    ----------
    element
        The table.
    where
        Names it in messages, with the file.
    uns
        The uns of the file, where categories lie in files of anndata before 0.7.

    Attributes
    ----------
    n
        Number of rows.
    columns
        Names of the columns, without that of the row names.

    Raises
    ------
    DataError
        For a table without row names.
    """

    def __init__(self, element: "Element", where: str, uns: "Element | None" = None) -> None:
        import h5py

        self._element, self._where, self._uns = element, where, uns
        self._compound = isinstance(element, h5py.Dataset)
        if self._compound:
            if not element.dtype.names:
                raise DataError(f"{where}: is no table; write the file again with anndata")
            self._index, *self.columns = map(str, element.dtype.names)
            self.n = int(element.shape[0])
            return
        named = text_of(element.attrs.get("_index", ""))
        found = [name for name in (named, "_index", "index") if name and name in element]
        if not found:
            raise DataError(f"{where}: has no row names (attribute _index); write the file again with anndata")
        self._index = found[0]
        self.n = _length(element[self._index])
        order = element.attrs.get("column-order")
        names = list(element) if order is None else [text_of(name) for name in np.atleast_1d(order)]
        self.columns = [name for name in names if name in element and name not in (self._index, _CATEGORIES)]

    def index(self, part: slice = _ALL) -> "pd.Index":
        """Row names as text; raises DataError where one is missing."""
        import pandas as pd

        names = pd.Series(self._values(self._index, part))
        if missing := int(names.isna().sum()):
            raise DataError(f"{self._where}: {missing} row names are missing; give every row a name")
        return pd.Index(names.astype(object).astype(str).to_numpy(dtype=object), dtype=object)

    def column(self, name: str, part: slice = _ALL) -> "Column":
        """Values of a column; raises DataError where its encoding is not known."""
        return self._values(name, part)

    def table(self, part: slice = _ALL, columns: list[str] | None = None) -> "pd.DataFrame":
        """Some rows of some columns, indexed by row names."""
        import pandas as pd

        names = self.columns if columns is None else columns
        index = self.index(part)
        # an element by itself, because pandas aligns a series with the index
        return pd.DataFrame({name: self._values(name, part) for name in names}, index=index, columns=names)

    def readable(self) -> list[str]:
        """Columns whose encoding is known."""
        return [name for name in self.columns if self._is_known(name)]

    def _is_known(self, name: str) -> bool:
        try:
            self._values(name, slice(0, 1))
        except (DataError, OSError, KeyError, ValueError):
            return False
        return True

    def _values(self, name: str, part: slice) -> "Column":
        where = f"{self._where}['{name}']"
        if not self._compound:
            return values(self._element[name], part, where)
        found = _native(self._element.fields(name)[part], where)
        kept = f"{name}_categories"
        if self._uns is None or kept not in self._uns or found.dtype.kind not in "iu":
            return found
        categories = values(self._uns[kept], _ALL, where)
        # another table may have had the categories of this name
        return _coded(found, categories, where) if found.max(initial=-1) < len(categories) else found


def values(element: "Element", part: slice = _ALL, where: str = "") -> "Column":
    """Some of the values of a one-dimensional element.

    Parameters
    ----------
    element
        A dataset or a group.
    part
        Which rows.
    where
        Names it in messages.

    Raises
    ------
    DataError
        For an encoding that is not known.
    """
    import h5py
    import pandas as pd

    kind = text_of(element.attrs.get("encoding-type", ""))
    if isinstance(element, h5py.Dataset):
        if kind not in _FLAT and kind != "categorical":
            raise _unknown(where, kind)
        categories = _categories_of(element)
        if categories is None:
            return _flat(element, part, where)
        return _coded(_flat(element, part, where), values(categories, _ALL, where), where)
    if "codes" in element and "categories" in element:
        return _coded(_flat(element["codes"], part, where), values(element["categories"], _ALL, where), where)
    if "values" in element and "mask" in element:
        mask = np.asarray(_flat(element["mask"], part, where), dtype=bool)
        found = _flat(element["values"], part, where)
        kinds = {"i": pd.arrays.IntegerArray, "u": pd.arrays.IntegerArray, "b": pd.arrays.BooleanArray}
        if found.dtype.kind in kinds:
            return kinds[found.dtype.kind](found, mask)
        texts: NDArray[np.object_] = found.astype(object)
        texts[mask] = None
        return texts
    raise _unknown(where, kind or "a group")


def _unknown(where: str, kind: str) -> DataError:
    return DataError(
        f"{where}: has the encoding '{kind}', which is not known here; read the file with the program that wrote it, "
        "turn this column into texts or numbers, and write it again"
    )


def _categories_of(element: "h5py.Dataset") -> "Element | None":
    """Categories that lie beside the column, as anndata 0.7 and SeuratDisk write them."""
    reference = element.attrs.get("categories")
    if reference is not None:
        return element.parent[text_of(reference) if isinstance(reference, str | bytes) else reference]
    beside = element.parent.get(_CATEGORIES)
    name = element.name.rsplit("/", 1)[-1]
    return beside[name] if beside is not None and name in beside else None


def _coded(codes: "Column", categories: "Column", where: str) -> "Column":
    """Categories by code; -1 is missing."""
    import pandas as pd

    codes = np.asarray(codes)
    if codes.dtype.kind not in "iu":
        raise DataError(f"{where}: the codes of its categories are no whole numbers; write the file again")
    if len(codes) and (int(codes.max()) >= len(categories) or int(codes.min()) < -1):
        raise DataError(
            f"{where}: has the code {int(codes.max() if codes.min() >= -1 else codes.min())}, but there are "
            f"{len(categories)} categories; write the file again"
        )
    names = pd.Index(categories)
    if names.hasnans or not names.is_unique:  # texts that were cut off, or a level NA
        names = pd.Index(pd.Series(categories).astype(object))
        whole, firsts = pd.factorize(names, use_na_sentinel=True)
        codes, names = np.append(whole, -1)[codes], firsts
    return pd.Categorical.from_codes(codes.astype(np.int64), categories=names)


def _flat(element: "h5py.Dataset", part: slice, where: str) -> "Column":
    """Some values of a dataset: numbers in the order of bytes of this machine, texts, or logical values."""
    import h5py
    import pandas as pd

    if element.ndim == 0:
        return np.atleast_1d(_native(np.atleast_1d(element[()]), where))[part]
    if element.ndim > 2 or (element.ndim == 2 and element.shape[1] != 1):
        raise DataError(f"{where}: has {element.ndim} dimensions, expected one value per row")
    names = h5py.check_enum_dtype(element.dtype)
    if names and element.dtype.kind != "b":
        found = element[part].ravel()
        by_value = {int(value): name for name, value in names.items()}
        if set(names) <= set(_LOGICAL):
            mask = ~np.isin(found, [value for name, value in names.items() if _LOGICAL[name] is not None])
            return pd.arrays.BooleanArray(found == names.get("TRUE", 1), mask)
        return np.array([by_value.get(int(value), str(value)) for value in found], dtype=object)
    if h5py.check_string_dtype(element.dtype) is None:
        return _native(element[part].ravel(), where)
    try:
        found = element.asstr("utf-8")[part]
    except UnicodeDecodeError:  # of a program that knows one code page
        found = element.asstr("latin-1")[part]
    return np.asarray(found, dtype=object).ravel()


def _native(found: "NDArray[np.generic]", where: str) -> "NDArray[np.generic]":
    """Numbers in the order of bytes of this machine, texts without their bytes; anything else is refused."""
    if found.dtype.kind == "S" or found.dtype.kind == "O":
        return np.array([text_of(value) for value in found], dtype=object)
    if found.dtype.kind not in "biuf":
        raise DataError(f"{where}: holds values of type {found.dtype}, expected numbers or texts")
    return found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))


def text_of(value: object) -> str:
    """A text of HDF5, whether it came as bytes or not."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return str(value)


def _length(element: "Element") -> int:
    """Number of rows of a column."""
    import h5py

    if isinstance(element, h5py.Dataset):
        return int(element.shape[0])
    return int(next(element[key].shape[0] for key in ("codes", "values", "mask") if key in element))
