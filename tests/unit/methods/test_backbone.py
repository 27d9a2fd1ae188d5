"""What is promised: the encoder is PyTorch's on the same weights, of scGPT's size; short cuts change nothing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from adaptation import CLS, SHAPE, backbone, cell_tokens
from annobench.data.checkpoints.spec import ScgptShape
from annobench.methods.transformer.backbone import Backbone
from annobench.methods.transformer.batches import Batch, TokenTable, pieces
from annobench.methods.transformer.packing import Packing


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch(n: int = 6) -> Batch:
    table, _ = cell_tokens(n)
    return table.batch(np.arange(n), SHAPE.pad)


def stock(ours: Backbone) -> nn.TransformerEncoder:
    """PyTorch's encoder with the same weights."""
    shape = ours.shape
    layer = nn.TransformerEncoderLayer(shape.width, shape.heads, shape.hidden, shape.dropout, batch_first=True)
    theirs = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
    for block, other in zip(ours.layers, theirs.layers, strict=True):
        state = {}
        for part in ("weight", "bias"):
            projections = [getattr(getattr(block, name), part) for name in ("q_proj", "k_proj", "v_proj")]
            state[f"self_attn.in_proj_{part}"] = torch.cat(projections)
            for mine, name in (("out_proj", "self_attn.out_proj"), *((one, one) for one in ("linear1", "linear2"))):
                state[f"{name}.{part}"] = getattr(getattr(block, mine), part)
            for name in ("norm1", "norm2"):
                state[f"{name}.{part}"] = getattr(getattr(block, name), part)
        other.load_state_dict(state)
    return theirs.eval()


def vectors(ours: Backbone, one: Batch) -> Tensor:
    """What goes into the layers, written out."""
    clamped = one.values.clamp(max=512).unsqueeze(-1)
    value = ours.value_norm(ours.value_linear2(torch.relu(ours.value_linear1(clamped))))
    return ours.gene_norm(ours.gene_embedding(one.genes)) + value


@pytest.mark.parametrize("fast_path", [False, True])
def test_equals_pytorchs_encoder_with_padding(fast_path: bool) -> None:
    ours, one = backbone(), batch()
    assert one.mask is not None
    assert not one.mask.all()
    with torch.set_grad_enabled(not fast_path):
        expected = stock(ours)(vectors(ours, one), src_key_padding_mask=~one.mask)
        found = ours(one.genes, one.values, one.mask)
    assert torch.allclose(found[one.mask], expected[one.mask], atol=1e-5)
    assert float(found.detach()[one.mask].std()) > 0.1


def test_gradients_equal_those_of_pytorchs_encoder() -> None:
    ours, one = backbone(), batch()
    theirs = stock(ours)
    ours(one.genes, one.values, one.mask)[:, 0].square().sum().backward()
    theirs(vectors(ours, one).detach(), src_key_padding_mask=~one.mask)[:, 0].square().sum().backward()
    last = theirs.layers[0]
    assert torch.allclose(ours.layers[0].linear1.weight.grad, last.linear1.weight.grad, atol=1e-4)
    assert torch.allclose(ours.layers[0].q_proj.weight.grad, last.self_attn.in_proj_weight.grad[:16], atol=1e-4)


def test_the_vector_of_the_cell_is_that_of_position_0() -> None:
    ours, one = backbone(), batch()
    whole = ours(one.genes, one.values, one.mask)[:, 0]
    assert torch.allclose(ours.embed(one.genes, one.values, one.mask), whole, atol=1e-6)
    assert float((whole.detach().norm(dim=1) - 1).abs().min()) > 0.01  # not normalised


def test_padding_changes_nothing() -> None:
    ours = backbone()
    table, _ = cell_tokens(5)
    together = table.batch(np.arange(5), SHAPE.pad)
    found = ours.embed(together.genes, together.values, together.mask)
    for i in range(5):
        alone = table.batch(np.array([i]), SHAPE.pad)
        assert alone.mask is None
        assert torch.allclose(ours.embed(alone.genes, alone.values)[0], found[i], atol=1e-5)


