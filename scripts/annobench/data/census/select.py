"""Which cells and genes of a release make a dataset: one job, which reads no counts.

Order: rows that pass the filters and belong to the wanted datasets, less the cells that are excluded, less the types
that the corpus rules drop, less what `max_cells` leaves out.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import sha256_of, write_json
from annobench.core.parquet import Categorical, write_columns
from annobench.core.progress import Report, silent
from annobench.data.census.corpus import CorpusRules, kept_types
from annobench.data.census.exclude import excluded_ids
from annobench.data.census.filters import Filters
from annobench.data.census.genes import wanted_genes
from annobench.data.census.older import Older
from annobench.data.census.release import Place, Release, is_remote, with_patience
from annobench.data.census.rows import ID, joined, occurring, read_cells, value_counts
from annobench.data.census.spec import CensusSpec, CorpusSpec, SelectionFiles
from annobench.data.spec import Step
from annobench.ontology import Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDED = ("dataset_id", "donor_id", "cell_type", "cell_type_ontology_term_id")
USUAL = ("assay", "disease", "tissue", "tissue_general", "development_stage", "sex", "suspension_type")
SAMPLE, REPUBLISHED = "tech_sample", "republished"


def select_cells(
    source: CensusSpec,
    outputs: SelectionFiles,
    *,
    uri: str | None,
    older_uri: str | None,
    ontology: Ontology | None,
    report: Report = silent,
) -> None:
    """Choose the cells and genes of a dataset, and write the record last.

    Parameters
    ----------
    source
        The source of a dataset of kind census.
    outputs
        `cells` gets soma_joinid, ascending, and columns of obs.
    uri, older_uri
        Where the release and the one of `new_since` lie; None for the Census's own.
    ontology
        For the corpus rules; None without them.
    report
        Says one line of progress.

    Raises
    ------
    DataError
        Where the release does not have what is asked for, or no cell is left.
    DownloadError
        Where a release cannot be read.
    """
    place = Place(source.release, uri, source.organism, source.tiledb)

    def read() -> None:
        older = None
        if source.new_since:
            old_place = replace(place, release=source.new_since, uri=older_uri)
            with old_place.opened() as old:
                older = Older.read(old, old_place, report)
        with place.opened() as release:
            _Selection(source, release, older, ontology, report).write(outputs)

    # what lies here is read without patience only if the older release lies here as well
    far = older_uri if source.new_since and is_remote(older_uri) else uri
    with_patience(read, uri=far, report=report)


class _Selection:
    """The cells of one release that are left, step by step, and what the record says of every step."""

    def __init__(
        self, source: CensusSpec, release: Release, older: Older | None, ontology: Ontology | None, report: Report
    ) -> None:
        self._source, self._release, self._older = source, release, older
        self._ontology, self._report = ontology, report
        self._datasets = {str(row["dataset_id"]): row for row in release.datasets()}
        self._dropped: dict[str, int] = {}
        self._record: Step = {}
        self._read()

    def _read(self) -> None:
        """Take the cells that pass the filters."""
        source, release = self._source, self._release
        schema = release.obs.schema
        filters = Filters.read(source.filters).checked(schema, release.where)
        columns = [c for c in dict.fromkeys((*NEEDED, *USUAL, *source.obs)) if c in schema.names and c != ID]
        if missing := {*NEEDED, *source.obs} - {*columns, ID}:
            raise DataError(f"source.obs: the cells of {release.where} have no column '{sorted(missing)[0]}'")
        self._report(f"{release.where}: reading the annotations of {release.obs.count:,} cells")
        of_datasets = _of_datasets(filters, set(self._datasets), self._older, release.where)
        said = _every(10_000_000, self._report)
        self._joinids, self._obs = read_cells(release.obs, columns, of_datasets, report=said)
        if not len(self._joinids):
            raise _nothing_passes(filters, release, self._older)
        self._passed = len(self._joinids)
        self._record |= {
            "release": source.release,
            "build_date": release.build_date,
            "uri": release.where,
            "organism": source.organism,
            "filters": {column: list(values) for column, values in filters.columns.items()},
            "cells_in_release": int(release.obs.count),
            "cells_after_filters": self._passed,
            "values_of_no_cell": _absent(filters, self._obs),
        }
        self._obs[SAMPLE] = joined([self._obs["dataset_id"], self._obs["donor_id"]], "_")

    def _keep(self, kept: "NDArray[np.bool_] | NDArray[np.intp]", reason: str) -> None:
        """Keep some of the cells (a mask, or rising positions) and count the others as dropped."""
        before = len(self._joinids)
        self._joinids = self._joinids[kept]
        self._obs = {name: column[kept] for name, column in self._obs.items()}
        self._dropped[reason] = before - len(self._joinids)

    def _drop(self) -> None:
        """Drop what `exclude`, `corpus` and `max_cells` leave out, one after the other."""
        source = self._source
        if source.exclude:
            listed, self._record["exclude"] = excluded_ids(source.exclude, self._report)
            kept = ~np.isin(self._joinids, listed)
            if kept.all():
                self._report(
                    f"source.exclude: none of the {len(listed):,} listed cells is among those that pass the filters"
                )
            self._keep(kept, "excluded")
        if source.corpus.root is not None:
            kept, self._record["corpus"] = _corpus(source.corpus, source.corpus.root, self._obs, self._ontology)
            self._keep(kept, "corpus")
        if not len(self._joinids):
            raise DataError(
                f"source: no cell of {self._release.where} is left after {self._dropped} were dropped of "
                f"{self._passed:,}; relax `exclude` or `corpus`"
            )
        most, cells = source.max_cells, len(self._joinids)
        if most is not None and most < cells:
            rng = np.random.default_rng(source.seed)
            self._keep(np.sort(rng.choice(cells, most, replace=False, shuffle=False)), "max_cells")
        if len(self._joinids) < source.chunks:
            raise DataError(
                f"source.chunks: {source.chunks}, but only {len(self._joinids)} cells were selected; set it to fewer"
            )

    def write(self, outputs: SelectionFiles) -> None:
        """Drop cells, choose genes, and write all files."""
        self._drop()
        obs, source = self._obs, self._source
        if self._older is not None:
            obs[REPUBLISHED], matches = self._older.flagged(self._release, self._datasets, obs, self._report)
            self._record["new_since"] = self._older.describe(self._datasets) | matches
        used = sorted(obs["dataset_id"].counts())
        numbers = [int(self._datasets[name][ID]) for name in used]
        zeros = source.missing_genes == "zero"
        genes, about_genes = wanted_genes(self._release, source.genes, numbers, zeros=zeros)
        write_columns(outputs.cells, {ID: self._joinids, **obs})
        write_columns(outputs.genes, genes)
        self._record |= {
            "dropped": self._dropped,
            "genes": about_genes,
            "cells": len(self._joinids),
            "chunks": source.chunks,
            "types": len(obs["cell_type_ontology_term_id"].counts()),
            "donors": len(obs[SAMPLE].counts()),
            "datasets": obs["dataset_id"].counts(),
            "datasets_sha256": digest(used),
            "sha256": {"cells": sha256_of(outputs.cells), "genes": sha256_of(outputs.genes)},
            "selected": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(outputs.record, self._record)
        self._report(f"{len(self._joinids):,} cells of {len(used)} datasets, {len(genes['feature_id']):,} genes")


def digest(names: Sequence[str]) -> str:
    """SHA-256 of some dataset ids: sorted, one per line."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def _every(cells: int, report: Report) -> Callable[[int], None]:
    """Reports how many cells pass the filters, each time that `cells` more have been read."""
    following = cells

    def heard(passed: int) -> None:
        nonlocal following
        if passed >= following:
            following = passed + cells
            report(f"{passed:,} cells pass the filters so far")

    return heard


