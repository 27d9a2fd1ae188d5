"""What travels from the rules `score_fit` and `audit_evaluation` to their drivers.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from annobench.config.results import Fit, Results
from annobench.config.split import ColumnSettings
from annobench.core.spec import Params, Spec


@dataclass(frozen=True, kw_only=True)
class RollupRule(Spec):
    """A file of config/rollups.

    Parameters
    ----------
    targets
        Target (Cell Ontology id) -> the roots below which labels belong to it.
    others
        What becomes of labels below no root: `keep` or `unknown`.
    """

    targets: Mapping[str, tuple[str, ...]]
    others: str


@dataclass(frozen=True, kw_only=True)
class ViewSpec(Spec):
    """One set of test cells that a fit is scored on.

    Parameters
    ----------
    split
        Split whose test cells are scored.
    part
        Of a release `reference` or `query`; else None.
    methods
        Method, as tables name it -> which decoding of the fit it is.
    families
        Metric families to compute; None for all whose needs are met.
    options
        Family -> its options that differ from the defaults.
    columns
        Columns of obs that families of embeddings look at.
    """

    split: str
    part: str | None = None
    methods: Mapping[str, str]
    families: tuple[str, ...] | None = None
    options: Mapping[str, Params] = field(default_factory=dict)
    columns: ColumnSettings = field(default_factory=ColumnSettings)


@dataclass(frozen=True, kw_only=True)
class ScoreSpec(Spec):
    """How a fit is scored.

    Parameters
    ----------
    dataset, seed
        Of the fit.
    views
        As what it is scored.
    unknown_truth
        `drop` leaves test cells of unknown type out, `error` stops the scoring.
    bins
        Number of confidence bins.
    min_units
        Donors or studies from which on they are resampled instead of cells.
    rollup
        Rule that true and predicted labels are rolled up by.
    merge
        Rule by which confidence rules are also compared after merging.
    decoding_options
        Decoding -> its options that differ from the defaults.
    allowed
        Types that can be there, for a decoding that asks; None for no list.
    """

    dataset: str
    seed: int
    views: tuple[ViewSpec, ...]
    unknown_truth: str = "drop"
    bins: int = 15
    min_units: int = 4
    rollup: RollupRule | None = None
    merge: RollupRule | None = None
    decoding_options: Mapping[str, Params] = field(default_factory=dict)
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class AuditedSplit(Spec):
    """One split of an evaluation that is audited.

    Parameters
    ----------
    split, fitted
        The split whose cells are looked at, and the one whose fits are scored on them.
    seeds, methods
        What was planned; controls and decodings are not among the methods.
    panel
        File of the gene panel; None where all genes are measured.
    """

    split: str
    fitted: str
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    panel: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditSpec(Spec):
    """How an evaluation is audited.

    Parameters
    ----------
    dataset
        The dataset that is evaluated.
    splits
        Its splits.
    bins
        Number of confidence bins.
    rollup, merge
        Rules that labels are rolled up by, and that the control `merged` merges by (None for the tree of classes).
    unrelated
        Cells of an unrelated tissue, a file.
    markers
        Table of marker genes, a path in the repository.
    orthologues
        File of one-to-one pairs by which markers are carried over to cells of another organism.
    families
        Metric families to compute; None for all whose needs are met.
    options
        Family -> its options that differ from the defaults.
    columns
        Columns of obs that families of embeddings look at.
    min_units, level
        Donors or studies from which on they are resampled instead of cells, and coverage of the intervals of margins.
    primary
        The metric that ranks.
    """

    dataset: str
    splits: tuple[AuditedSplit, ...]
    bins: int = 15
    min_units: int = 4
    level: float = 0.95
    primary: str = "macro_f1"
    rollup: RollupRule | None = None
    merge: RollupRule | None = None
    unrelated: str | None = None
    markers: str | None = None
    orthologues: str | None = None
    families: tuple[str, ...] | None = None
    options: Mapping[str, Params] = field(default_factory=dict)
    columns: ColumnSettings = field(default_factory=ColumnSettings)


@dataclass(frozen=True, kw_only=True)
class AuditedFits:
    """One split and seed with the files that are there.

    Parameters
    ----------
    split, seed
        Which it is.
    roles, train
        Tables of the roles of the cells and of the training cells.
    panel
        File of the gene panel; None where all genes are measured.
    fits
        Method -> folder of its fit.
    """

    split: str
    seed: int
    roles: Path
    train: Path
    panel: Path | None
    fits: Mapping[str, Path]


def audited_fits(spec: AuditSpec, results: Results) -> list[AuditedFits]:
    """The splits and seeds of an audit whose files are there; a partial study lacks some."""
    there = []
    for split in spec.splits:
        for seed in split.seeds:
            roles = Path(results.roles(spec.dataset, split.split, seed))
            train = Path(results.train(spec.dataset, split.fitted, seed))
            fits = {method: Fit(spec.dataset, split.fitted, method, seed) for method in split.methods}
            folders = {m: Path(results.fit(fit)) for m, fit in fits.items() if Path(results.run(fit)).is_file()}
            if roles.is_file() and train.is_file():
                panel = Path(split.panel) if split.panel else None
                there.append(
                    AuditedFits(split=split.split, seed=seed, roles=roles, train=train, panel=panel, fits=folders)
                )
    return there
