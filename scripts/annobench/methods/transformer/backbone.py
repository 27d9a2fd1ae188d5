"""What all encoders share, and that of scGPT and scFormer: tokens of a cell in, one vector per token out.

Every projection is a Linear layer of its own that is called as a module, so that an adapter in its place has an effect
in training and in prediction alike. PyTorch's nn.TransformerEncoder reads weights past the modules that hold them.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from annobench.data.checkpoints.spec import ScgptShape, Shape
from annobench.methods.torch.dropout import Dropout
from annobench.methods.transformer.packing import Packing

KeysValues: TypeAlias = tuple[Tensor, Tensor]  # (heads, length, width / heads) each, or the same for every cell

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj", "linear1", "linear2")
NORMS = ("norm1", "norm2")


class EncoderLayer(nn.Module):
    """Attention and a feed-forward part with ReLU, each added to its input and then normalised (post-norm).

    Parameters
    ----------
    shape
        Sizes.
    epsilon
        Of the norms.
    inner_dropout
        Whether there is dropout inside the feed-forward part as well, as in scGPT.

    Attributes
    ----------
    after_attention, after_feed_forward
        Where a bottleneck adapter goes: called with what attention or the feed-forward part gives.
    extra
        Takes the layer and gives keys and values that every token attends to besides the tokens; None where there are
        none. Prefixes and prompts are such.
    """

    def __init__(self, shape: Shape, *, epsilon: float = 1e-5, inner_dropout: bool = True) -> None:
        super().__init__()
        width, hidden = shape.width, shape.hidden
        self.heads = shape.heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.dropout, self.inner_dropout = Dropout(shape.dropout), Dropout(shape.dropout if inner_dropout else 0.0)
        self.after_attention: nn.Module = nn.Identity()
        self.after_feed_forward: nn.Module = nn.Identity()
        self.extra: Callable[[EncoderLayer], KeysValues] | None = None

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor | Packing | None = None,
        past: KeysValues | None = None,
        first: bool = False,
    ) -> Tensor:
        """Vectors of all tokens, or of the first one of every cell.

        Parameters
        ----------
        tokens
            (batch, length, width), or (1, tokens, width) of packed cells.
        mask
            bool (batch, length), true for tokens that are attended to; None for all; or how the cells are packed.
        past
            Keys and values, (batch, heads, any, width / heads), that are attended to as well.
        first
            Whether only the vectors of first tokens are wanted, (batch, 1, width), or (1, batch, width) of packed
            cells. They are the same as in the whole result and cost less.
        """
        asking = tokens
        if first:
            asking = functional.embedding(mask.starts, tokens[0])[None] if isinstance(mask, Packing) else tokens[:, :1]
        attended = self.after_attention(self.out_proj(self._attention(asking, tokens, mask, past)))
        middle = self.norm1(asking + self.dropout(attended))
        fed = self.linear2(self.inner_dropout(functional.relu(self.linear1(middle))))
        result: Tensor = self.norm2(middle + self.dropout(self.after_feed_forward(fed)))
        return result

    def _attention(
        self, asking: Tensor, tokens: Tensor, mask: Tensor | Packing | None, past: KeysValues | None
    ) -> Tensor:
        query, keys, values = self.q_proj(asking), self.k_proj(tokens), self.v_proj(tokens)
        more = [one for one in (past, None if self.extra is None else self.extra(self)) if one is not None]
        if not isinstance(mask, Packing):
            return self._attended(query, keys, values, mask, more)
        return self._in_groups(query, keys, values, mask, more)

    def _in_groups(
        self, query: Tensor, keys: Tensor, values: Tensor, packing: Packing, more: Sequence[KeysValues]
    ) -> Tensor:
        """The same of packed cells, (1, asking, width): all tokens ask, or the first one of every cell."""
        every, found = query.shape[1] == keys.shape[1], []
        asking = packing.tokens(query) if every else packing.cells(query.squeeze(0))
        first = 0
        for group, asked, key, value in zip(
            packing.groups, asking, packing.tokens(keys), packing.tokens(values), strict=True
        ):
            own = [(_of(one, first, group.cells), _of(two, first, group.cells)) for one, two in more]
            rows = group.padded(asked) if every else asked[:, None]
            answer = self._attended(rows, group.padded(key), group.padded(value), group.mask, own)
            found.append(group.packed(answer) if every else answer[:, 0])
            first += group.cells
        return torch.cat(found)[None]

    def _attended(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, more: Sequence[KeysValues]
    ) -> Tensor:
        """What cells find, (batch, asking, width), among their tokens, (batch, length, width), and more."""
        query, keys, values = self.split(query), self.split(keys), self.split(values)
        for pair in more:
            shape = (len(keys), *pair[0].shape[-3:])
            keys, values = torch.cat([pair[0].expand(shape), keys], 2), torch.cat([pair[1].expand(shape), values], 2)
        if mask is not None:
            mask = functional.pad(mask, (keys.shape[2] - mask.shape[1], 0), value=True)[:, None, None]
        found = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return found.transpose(1, 2).flatten(2)

    def split(self, values: Tensor) -> Tensor:
        """(…, length, width) as (…, heads, length, width / heads)."""
        return values.view(*values.shape[:-1], self.heads, -1).transpose(-3, -2)


def _of(one: Tensor, first: int, cells: int) -> Tensor:
    """Keys or values of some cells: a part of those of the batch, or those that are the same for every cell."""
    return one[first : first + cells] if one.dim() == 4 else one


class Encoder(nn.Module):
    """An encoder over the tokens of a cell: what strategies adapt, whatever stands before its layers.

    A subclass builds `layers` and what leads to them, which `entrance` computes.

    Parameters
    ----------
    shape
        Its sizes, and what the vector of a cell is.

    Attributes
    ----------
    layers
        Of EncoderLayer.
    """

    shape: Shape
    layers: nn.ModuleList

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @property
    def blocks(self) -> list[EncoderLayer]:
        """The layers, typed."""
        return list(self.layers)  # type: ignore[arg-type]

    def entrance(self, genes: Tensor, values: Tensor) -> Tensor:
        """What the first layer is given, (batch, length, width), of what `forward` takes."""
        raise NotImplementedError

    def forward(
        self,
        genes: Tensor,
        values: Tensor,
        mask: Tensor | Packing | None = None,
        past: Sequence[KeysValues] | None = None,
    ) -> Tensor:
        """Vectors of all tokens, float (batch, length, width).

        Parameters
        ----------
        genes
            int64 (batch, length), token ids; (1, tokens) of packed cells.
        values
            float, of the same shape.
        mask
            bool (batch, length), true for real tokens, false for padding; None where there is no padding; or how the
            cells are packed.
        past
            Keys and values for every layer; see EncoderLayer.
        """
        return self._run(genes, values, mask, past, first=False)

    def embed(
        self,
        genes: Tensor,
        values: Tensor,
        mask: Tensor | Packing | None = None,
        past: Sequence[KeysValues] | None = None,
    ) -> Tensor:
        """Vector of every cell, float (batch, width), not normalised.

        It is that of the first token, of which the last layer computes no other, or the mean over all but special
        tokens; of a cell that has none but these, 0.
        """
        if self.shape.pooling == "cls":
            found = self._run(genes, values, mask, past, first=True)
            return found[0] if isinstance(mask, Packing) else found[:, 0]
        if isinstance(mask, Packing):
            return self._mean(genes[0], self._run(genes, values, mask, past, first=False)[0], mask)
        counted = torch.ones_like(genes, dtype=torch.bool) if mask is None else mask.clone()
        for token in self.shape.special:
            counted &= genes != token
        share = counted / counted.sum(dim=1, keepdim=True).clamp(min=1)
        outputs = self._run(genes, values, mask, past, first=False)
        return torch.bmm(share.to(outputs.dtype)[:, None], outputs)[:, 0]

    def _mean(self, genes: Tensor, outputs: Tensor, packing: Packing) -> Tensor:
        """Mean over the tokens of every packed cell, (cells, width), but special ones."""
        counted = torch.ones_like(genes, dtype=torch.bool)
        for token in self.shape.special:
            counted &= genes != token
        number = counted.new_zeros(len(packing), dtype=outputs.dtype)
        number = number.index_add(0, packing.owners, counted.to(outputs.dtype)).clamp(min=1)
        share = counted / functional.embedding(packing.owners, number[:, None])[:, 0]
        sums = outputs.new_zeros(len(packing), outputs.shape[1])
        return sums.index_add(0, packing.owners, share[:, None].to(outputs.dtype) * outputs)

    def _run(
        self,
        genes: Tensor,
        values: Tensor,
        mask: Tensor | Packing | None,
        past: Sequence[KeysValues] | None,
        *,
        first: bool,
    ) -> Tensor:
        tokens = self.entrance(genes, values)
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            tokens = layer(tokens, mask, None if past is None else past[i], first and i == last)
        return tokens


def vectors(tokens: int, width: int, pad: int | None = None) -> nn.Embedding:
    """Fresh vectors of tokens; that of the padding token is 0, and stays."""
    # drawn here: the draw inside Embedding imports the compiler on the meta device, 1.7 s
    weight = torch.randn(tokens, width)
    if pad is not None:
        weight[pad] = 0
    return nn.Embedding(tokens, width, padding_idx=pad, _weight=weight)


class Backbone(Encoder):
    """The encoder of scGPT.

    The vector of a token is that of its gene (embedding, LayerNorm) plus that of its value (two linear maps with a
    ReLU between them, LayerNorm); there are no positions. Source of the architecture: Cui et al., Nature Methods 2024,
    doi 10.1038/s41592-024-02201-0.

    Parameters
    ----------
    shape
        Its sizes.
    """

    shape: ScgptShape

    def __init__(self, shape: ScgptShape) -> None:
        super().__init__(shape)
        self.gene_embedding = vectors(shape.tokens, shape.width, shape.pad)
        self.gene_norm = nn.LayerNorm(shape.width)
        self.value_linear1, self.value_linear2 = nn.Linear(1, shape.width), nn.Linear(shape.width, shape.width)
        self.value_norm = nn.LayerNorm(shape.width)
        self.dropout = Dropout(shape.dropout)
        self.layers = nn.ModuleList(EncoderLayer(shape) for _ in range(shape.layers))

    def entrance(self, genes: Tensor, values: Tensor) -> Tensor:
        """See Encoder."""
        result: Tensor = self.gene_norm(self.gene_embedding(genes)) + self.dropout(self._values(values))
        return result

    def _values(self, values: Tensor) -> Tensor:
        """Vectors of values, (batch, length, width); on a CPU, each value that occurs is computed once."""
        if values.device.type != "cpu":
            return self._encoded(values)
        levels, place = torch.unique(values, return_inverse=True)
        if 2 * len(levels) > values.numel():
            return self._encoded(values)
        return functional.embedding(place, self._encoded(levels))

    def _encoded(self, values: Tensor) -> Tensor:
        hidden = functional.relu(self.value_linear1(values.clamp(max=self.shape.max_value)[..., None]))
        result: Tensor = self.value_norm(self.value_linear2(hidden))
        return result
