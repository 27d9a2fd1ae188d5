"""What is promised of every strategy: what it trains is trained and has an effect, and starts, merges and reloads."""

import copy
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from adaptation import SHAPE, annotator, backbone, base, cell_tokens
from annobench.core.errors import ConfigError
from annobench.methods.transformer import strategies
from annobench.methods.transformer.adapters.lowrank import LowRankLinear, MagnitudeLinear
from annobench.methods.transformer.adapters.places import TARGETS, merge
from annobench.methods.transformer.adapters.scaled import ScaledLinear
from annobench.methods.transformer.backbone import Backbone
from annobench.methods.transformer.batches import Batch
from annobench.methods.transformer.checks import CheckFailedError, check_embedding, check_training, without_dropout
from annobench.methods.transformer.model import Annotator, Head, sizes

# Every file of the folder: a new strategy is tested by being there. `peft` needs packages that the core does not have;
# for more of its methods see test_peft_strategies.py
ALL = strategies.STRATEGIES
TRAINED = [name for name in ALL if not strategies.is_frozen(name)]
VARIANTS = [
    *((name, {}) for name in TRAINED),
    *((name, {"target": target}) for name in ("lora", "rslora", "dora") for target in sorted(TARGETS)),
    ("ia3", {"target": "scdlkit"}),
]


def promised(name: str, promise: str) -> bool:
    """Whether a strategy states that something is true of it."""
    return bool(getattr(strategies.strategy(name), promise, False))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch(n: int = 6) -> Batch:
    table, _ = cell_tokens(n)
    return table.batch(np.arange(n), SHAPE.pad)


