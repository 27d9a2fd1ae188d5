"""What restricted unpicklers share: each knows a handful of names, and any other ends the reading."""

import pickle
import pickletools
from collections.abc import Callable

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
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise RefusedError("a state for a function")

    def __setattr__(self, name: str, value: object) -> None:
        raise RefusedError("an attribute of a function")
