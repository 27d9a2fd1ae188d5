"""Decodings that are made from what a fit left: all files of `fit/decodings/at_score`."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from annobench.config.decodings import AT_SCORE, decoding_facts
from annobench.core.errors import PredictionError
from annobench.fit.decodings.given import Chosen, Given

if TYPE_CHECKING:
    from annobench.config.values import Value

PLUGINS = "fit/decodings/at_score"  # whoever imports this module depends on all of them
_LACKING = {
    "probabilities": (
        "the probabilities of all classes, which were not kept or which the method does not give; fit again with "
        "`keep: {probabilities: true}`"
    ),
    "temperature": (
        "the temperature that calibrates probabilities, fitted on validation cells, which the fit does not have; fit "
        "again, with validation cells and `keep: {decisions: true}`"
    ),
    "allowed": "a list of the types that can be there: `allowed_labels` in the file of the dataset",
    "clusters": "clusters of the cells; name a column of obs that has them",
}


def decode_given(name: str, given: Given, options: "Mapping[str, Value] | None" = None) -> Chosen:
    """Choose labels by a decoding that is made after the fit.

    Parameters
    ----------
    name
        The decoding: a file of `fit/decodings/at_score`.
    given
        The cells.
    options
        Options that differ from the defaults.

    Raises
    ------
    PredictionError
        What it needs is not there, or an option cannot be.
    """
    for need in decoding_facts(name).needs:
        if getattr(given, need) is None:
            raise PredictionError(f"the decoding {name} needs {_LACKING[need]}")
    module = import_module(f"annobench.{AT_SCORE.replace('/', '.')}.{name}")
    made: Chosen = module.decode(given, module.Options(**(options or {})))
    return made
