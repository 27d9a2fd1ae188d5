"""What is promised of Geneformer: its encoder is a BERT, and every strategy works on it as on scGPT's."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from adaptation import RANKED, annotator, bert, ranked_base, ranked_tokens
from annobench.core.errors import DataError
from annobench.data.checkpoints.fetch import fetch_checkpoint
from annobench.data.checkpoints.spec import BertShape
from annobench.data.checkpoints.stored import StoredCheckpoint
from annobench.fit.method import Context
from annobench.fit.predictions import joined
from annobench.methods.adapted import Adapted
from annobench.methods.transformer import checks, sources, strategies
from annobench.methods.transformer.adapters.places import TARGETS, merge
from annobench.methods.transformer.batches import Batch, TokenTable
from annobench.methods.transformer.bert import Bert
from annobench.methods.transformer.checks import CheckFailedError, check_training
from annobench.methods.transformer.model import Annotator
from annobench.methods.transformer.weights import load_backbone
from annobench.ontology import Ontology
from checkpoint_folders import RANKS, bert_vocabulary, geneformer_source, spec_of
from helpers import TYPES

OURS = [name for name in strategies.STRATEGIES if name != "peft"]
TRAINED = [name for name in OURS if not strategies.is_frozen(name)]
VARIANTS: list[tuple[str, dict[str, str]]] = [
    *((name, {}) for name in TRAINED),
    *((name, {"target": target}) for name in ("lora", "rslora", "dora") for target in sorted(TARGETS)),
    ("ia3", {"target": "scdlkit"}),
]
CELLS = 150


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch(n: int = 6) -> Batch:
    table, _ = ranked_tokens(n)
    return table.batch(np.arange(n), RANKED.pad)


def each(variants: list[tuple[str, dict[str, str]]]) -> pytest.MarkDecorator:
    ids = ["-".join([name, *options.values()]) for name, options in variants]
    return pytest.mark.parametrize(("name", "options"), variants, ids=ids)


def moved(model: Annotator) -> Annotator:
    """As after some training: noise on all that is trained."""
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(torch.randn(one.shape, generator=noise) * 0.1)
    return model.eval()


# --- the encoder


def stock(ours: Bert) -> nn.TransformerEncoder:
    """PyTorch's own layers with the same weights."""
    shape = ours.shape
    layer = nn.TransformerEncoderLayer(
        shape.width, shape.heads, shape.hidden, 0.0, "relu", shape.epsilon, batch_first=True
    )
    theirs = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
    for block, other in zip(ours.blocks, theirs.layers, strict=True):
        state = {}
        for part in ("weight", "bias"):
            joint = [getattr(getattr(block, name), part) for name in ("q_proj", "k_proj", "v_proj")]
            state[f"self_attn.in_proj_{part}"] = torch.cat(joint)
            state[f"self_attn.out_proj.{part}"] = getattr(block.out_proj, part)
            for name in ("linear1", "linear2", "norm1", "norm2"):
                state[f"{name}.{part}"] = getattr(getattr(block, name), part)
        other.load_state_dict(state)
    return theirs.eval()


def entered(ours: Bert, one: Batch) -> Tensor:
    """What goes into the layers, written out: the place of a token is where it stands."""
    x = ours.gene_embedding.weight[one.genes] + ours.place_embedding.weight[: one.genes.shape[1]] + ours.segment
    deviation = (x - x.mean(-1, keepdim=True)).square().mean(-1, keepdim=True).sqrt()
    return (x - x.mean(-1, keepdim=True)) / deviation * ours.norm.weight + ours.norm.bias


def test_equals_pytorchs_layers_with_padding() -> None:
    ours, one = bert(), batch()
    assert one.mask is not None
    assert not one.mask.all()
    expected = stock(ours)(entered(ours, one), src_key_padding_mask=~one.mask)
    found = ours(one.genes, one.values, one.mask)
    assert torch.allclose(found[one.mask], expected[one.mask], atol=1e-5)
    assert float(found.detach()[one.mask].std()) > 0.1


