"""The files of a checkpoint by others: weights without execution of code, arguments, vocabulary."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import DataError
from annobench.core.files import read_foreign_json
from annobench.data.checkpoints.spec import InputSpec, ScgptShape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_UNSAFE = re.compile(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)")
_NEEDED = {"embsize": int, "d_hid": int, "nlayers": int, "nheads": int, "pad_token": str}


def read_weights(path: Path) -> "dict[str, NDArray[np.float32]]":
    """Tensors of a .safetensors file or of a state dict of PyTorch, as float32; nothing is executed.

    Raises DataError for a file that asks for more than tensors, is damaged, or holds something else.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state: object = load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path.name}: is not a readable .safetensors file ({error})") from error
    else:
        state = _read_state_dict(path)
    return _arrays(state, path.name)


def _read_state_dict(path: Path) -> object:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the message below says more
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        unsafe = _UNSAFE.search(text)
        if unsafe or "nsupported" in text:
            named = f"'{unsafe[1]}'" if unsafe else "more than a state dict holds"
            raise DataError(
                f"{path.name}: is refused: it asks for {named}, and to build that would run code of the file; only "
                "plain tensors are read. Save the state dict alone, best as .safetensors"
            ) from error
        raise DataError(f"{path.name}: is not a state dict of PyTorch ({text[-200:]})") from error
    except Exception as error:  # a damaged archive can raise anything
        raise DataError(f"{path.name}: cannot be read as a state dict ({type(error).__name__}: {error})") from error


def _arrays(state: object, file: str) -> "dict[str, NDArray[np.float32]]":
    import torch

    if not isinstance(state, Mapping) or not state:
        raise DataError(f"{file}: holds {type(state).__name__}, expected a mapping of keys to tensors")
    odd = next((key for key, value in state.items() if not isinstance(value, torch.Tensor)), None)
    if odd is not None:
        raise DataError(
            f"{file}: '{odd}' is {type(state[odd]).__name__}, expected a tensor; save the state dict alone, without "
            "the optimiser and other things"
        )
    return {str(key): value.to(torch.float32).numpy() for key, value in state.items()}


def read_vocabulary(path: Path, given: InputSpec) -> dict[str, int]:
    """Tokens and their numbers, 0 to n - 1, each once; raises DataError for anything else, or without `cls`, `eos`."""
    found = read_foreign_json(path)
    wrong = next((token for token, number in found.items() if type(number) is not int), None)
    if wrong is not None:
        raise DataError(f"{path.name}: token '{wrong}' has the number {found[wrong]!r}, expected a whole number")
    vocabulary = {token: int(str(number)) for token, number in found.items()}
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise DataError(f"{path.name}: numbers of its {len(vocabulary)} tokens are not 0 to {len(vocabulary) - 1}")
    for key, token in (("cls", given.cls), ("eos", given.eos)):
        if token is not None and token not in vocabulary:
            special = ", ".join(token for token in vocabulary if token.startswith("<")) or "none"
            raise DataError(
                f"{path.name}: has no token '{token}', which stands "
                f"{'before' if key == 'cls' else 'behind'} the genes of a cell (input.{key}); tokens of this kind: "
                f"{special}"
            )
    return vocabulary


def shape_of(arguments: Mapping[str, object], file: str, vocabulary: Mapping[str, int], given: InputSpec) -> ScgptShape:
    """The shape that arguments and vocabulary state.

    Raises DataError for a missing or unusable argument, or one that contradicts the input of the checkpoint.
    """
    for key, kind in _NEEDED.items():
        if key not in arguments:
            raise DataError(f"{file}: key '{key}' is missing; expected the arguments of scGPT's training")
        if type(arguments[key]) is not kind:
            raise DataError(f"{file}: {key} is {arguments[key]!r}, expected {'text' if kind is str else 'a number'}")
    if arguments.get("input_emb_style", "continuous") != "continuous":
        raise DataError(
            f"{file}: input_emb_style is '{arguments['input_emb_style']}'; only 'continuous' is read here, where a "
            "value goes through two layers"
        )
    if given.values == "bins" and arguments.get("n_bins", given.bins) != given.bins:
        raise DataError(f"{file}: n_bins is {arguments['n_bins']}, but input.bins of the checkpoint {given.bins}")
    sizes = {key: int(str(arguments[key])) for key in ("embsize", "d_hid", "nlayers", "nheads")}
    if min(sizes.values()) < 1 or sizes["embsize"] % sizes["nheads"]:
        raise DataError(
            f"{file}: embsize is {sizes['embsize']} and nheads {sizes['nheads']}; expected positive numbers, "
            "the second a divisor of the first"
        )
    pad = str(arguments["pad_token"])
    if pad not in vocabulary:
        raise DataError(f"{file}: pad_token is '{pad}', which is not in the vocabulary")
    return ScgptShape(
        tokens=len(vocabulary),
        width=sizes["embsize"],
        hidden=sizes["d_hid"],
        layers=sizes["nlayers"],
        heads=sizes["nheads"],
        dropout=float(str(arguments.get("dropout", 0.2))),
        pad=vocabulary[pad],
    )
