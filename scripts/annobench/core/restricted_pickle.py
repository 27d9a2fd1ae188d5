"""What restricted unpicklers share: each knows a handful of names, and any other ends the reading."""

import pickle
import pickletools
import re
from collections.abc import Callable

import numpy as np

_DTYPE = re.compile(r"[<>|=]?([?biuf]\d*|[USO]\d*)")
_NUMBERED = {"PUT", "BINPUT", "LONG_BINPUT"}  # opcodes that store an object under a number


class RefusedError(Exception):
    """The file asks for something that no model needs."""


def check_numbers(content: bytes) -> None:
    """Refuse a number beyond the length of the file: Python makes room for all up to the largest, maybe gigabytes."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _NUMBERED and not 0 <= int(argument or 0) < len(content):
            raise pickle.UnpicklingError(f"an object is stored under the number {argument}")


class Call:
    """A function that a pickle may call, and nothing else: a plain function could be altered by a state."""

    __slots__ = ("_function",)
    _function: Callable[..., object]

    def __init__(self, function: Callable[..., object]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: object) -> object:
        """What the function gives."""
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise RefusedError("a state for a function")

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedError("an attribute of a function")


class ArrayType:
    """Stands in for numpy.dtype."""

    def __init__(self, code: object = "", *_: object) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise RefusedError(f"an array type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5:
            raise RefusedError("an array type without a state")
        order, *rest = state[1:5]
        if any(part is not None for part in rest) or order not in ("<", ">", "|", "="):
            raise RefusedError("a structured array type")
        self.dtype = self.dtype.newbyteorder(order)


def scalar(kind: object, data: object = b"") -> object:
    """Stands in for numpy's function of this name: a number of a plain type."""
    if not isinstance(kind, ArrayType) or kind.dtype.kind not in "biuf" or not isinstance(data, bytes):
        raise RefusedError("a number without a plain type")
    number: object = np.frombuffer(data, dtype=kind.dtype)[0]
    return number