def test_equals_the_bert_of_transformers_on_its_own_files(tmp_path: Path) -> None:
    """Files as transformers writes them, true special tokens, every layer; and what Geneformer's code pools."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ids = [f"ENSG{i:011d}" for i in range(26)]
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(
        vocab_size=30, max_position_embeddings=20, hidden_act="relu", pad_token_id=0, initializer_range=0.3, **sizes
    )
    model = transformers.BertForMaskedLM(config).eval()
    with torch.no_grad():  # biases and norms are not as they begin
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(tmp_path / "theirs", safe_serialization=True)
    for name, content in (("tokens.pkl", bert_vocabulary(ids)), ("medians.pkl", dict.fromkeys(ids, 1.0))):
        (tmp_path / "theirs" / name).write_bytes(pickle.dumps(content))
    genes = torch.tensor([[2, 9, 4, 21, 6, 3], [2, 7, 3, 0, 0, 0]])
    mask, places = genes != 0, torch.arange(6.0).expand(2, -1)
    with torch.no_grad():
        states = model.bert(genes, attention_mask=mask.long(), output_hidden_states=True).hidden_states
    for layer in (1, 2, 3):
        given = RANKS | {"max_length": 20, "layer": layer}
        fetch_checkpoint(
            "g",
            spec_of(geneformer_source(tmp_path / "theirs"), **given),
            tmp_path / "made",
            lock_file=tmp_path / "lock.yaml",
        )
        ours = load_backbone(StoredCheckpoint.open(tmp_path / "made"))
        with torch.no_grad():
            found, pooled = ours(genes, places, mask), ours.embed(genes, places, mask)
        assert float((found - states[layer])[mask].abs().max()) < 1e-5
        expected = torch.stack([states[layer][0, 1:5].mean(0), states[layer][1, 1]])
        assert float((pooled - expected).abs().max()) < 1e-5


def test_a_cell_is_the_mean_of_its_genes_or_its_first_token() -> None:
    ours, table = bert(), ranked_tokens(6)[0]
    one = table.batch(np.arange(6), RANKED.pad)
    with torch.inference_mode():
        outputs, found = ours(one.genes, one.values, one.mask), ours.embed(one.genes, one.values, one.mask)
        for cell, length in enumerate(table.lengths()):
            assert torch.allclose(found[cell], outputs[cell, 1 : length - 1].mean(0), atol=1e-6)
        first = bert(shape=BertShape(**{**vars(RANKED), "pooling": "cls"}))
        assert torch.allclose(first.embed(one.genes, one.values, one.mask), outputs[:, 0], atol=1e-6)
        empty = torch.tensor([[28, 27]])
        assert not ours.embed(empty, torch.tensor([[0.0, 1.0]])).any()  # no gene to take the mean of


def test_places_are_read_and_the_order_of_a_batch_is_not() -> None:
    ours, (genes, places) = bert(), (torch.tensor([[28, 3, 8, 5, 27]]), torch.arange(5.0)[None])
    with torch.inference_mode():
        found = ours.embed(genes, places)
        turned = torch.tensor([0, 3, 1, 2, 4])
        assert torch.allclose(ours.embed(genes[:, turned], places[:, turned]), found, atol=1e-6)
        assert not torch.allclose(ours.embed(genes[:, turned], places), found, atol=1e-3)


# --- strategies


@each([(name, {}) for name in OURS if name not in ("prefix", "prompt")])
def test_nothing_changes_before_training(name: str, options: dict[str, str]) -> None:
    one, model = batch(), annotator(name, one=ranked_base(), **options).eval()
    with torch.inference_mode():
        expected = bert().embed(one.genes, one.values, one.mask)
        assert torch.allclose(model.features(one), expected, atol=2e-6, rtol=0)


@each(VARIANTS)
def test_the_self_check_passes_and_leaves_weights_as_they_were(name: str, options: dict[str, str]) -> None:
    model, (tokens, _) = annotator(name, one=ranked_base(), **options), ranked_tokens(8)
    before = copy.deepcopy(model.state_dict())
    notes = check_training(model, tokens, seed=1, device="cpu")
    assert notes["trained_tensors"] == sum(one.requires_grad for one in model.parameters())
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@each([(name, options) for name, options in VARIANTS if getattr(strategies.strategy(name), "MERGES", False)])
def test_merging_is_exact(name: str, options: dict[str, str]) -> None:
    one, model = batch(), moved(annotator(name, one=ranked_base(), **options))
    adapted = model(one)
    assert float((adapted - annotator(name, one=ranked_base()).eval()(one)).detach().abs().max()) > 1e-2
    merge(model.backbone)
    assert torch.allclose(model(one), adapted, atol=1e-5)
    plain = Bert(RANKED)
    plain.load_state_dict(model.backbone.state_dict())  # strict: the keys of a plain backbone
    with torch.inference_mode():
        assert torch.allclose(plain.eval().embed(one.genes, one.values, one.mask), model.features(one), atol=1e-6)


def test_full_trains_all_but_what_has_no_effect() -> None:
    model = annotator("full", one=ranked_base())
    frozen = [name for name, one in model.backbone.named_parameters() if not one.requires_grad]
    assert frozen == ["layers.0.k_proj.bias", "layers.1.k_proj.bias"]


@pytest.mark.parametrize(
    ("kind", "config"),
    [("LORA", {"r": 2}), ("VERA", {"r": 4}), ("IA3", {"feedforward_modules": []}), ("LOHA", {"r": 2})],
)
def test_methods_of_peft_pass_the_self_check(kind: str, config: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    model = annotator("peft", one=ranked_base(), kind=kind, target="attention4", config=config)
    assert check_training(model, ranked_tokens(8)[0], seed=1, device="cpu")["trained_tensors"] > 4


def test_lora_of_peft_is_ours() -> None:
    pytest.importorskip("peft")
    given = {"r": 2, "lora_alpha": 6, "lora_dropout": 0.0}
    theirs = annotator("peft", one=ranked_base(), kind="LORA", target="all", config=given).eval()
    ours = annotator("lora", one=ranked_base(), target="all", rank=2, alpha=6.0).eval()
    state, other = ours.state_dict(), theirs.state_dict()
    noise = torch.Generator().manual_seed(1)
    renamed = {".lora_A.default.weight": ".lora_a", ".lora_B.default.weight": ".lora_b"}
    for key, tensor in other.items():
        for old, new in renamed.items():
            if key.endswith(old):
                tensor.copy_(torch.randn(tensor.shape, generator=noise))
                state[key.replace(old, new)].copy_(tensor)
    ours.head.load_state_dict(theirs.head.state_dict())
    one = batch()
    with torch.inference_mode():
        assert torch.allclose(ours(one), theirs(one), atol=1e-5)
        assert not torch.allclose(ours.features(one), bert().embed(one.genes, one.values, one.mask), atol=1e-2)


def test_an_effect_below_single_precision_is_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven layers of random weights: what a query changes is less than single precision shows of the sum."""
    shape = BertShape(**{**vars(RANKED), "layers": 11})
    torch.manual_seed(0)
    made = Bert(shape)
    with torch.no_grad():
        for one in made.parameters():
            one.add_(torch.randn_like(one) * 0.3)
    one = sources.Base(**{**vars(ranked_base()), "shape": shape, "weights": made.state_dict()})
    model, (tokens, _) = annotator("bitfit", one=one), ranked_tokens(8)
    before = copy.deepcopy(model.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr(checks, "NO_EFFECT_DOUBLE", checks.NO_EFFECT)
        with pytest.raises(CheckFailedError, match=r"have no effect on predictions, such as .*q_proj\.bias"):
            check_training(model, tokens, seed=1, device="cpu")
    check_training(model, tokens, seed=1, device="cpu")
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) and after[key].dtype == torch.float32 for key in before)


