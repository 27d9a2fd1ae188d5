"""A foundation model adapted to the labels of the training cells, by any strategy of methods/transformer/strategies."""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
import torch

from annobench.core.errors import DataError
from annobench.fit.method import Abilities, Context, Embedding, Method, Needs
from annobench.fit.predictions import Predictions
from annobench.methods.torch.classifier import label_codes
from annobench.methods.torch.losses import build_loss
from annobench.methods.transformer import saved, sources, strategies
from annobench.methods.transformer.batches import TokenTable
from annobench.methods.transformer.checks import check_embedding, check_training
from annobench.methods.transformer.model import Annotator, build, features_of, logits_of, parts, probabilities, sizes
from annobench.methods.transformer.probe import fit_probe
from annobench.methods.transformer.recipe import AdaptationRecipe
from annobench.methods.transformer.training import Labelled, Outcome, Trainer

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

Settings: TypeAlias = Mapping[str, object]

_CHECKED = 128  # training cells whose embedding is checked


class Adapted(Method):
    """A backbone of any layout that checkpoints have (scGPT's, Geneformer's) with a head, trained on tokens.

    The head (LayerNorm, dropout, an affine map) stands outside the backbone and is the same for every strategy; it sees
    the vector of the cell, pooled as the checkpoint states, which is the embedding. The frozen probe has a logistic
    regression on standardised features in its place, whose loss is always cross-entropy.

    Parameters
    ----------
    strategy
        Name of a file in methods/transformer/strategies.
    options
        Parameters of the strategy, such as `target`, `rank` or `length`; those that differ from its defaults.
    loss
        Name of a file in methods/torch/losses.
    class_weights
        Whether classes are weighted in the loss by their inverse frequency.
    recipe
        Hyperparameters of training.
    """

    needs = Needs(tokens=True)
    abilities = Abilities(embedding=True, gpu=True, streams=True)  # tokens stand for the counts
    parts: ClassVar[Mapping[str, str]] = {"strategy": "methods/transformer/strategies", "loss": "methods/torch/losses"}
    part_options: ClassVar[Mapping[str, str]] = {"options": "strategy"}

    def __init__(
        self,
        *,
        strategy: str = "lora",
        options: Settings | None = None,
        loss: str = "ce",
        class_weights: bool = False,
        recipe: AdaptationRecipe | Settings = AdaptationRecipe(),
    ) -> None:
        self.strategy, self.loss, self.class_weights = strategy, loss, class_weights
        self.options = dict(options or {})
        if not isinstance(recipe, AdaptationRecipe):
            recipe = replace(AdaptationRecipe(), **recipe)  # type: ignore[arg-type]
        self.recipe = recipe
        self._first: tuple[str, NDArray[np.float32]] | None = None

    def fit(self, train: "AnnData", context: Context) -> None:
        self._context: Context | None = context
        self._first = None
        self._device, self._top_k, self._seed = context.device, context.top_k, context.seed
        _prepare(self._device, context.threads)
        assert context.weights is not None
        self._base = sources.base_of(context.weights)
        classes, codes = label_codes(train.obs["label_id"])
        self._classes = tuple(classes.tolist())
        if len(self._classes) < 2:
            raise DataError(f"the training cells have one class only ({self._classes[0]}); expected two or more")
        self._model = self._network().to(self._device)
        tokens = sources.tokens_of(train, context, self._base)
        self._check_tokens(tokens, len(codes))
        validation = self._validation(context, classes)
        self.notes = {"strategy": self.strategy, "backbone": self._base.place, "base_sha256": self._base.sha256}
        checks = self._check(tokens)
        if self.strategy == "probe":
            self._probe(Labelled(tokens, codes), validation)
        else:
            self._train(Labelled(tokens, codes), validation, context)
        if not strategies.is_frozen(self.strategy):  # else it is what it was
            checks |= check_embedding(self._features(self._some(tokens)), trained=True)
        self._note_sizes()
        self.notes["checks"] = checks

    def _network(self) -> Annotator:
        """The base, adapted, with a fresh head."""
        return build(
            self._base.shape,
            self._base.weights,
            classes=len(self._classes),
            strategy=self.strategy,
            options=self.options,
            head_dropout=self.recipe.head_dropout,
            seed=self._seed,
        )

    def _check_tokens(self, tokens: TokenTable, cells: int) -> None:
        """Raise DataError where tokens do not fit the cells or the vocabulary."""
        if len(tokens) != cells:
            raise DataError(f"there are tokens of {len(tokens)} cells, expected {cells}; tokenise the dataset again")
        largest = int(tokens.ids.max(initial=0))
        if largest >= self._base.shape.tokens:
            raise DataError(
                f"token {largest} is not in the vocabulary of {self._base.place}, which has {self._base.shape.tokens}: "
                "the dataset was tokenised for another one; tokenise it again"
            )

    def _validation(self, context: Context, classes: "NDArray[np.str_]") -> Labelled | None:
        """Validation cells of classes in training; None where there are none."""
        cells = context.validation
        if cells is None:
            return None
        _, codes = label_codes(cells.obs["label_id"], classes)
        known = np.flatnonzero(codes >= 0)
        if not len(known):
            return None
        return Labelled(sources.tokens_of(cells, context, self._base).rows(known), codes[known])

    def _some(self, tokens: TokenTable) -> TokenTable:
        """Cells whose embedding is checked, evenly spread."""
        return tokens.rows(np.unique(np.linspace(0, len(tokens) - 1, _CHECKED).astype(np.int64)))

    def _check(self, tokens: TokenTable) -> dict[str, str | int | float]:
        """What is checked before training."""
        found = check_embedding(self._features(self._some(tokens)))
        if self.strategy == "probe":
            return found
        return check_training(self._model, tokens, seed=self._seed, device=self._device) | found

    def _features(self, tokens: TokenTable) -> "NDArray[np.float32]":
        return features_of(
            self._model, tokens, device=self._device, kind=self.recipe.precision, budget=2 * self.recipe.tokens
        )

    def _with_features(self, data: Labelled) -> Labelled:
        """The same cells with their features in place of their tokens."""
        assert isinstance(data.cells, TokenTable)
        return Labelled(self._features(data.cells), data.codes)

    def _probe(self, train: Labelled, validation: Labelled | None) -> None:
        pairs = [
            None if data is None else (self._features(data.cells), data.codes)  # type: ignore[arg-type]
            for data in (train, validation)
        ]
        assert pairs[0] is not None
        head, notes = fit_probe(
            pairs[0],
            pairs[1],
            classes=len(self._classes),
            strengths=tuple(self.recipe.inverse_strengths),
            seed=self._seed,
        )
        self._model.head = head.to(self._device)
        assert self.notes is not None
        self.notes["training"] = notes

    def _train(self, train: Labelled, validation: Labelled | None, context: Context) -> None:
        if strategies.is_frozen(self.strategy):
            train = self._with_features(train)
            validation = None if validation is None else self._with_features(validation)
        build_loss = self._losses(train.codes, context)
        trainer = Trainer(
            self._model,
            build_loss(self.class_weights),
            build_loss(False),
            train,
            validation,
            recipe=self.recipe,
            seed=self._seed,
            device=self._device,
            progress=context.progress,
        )
        outcome = trainer.run(tuple(self.recipe.learning_rates or strategies.strategy(self.strategy).RATES))
        assert self.notes is not None
        self.notes["training"] = _outcome_notes(outcome)
        if outcome.score is not None and outcome.score[0] <= outcome.floor:
            self.notes["warnings"] = (_nothing_learned(outcome),)

    def _losses(self, codes: "NDArray[np.int64]", context: Context) -> Callable[[bool], torch.nn.Module]:
        """A function from whether classes are weighted, by N / (classes * count), to the loss."""
        reachability = torch.as_tensor(context.ontology.reachability(list(self._classes)))
        counts = np.bincount(codes)
        weight = torch.as_tensor(len(codes) / (len(counts) * counts), dtype=torch.float32)
        return lambda weighted: build_loss(self.loss, reachability, weight if weighted else None)

    def _note_sizes(self) -> None:
        found = sizes(self._model)
        self.trainable_parameters = found["backbone"] + found["head"]
        assert self.notes is not None
        self.notes["parameters"] = found

    def predict(self, query: "AnnData") -> Iterator[Predictions]:
        for names, features in self._parts(query):
            logits = logits_of(self._model, features, self._device)
            yield Predictions.from_probabilities(names, probabilities(logits), list(self._classes), self._top_k, logits)

    def embed(self, query: "AnnData") -> Iterator[Embedding]:
        for names, features in self._parts(query):
            yield Embedding(names.to_numpy(object), features)

    def _parts(self, query: "AnnData") -> "Iterator[tuple[pd.Index, NDArray[np.float32]]]":
        """Names and features of cells, part by part."""
        tokens, names = sources.tokens_of(query, self._context, self._base), query.obs_names
        self._check_tokens(tokens, len(names))
        for rows in parts(len(names)):
            yield names[rows], self._features_once(tokens.rows(rows))

    def _features_once(self, tokens: TokenTable) -> "NDArray[np.float32]":
        """Features of a part; those of the first part are kept, as test cells are predicted and then embedded."""
        digest = tokens.sha256()
        if self._first is None:
            self._first = digest, self._features(tokens)
        return self._first[1] if self._first[0] == digest else self._features(tokens)

    def genes_read(self, var: "pd.DataFrame") -> "NDArray[np.bool_]":
        return sources.known_genes(var, self._base)

    def save(self, folder: Path) -> None:
        facts = saved.AdapterFacts(
            strategy=self.strategy,
            options=self.options,
            backbone=self._base.place,
            base_sha256=self._base.sha256,
            vocabulary_sha256=self._base.vocabulary_sha256,
            preprocessing=self._base.preprocessing,
            medians_sha256=self._base.medians_sha256,
            classes=self._classes,
            head_dropout=self.recipe.head_dropout,
            seed=self._seed,
            top_k=self._top_k,
            tokens=self.recipe.tokens,
            precision=self.recipe.precision,
            versions={"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        )
        saved.save(folder, self._model, facts)

    @classmethod
    def load(cls, folder: Path) -> "Adapted":
        facts = saved.read_facts(folder)
        recipe = {name: getattr(facts, name) for name in ("head_dropout", "tokens", "precision")}
        method = cls(strategy=facts.strategy, options=facts.options, recipe=recipe)
        method._base = base = sources.base_of(facts.backbone)
        saved.check_base(folder, facts, base)
        method._context, method._device = None, "cpu"
        method._seed, method._top_k, method._classes = facts.seed, facts.top_k, facts.classes
        method._model = method._network()
        saved.load_state(folder, method._model)
        method._note_loaded(facts)
        return method

    def _note_loaded(self, facts: saved.AdapterFacts) -> None:
        self.notes = {"strategy": self.strategy, "backbone": self._base.place, "base_sha256": facts.base_sha256}
        self._note_sizes()


def _prepare(device: str, threads: int) -> None:
    """Set PyTorch's threads and precision."""
    torch.set_num_threads(threads)
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")


def _outcome_notes(outcome: Outcome) -> dict[str, str | int | float]:
    """For the run record."""
    notes: dict[str, str | int | float] = {
        "learning_rate": outcome.rate,
        "steps": outcome.steps,
        "best_step": outcome.best_step,
        "halvings_for_memory": outcome.halvings,
    }
    if outcome.score is not None:
        notes["validation_macro_f1"] = round(outcome.score[0], 4)
        notes["one_class_macro_f1"] = round(outcome.floor, 4)
    if outcome.tried:
        notes["learning_rates_tried"] = _scores(dict(sorted(outcome.tried.items())))
    if len(outcome.trained) > 1:  # the first one ended below its trial, or learned nothing
        notes["learning_rates_trained"] = _scores(outcome.trained)
    return notes


def _nothing_learned(outcome: Outcome) -> str:
    """That a training is no better than one class for all cells, for people."""
    reached = 0.0 if outcome.score is None else outcome.score[0]
    return (
        f"the training learned nothing: macro F1 on validation cells is {reached:.3f}, that of one class for all of "
        f"them {outcome.floor:.3f} (learning rates: {_scores(outcome.trained)}); more steps (recipe.steps) or other "
        "rates (recipe.learning_rates) may help"
    )


def _scores(of: Mapping[float, float | None]) -> str:
    """Validation macro F1 of learning rates, as text."""
    return ", ".join(f"{rate:g}: {'not finite' if score is None else f'{score:.3f}'}" for rate, score in of.items())
