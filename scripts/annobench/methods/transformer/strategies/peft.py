"""Any method of the library peft that puts modules into the place of layers, by its name and parameters."""

from collections.abc import Mapping

from annobench.core.errors import ConfigError, MethodSkipped, nearest
from annobench.methods.transformer.adapters.places import target_layers
from annobench.methods.transformer.backbone import Encoder

LABEL = "peft"
RATES = (1e-3, 4e-3, 1.6e-2)

_LAYERS = "target_modules"


def adapt(
    backbone: Encoder, *, kind: str = "LORA", target: str = "attention", config: Mapping[str, object] | None = None
) -> None:
    """Train what peft puts into a backbone.

    Parameters
    ----------
    backbone
        What is adapted.
    kind
        Name of the method in peft, such as VERA, OFT or LOHA.
    target
        Set of layers, where `config` does not name layers itself (`target_modules`).
    config
        Parameters of the method's config in peft.

    Raises
    ------
    MethodSkipped
        peft is not installed.
    ConfigError
        There is no such method, or it has no such parameter.
    """
    try:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
    except ImportError as error:
        raise MethodSkipped(
            f"strategy peft needs the library peft ({error}); install it: .venv/bin/python -m pip install -r "
            "requirements-adaptation.txt"
        ) from error
    known = {one.value: one for one in PEFT_TYPE_TO_TUNER_MAPPING}
    if kind not in known:
        raise ConfigError(f"parameters.options.kind: peft has no '{kind}' for single layers{nearest(kind, known)}")
    given = {_LAYERS: list(target_layers(target)), **(config or {})}
    try:
        made = PEFT_TYPE_TO_CONFIG_MAPPING[known[kind]](**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"parameters.options.config: peft refuses it for {kind}: {error}") from error
    # puts its modules into the backbone in place; inject_adapter_in_model does the same but for a few methods
    PEFT_TYPE_TO_TUNER_MAPPING[known[kind]](backbone, made, "default")