class Unseen(Annotator):
    """Has a weight with a gradient that predictions do not see."""

    def features(self, batch: Batch) -> Tensor:
        weight = self.backbone.get_parameter("unseen")
        return super().features(batch) + weight - weight.detach()


def test_a_weight_that_predictions_do_not_see_fails_the_fit() -> None:
    made = annotator("bitfit", one=ranked_base())
    made.backbone.register_parameter("unseen", nn.Parameter(torch.zeros(RANKED.width)))
    model = Unseen(made.backbone, made.head)
    with pytest.raises(CheckFailedError, match=r"1 of \d+ trained tensors have no effect .* such as backbone\.unseen"):
        check_training(model, ranked_tokens(8)[0], seed=1, device="cpu")


# --- fits


class Dataset:
    """Cells whose tokens are found by their names."""

    def __init__(self) -> None:
        self.tokens, codes = ranked_tokens(CELLS, seed=3, lengths=(6, 12))
        names = [f"c{i}" for i in range(CELLS)]
        obs = pd.DataFrame({"label_id": np.array(TYPES)[codes]}, index=names)
        cells = ad.AnnData(csr_matrix((CELLS, 1), dtype=np.float32), obs=obs)
        self.place = {name: i for i, name in enumerate(names)}
        self.train, self.validation, self.query = cells[:80], cells[80:110], cells[110:]

    def tokens_of(self, cells: Any, context: Context | None, base: Any) -> TokenTable:
        return self.tokens.rows(np.array([self.place[name] for name in cells.obs_names]))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    made = Dataset()
    monkeypatch.setattr(sources, "tokens_of", made.tokens_of)
    monkeypatch.setattr(sources, "base_of", lambda name: ranked_base(place=str(name)))
    return made


