"""A split of a study, resolved: who is tested, on which genes, by which methods.

Imported by the steps that read settings of a split: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from annobench.config.regimes import Regime
from annobench.core.spec import Params, Spec


@dataclass(frozen=True)
class GeneSettings(Spec):
    """Which genes are seen (key `genes` of an evaluation).

    Attributes
    ----------
    panel
        Gene panel that the cells to annotate are measured on; None where all genes are measured.
    training
        `panel` trains on the measured genes, `all` on all genes of the reference.
    """

    panel: str | None = None
    training: str = "panel"


@dataclass(frozen=True)
class BalanceSettings(Spec):
    """Which training cells are used (key `balance` of an evaluation).

    Attributes
    ----------
    policy
        `none`, `cap` or `spatialcore`.
    max_cells
        Cap per class; 0 for the policy `none`, which has none.
    min_cells
        Classes with fewer training cells are left out.
    share
        How the cap is shared over the studies of a class: `proportional`, `equal` or `fill`.
    min_per_source
        Cells of a class that every study which has them keeps.
    target_proportions
        Class (id, or name in the dataset) -> its share of the whole selection.
    """

    policy: str = "none"
    max_cells: int = 0
    min_cells: int = 1
    share: str = "proportional"
    min_per_source: int = 0
    target_proportions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnSettings(Spec):
    """Columns of obs that scoring looks at (key `columns` of an evaluation).

    Attributes
    ----------
    batch
        What an integrated embedding should not show.
    order
        Position of a cell in time or along a trajectory.
    organism
        Organism, for embeddings of several.
    clusters
        Clusters within which the decoding `clusters` takes the majority; `leiden` makes them.
    groups
        Columns within whose values labels are scored as well, such as assay; the table `groups` holds the results.
    """

    batch: str = "batch"
    order: str = "order"
    organism: str = "organism"
    clusters: str = "cluster"
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Split:
    """One assignment of roles to the cells of a dataset: a fold, a label fraction or a held-out family.

    Attributes
    ----------
    dataset, name
        Name the split, and its files.
    evaluation
        The entry of the study that the split belongs to. Splits of one entry are averaged, others never.
    fitted
        The split whose fits are scored here: its own name, unless one fit is scored on several sets of cells.
    scored
        Whether it is scored, or only fitted for splits that name it.
    seeds, methods
        What is run. Methods may be decodings of others (`mlp_hce.leaf`).
    genes, balance, rollup, columns
        Switches of the evaluation.
    metric_families
        Metric families that are scored; None for all whose needs are met.
    metric_options
        Family -> its options that differ from the defaults.
    settings
        The regime, with what it needs to know of this split, such as `fold` and `folds`.
    """

    dataset: str
    name: str
    evaluation: str
    fitted: str
    scored: bool
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    genes: GeneSettings
    balance: BalanceSettings = field(hash=False)
    rollup: str | None
    columns: ColumnSettings
    metric_families: tuple[str, ...] | None
    metric_options: Mapping[str, Params] = field(hash=False)
    settings: Regime = field(hash=False)

    @property
    def regime(self) -> str:
        """Kind of evaluation."""
        return self.settings.regime

    @property
    def evaluation_label(self) -> str:
        """What people call the evaluation: by its regime and switches, or by the name that the study gives it."""
        if self.evaluation.startswith(self.regime):
            return type(self.settings).evaluation_label(self.evaluation)
        return self.evaluation.replace("_", " ")

    @property
    def part(self) -> str | None:
        """Release whose cells are tested, `reference` or `query`; None for regimes that tell none apart."""
        return getattr(self.settings, "part", None)

    @property
    def trains(self) -> bool:
        """Whether any cell trains."""
        return self.settings.TRAINS

    def within_evaluation(self) -> dict[str, int | float | str]:
        """What tells this split from the others of its evaluation: `{"fold": 1}`."""
        return {name: getattr(self.settings, name) for name in self.settings.COLUMNS}

    def other_settings(self) -> str:
        """What the splits of its evaluation have in common beside genes and balance, as text.

        Evaluations are compared where it is the same.
        """
        left_out = {"regime", *self.settings.VARIES}
        shared = {key: value for key, value in self.settings.to_params().items() if key not in left_out}
        return str(dict(sorted((shared | {"rollup": self.rollup}).items())))
