"""A saved adaptation: what the strategy trained and the head, without the base."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annobench.core.errors import DataError
from annobench.core.files import read_json, write_json
from annobench.core.spec import Spec
from annobench.data.checkpoints.spec import InputSpec
from annobench.methods.transformer.model import Annotator
from annobench.methods.transformer.sources import Base

TENSORS, FACTS = "adapter.safetensors", "adapter.json"
_OF_DATA = {"least_known", "normalise"}  # what the input of a checkpoint says of datasets, and of frozen embeddings


@dataclass(frozen=True, kw_only=True)
class AdapterFacts(Spec):
    """What a saved adaptation belongs to, and what it gives.

    Parameters
    ----------
    strategy, options
        What was trained.
    backbone
        Where the base was.
    base_sha256, vocabulary_sha256, medians_sha256
        Hashes of the base, of its vocabulary, and of its medians, where cells are ranked.
    preprocessing
        How the tokens were made, and these an embedding.
    classes
        Labels of the logits.
    head_dropout, seed, top_k, tokens, precision
        What building and predicting take.
    versions
        Versions of the libraries.
    """

    strategy: str
    options: Mapping[str, object]
    backbone: str
    base_sha256: str
    vocabulary_sha256: str
    preprocessing: Mapping[str, object]
    classes: tuple[str, ...]
    head_dropout: float
    seed: int
    top_k: int
    tokens: int
    precision: str
    versions: Mapping[str, str]
    medians_sha256: str | None = None


def save(folder: Path, model: Annotator, facts: AdapterFacts) -> None:
    """Write an adaptation into an existing folder."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.own_state().items()}
    save_file(state, folder / TENSORS)
    write_json(folder / FACTS, facts.to_params())


def read_facts(folder: Path) -> AdapterFacts:
    """What a folder says of its adaptation; raises DataError where it has none."""
    if not (folder / FACTS).is_file():
        raise DataError(f"{folder}: expected {FACTS} and {TENSORS}, {FACTS} is missing")
    return AdapterFacts.from_params(read_json(folder / FACTS))


def check_base(folder: Path, facts: AdapterFacts, base: Base) -> None:
    """Raise DataError where an adaptation belongs to another base, or to one whose cells become tokens otherwise."""
    for what, expected, found in (
        ("base", facts.base_sha256, base.sha256),
        ("vocabulary", facts.vocabulary_sha256, base.vocabulary_sha256),
        ("file of medians", facts.medians_sha256 or "none", base.medians_sha256 or "none"),
    ):
        if expected != found:
            raise DataError(
                f"{folder / FACTS}: the adaptation was trained on a {what} with sha256 {expected[:12]}…, that of "
                f"{base.place} is {found[:12]}…; give it the {what} it was trained on, or fit again"
            )
    # a model of an earlier version states no key that came later: it was trained with the default
    before, now = (InputSpec.from_params(one).to_params() for one in (facts.preprocessing, base.preprocessing))
    for key, expected in before.items():
        if key not in _OF_DATA and now[key] != expected:
            raise DataError(
                f"{folder / FACTS}: the adaptation was trained with input.{key} {expected}, {base.place} has "
                f"{now[key]}; give it the checkpoint it was trained on, or fit again"
            )


def load_state(folder: Path, model: Annotator) -> None:
    """Read the tensors of an adaptation into a model that was built like it; raises DataError where they differ."""
    from safetensors.torch import load_file

    state, own = load_file(folder / TENSORS), model.own_state()
    if state.keys() != own.keys():
        wrong = sorted(state.keys() ^ own.keys())
        raise DataError(f"{folder / TENSORS}: {len(wrong)} tensors are missing or too many, such as {wrong[0]}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise DataError(
                f"{folder / TENSORS}: {name} has shape {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
            )
    model.load_state_dict(state, strict=False)
