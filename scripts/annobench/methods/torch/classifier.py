"""Base class of the networks: features, training, prediction, saving."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, TypedDict, Unpack

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from annobench.cells.expression import normalised_rows, rows_of, variable_genes
from annobench.cells.store.buffers import Buffers
from annobench.cells.store.loader import MEMORY_MB, Loader
from annobench.cells.store.rows import MemoryRows, Rows
from annobench.cells.stored_cells import StoredCells, is_stored
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.parquet import NOT_GIVEN
from annobench.fit.method import Abilities, Context, Embedding, Method, load_state, save_state
from annobench.fit.predictions import Predictions
from annobench.methods.torch import losses
from annobench.methods.torch.checkpoint import Checkpoint, Json
from annobench.methods.torch.inference import Feed, logits, outputs, uses_bf16
from annobench.methods.torch.recipe import Recipe, Settings
from annobench.methods.torch.resident import feed_of, fits
from annobench.methods.torch.trainer import Training
from annobench.methods.torch.world import World

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Cells: TypeAlias = "AnnData | StoredCells"

_SMALL = 1 << 26  # non-zeros (0.5 GB) below which normalised values are kept in memory instead of packed counts
_ASKED = 2048  # cells per batch of prediction or validation
_PART = 65_536  # cells per part of streamed predictions
_SAMPLED = 1024  # cells whose values identify a dataset


class Order(TypedDict, total=False):
    """Arguments of a Loader that decide which cells come when."""

    shuffle: bool
    seed: int
    weights: str | None
    drop_last: bool
    rank: int
    world: int


class TorchClassifier(Method, ABC):
    """A network on log1p of counts per 10,000; subclasses state which network.

    Parameters
    ----------
    loss
        Name of a file in methods/torch/losses.
    n_genes
        Most variable genes of the training cells that the network sees; None for all.
    class_weights
        True weights the classes in the loss by their inverse frequency; `sampling` draws every class equally often
        instead.
    recipe
        Hyperparameters of training; a mapping changes those that the subclass has as its default.
    augment
        Whether training cells are moved by differences between donors (see methods/torch/augmentation.py).
    """

    abilities = Abilities(gpu=True, streams=True, parallel=True)
    parts: ClassVar[Mapping[str, str]] = {"loss": "methods/torch/losses"}
    normalises_inputs = False  # True: takes its cells in float32 even where products are in bf16

    def __init__(
        self,
        *,
        loss: str,
        n_genes: int | None,
        class_weights: bool | Literal["sampling"],
        recipe: Recipe | Settings,
        augment: bool = False,
    ) -> None:
        self.loss, self.n_genes, self.class_weights, self.augment = loss, n_genes, class_weights, augment
        if not isinstance(recipe, Recipe):
            default: Recipe = signature(type(self)).parameters["recipe"].default
            recipe = replace(default, **recipe)  # type: ignore[arg-type]
        self.recipe = recipe

    @abstractmethod
    def _network(self, genes: int, classes: int) -> nn.Module:
        """A fresh network."""

    def fit(self, train_cells: "Cells", context: Context) -> None:
        world = World.current()
        torch.manual_seed(context.seed)
        self._device, self._top_k, self._threads = context.device, context.top_k, context.threads
        _prepare(self._device, self._threads)
        rows = self._choose_genes(train_cells)
        self._classes, codes = label_codes(train_cells.obs["label_id"])
        self._model = self._network(rows.genes, len(self._classes))
        self.trainable_parameters = _size(self._model)
        feed = self._training_feed(rows, codes, context.seed, world)
        reachability = torch.as_tensor(context.ontology.reachability(self._classes.tolist()))
        build = self._losses(codes, reachability)
        donors = donor_numbers(train_cells.obs) if self.augment else None
        training = Training(
            self._model,
            build(self.class_weights is True),
            feed if donors is None else self._augmented(feed, rows, codes, donors, context=context, rank=world.rank),
            self.recipe,
            seed=context.seed,
            validation=self._validation(context, build(False)),
            reachability=reachability,
            device=self._device,
            progress=context.progress,
            checkpoint=self._checkpoint(context, rows, codes, [type(feed).__name__, len(feed), world.size]),
            world=world,
        )
        self.best_epoch = training.run()
        self.seconds_before = training.at.seconds

    def _choose_genes(self, cells: "Cells") -> Rows:
        """Choose the genes; returns the training cells over them."""
        self._names = gene_names(cells)
        self._genes: NDArray[Any] = np.arange(cells.n_vars)
        rows = self._rows(cells)
        if self.n_genes is None or cells.n_vars <= self.n_genes:
            return rows
        if isinstance(rows, MemoryRows):
            self._genes = variable_genes(rows.matrix, self.n_genes)
            return MemoryRows(rows.matrix[:, self._genes])
        self._genes = variable_genes(
            Loader(rows, batch_size=_ASKED, shuffle=False, threads=self._threads), self.n_genes
        )
        return self._rows(cells)

    def _rows(self, cells: "Cells") -> Rows:
        """Cells over the chosen genes, normalised over all genes."""
        chosen = None if len(self._genes) == cells.n_vars else self._genes
        if is_stored(cells) or getattr(cells.X, "nnz", _SMALL) >= _SMALL:
            return rows_of(cells, chosen, self._threads)
        return normalised_rows(cells, chosen)

    def _training_feed(self, rows: Rows, codes: "NDArray[np.int64]", seed: int, world: World) -> Feed:
        """Shuffled batches; those of all processes together have the batch size of the recipe."""
        if rows.n < 2 * world.size:
            raise ValueError(f"{rows.n} cells are too few for {world.size} processes")
        if self.class_weights not in (True, False, "sampling"):
            raise ValueError(f"class_weights is {self.class_weights!r}, expected true, false or sampling")
        return self._feed(
            rows,
            codes,
            batch_size=max(self.recipe.batch_size // world.size, 1),
            seed=seed,
            weights="balanced" if self.class_weights == "sampling" else None,
            drop_last=self.recipe.drop_last,
            rank=world.rank,
            world=world.size,
        )

    def _augmented(
        self,
        feed: Feed,
        rows: Rows,
        codes: "NDArray[np.int64]",
        donors: "NDArray[np.int64]",
        *,
        context: Context,
        rank: int,
    ) -> Feed:
        """Training batches whose cells are moved by differences between donors."""
        from annobench.methods.torch.augmentation import AugmentedFeed, donor_vectors

        context.progress(0, "differences between donors")
        vectors = donor_vectors(rows, codes, donors, seed=context.seed, threads=self._threads)
        return AugmentedFeed(feed, vectors, seed=context.seed, rank=rank, threads=self._threads)

    def _feed(self, rows: Rows, codes: "NDArray[np.int64] | None", *, batch_size: int, **order: Unpack[Order]) -> Feed:
        """Batches of cells; all cells are held at once where they fit the device."""
        memory = np.inf if fits(rows, batch_size, self._device) else MEMORY_MB
        loader = Loader(rows, codes, batch_size=batch_size, threads=self._threads, memory_mb=memory, **order)
        return feed_of(loader, self._device, dtype=self._dense())

    def _dense(self) -> torch.dtype:
        """Type of dense batches."""
        half = uses_bf16(self.recipe.precision, self._device) and not self.normalises_inputs
        return torch.bfloat16 if half else torch.float32

    def _losses(self, codes: "NDArray[np.int64]", reachability: torch.Tensor) -> Callable[[bool], nn.Module]:
        """A function from whether classes are weighted, by N / (classes * count), to the loss."""
        counts = np.bincount(codes)
        weight = torch.as_tensor(len(codes) / (len(counts) * counts), dtype=torch.float32)
        return lambda weighted: losses.build_loss(self.loss, reachability, weight if weighted else None)

    def _validation(self, context: Context, loss: nn.Module) -> tuple[Feed, nn.Module] | None:
        """Validation cells of classes in training, with the loss for them; None where there are none."""
        cells = context.validation
        if cells is None:
            return None
        _, codes = label_codes(cells.obs["label_id"], self._classes)
        known = codes >= 0
        if not known.any():
            return None
        if not known.all():
            cells = cells[known]
        return self._feed(self._rows(cells), codes[known], batch_size=_ASKED, shuffle=False), loss

    def _checkpoint(
        self, context: Context, rows: Rows, codes: "NDArray[np.int64]", batches: list[Json]
    ) -> Checkpoint | None:
        """The checkpoint of this training; `batches` are facts of them on which their order depends."""
        if context.checkpoint is None:
            return None
        parameters = {
            **{"loss": self.loss, "class_weights": self.class_weights, "augment": self.augment},
            **asdict(self.recipe),
            **self._network_parameters(),
        }

        def key() -> dict[str, Json]:
            from annobench.core.codehash import code_hash

            return {
                "code": code_hash(TorchClassifier.__module__, type(self).__module__, f"{losses.__name__}.{self.loss}"),
                "data": fingerprint(rows, codes, self._genes, self._classes),
                "parameters": {name: str(value) for name, value in parameters.items()},
                "seed": context.seed,
                "batches": batches,
            }

        return Checkpoint(context.checkpoint, key)

    def predict(self, query: "Cells") -> Iterator[Predictions]:
        _prepare(self._device, self._threads)
        _check_genes(self._names, gene_names(query))
        feed = self._feed(self._rows(query), None, batch_size=_ASKED, shuffle=False)
        if is_stored(query):
            yield from self._parts(feed, query.obs_names)
        else:
            yield self._predictions(query.obs_names, logits(self._model, feed, self.recipe.precision))

    def _parts(self, feed: Feed, names: "pd.Index") -> Iterator[Predictions]:
        """Predictions part by part."""
        waiting: list[NDArray[np.float32]] = []
        start = 0
        for scores, _ in outputs(self._model, feed, self.recipe.precision):
            waiting.append(scores.cpu().numpy())
            ready = sum(map(len, waiting))
            if ready + _ASKED + 1 > _PART or start + ready == len(names):
                yield self._predictions(names[start : start + ready], np.concatenate(waiting))
                waiting, start = [], start + ready

    def embed(self, query: "Cells") -> Iterator[Embedding]:
        _prepare(self._device, self._threads)
        _check_genes(self._names, gene_names(query))
        feed = self._feed(self._rows(query), None, batch_size=_ASKED, shuffle=False)
        names, start = query.obs_names.to_numpy(), 0
        for values, _ in outputs(self._hidden(), feed, self.recipe.precision):
            end = start + len(values)
            yield Embedding(names[start:end], values.cpu().numpy())
            start = end

    def _hidden(self) -> nn.Module:
        """The network up to its last hidden layer, (n, units): what a subclass with an embedding has."""
        raise NotImplementedError(f"{type(self).__name__} has no hidden layer")

    def _predictions(self, names: "pd.Index", values: "NDArray[np.float32]") -> Predictions:
        """Predictions from logits."""
        probabilities = torch.softmax(torch.from_numpy(values).double(), dim=1).numpy()
        return Predictions.from_probabilities(names, probabilities, self._classes.tolist(), self._top_k, values)

    def save(self, folder: Path) -> None:
        save_file(
            {key: value.cpu().contiguous() for key, value in self._model.state_dict().items()},
            folder / "weights.safetensors",
        )
        save_state(
            folder,
            {"genes": self._genes, "names": self._names},
            classes=self._classes.tolist(),
            top_k=self._top_k,
            network=self._network_parameters(),
            precision=self.recipe.precision,
            seconds_before=self.seconds_before,
        )

    def _network_parameters(self) -> dict[str, float]:
        """Arguments of __init__ on which the shape of the network depends."""
        return {}

    def _read(self, folder: Path) -> None:
        """Read what a subclass saved beside the weights, before its network is made."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        arrays, values = load_state(folder)
        method = cls(**values["network"])
        method.recipe = replace(method.recipe, precision=values["precision"])
        method._genes, method._names = arrays["genes"], arrays["names"]
        method.seconds_before = values["seconds_before"]
        method._classes, method._top_k = np.array(values["classes"]), values["top_k"]
        method._read(folder)
        method._model = method._network(len(method._genes), len(method._classes))
        method._model.load_state_dict(load_file(folder / "weights.safetensors"))
        method.trainable_parameters = _size(method._model)
        return method.to("cpu", torch.get_num_threads())

    def to(self, device: str, threads: int) -> Self:
        """Move the network to a device."""
        self._device, self._threads = device, threads
        self._model.to(device)
        return self