def moved(model: Annotator, seed: int = 5) -> Annotator:
    """As after some training: noise on all that is trained."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(torch.randn(one.shape, generator=noise) * 0.1)
    return model.eval()


def each(variants: Iterable[tuple[str, Mapping[str, str]]]) -> pytest.MarkDecorator:
    without = find_spec("peft") is None
    skip = pytest.mark.skipif(without, reason="peft is not installed (requirements-adaptation.txt)")
    params = [
        pytest.param(name, options, id="-".join([name, *options.values()]), marks=skip if name == "peft" else ())
        for name, options in variants
    ]
    return pytest.mark.parametrize(("name", "options"), params)


def test_the_strategies_of_the_study_are_there() -> None:
    names = "probe head full lora rslora dora adapter prefix prompt ia3 ln_tuning bitfit peft"
    asked = set(names.split())
    assert asked <= set(ALL)
    assert {name for name in asked if strategies.is_frozen(name)} == {"probe", "head"}
    # what is attended to besides the tokens takes its share from the beginning; of peft it depends on its method
    assert {name for name in asked if not promised(name, "STARTS_AS_BASE")} == {"prefix", "prompt", "peft"}
    assert {name for name in asked if not promised(name, "MERGES")} == {"prefix", "prompt", "adapter", "peft"}
    with pytest.raises(ValueError, match="there is no strategy 'lorra'; did you mean 'lora'"):
        strategies.adapt(backbone(), "lorra")


@each((name, {}) for name in ALL if promised(name, "STARTS_AS_BASE"))
def test_nothing_changes_before_training(name: str, options: dict[str, str]) -> None:
    one, model = batch(), annotator(name, **options).eval()
    with torch.inference_mode():
        expected = backbone().embed(one.genes, one.values, one.mask)
        assert torch.allclose(model.features(one), expected, atol=2e-6, rtol=0)


@each(VARIANTS)
def test_every_trained_tensor_has_a_gradient_and_an_effect_and_modes_agree(name: str, options: dict[str, str]) -> None:
    """The second implementation of the self-check, on the tensors themselves."""
    one, model = batch(), moved(annotator(name, **options))
    trained = {key: tensor for key, tensor in model.named_parameters() if tensor.requires_grad}
    model.train()
    with without_dropout(model):
        logits = model(one)
    functional.cross_entropy(logits, torch.arange(6) % 3).backward()
    assert [key for key, tensor in trained.items() if tensor.grad is None or not tensor.grad.any()] == []
    model.eval()
    with torch.inference_mode():
        here = model(one)
    assert torch.allclose(logits, here, atol=1e-6)
    with torch.no_grad():
        for key, tensor in trained.items():
            kept = tensor.clone()
            tensor.add_(torch.randn_like(tensor) * 0.1)
            assert float((model(one) - here).abs().max()) > 1e-5, key
            tensor.copy_(kept)
    frozen = [tensor for tensor in model.parameters() if not tensor.requires_grad]
    assert all(tensor.grad is None for tensor in frozen)


@each(VARIANTS)
def test_the_self_check_passes_and_leaves_weights_as_they_were(name: str, options: dict[str, str]) -> None:
    model, (tokens, _) = annotator(name, **options), cell_tokens(8)
    before = copy.deepcopy(model.state_dict())
    notes = check_training(model, tokens, seed=1, device="cpu")
    assert notes["trained_tensors"] == sum(one.requires_grad for one in model.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(one.grad is None for one in model.parameters())


@each((name, options) for name, options in VARIANTS if promised(name, "MERGES"))
def test_merging_is_exact(name: str, options: dict[str, str]) -> None:
    one, model = batch(), moved(annotator(name, **options))
    adapted = model(one)
    assert float((adapted - annotator(name).eval()(one)).detach().abs().max()) > 1e-2
    merge(model.backbone)
    assert torch.allclose(model(one), adapted, atol=1e-5)
    plain = Backbone(SHAPE)
    plain.load_state_dict(model.backbone.state_dict())  # strict: the keys of a plain backbone
    with torch.inference_mode():
        found = plain.eval().embed(one.genes, one.values, one.mask)
        assert torch.allclose(found, model.features(one), atol=1e-6)


@each((name, {}) for name in TRAINED if not promised(name, "MERGES") and name != "peft")
def test_what_cannot_be_merged_is_not(name: str, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        merge(annotator(name, **options).backbone)


@each(VARIANTS)
def test_own_state_is_what_is_trained_and_reloads_bit_for_bit(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    one, model = batch(), moved(annotator(name, **options))
    own = model.own_state()
    trained = {key for key, tensor in model.named_parameters() if tensor.requires_grad}
    assert set(own) == trained
    save_file({key: tensor.contiguous() for key, tensor in own.items()}, tmp_path / "own.safetensors")
    fresh = annotator(name, seed=9, **options)
    fresh.load_state_dict(load_file(tmp_path / "own.safetensors"), strict=False)
    assert torch.equal(fresh.eval()(one), model(one))
    if name != "full":
        assert not {"backbone.gene_embedding.weight", "backbone.layers.0.q_proj.weight"} & set(own)


def test_numbers_that_are_trained() -> None:
    """Of two layers of width 16, hidden 24, by hand."""

    def trained(name: str, **options: object) -> int:
        return sizes(annotator(name, **options))["backbone"]

    assert trained("probe") == trained("head") == 0
    assert trained("lora", rank=4) == 2 * 2 * 4 * (16 + 16)
    assert trained("rslora", rank=4, target="scdlkit") == 2 * (4 * 32 + 2 * 4 * 40)
    assert trained("lora", rank=4, target="all") == 2 * (4 * 4 * 32 + 2 * 4 * 40)
    assert trained("dora", rank=4) == 2 * 2 * (4 * 32 + 16)
    assert trained("ia3") == 2 * (16 + 16 + 24)
    assert trained("ia3", target="scdlkit") == 2 * (16 + 24)
    assert trained("ln_tuning") == 2 * 2 * 2 * 16
    assert trained("bitfit") == 2 * (3 * 16 + 24 + 16 + 2 * 16)  # without that of the keys
    assert trained("adapter", units=5) == 2 * 2 * (2 * 16 * 5 + 5 + 16)
    assert trained("prefix", length=7) == 2 * 2 * 7 * 16
    assert trained("prompt", length=7) == 2 * 7 * 16
    assert trained("full") == sum(one.numel() for one in backbone().parameters()) - 2 * 16
    assert sizes(annotator("lora"))["head"] == 2 * 16 + 3 * 16 + 3


def test_sizes_of_scdlkits_strategies_at_the_whole_human_size() -> None:
    """Its counts with 8 classes, head included: 152,584 for LoRA of rank 4, 128,008 for prompts, 17,416 for IA3."""
    from annobench.data.checkpoints.spec import ScgptShape

    shape = ScgptShape(tokens=9, width=512, hidden=512, layers=12, heads=8, dropout=0.2, pad=0)
    head = 2 * 512 + 512 * 8 + 8

    def trained(name: str, **options: object) -> int:
        with torch.device("meta"):
            made = Backbone(shape)
        made.to_empty(device="cpu")
        strategies.adapt(made, name, options)
        return sum(one.numel() for one in made.parameters() if one.requires_grad) + head

    assert trained("lora", rank=4, target="scdlkit") == 152_584
    assert trained("prompt", length=20) == 128_008
    assert trained("ia3", target="scdlkit") == 17_416
    assert trained("adapter", units=64) == 1_591_816
    assert head == 5_128


def test_heads_begin_the_same_for_every_strategy_and_follow_the_seed() -> None:
    heads = [annotator(name).head.linear.weight for name in TRAINED if name != "peft"]
    assert all(torch.equal(heads[0], other) for other in heads)
    assert not torch.equal(heads[0], annotator("lora", seed=2).head.linear.weight)
    again = [annotator("lora").own_state() for _ in range(2)]
    assert all(torch.equal(again[0][key], again[1][key]) for key in again[0])


# --- second implementations


def test_lora_by_hand() -> None:
    layer = LowRankLinear(nn.Linear(2, 2), 1, 3.0, 0.0)
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.base.bias.copy_(torch.tensor([0.5, -0.5]))
        layer.lora_a.copy_(torch.tensor([[1.0, -1.0]]))
        layer.lora_b.copy_(torch.tensor([[2.0], [0.0]]))
    # W + 3 B A = [[7, -4], [3, 4]]
    assert layer(torch.tensor([[1.0, 2.0]]))[0].tolist() == [7 - 8 + 0.5, 3 + 8 - 0.5]
    assert layer.merged().weight.tolist() == [[7, -4], [3, 4]]


def test_dora_by_hand() -> None:
    layer = MagnitudeLinear(nn.Linear(2, 2), 1, 1.0, 0.0)
    with torch.no_grad():
        layer.base.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
        layer.base.bias.copy_(torch.tensor([1.0, 1.0]))
        layer.lora_a.copy_(torch.tensor([[0.0, 4.0]]))
        layer.lora_b.copy_(torch.tensor([[1.0], [0.0]]))
        layer.magnitude.copy_(torch.tensor([10.0, 6.0]))
    # rows (3, 4) of length 5 and (0, 2) of length 2 become (6, 8) and (0, 6)
    assert torch.allclose(layer(torch.tensor([[1.0, 1.0]]))[0], torch.tensor([15.0, 7.0]))
    assert torch.allclose(layer.merged().weight, torch.tensor([[6.0, 8.0], [0.0, 6.0]]))


def test_the_gradient_of_dora_takes_lengths_as_constants() -> None:
    torch.manual_seed(0)
    layer, values = MagnitudeLinear(nn.Linear(5, 4), 2, 0.7, 0.0), torch.randn(3, 5)
    with torch.no_grad():
        layer.lora_b.normal_()
    layer(values).square().sum().backward()
    a, b = (one.detach().clone().requires_grad_() for one in (layer.lora_a, layer.lora_b))
    magnitude = layer.magnitude.detach().clone().requires_grad_()
    weight = layer.base.weight.detach() + 0.7 * b @ a
    factor = magnitude / weight.detach().norm(dim=1)
    (values @ (factor[:, None] * weight).T + layer.base.bias.detach()).square().sum().backward()
    for mine, expected in ((layer.lora_a, a), (layer.lora_b, b), (layer.magnitude, magnitude)):
        assert torch.allclose(mine.grad, expected.grad, atol=1e-5)


def test_ia3_by_hand() -> None:
    base_layer = nn.Linear(2, 1)
    with torch.no_grad():
        base_layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
        base_layer.bias.copy_(torch.tensor([1.0]))
    outputs, inputs = ScaledLinear(base_layer, "output"), ScaledLinear(base_layer, "input")
    with torch.no_grad():
        outputs.factor.copy_(torch.tensor([10.0]))
        inputs.factor.copy_(torch.tensor([10.0, 1.0]))
    values = torch.tensor([1.0, 1.0])
    assert outputs(values).tolist() == outputs.merged()(values).tolist() == [60]
    assert inputs(values).tolist() == inputs.merged()(values).tolist() == [24]


def test_rslora_differs_from_lora_by_its_scale_only() -> None:
    one, scales = batch(), []
    for name in ("lora", "rslora"):
        model = annotator(name, rank=4, alpha=6.0)
        scales.append(model.backbone.blocks[0].q_proj.scale)
    assert scales == [6 / 4, 6 / 2]
    lora, rslora = moved(annotator("lora", rank=4, alpha=12.0)), moved(annotator("rslora", rank=4, alpha=6.0))
    assert torch.equal(lora(one), rslora(one))


def test_prompts_are_vectors_that_are_put_before_the_tokens_and_cut_off_after_the_layer() -> None:
    """With the concatenation written out, as scDLKit does it."""
    model, one = moved(annotator("prompt", length=3)), batch(4)
    plain = backbone()
    tokens = plain.gene_norm(plain.gene_embedding(one.genes)) + plain._values(one.values)
    mask = functional.pad(one.mask, (3, 0), value=True)
    for block, adapted in zip(plain.blocks, model.backbone.blocks, strict=True):
        prompts = adapted.extra.vectors.expand(4, 3, 16)
        tokens = block(torch.cat([prompts, tokens], 1), mask)[:, 3:]
    assert torch.allclose(model.features(one), tokens[:, 0], atol=1e-5)


def test_a_prefix_is_a_past() -> None:
    model, one = moved(annotator("prefix", length=3)), batch(4)
    past = []
    for block in model.backbone.blocks:
        pair = [block.split(one).expand(4, 2, 3, 8) for one in (block.extra.keys, block.extra.values)]
        past.append((pair[0], pair[1]))
    expected = backbone().embed(one.genes, one.values, one.mask, past=past)
    assert torch.allclose(model.features(one), expected, atol=1e-5)


def test_adapters_stand_before_the_norms() -> None:
    model, one = moved(annotator("adapter", units=5)), batch(4)
    plain = backbone()
    tokens = plain.gene_norm(plain.gene_embedding(one.genes)) + plain._values(one.values)
    for block, adapted in zip(plain.blocks, model.backbone.blocks, strict=True):

        def beside(values: Tensor, bottleneck: nn.Module) -> Tensor:
            return values + bottleneck.up(functional.gelu(bottleneck.down(values)))

        attended = block.out_proj(block._attention(tokens, tokens, one.mask, None))
        middle = block.norm1(tokens + beside(attended, adapted.after_attention))
        fed = block.linear2(torch.relu(block.linear1(middle)))
        tokens = block.norm2(middle + beside(fed, adapted.after_feed_forward))
    assert torch.allclose(model.features(one), tokens[:, 0], atol=1e-5)


# --- the checks find what they are for


class Bypassing(Backbone):
    """As a fast path does: reads the weights of a layer in prediction, and never calls what stands in its place."""

    def embed(self, *inputs: object, **more: object) -> Tensor:  # type: ignore[override]
        if self.training or torch.is_grad_enabled():
            return super().embed(*inputs, **more)  # type: ignore[arg-type]
        kept = [block.linear1 for block in self.blocks]
        for block in self.blocks:
            block.linear1 = getattr(block.linear1, "base", block.linear1)
        try:
            return super().embed(*inputs, **more)  # type: ignore[arg-type]
        finally:
            for block, layer in zip(self.blocks, kept, strict=True):
                block.linear1 = layer


def bypassing(name: str, **options: object) -> Annotator:
    made = Bypassing(SHAPE)
    made.load_state_dict(base().weights)
    torch.manual_seed(0)
    strategies.adapt(made, name, options)
    return Annotator(made, Head(16, 3, 0.1))


def test_an_adapter_that_prediction_passes_by_fails_the_fit() -> None:
    """Defect 4 of scDLKit: noise on all IA3 weights changed the embedding by exactly 0."""
    tokens, _ = cell_tokens(8)
    with pytest.raises(CheckFailedError, match="one function would be trained and another one used"):
        check_training(bypassing("ia3", target="scdlkit"), tokens, seed=0, device="cpu")


def test_an_adapter_that_is_never_called_fails_the_fit() -> None:
    """Defect 4: the scale of out_proj of nn.MultiheadAttention never got a gradient."""
    model, (tokens, _) = annotator("lora", target="scdlkit"), cell_tokens(8)
    block = model.backbone.blocks[1]
    inner = block.out_proj.base
    block.out_proj.forward = inner.forward  # what MultiheadAttention does: it takes the weight and the bias
    with pytest.raises(CheckFailedError, match=r"2 of 16 trained tensors get no gradient, such as .*1\.out_proj\.lora"):
        check_training(model, tokens, seed=0, device="cpu")


def test_a_tensor_without_effect_fails_the_fit() -> None:
    model, (tokens, _) = annotator("bitfit"), cell_tokens(8)
    model.backbone.blocks[0].k_proj.bias.requires_grad_(True)  # softmax does not see it; its gradient is rounding
    with pytest.raises(CheckFailedError, match=r"(no effect|no gradient).*layers\.0\.k_proj\.bias"):
        check_training(model, tokens, seed=0, device="cpu")


def test_a_collapsed_embedding_fails_the_fit() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(20, 5)).astype(np.float32)
    assert check_embedding(good)["effective_rank_before"] > 4
    line = good[:, :1] * np.ones(5, np.float32)
    with pytest.raises(CheckFailedError, match=r"before training has collapsed: the effective rank of 20 .* is 1\.0"):
        check_embedding(line)
    assert check_embedding(line, trained=True)["effective_rank_after"] == 1
    for trained in (False, True):
        with pytest.raises(CheckFailedError, match="all 20 cells have the same"):
            check_embedding(np.ones((20, 5), np.float32), trained=trained)
    with pytest.raises(CheckFailedError, match="not finite"):
        check_embedding(np.full((2, 2), np.nan, np.float32))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lora", {"target": "atention"}, "no set of layers 'atention'; did you mean 'attention'"),
        ("ia3", {"target": "all"}, "expected paper or scdlkit for IA3, found 'all'"),
        ("lora", {"rank": 0}, "rank is 0, expected 1 to 16"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        strategies.adapt(backbone(), name, options)
