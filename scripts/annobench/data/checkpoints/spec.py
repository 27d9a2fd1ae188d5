"""Specs of checkpoints: where they come from, how cells become their tokens, and the record of one that is here.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from annobench.core.files import expanded, read_json, write_json
from annobench.core.spec import Spec

RECORD, WEIGHTS, VOCABULARY = "checkpoint.json", "weights.safetensors", "vocabulary.json"
MEDIANS = "medians.json"  # where cells are ranked
ANY_ORGANISM = "any"
GENE_TABLES = ("config/genes/symbols.tsv", "config/genes/other_symbols.tsv")  # symbols of human genes


@dataclass(frozen=True, kw_only=True)
class InputSpec(Spec):
    """How a cell becomes tokens, and these an embedding; see `input` in workflow/schemas/checkpoint.schema.yaml."""

    values: str = "bins"
    bins: int = 51
    clip: int = 512
    cls: str | None = "<cls>"
    cls_value: int = -2
    eos: str | None = None
    max_length: int = 1200
    seed: int = 0
    least_known: float = 0.5
    layer: int | None = None
    pooling: str = "cls"
    normalise: str = "none"

    @property
    def embedding(self) -> str:
        """What the embedding of a cell is, in words."""
        what = f"output of {self.cls}" if self.pooling == "cls" else "mean of the outputs of genes"
        return what if self.layer is None else f"{what} in layer {self.layer}"


@dataclass(frozen=True, kw_only=True)
class CheckpointSource(Spec):
    """Where a checkpoint comes from: `source` of its YAML file."""

    kind: str

    @classmethod
    def variant(cls, params: Mapping[str, object]) -> type[Self]:
        """The class of the kind that `params` name."""
        kinds: dict[object, Any] = {"local": LocalFiles, "url": Downloads, "random": Random, "pretrain": Pretraining}
        return kinds[params["kind"]] if cls is CheckpointSource else cls

    def files(self) -> list[Path]:
        """Files of this machine that are read and exist."""
        return []

    def stated(self) -> list[str]:
        """Files of this machine that are named, as written, whether they exist or not."""
        return []


@dataclass(frozen=True, kw_only=True)
class NamedFiles(CheckpointSource):
    """The files of a layout, and SHA-256 (whole, or the beginning) by name of a file."""

    arguments: str
    vocabulary: str
    weights: str
    layout: str = "scgpt"
    medians: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files: arguments, vocabulary, weights, and medians where there are any."""
        return self.arguments, self.vocabulary, self.weights, *([self.medians] if self.medians else [])


@dataclass(frozen=True, kw_only=True)
class LocalFiles(NamedFiles):
    """A folder on this machine."""

    path: str

    def files(self) -> list[Path]:
        """The files that exist."""
        return [path for name in self.names if (path := expanded(self.path) / name).is_file()]

    def stated(self) -> list[str]:
        """All of them."""
        return [f"{self.path}/{name}" for name in self.names]


@dataclass(frozen=True, kw_only=True)
class Downloads(NamedFiles):
    """A folder at an address."""

    url: str


@dataclass(frozen=True, kw_only=True)
class Random(CheckpointSource):
    """Random weights in the shape of another checkpoint."""

    like: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Pretraining(CheckpointSource):
    """A small backbone that is trained here on the cells of a dataset."""

    dataset: str
    genes: int
    width: int
    hidden: int
    layers: int
    heads: int
    dropout: float
    steps: int
    batch: int
    learning_rate: float
    hidden_share: float
    hidden_value: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class About(Spec):
    """What a checkpoint is, for people."""

    label: str
    citation: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec(Spec):
    """What making a checkpoint uses of its YAML file."""

    about: About
    organism: str
    source: CheckpointSource
    input: InputSpec

    @classmethod
    def of(cls, document: Mapping[str, object]) -> "CheckpointSpec":
        """From a resolved YAML file."""
        about = {key: document[key] for key in ("label", "citation", "licence")}
        return cls.from_params({"about": about, **{key: document[key] for key in ("organism", "source", "input")}})


@dataclass(frozen=True, kw_only=True)
class Shape(Spec):
    """The shape of an encoder.

    Parameters
    ----------
    tokens
        Size of the vocabulary.
    width
        Numbers per token.
    hidden
        Units between the two maps of the feed-forward part.
    layers, heads
        Layers, and heads of attention in each.
    dropout
        Share of values that training leaves out. Not of attention weights, for which no fast kernel exists on a CPU.
    pad
        Number of the token that fills batches.
    pooling
        What the vector of a cell is: the output of its first token (`cls`), or the mean over its tokens (`mean`).
    special
        Numbers of the tokens that a mean leaves out.
    """

    tokens: int
    width: int
    hidden: int
    layers: int
    heads: int
    dropout: float
    pad: int
    pooling: str = "cls"
    special: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @classmethod
    def variant(cls, params: Mapping[str, object]) -> type[Self]:
        """The class whose fields `params` have."""
        kinds: dict[bool, Any] = {True: BertShape, False: ScgptShape}
        return kinds["positions" in params] if cls is Shape else cls


@dataclass(frozen=True, kw_only=True)
class ScgptShape(Shape):
    """That of scGPT's encoder; values above `max_value` are cut off."""

    max_value: float = 512.0


@dataclass(frozen=True, kw_only=True)
class BertShape(Shape):
    """That of a BERT, with `positions` places for tokens; `epsilon` is that of its norms."""

    positions: int
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class ReadFile(Spec):
    """A file that was read: from where, its size and SHA-256."""

    origin: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord(Spec):
    """checkpoint.json: what a checkpoint is made of, or why there is none.

    Parameters
    ----------
    name, kind, about, organism
        Of its YAML file.
    status, reason
        `ok`, or `failed` and why; methods that read it are then skipped.
    shape, parameters
        Of the encoder, and how many numbers it has.
    input
        How cells become its tokens.
    pretraining
        What its weights have learned from, in words.
    cells_seen
        Datasets of config/datasets whose cells it was trained on, without labels.
    files
        What was read, by name.
    used
        Weight of the encoder -> key of the file it comes from; q, k and v may share one.
    dropped
        Key of the file that is not used -> why.
    arguments
        What the file of arguments says.
    notes
        What else there is to know.
    weights_sha256, vocabulary_sha256, medians_sha256
        Of the files beside this one; medians are of genes that are ranked.
    """

    name: str
    kind: str
    about: About
    organism: str
    status: str = "ok"
    reason: str | None = None
    shape: Shape | None = None
    parameters: int = 0
    input: InputSpec | None = None
    pretraining: str = ""
    cells_seen: tuple[str, ...] = ()
    files: Mapping[str, ReadFile] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights_sha256: str | None = None
    vocabulary_sha256: str | None = None
    medians_sha256: str | None = None

    @classmethod
    def read(cls, folder: str | Path) -> "CheckpointRecord":
        """The record of a folder of results/checkpoints."""
        return cls.from_params(read_json(Path(folder) / RECORD))

    def write(self, folder: Path) -> None:
        """Write it into a folder, last of its files."""
        write_json(folder / RECORD, self.to_params())
