"""Which cells and genes of a release make a dataset: one job, which reads no counts.

Order: rows that pass the filters and belong to the wanted datasets, less the cells that are excluded, less the types
that the corpus rules drop, less what `max_cells` leaves out.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annobench.core.errors import DataError
from annobench.core.files import sha256_of, write_json
from annobench.core.parquet import Categorical, write_columns
from annobench.data.census.corpus import CorpusRules, kept_types
from annobench.data.census.exclude import excluded_ids
from annobench.data.census.filters import Filters
from annobench.data.census.genes import wanted_genes
from annobench.data.census.older import Older
from annobench.data.census.release import Release, Report, is_remote, opened_release, with_patience
from annobench.data.census.rows import ID, joined, occurring, read_cells, value_counts
from annobench.ontology import Ontology

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDED = ("dataset_id", "donor_id", "cell_type", "cell_type_ontology_term_id")
USUAL = ("assay", "disease", "tissue", "tissue_general", "development_stage", "sex", "suspension_type")
SAMPLE, REPUBLISHED = "tech_sample", "republished"


def select_cells(
    source: Mapping[str, Any],
    outputs: Mapping[str, Path],
    *,
    uri: str | None,
    older_uri: str | None,
    ontology: Ontology | None,
    report: Report = lambda text: None,
) -> None:
    """Write the `cells` (parquet: soma_joinid ascending, columns of obs), the `genes`, and last the `record` (JSON).

    source: of a dataset of kind census. uri, older_uri: where the release and the one of `new_since` lie, None for the
    Census's own. ontology: for the corpus rules. Raises DataError or DownloadError.
    """
    place = {"organism": source["organism"], "tiledb": source["tiledb"]}
    old_place = {"release": source["new_since"], "uri": older_uri, **place}

    def read() -> None:
        older = None
        if source["new_since"]:
            with opened_release(**old_place) as old:
                older = Older.read(old, old_place, report)
        with opened_release(source["release"], uri, **place) as release:
            _select(source, outputs, release, older, ontology, report)

    # what lies here is read without patience only if the older release lies here as well
    far = older_uri if source["new_since"] and is_remote(older_uri) else uri
    with_patience(read, uri=far, report=report)


def _select(
    source: Mapping[str, Any],
    outputs: Mapping[str, Path],
    release: Release,
    older: Older | None,
    ontology: Ontology | None,
    report: Report,
) -> None:
    schema = release.obs.schema
    settings = Filters.read(source["filters"]).checked(schema, release.where)
    datasets = {str(row["dataset_id"]): row for row in release.datasets()}
    filters = _of_datasets(settings, set(datasets), older, release.where)
    columns = [c for c in dict.fromkeys((*NEEDED, *USUAL, *source["obs"])) if c in schema.names and c != ID]
    if missing := {*NEEDED, *source["obs"]} - {*columns, ID}:
        raise DataError(f"source.obs: the cells of {release.where} have no column '{sorted(missing)[0]}'")
    report(f"{release.where}: reading the annotations of {release.obs.count:,} cells")
    joinids, obs = read_cells(release.obs, columns, filters, report=_every(10_000_000, report))
    if not len(joinids):
        raise _nothing_passes(settings, release, older)
    record: dict[str, Any] = {
        "release": source["release"],
        "build_date": release.build_date,
        "uri": release.where,
        "organism": source["organism"],
        "filters": {column: list(values) for column, values in settings.columns.items()},
        "cells_in_release": int(release.obs.count),
        "cells_after_filters": len(joinids),
        "values_of_no_cell": _absent(settings, obs),
        "dropped": {},
    }
    obs[SAMPLE] = joined([obs["dataset_id"], obs["donor_id"]], "_")
    joinids, obs = _wanted(joinids, obs, source, ontology, record, report)
    if len(joinids) < source["chunks"]:
        raise DataError(
            f"source.chunks: {source['chunks']}, but only {len(joinids)} cells were selected; set it to fewer"
        )
    if older is not None:
        record["new_since"] = older.describe(datasets)
        obs[REPUBLISHED] = older.flagged(release, datasets, obs, record["new_since"], report)
    used = sorted(obs["dataset_id"].counts())
    genes, record["genes"] = wanted_genes(release, source, [int(datasets[name][ID]) for name in used])
    _write(joinids, obs, genes, outputs)
    record |= {
        "cells": len(joinids),
        "chunks": source["chunks"],
        "types": len(obs["cell_type_ontology_term_id"].counts()),
        "donors": len(obs[SAMPLE].counts()),
        "datasets": obs["dataset_id"].counts(),
        "datasets_sha256": digest(used),
        "sha256": {key: sha256_of(outputs[key]) for key in ("cells", "genes")},
        "selected": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(outputs["record"], record)
    report(f"{len(joinids):,} cells of {len(used)} datasets, {record['genes']['genes']:,} genes")


def digest(names: Sequence[str]) -> str:
    """A sha256 that stands for some dataset ids: of the sorted ids, a line each."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def _every(cells: int, report: Report) -> Any:
    """Says how many rows are read, each time that another so many are."""
    said = [cells]

    def heard(rows: int) -> None:
        if rows >= said[0]:
            said[0] = rows + cells
            report(f"{rows:,} cells pass the filters so far")

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
        f"source.filters: no cell of {release.where} passes all of them{new}; so many cells have each value:\n"
        + "\n".join(lines)
    )