def _of_datasets(filters: Filters, datasets: set[str], older: Older | None, where: str) -> Filters:
    """The filters with the datasets that are new since an older release; refuses ids that the release does not have."""
    named = filters.columns.get("dataset_id")
    if gone := sorted(set(map(str, named or ())) - datasets):
        known = " (the older release had it)" if older and gone[0] in older.datasets else ""
        raise DataError(
            f"source.filters.dataset_id: {where} has no dataset {gone[0]}{known}, nor {len(gone) - 1} others that are "
            "named; datasets come and go between releases, and may be published again under another id"
        )
    if older is None:
        return filters
    new = datasets - set(older.datasets)
    wanted = sorted(new if named is None else new & set(map(str, named)))
    if not wanted:
        raise DataError(f"source.new_since: {where} has no dataset that {older.where} lacks; compare other releases")
    return Filters({**filters.columns, "dataset_id": wanted})


def _nothing_passes(filters: Filters, release: Release, older: Older | None) -> DataError:
    lines = [
        f"  {column}: {occurring(values, value_counts(release.obs, column))}"
        for column, values in filters.columns.items()
    ]
    new = f" among the datasets that are new since {older.where}" if older else ""
    return DataError(
        f"source.filters: no cell of {release.where} passes all of them{new}; cells with each value:\n"
        + "\n".join(lines)
    )


def _absent(filters: Filters, obs: Mapping[str, Categorical]) -> dict[str, list[str]]:
    """Values of the filters that no selected cell has, by column."""
    absent = {}
    for column, values in filters.columns.items():
        asked = {str(value).lower() if isinstance(value, bool) else str(value) for value in values}
        if column in obs and (rest := sorted(asked - set(obs[column].counts()))):
            absent[column] = rest
    return absent


def _corpus(
    corpus: CorpusSpec, root: str, obs: Mapping[str, Categorical], ontology: Ontology | None
) -> "tuple[NDArray[np.bool_], Step]":
    """Which cells are of a type that the corpus keeps, and what the record says of the types."""
    assert ontology is not None  # the job reads one wherever there are rules
    rules = CorpusRules(root, corpus.min_cells, corpus.min_donors, corpus.min_ancestors)
    kept, types = kept_types(obs["cell_type_ontology_term_id"], obs[SAMPLE], ontology, rules)
    broken: Counter[str] = Counter()
    for row in types:
        broken.update(dict.fromkeys(row["breaks"], row["cells"]))
    return kept, {
        **asdict(rules),
        "ontology": ontology.release,
        "types_kept": sum(not row["breaks"] for row in types),
        "cells_by_broken_rule": dict(broken),  # a cell of a type that breaks two rules counts in both
        "types": types,
    }