def fitted(data: Dataset, ontology: Ontology, strategy: str, recipe: dict[str, Any]) -> Adapted:
    method = Adapted(strategy=strategy, recipe=recipe)
    classes = sorted(set(data.train.obs["label_id"]))
    method.fit(
        data.train,
        Context(seed=1, classes=classes, ontology=ontology, validation=data.validation, weights=Path("toy")),
    )
    return method


@pytest.mark.parametrize("strategy", OURS)
def test_every_strategy_learns_and_reloads_bit_for_bit(
    strategy: str, data: Dataset, ontology: Ontology, tmp_path: Path
) -> None:
    slow = strategy in ("head", "prefix", "prompt")  # the backbone knows nothing
    recipe: dict[str, Any] = {"steps": 80, "trial_steps": 10, "validate_every": 20, "batch_size": 16}
    recipe |= {"steps": 150, "learning_rates": [0.1], "patience": 10} if slow else {"learning_rates": [0.02]}
    method = fitted(data, ontology, strategy, recipe)
    found = joined(method.predict(data.query))
    assert (found.labels[:, 0] == data.query.obs["label_id"].to_numpy()).mean() > 0.6  # of three classes
    method.save(tmp_path)
    again = Adapted.load(tmp_path)
    other = joined(again.predict(data.query))
    assert np.array_equal(found.labels, other.labels)
    assert np.array_equal(found.probabilities, other.probabilities)
    assert again.trainable_parameters == method.trainable_parameters
    assert method.notes is not None
    assert method.notes["checks"]["effective_rank_before"] > 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "was trained on a base with sha256"),
        ({"vocabulary_sha256": "w" * 64}, "was trained on a vocabulary with sha256"),
        ({"medians_sha256": "w" * 64}, "was trained on a file of medians with sha256"),
        ({"preprocessing": {"values": "ranks", "pooling": "mean"}}, r"was trained with input\.pooling cls"),
        ({"preprocessing": {"values": "ranks", "layer": 1}}, r"was trained with input\.layer None"),
        ({"preprocessing": {"values": "ranks", "least_known": 0.1}}, None),
    ],
)
def test_a_model_refuses_another_base(
    change: dict[str, Any], message: str | None, data: Dataset, ontology: Ontology, tmp_path: Path
) -> None:
    fitted(data, ontology, "head", {"steps": 5, "learning_rates": [0.1]}).save(tmp_path)
    facts = json.loads((tmp_path / "adapter.json").read_text())
    assert facts["medians_sha256"] == "m" * 64

    def other(name: str) -> sources.Base:
        one = ranked_base(change.get("seed", 0))
        return sources.Base(**{**vars(one), **{key: value for key, value in change.items() if key != "seed"}})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "base_of", other)
        if message is None:
            Adapted.load(tmp_path)
        else:
            with pytest.raises(DataError, match=message):
                Adapted.load(tmp_path)
