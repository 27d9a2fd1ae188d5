"""The encoder of scVI as plain arrays: an embedding without scvi-tools, equal to its own to rounding.

    counts -> log1p -> {linear, batch norm, ReLU} x layers -> linear -> mean of the posterior

The batch of a cell does not enter it (`encode_covariates` is off in scvi-tools), so that it also embeds cells of
batches that training has not seen. Lopez et al., Nature Methods 2018, doi 10.1038/s41592-018-0229-2.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Arrays = Mapping[str, "NDArray[np.float32]"]

_EPSILON = 1e-3  # of scvi-tools' batch norm
_LAYER = "encoder.fc_layers.Layer {}."
_KEYS = {
    "weight": "0.weight",
    "bias": "0.bias",
    "gamma": "1.weight",
    "beta": "1.bias",
    "mean": "1.running_mean",
    "variance": "1.running_var",
}


def encoder_arrays(state: "Arrays") -> "dict[str, NDArray[np.float32]]":
    """The arrays of an encoder.

    Parameters
    ----------
    state
        The state dictionary of `module.z_encoder` of a trained scVI model, as arrays.

    Returns
    -------
    Arrays that `encoded` takes, with names of our own.
    """
    found = {"latent_weight": state["mean_encoder.weight"], "latent_bias": state["mean_encoder.bias"]}
    layer = 0
    while _LAYER.format(layer) + _KEYS["weight"] in state:
        found |= {f"{name}_{layer}": state[_LAYER.format(layer) + key] for name, key in _KEYS.items()}
        layer += 1
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def encoded(counts: "csr_matrix", arrays: "Arrays") -> "NDArray[np.float32]":
    """Means of the posterior, float32 (cells, latent), of counts (cells, genes) over the genes of the encoder."""
    hidden = counts.astype(np.float32)
    hidden.data = np.log1p(hidden.data)
    layer = 0
    while f"weight_{layer}" in arrays:
        one = {name: arrays[f"{name}_{layer}"] for name in _KEYS}
        hidden = hidden @ one["weight"].T + one["bias"]
        scale = one["gamma"] / np.sqrt(one["variance"] + np.float32(_EPSILON))
        hidden = np.maximum((hidden - one["mean"]) * scale + one["beta"], 0)
        layer += 1
    return np.asarray(hidden @ arrays["latent_weight"].T + arrays["latent_bias"], dtype=np.float32)
