"""What is promised: our adapters are those of peft, outputs and gradients; and what else peft has can be had.

peft is not in the lock: without it only the recorded numbers are compared, which peft 0.21.2 gave.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptation import SHAPE, annotator, backbone, cell_tokens
from annobench.core.errors import ConfigError, MethodSkipped
from annobench.methods.transformer import strategies
from annobench.methods.transformer.backbone import Backbone
from annobench.methods.transformer.batches import Batch
from annobench.methods.transformer.checks import check_training

LOW = {"r": 4, "lora_alpha": 6, "lora_dropout": 0.0}
OURS = {"rank": 4, "alpha": 6.0, "dropout": 0.0}
ALL = ["q_proj", "k_proj", "v_proj", "out_proj", "linear1", "linear2"]
RENAMED = {
    ".lora_A.default.weight": ".lora_a",
    ".lora_B.default.weight": ".lora_b",
    ".lora_magnitude_vector.default.weight": ".magnitude",
    ".ia3_l.default": ".factor",
    ".ln_tuning_layers.default": "",
}
# strategy, its options, the method of peft, its config
PAIRS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "lora": ("lora", {**OURS, "target": "all"}, "LORA", {**LOW, "target_modules": ALL}),
    "rslora": ("rslora", {**OURS, "target": "all"}, "LORA", {**LOW, "use_rslora": True, "target_modules": ALL}),
    "dora": ("dora", {**OURS, "target": "all"}, "LORA", {**LOW, "use_dora": True, "target_modules": ALL}),
    "ia3": (
        "ia3",
        {},
        "IA3",
        {"target_modules": ["k_proj", "v_proj", "linear2"], "feedforward_modules": ["linear2"]},
    ),
    "ln_tuning": ("ln_tuning", {}, "LN_TUNING", {"target_modules": ["norm1", "norm2"]}),
}
# sum of |features|, and norm of all gradients of the sum of squares of features times 1, 2, …, width
GOLDEN = {
    "lora": (78.695923, 254.43330),
    "rslora": (79.122360, 549.62072),
    "dora": (78.165565, 280.86504),
    "ia3": (78.388519, 20.568773),
    "ln_tuning": (81.512550, 800.02914),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch() -> Batch:
    """Six cells of four to nine tokens, whose tokens need no generator either."""
    steps, lengths = np.arange(9), np.arange(4, 10)[:, None]
    genes = np.where(steps < lengths, (7 * steps + 5 * lengths) % 28, SHAPE.pad)
    values = np.where(steps, (3 * steps * lengths) % 50 + 1, -2.0)
    mask = torch.from_numpy(np.broadcast_to(steps < lengths, genes.shape).copy())
    return Batch(torch.from_numpy(genes), torch.from_numpy(values).float(), mask)


def fill(tensor: Tensor, number: int) -> None:
    """Values that need no generator: the same everywhere."""
    with torch.no_grad():
        steps = torch.arange(tensor.numel(), dtype=torch.float64)
        tensor.add_((0.1 * torch.sin(1.3 * steps + number)).view(tensor.shape).float())


def moved(model: Backbone) -> dict[str, Tensor]:
    """What is trained by our name of it, as after some training."""
    names = {}
    for name, one in model.named_parameters():
        if one.requires_grad:
            for theirs, ours in RENAMED.items():
                name = name.replace(theirs, ours)
            names[name] = one
    for number, name in enumerate(sorted(names)):
        if name.endswith("lora_a"):  # drawn
            names[name].data.zero_()
        fill(names[name], number)
    return names


def plain() -> Backbone:
    """A backbone whose weights need no generator, no dropout."""
    made = backbone()
    for number, (name, one) in enumerate(sorted(made.named_parameters())):
        with torch.no_grad():
            one.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        fill(one, number)
    return made.eval()


def run(model: Backbone, trained: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Features, and the gradients of what is trained."""
    one = batch()
    features = model.embed(one.genes, one.values, one.mask)
    (features.square() * torch.arange(1, SHAPE.width + 1)).sum().backward()
    return features.detach(), {name: tensor.grad for name, tensor in trained.items() if tensor.grad is not None}


def ours(pair: str) -> tuple[Tensor, dict[str, Tensor]]:
    name, options, _, _ = PAIRS[pair]
    model = plain()
    strategies.adapt(model, name, options)
    return run(model, moved(model))


def summary(features: Tensor, gradients: Mapping[str, Tensor]) -> tuple[float, float]:
    return float(features.abs().sum()), math.sqrt(sum(float(one.square().sum()) for one in gradients.values()))


@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")  # of peft, about LayerNorm
@pytest.mark.parametrize("pair", PAIRS)
def test_equals_peft(pair: str) -> None:
    pytest.importorskip("peft", reason="peft is not installed (requirements-adaptation.txt)")
    _, _, kind, config = PAIRS[pair]
    theirs = plain()
    strategies.adapt(theirs, "peft", {"kind": kind, "config": config})
    features, gradients = run(theirs, moved(theirs))
    found, mine = ours(pair)
    assert torch.allclose(found, features, atol=1e-5)
    assert float((found - plain().embed(*vars(batch()).values())).detach().abs().max()) > 0.01
    assert mine.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(mine[name].view_as(gradient), gradient, atol=1e-5, rtol=1e-4), name
    assert summary(features, gradients) == pytest.approx(GOLDEN[pair], rel=1e-5)


@pytest.mark.parametrize("pair", PAIRS)
def test_equals_what_peft_gave(pair: str) -> None:
    assert summary(*ours(pair)) == pytest.approx(GOLDEN[pair], rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("VERA", {"r": 8}),
        ("OFT", {"oft_block_size": 8, "r": 0}),
        ("LOHA", {"r": 4}),
        ("LOKR", {"r": 4}),
        ("HRA", {"r": 4}),
        ("LORA", {"init_lora_weights": "pissa", "r": 4}),
    ],
)
def test_other_methods_of_peft_train_and_reload(kind: str, config: dict[str, Any]) -> None:
    pytest.importorskip("peft", reason="peft is not installed (requirements-adaptation.txt)")
    options = {"kind": kind, "config": config, "target": "all"}
    model, (tokens, _) = annotator("peft", **options), cell_tokens(8)
    assert check_training(model, tokens, seed=1, device="cpu")["trained_tensors"] > 3
    moved(model.backbone)
    state = {name: one.clone() for name, one in model.own_state().items()}
    assert not [name for name in state if name.endswith(("base_layer.weight", "gene_embedding.weight"))]
    again = annotator("peft", **options)
    again.load_state_dict(state, strict=False)
    with torch.inference_mode():
        assert torch.allclose(again.eval()(batch()), model.eval()(batch()), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "LORRA"}, "peft has no 'LORRA' for single layers; did you mean 'LORA'"),
        ({"config": {"rank": 4}}, "peft refuses it for LORA: .*unexpected keyword argument 'rank'"),
    ],
)
def test_methods_and_parameters_that_peft_does_not_have(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("peft", reason="peft is not installed (requirements-adaptation.txt)")
    with pytest.raises(ConfigError, match=message):
        strategies.adapt(plain(), "peft", options)


def test_without_peft_a_fit_is_skipped_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("peft", "peft.mapping"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MethodSkipped, match=r"needs the library peft .*requirements-adaptation\.txt"):
        strategies.adapt(plain(), "peft", {})