def gene_names(cells: "Cells") -> "NDArray[np.str_]":
    """Names of the genes, (n_vars,) text: Ensembl ids where they are known."""
    return np.asarray(cells.var.index, dtype=str)


def _check_genes(model: "NDArray[np.str_]", query: "NDArray[np.str_]") -> None:
    """Raise DataError where cells do not have the genes of the training cells in the same order."""
    if np.array_equal(model, query):
        return
    missing = sorted(set(model) - set(query))
    what = f"{len(missing)} are missing (such as {missing[0]})" if missing else "others are there, or another order"
    raise DataError(
        f"the model was trained on {len(model)} genes, the cells have {len(query)}: {what}; give it cells with the "
        "genes of its training cells, in their order"
    )


def _size(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _prepare(device: str, threads: int) -> None:
    """Set PyTorch's threads and precision."""
    torch.set_num_threads(threads)
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as the paper


def label_codes(
    labels: "pd.Series", classes: "NDArray[np.str_] | None" = None
) -> "tuple[NDArray[np.str_], NDArray[np.int64]]":
    """Classes and class numbers of labels.

    Parameters
    ----------
    labels
        A column of obs; names are compared once per category, and unused categories do not count.
    classes
        Sorted class names; by default those that occur.

    Returns
    -------
    classes, codes
        Sorted class names, (K,), and the class number of every label, int64 (n,), -1 for labels of no class.
    """
    column = labels.astype("category").cat
    names, codes = column.categories.astype(str).to_numpy(dtype=object), column.codes.to_numpy()
    if classes is None:
        classes = np.unique(names[np.unique(codes[codes >= 0])].astype(str))
    place = {name: i for i, name in enumerate(classes.tolist())}
    number = np.array(
        [*(place.get(name, -1) for name in names), -1], dtype=np.int64
    )  # the last is for cells without a label
    return classes, number[codes]


def donor_numbers(obs: "pd.DataFrame") -> "NDArray[np.int64]":
    """Donor number of every cell, int64 (n,), -1 where it is unknown; donors of different studies are different.

    Raises MethodSkipped where no donor is known.
    """
    known = obs["donor"].astype(str).to_numpy() != NOT_GIVEN if "donor" in obs else np.zeros(len(obs), dtype=bool)
    if not known.any():
        raise MethodSkipped(
            "parameter augment: the differences are those between donors, and no training cell has a known donor; map "
            "obs.donor in the dataset's YAML, or set augment to false"
        )
    columns = [obs[name].astype("category").cat.codes.to_numpy(np.int64) for name in ("study", "donor") if name in obs]
    number = columns[0] if len(columns) == 1 else columns[0] * (columns[1].max() + 1) + columns[1]
    return np.where(known, number, -1)


def fingerprint(rows: Rows, *arrays: "NDArray[np.generic]") -> str:
    """SHA-256 of arrays (numbers or texts) and of the values of some cells."""
    places = np.unique(np.linspace(0, rows.n - 1, _SAMPLED).astype(np.int64))
    values = rows.window(places).sparse(np.arange(len(places)), 1, Buffers())
    digest = hashlib.sha256(str((rows.n, rows.genes)).encode())
    for array in (*arrays, *values):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
