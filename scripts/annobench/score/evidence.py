"""Evidence: what a fit left for scoring, each part read when a family of metrics first asks for it.

| name | what it is |
| --- | --- |
| `run` | the run record |
| `labels` | tested cells with a known label |
| `predictions` | labels, beside what the fit predicts; with confidences and probabilities where it gives them |
| `decisions` | decision values of tested, validation and unrelated cells |
| `temperature` | what calibrates the probabilities, beside these; None where there were no validation cells |
| `embedding` | where the fit places cells; with it `neighbours`, made once for all families |
| `expression` | expression that the fit predicts |
| `perturbations` | measured expression of the tested conditions and of the control cells, beside `expression` |
| `cells` | the expression of the tested cells (only in the audit) |
| `batch`, `order`, `organism` | columns of obs that the evaluation names for families of embeddings |

A family names what it needs, and runs where that is there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from annobench.cells.neighbours import Neighbours, nearest_neighbours
from annobench.config.names import ARGMAX, LEIDEN
from annobench.config.split import ColumnSettings
from annobench.core.errors import DataError, PredictionError
from annobench.core.parquet import Categorical, column_names, positions, read_columns, to_arrow
from annobench.core.spec import Params
from annobench.fit.decisions import Decisions, read_decisions, read_temperature
from annobench.fit.embedding import read_embedding
from annobench.fit.run_record import RunRecord
from annobench.ontology import Ontology
from annobench.score.confidence_rules import RuleConfidences, compared_rules
from annobench.score.join import read_scored
from annobench.score.perturbation.compared import Compared
from annobench.score.perturbation.reading import compare
from annobench.score.scored import Scored
from annobench.score.truths import Truths
from annobench.score.units import Units, resampling_units

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import DataclassInstance
    from anndata import AnnData
    from numpy.typing import NDArray

    SumsOfFamily = Mapping[str, Mapping[str, NDArray[np.float64]]]

Made = TypeVar("Made")
Options = TypeVar("Options", bound="DataclassInstance")


class Rules(NamedTuple):
    """Every confidence rule on the tested cells with decision values.

    Parameters
    ----------
    cells
        (k,) their positions among the scored cells.
    confidences
        One entry per rule.
    """

    cells: "NDArray[np.intp]"
    confidences: list[RuleConfidences]


class Evidence:
    """What families of metrics compute from. This class holds predictions in memory, such as those of a control.

    Parameters
    ----------
    scored
        Test cells with true and predicted labels.

    Attributes
    ----------
    has
        Names of what is there.
    bins
        Number of confidence bins.
    tested, unknown
        Number of test cells, and of those without a known label, which no metric looks at.
    seed
        Of the fit, from which families draw their own.
    """

    seed = 0
    given_options: Mapping[str, Mapping[str, object]] = {}

    def __init__(self, scored: Scored) -> None:
        self.has, self.bins = frozenset({"labels", "predictions"}), scored.bins
        self.tested, self.unknown = scored.n, 0
        self.scored = scored
        self._sums: dict[str, SumsOfFamily] = {}
        self._made: Params = {}

    @cached_property
    def scored(self) -> Scored:
        """Tested cells with a known label, beside the predictions."""
        raise self._absent("predictions")

    @cached_property
    def units(self) -> Units:
        """The unit of every tested cell with a known label."""
        return Units.one(self.scored.n)

    @cached_property
    def run(self) -> RunRecord:
        """The run record."""
        raise self._absent("run")

    @cached_property
    def truths(self) -> Truths:
        """Truths of the tested cells with a known label."""
        raise self._absent("labels")

    @cached_property
    def rules(self) -> Rules:
        """Every confidence rule on the tested cells with decision values."""
        raise self._absent("decisions")

    @cached_property
    def decided(self) -> Decisions:
        """Decision values of tested, validation and unrelated cells."""
        raise self._absent("decisions")

    @cached_property
    def temperature(self) -> float | None:
        """What calibrates the probabilities."""
        raise self._absent("temperature")

    @cached_property
    def embedding(self) -> "NDArray[np.float32]":
        """Where the fit places the cells of `truths`, (n, dimensions)."""
        raise self._absent("embedding")

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest other cells of every cell of the embedding."""
        return nearest_neighbours(self.embedding)

    @cached_property
    def label_names(self) -> list[str]:
        """Labels of the cells of `truths`, sorted."""
        return sorted(self.truths.labels.counts())

    @cached_property
    def label_codes(self) -> "NDArray[np.intp]":
        """Label of every cell of `truths`, a number in `label_names`."""
        return self.truths.labels.recode(self.label_names).astype(np.intp)

    @property
    def donors(self) -> Categorical:
        """Donor of every cell of `truths`."""
        return self.truths.columns["donor"]

    @cached_property
    def expression(self) -> "AnnData":
        """Expression that the fit predicts."""
        raise self._absent("expression")

    @cached_property
    def perturbations(self) -> Compared:
        """The tested conditions: what the fit predicts beside what was measured."""
        raise self._absent("perturbations")

    def options(self, family: str, defaults: Options) -> Options:
        """Options of a family (`metric_options` of the evaluation); `defaults` is its dataclass with the defaults."""
        given = self.given_options.get(family, {})
        return replace(defaults, **{key: tuple(v) if isinstance(v, list) else v for key, v in given.items()})

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once."""
        if name not in self._made:
            self._made[name] = make()
        found: Made = self._made[name]
        return found

    def column(self, role: str) -> Categorical:
        """The column of obs that the evaluation names as `batch`, `order` or `organism`, of the cells of `truths`."""
        raise self._absent(role)

    def sums(self, family: str, make: "Callable[[Evidence], SumsOfFamily]") -> "SumsOfFamily":
        """What the `unit_sums` of a family give, made once: metric -> part -> (units,)."""
        if family not in self._sums:
            self._sums[family] = make(self)
        return self._sums[family]

    def _absent(self, name: str) -> ValueError:
        return ValueError(f"evidence '{name}' is not there, only {', '.join(sorted(self.has))}; name it in `needs`")


class FitEvidence(Evidence):
    """What a fit left behind, read from its files.

    Parameters
    ----------
    folder
        Folder of the fit.
    run
        Its record; `run.outputs` says which files there are.
    truths
        All test cells of the split.
    ontology
        Relates the labels.
    bins
        Number of confidence bins.
    min_units
        Donors or studies from which on they are resampled instead of cells; None where nothing is resampled.
    decoding, decoding_options
        How labels are chosen, and options of the decoding that differ from its defaults.
    allowed
        Types that can be there, for a decoding that asks.
    obs
        Observations of the dataset; None where no family looks at its columns.
    columns
        Which of them are the batch, the order and the organism.
    cells
        The cells of a dataset that declares perturbations, or whose cells are clustered; None where nothing looks at
        them.
    options
        Family -> its options that differ from the defaults.
    seed
        Of the fit.
    """

    def __init__(
        self,
        folder: Path,
        run: RunRecord,
        truths: Truths,
        ontology: Ontology,
        *,
        bins: int,
        min_units: int | None = None,
        decoding: str = ARGMAX,
        decoding_options: Params | None = None,
        allowed: Sequence[str] | None = None,
        obs: Path | None = None,
        columns: ColumnSettings | None = None,
        cells: Path | None = None,
        options: Mapping[str, Mapping[str, object]] | None = None,
        seed: int = 0,
    ) -> None:
        self._cells = cells
        self.given_options, self.seed, self._made = options or {}, seed, {}
        self._obs, there = obs, column_names(obs) if obs else []
        named = asdict(columns or ColumnSettings())
        self._cluster_column: str = named.pop("clusters")
        self._columns = {role: column for role, column in named.items() if column in there}
        self._folder, self.ontology, self._min_units = folder, ontology, min_units
        self._decoding, self._decoding_options, self._allowed = decoding, decoding_options, allowed
        self.run, self.bins, self.tested, self.unknown = run, bins, len(truths.known), truths.unknown
        self.truths = truths.of(np.flatnonzero(truths.known))
        self._sums = {}
        self.has = frozenset(self._there())

    def _there(self) -> Iterator[str]:
        yield "run"
        yield from self._columns
        if self.run.ok:
            yield from (name for name in ("embedding", "expression") if self.run.has(name))
            if self._cells is not None and self.run.has("expression"):
                yield "perturbations"
            if len(self.truths.known):  # a query may have no labels at all
                yield "labels"
                if self.run.has("predictions"):
                    yield "predictions"
                    # confidence rules are compared on the labels that the method itself gives, not on decoded ones
                    if self.run.has("decisions") and self._decoding == ARGMAX:
                        yield "decisions"
                        if self.run.has("probabilities"):
                            yield "temperature"

    @cached_property
    def units(self) -> Units:
        """The unit of every tested cell with a known label."""
        if self._min_units is None:
            return Units.one(len(self.truths.known))
        return resampling_units(self.truths, self._min_units)

    @cached_property
    def scored(self) -> Scored:
        """Tested cells with a known label, beside the predictions."""
        return read_scored(
            self._folder,
            self.run,
            self.truths,
            self.ontology,
            bins=self.bins,
            decoding=self._decoding,
            options=self._decoding_options,
            clusters=self._clusters,
            allowed=self._allowed,
        )

    def _clusters(self, ids: "pa.Array") -> Categorical:
        """Clusters of some cells of the dataset: a column of obs, or Leiden clusters of their expression."""
        name = self._cluster_column
        if self._obs is None or (name != LEIDEN and name not in column_names(self._obs)):
            raise PredictionError(
                f"the decoding clusters needs clusters of the cells, and {self._obs} has no column '{name}': name one "
                "in columns.clusters of the evaluation (cells.columns of the dataset keeps further ones), or leiden"
            )
        wanted = [] if name == LEIDEN else [name]
        obs = read_columns(self._obs, ["cell_id", *wanted], categorical=wanted, texts=["cell_id"])
        rows = positions(ids, obs["cell_id"])
        if name != LEIDEN:
            found: Categorical = obs[name]
            return found[rows]
        if self._cells is None:
            raise PredictionError("the decoding clusters needs the cells for columns.clusters: leiden")
        from annobench.cells.expression import log_normalised
        from annobench.cells.leiden import cell_clusters
        from annobench.cells.stored_cells import read_cells

        codes = cell_clusters(log_normalised(read_cells(self._cells, rows)), seed=self.seed)
        return Categorical(codes, [str(i) for i in range(int(codes.max(initial=-1)) + 1)])

    @cached_property
    def temperature(self) -> float | None:
        """What calibrates the probabilities; None where the fit had no validation cells."""
        return read_temperature(self._folder / "decisions.npz")

    @cached_property
    def rules(self) -> Rules:
        """Every confidence rule on the tested cells with decision values."""
        return Rules(*compared_rules(self.decided, self.scored, self.truths))

    @cached_property
    def decided(self) -> Decisions:
        """Decision values of tested, validation and unrelated cells."""
        return read_decisions(self._folder / "decisions.npz")

    @cached_property
    def embedding(self) -> "NDArray[np.float32]":
        """Where the fit places the cells of `truths`, (n, dimensions). Raises DataError where it lacks one."""
        path = self._folder / "embedding.npz"
        stored = read_embedding(path)
        rows = positions(self.truths.ids, to_arrow(stored.cell_ids))
        if (rows < 0).any():
            raise DataError(
                f"{path}: {int((rows < 0).sum())} test cells are not embedded; fit again with --forcerun "
                f"{self._folder}/run.json"
            )
        return np.asarray(stored.values[rows], dtype=np.float32)

    @cached_property
    def expression(self) -> "AnnData":
        """Expression that the fit predicts, read into memory."""
        from anndata import read_h5ad

        return read_h5ad(self._folder / "expression.h5ad")

    @cached_property
    def perturbations(self) -> Compared:
        """The tested conditions: what the fit predicts beside what was measured."""
        if self._cells is None or self._obs is None:
            raise self._absent("perturbations")
        ids = self.truths.ids.to_numpy(zero_copy_only=False)
        return compare(self.expression, self._cells, self._obs, self.truths.places, ids)

    def column(self, role: str) -> Categorical:
        """The column of obs that the evaluation names as `batch`, `order` or `organism`, of the cells of `truths`."""
        if self._obs is None or role not in self._columns:
            raise self._absent(role)
        name = self._columns[role]
        rows = np.zeros(self.truths.cells, dtype=bool)
        rows[self.truths.places] = True
        return read_columns(self._obs, [name], categorical=[name], rows=rows)[name]