def _absent(filters: Filters, obs: Mapping[str, Categorical]) -> dict[str, list[Any]]:
    """Values that are asked for and that no selected cell has."""
    found = {}
    for column, values in filters.columns.items():
        asked = {str(value).lower() if isinstance(value, bool) else str(value) for value in values}
        if column in obs and (absent := sorted(asked - set(obs[column].counts()))):
            found[column] = absent
    return found


def _taken(
    joinids: "NDArray[np.int64]", obs: Mapping[str, Categorical], kept: "NDArray[Any]"
) -> "tuple[NDArray[np.int64], dict[str, Categorical]]":
    return joinids[kept], {name: column[kept] for name, column in obs.items()}


def _wanted(
    joinids: "NDArray[np.int64]",
    obs: dict[str, Categorical],
    source: Mapping[str, Any],
    ontology: Ontology | None,
    record: dict[str, Any],
    report: Report,
) -> "tuple[NDArray[np.int64], dict[str, Categorical]]":
    """The cells that `exclude`, `corpus` and `max_cells` leave, one after the other; `record` says what was dropped."""
    if source["exclude"]:
        listed, record["exclude"] = excluded_ids(source["exclude"], report)
        kept = ~np.isin(joinids, listed)
        record["dropped"]["excluded"] = int((~kept).sum())
        if kept.all():
            report(f"source.exclude: none of the {len(listed):,} listed cells is among those that pass the filters")
        joinids, obs = _taken(joinids, obs, kept)
    if source["corpus"]["root"]:
        kept, record["corpus"] = _corpus(source["corpus"], obs, ontology)
        record["dropped"]["corpus"] = int((~kept).sum())
        joinids, obs = _taken(joinids, obs, kept)
    if not len(joinids):
        raise DataError(
            f"source: no cell of {record['uri']} is left after {record['dropped']} were dropped of "
            f"{record['cells_after_filters']:,}; relax `exclude` or `corpus`"
        )
    most = source["max_cells"]
    if most is None or most >= len(joinids):
        return joinids, obs
    record["dropped"]["max_cells"] = len(joinids) - most
    rng = np.random.default_rng(source["seed"])
    return _taken(joinids, obs, np.sort(rng.choice(len(joinids), most, replace=False, shuffle=False)))


def _corpus(
    settings: Mapping[str, Any], obs: Mapping[str, Categorical], ontology: Ontology | None
) -> "tuple[NDArray[np.bool_], dict[str, Any]]":
    assert ontology is not None  # the job reads one wherever there are rules
    names = ("root", "min_cells", "min_donors", "min_ancestors")
    rules = CorpusRules(**{name: settings[name] for name in names})
    kept, types = kept_types(obs["cell_type_ontology_term_id"], obs[SAMPLE], ontology, rules)
    broken: Counter[str] = Counter()
    for row in types:
        broken.update(dict.fromkeys(row["breaks"], row["cells"]))
    return kept, {
        **{name: settings[name] for name in names},
        "ontology": ontology.release,
        "types_kept": sum(not row["breaks"] for row in types),
        "cells_by_broken_rule": dict(broken),  # a cell of a type that breaks two rules counts in both
        "types": types,
    }


def _write(
    joinids: "NDArray[np.int64]", obs: Mapping[str, Categorical], genes: Mapping[str, Any], outputs: Mapping[str, Path]
) -> None:
    write_columns(outputs["cells"], {ID: joinids, **obs})
    write_columns(outputs["genes"], genes)
