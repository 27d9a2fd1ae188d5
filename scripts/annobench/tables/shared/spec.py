"""What tables need to know of a study: written by the rule into its params, read by its driver.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from annobench.config.contrasts import Contrast
from annobench.config.factors import MethodFactors
from annobench.config.split import BalanceSettings
from annobench.core.spec import Spec
from annobench.score.spec import RollupRule


@dataclass(frozen=True)
class ScoredSplit(Spec):
    """One split that is scored, and the settings of its evaluation that tables show or compare.

    Attributes
    ----------
    fitted
        The split whose fits are scored: its own name, but where one fit is scored on several sets of cells.
    part
        Release that a split of the regime `release` tests: `reference`, `query`; None for all other regimes.
    rollup
        Rule by which labels are rolled up.
    panel, training, balance
        Levels of the factors: gene panel, genes that train, name of the balancing.
    other_settings
        All other settings, as text: evaluations are compared where only a factor differs.
    label
        What people call the split among those of its evaluation.
    within_evaluation
        What tells the splits of one evaluation apart: `{"fold": 1}`.
    settings
        The regime with its settings.
    """

    dataset: str
    evaluation: str
    regime: str
    split: str
    fitted: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    part: str | None = None
    rollup: str | None = None
    panel: str | None = None
    training: str = "panel"
    balance: str = "none"
    other_settings: str = ""
    label: str = ""
    within_evaluation: Mapping[str, int | float | str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str]:
        """Dataset, evaluation and regime."""
        return (self.dataset, self.evaluation, self.regime)


@dataclass(frozen=True)
class StudyMethod(Spec):
    """A method of the study: `kind` is method, control or decoding; `fitted` the method whose fits it reads.

    `factors` says what it is made of; those of a control, or of a decoding, say nothing.
    """

    label: str
    kind: str
    fitted: str
    decoding: str = "argmax"
    factors: MethodFactors = field(default_factory=MethodFactors)


@dataclass(frozen=True)
class Scoring(Spec):
    """How methods are ranked.

    Attributes
    ----------
    primary
        The metric that ranks.
    metrics
        Metrics that are shown with it.
    baselines
        Methods that all others are held against.
    """

    primary: str
    metrics: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """All metrics with intervals."""
        return self.metrics if self.primary in self.metrics else (self.primary, *self.metrics)


@dataclass(frozen=True)
class Statistics(Spec):
    """Coverage of intervals, replicates of the bootstrap, and the donors or studies that it needs at least."""

    confidence: float
    replicates: int
    min_units: int = 4


@dataclass(frozen=True)
class PublishedColumn(Spec):
    """What of the study is compared with a column of a published table."""

    method: str
    evaluation: str


@dataclass(frozen=True)
class PublishedTable(Spec):
    """A published table: its path in the repository, and what of the study is compared with it.

    `dataset` and `evaluation` name the audit whose verdicts are shown.
    """

    table: str
    dataset: str
    evaluation: str
    columns: Mapping[str, PublishedColumn]


@dataclass(frozen=True)
class TablesSpec(Spec):
    """Everything that the tables of a study depend on, apart from files under results/.

    Attributes
    ----------
    study
        Name of the study.
    splits
        The scored splits, in the order of the study.
    methods
        All methods by name, controls and decodings included.
    scoring, statistics
        How methods are ranked, and how intervals and tests are made.
    contrasts
        Pairs of methods to set out.
    merge
        The rule by which the factor `merging` merges labels.
    published
        The published table that results are compared with.
    published_values
        Files of published values that figures draw, as paths in the repository.
    """

    study: str
    splits: tuple[ScoredSplit, ...]
    methods: Mapping[str, StudyMethod]
    scoring: Scoring
    statistics: Statistics
    contrasts: tuple[Contrast, ...] = ()
    merge: RollupRule | None = None
    published: PublishedTable | None = None
    published_values: tuple[str, ...] = ()

    @property
    def evaluations(self) -> list[tuple[str, str, str]]:
        """Dataset, evaluation and regime of every evaluation, in the order of the study."""
        return list(dict.fromkeys(split.place for split in self.splits))

    @property
    def method_names(self) -> list[str]:
        """Methods that are compared: without controls and decodings."""
        return [name for name, method in self.methods.items() if method.kind == "method"]

    @property
    def factors(self) -> dict[str, MethodFactors]:
        """Methods that are compared as levels of factors, in the order of the study."""
        order = dict.fromkeys(name for split in self.splits for name in split.methods)
        compared = self.method_names
        names = [*(name for name in order if name in compared), *(name for name in compared if name not in order)]
        return {name: self.methods[name].factors for name in names}


def balance_name(settings: BalanceSettings) -> str:
    """`none`, or how the cap is shared and what it is; the published inexact rule is named."""
    if settings.policy == "none":
        return "none"
    name = settings.share if settings.policy == "cap" else f"{settings.policy} {settings.share}"
    return f"{name} {settings.max_cells}{', target' if settings.target_proportions else ''}"
