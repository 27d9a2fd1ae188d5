"""Self-checks before a training: what is said to be trained is trained, and has an effect on what is predicted.

Both fail silently in practice: a module that is never called has no gradient, and a fast path that reads weights past a
module predicts without it. A fit that fails a check is a failed fit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from annobench.core.errors import AnnobenchError
from annobench.fit.embedding_checks import Geometry
from annobench.methods.torch.dropout import Dropout
from annobench.methods.transformer.batches import TokenTable
from annobench.methods.transformer.model import Annotator

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS, TOKENS = 4, 64  # of the checks: few cells, cut to their first tokens
NO_EFFECT = 3e-6  # of the largest logit: a smaller change may be rounding, and is looked at in double precision
NO_EFFECT_DOUBLE = 1e-12  # there: a smaller change is rounding
MODES_AGREE = 1e-4  # largest difference of logits between training and prediction mode, of the largest logit
LEAST_RANK = 1.01  # effective rank of an embedding of cells that are not all alike
_NOISE = 0.05


class CheckFailedError(AnnobenchError):
    """A network does not do what its strategy says."""


def check_training(model: Annotator, tokens: TokenTable, *, seed: int, device: str) -> dict[str, str | int | float]:
    """Check that every trained tensor has a gradient and an effect, and that both modes agree.

    Weights begin where some gradients are zero by construction (the first factor of LoRA, while the second is zero);
    the checks therefore run at a point nearby, and the weights are put back.

    Parameters
    ----------
    model
        Before its training, on `device`.
    tokens
        Training cells, of which a few with most tokens are used.
    seed
        Of the noise.
    device
        `cpu` or `cuda`.

    Returns
    -------
    dict
        For the run record.

    Raises
    ------
    CheckFailedError
        A check fails.
    """
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    before = {name: one.detach().clone() for name, one in trained.items()}
    longest = tokens.rows(np.argsort(-tokens.lengths(), kind="stable")[:CELLS])
    batch = _short(longest).packed(np.arange(len(longest)), device)
    noise = torch.Generator().manual_seed(seed)
    try:
        for one in trained.values():
            _move(one, noise)
        with without_dropout(model):
            logits = _gradients(model, lambda: model(batch), trained)
            largest = _agreement(model, lambda: model(batch), logits)
        silent = _silent(model, lambda: model(batch), trained, noise, NO_EFFECT)
        if silent:
            # queries of a deep network move its output by less than single precision shows
            model.double()
            some = {name: trained[name] for name in silent}
            silent = _silent(model, lambda: model(batch.double()), some, noise, NO_EFFECT_DOUBLE)
        if silent:
            raise CheckFailedError(
                f"{len(silent)} of {len(trained)} trained tensors have no effect on predictions, such as {silent[0]}"
            )
    finally:
        model.float()
        with torch.no_grad():
            for name, one in trained.items():
                one.copy_(before[name])
        model.zero_grad(set_to_none=True)
    return {"trained_tensors": len(trained), "modes_differ_by": float(f"{largest:.2g}")}


def _short(tokens: TokenTable) -> TokenTable:
    """Cells cut to their first tokens."""
    assert tokens.places is not None
    lengths = np.minimum(tokens.lengths(), TOKENS)
    starts = tokens.offsets[tokens.places]
    where = np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths, strict=True)])
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return TokenTable(offsets, tokens.ids[where], tokens.values[where], first=tokens.first)


@torch.no_grad()
def _move(one: Tensor, noise: torch.Generator) -> None:
    """Add noise to a tensor, in proportion to its values where they are not 0: far from them attention may be dead."""
    size = float(one.square().mean().sqrt()) or 1.0
    one.add_((torch.randn(one.shape, generator=noise) * (_NOISE * size)).to(one.device, one.dtype))


@contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Every dropout of a network is off, in training mode too."""
    layers = [one for one in model.modules() if isinstance(one, Dropout | torch.nn.Dropout)]
    shares = [one.p for one in layers]
    try:
        for one in layers:
            one.p = 0.0
        yield
    finally:
        for one, share in zip(layers, shares, strict=True):
            one.p = share


def _gradients(model: Annotator, run: Callable[[], Tensor], trained: Mapping[str, Tensor]) -> Tensor:
    """Logits in training mode, after a check of the gradients."""
    model.train()
    model.zero_grad(set_to_none=True)
    logits = run()
    codes = torch.arange(len(logits), device=logits.device) % logits.shape[1]
    functional.cross_entropy(logits.float(), codes).backward()  # type: ignore[no-untyped-call]
    dead = [name for name, one in trained.items() if one.grad is None or not bool(one.grad.abs().max() > 0)]
    if dead:
        raise CheckFailedError(
            f"{len(dead)} of {len(trained)} trained tensors get no gradient, such as {dead[0]}: they would not "
            "be trained"
        )
    return logits.detach()


def _agreement(model: Annotator, run: Callable[[], Tensor], logits: Tensor) -> float:
    """Largest difference between training mode without dropout and prediction, relative to the largest logit."""
    model.eval()
    with torch.inference_mode():
        largest = float((run() - logits).abs().max() / logits.abs().max().clamp_min(1e-12))
    if not largest <= MODES_AGREE:
        raise CheckFailedError(
            f"training without dropout and prediction give different logits (by {largest:.2g} of the largest, at most "
            f"{MODES_AGREE} is rounding): one function would be trained and another one used"
        )
    return largest


def _silent(
    model: Annotator, run: Callable[[], Tensor], trained: Mapping[str, Tensor], noise: torch.Generator, least: float
) -> list[str]:
    """Names of tensors whose change moves no logit by more than a share `least` of the largest."""
    model.eval()
    with torch.inference_mode():
        here = run()
    silent = []
    for name, one in trained.items():
        kept = one.detach().clone()
        _move(one, noise)
        with torch.inference_mode():
            if not bool((run() - here).abs().max() > least * here.abs().max()):
                silent.append(name)
        with torch.no_grad():
            one.copy_(kept)
    return silent


def check_embedding(features: "NDArray[np.float32]", *, trained: bool = False) -> dict[str, str | int | float]:
    """Check that cells do not lie at one point.

    Parameters
    ----------
    features
        (n, width) of some cells.
    trained
        Whether they are from after a training. Then one dimension is enough: that is all that two classes need.

    Returns
    -------
    dict
        For the run record.

    Raises
    ------
    CheckFailedError
        They do, or they lie on one line before the training.
    """
    when = "after" if trained else "before"
    if not np.isfinite(features).all():
        raise CheckFailedError(f"the embedding {when} training holds values that are not finite")
    geometry = Geometry.of(features)
    if geometry.is_constant:
        raise CheckFailedError(f"the embedding {when} training has collapsed: all {len(features)} cells have the same")
    rank = geometry.effective_rank
    if not trained and len(features) > 2 and rank is not None and rank < LEAST_RANK:
        raise CheckFailedError(
            f"the embedding before training has collapsed: the effective rank of {len(features)} cells in "
            f"{geometry.dimensions} dimensions is {rank:.3f}"
        )
    return {f"effective_rank_{when}": geometry.notes()["effective_rank"]}