def test_past_keys_and_values_are_attended_to() -> None:
    """As tokens would be whose keys and values these are: two cells' tokens in one layer, attention written out."""
    ours, one = backbone(), batch(2)
    block = ours.blocks[0]
    torch.manual_seed(1)
    tokens, past = torch.randn(2, 5, 16), (torch.randn(2, 2, 3, 8), torch.randn(2, 2, 3, 8))
    found = block(tokens, past=past)
    query, keys, values = (block.split(one(tokens)) for one in (block.q_proj, block.k_proj, block.v_proj))
    keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
    share = torch.softmax(query @ keys.transpose(2, 3) / 8**0.5, dim=-1)
    middle = block.norm1(tokens + block.out_proj((share @ values).transpose(1, 2).reshape(2, 5, 16)))
    expected = block.norm2(middle + block.linear2(torch.relu(block.linear1(middle))))
    assert torch.allclose(found, expected, atol=1e-5)
    whole = ours(one.genes, one.values, one.mask, past=[past, past])
    assert not torch.allclose(whole[:, 0], ours(one.genes, one.values, one.mask)[:, 0], atol=1e-3)


def test_large_values_are_clamped_and_unclamped_ones_are_not() -> None:
    ours = backbone()
    genes = torch.tensor([[CLS, 1]])
    at = [ours(genes, torch.tensor([[-2.0, value]])) for value in (500.0, 512.0, 9000.0)]
    assert torch.equal(at[1], at[2])
    assert not torch.equal(at[0], at[1])


def test_values_that_repeat_are_encoded_once_to_the_same() -> None:
    ours = backbone()
    few, many = torch.randint(0, 5, (4, 9)).float(), torch.rand(4, 9)
    assert torch.allclose(ours._values(few), ours._encoded(few), atol=1e-6)
    assert torch.equal(ours._values(many), ours._encoded(many))


def test_the_whole_human_size() -> None:
    shape = ScgptShape(tokens=60_697, width=512, hidden=512, layers=12, heads=8, dropout=0.2, pad=60_694)
    with torch.device("meta"):
        made = Backbone(shape)
    assert sum(one.numel() for one in made.parameters()) == 50_278_400
    assert made.state_dict()["layers.11.k_proj.weight"].shape == (512, 512)
    assert sum(one.numel() for one in made.layers[0].parameters()) == 1_577_984


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of 3 heads"):
        ScgptShape(tokens=5, width=16, hidden=8, layers=1, heads=3, dropout=0, pad=0)


# --- batches


def test_a_batch_holds_the_tokens_of_its_cells() -> None:
    table = TokenTable(np.array([0, 2, 5, 6]), np.array([9, 1, 9, 2, 3, 9]), np.array([0, 7, 0, 8, 255, 0], np.uint8))
    found = table.rows(np.array([2, 1, 0])).rows(np.array([1, 2])).batch(np.array([1, 0]), pad=29)
    assert found.genes.tolist() == [[9, 1, 29], [9, 2, 3]]
    assert found.mask.tolist() == [[True, True, False], [True, True, True]]
    assert found.values[1].tolist() == [0, 8, 255]
    first = TokenTable(table.offsets, table.ids, table.values, first=-2.0).batch(np.array([0, 1]), pad=29)
    assert first.values[:, 0].tolist() == [-2, -2]
    assert first.values[:, 1].tolist() == [7, 8]


@pytest.mark.parametrize("budget", [1, 40, 300, 10_000])
def test_pieces_keep_to_the_budget_and_hold_every_cell_once(budget: int) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 90, 200)
    found = list(pieces(lengths, budget))
    assert sorted(np.concatenate(found).tolist()) == list(range(200))
    for one in found:
        assert len(one) == 1 or lengths[one].sum() <= budget
    for one, other in pairwise(found):
        assert lengths[one].sum() + lengths[other[0]] > budget  # none is smaller than it need be
        assert lengths[one].min() >= lengths[other].max()


