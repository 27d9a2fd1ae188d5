"""IA3: a factor for each number that keys, values and the feed-forward part work with."""

from annobench.core.errors import ConfigError
from annobench.methods.transformer.adapters.places import replace_layers
from annobench.methods.transformer.adapters.scaled import ScaledLinear
from annobench.methods.transformer.backbone import Encoder

LABEL = "IA3"
RATES = (2e-3, 1e-2, 5e-2)
STARTS_AS_BASE = True
MERGES = True


def adapt(backbone: Encoder, *, target: str = "paper") -> None:
    """Train factors.

    Parameters
    ----------
    backbone
        What is adapted.
    target
        `paper`: of keys, values and the inputs of the second feed-forward map; `scdlkit`: of what attention gives and
        of what the first feed-forward map gives.
    """
    places = {"paper": (("k_proj", "v_proj"), ("linear2",)), "scdlkit": (("out_proj", "linear1"), ())}
    if target not in places:
        raise ConfigError(f"parameters.options.target: expected {' or '.join(places)} for IA3, found '{target}'")
    outputs, inputs = places[target]
    replace_layers(backbone, outputs, lambda layer: ScaledLinear(layer, "output"))
    replace_layers(backbone, inputs, lambda layer: ScaledLinear(layer, "input"))