def random_cells(lengths: list[int], seed: int = 0) -> TokenTable:
    """Cells with these numbers of tokens."""
    rng, total = np.random.default_rng(seed), sum(lengths)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    ids = rng.integers(0, CLS, total)
    ids[offsets[:-1]] = CLS
    return TokenTable(offsets, ids, rng.integers(1, 51, total).astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=9), st.sampled_from([0, 300, 10**9]), st.integers(0, 5))
def test_packed_cells_have_the_vectors_and_the_gradients_of_padded_ones(
    lengths: list[int], waste: int, seed: int
) -> None:
    table, rows = random_cells(lengths, seed), np.arange(len(lengths))
    packed, padded = table.packed(rows), table.batch(rows, SHAPE.pad)
    packing = packed.mask
    assert isinstance(packing, Packing)
    packing = Packing.of(np.array(lengths), waste=waste)
    found = []
    for one, mask in ((packed, packing), (padded, padded.mask)):
        ours = backbone()
        embedded = ours.embed(one.genes, one.values, mask)
        embedded.square().sum().backward()
        found.append((embedded.detach(), [p.grad for p in ours.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-3)
    every = backbone()(packed.genes, packed.values, packing)[0]
    expected = backbone()(padded.genes, padded.values, padded.mask)
    assert torch.allclose(every, expected.flatten(0, 1) if padded.mask is None else expected[padded.mask], atol=1e-5)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.sampled_from([0, 4096, 10**9]))
def test_groups_of_packed_cells_hold_every_token_once(lengths: list[int], waste: int) -> None:
    packing = Packing.of(np.array(lengths), waste=waste)
    assert sum(one.cells for one in packing.groups) == len(packing) == len(lengths)
    assert sum(one.tokens for one in packing.groups) == sum(lengths)
    assert len(packing.groups) == (1 if waste == 10**9 else len(packing.groups))
    assert packing.starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    values, first = torch.arange(sum(lengths), dtype=torch.float32)[None, :, None], 0
    for one, own in zip(packing.groups, packing.tokens(values), strict=True):
        assert torch.equal(one.packed(one.padded(own)), own)
        sizes = lengths[first : first + one.cells]
        padding = sum(max(sizes) ** 2 - size**2 for size in sizes)
        assert padding <= waste
        if one.mask is not None:
            assert one.mask.sum(1).tolist() == sizes
        first += one.cells


def test_a_packed_past_is_that_of_its_cells() -> None:
    ours, table, rows = backbone(), random_cells([40, 33, 7, 7, 2]), np.arange(5)
    past = [(torch.randn(5, 2, 3, 8), torch.randn(5, 2, 3, 8)) for _ in range(2)]
    one, padded = table.packed(rows), table.batch(rows, SHAPE.pad)
    found = ours.embed(one.genes, one.values, Packing.of(table.lengths(), waste=100), past=past)
    assert torch.allclose(found, ours.embed(padded.genes, padded.values, padded.mask, past=past), atol=1e-5)


def test_the_hash_of_tokens_is_that_of_their_content() -> None:
    table = random_cells([3, 4, 5])
    some = table.rows(np.array([2, 0]))
    assert some.sha256() == TokenTable(*_of_rows(table, [2, 0])).sha256()
    others = [table.rows(np.array([0, 2])), table, replace(some, values=some.values + 1), random_cells([5, 3], 1)]
    assert len({one.sha256() for one in (some, *others)}) == 5


def _of_rows(table: TokenTable, rows: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spans = [slice(table.offsets[i], table.offsets[i + 1]) for i in rows]
    sizes = [one.stop - one.start for one in spans]
    return (
        np.cumsum([0, *sizes]),
        np.concatenate([table.ids[one] for one in spans]),
        np.concatenate([table.values[one] for one in spans]),
    )
