"""The older release that `new_since` names: which datasets it had, and which new ones are its own again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annobench.core.parquet import Categorical
from annobench.data.census.filters import Filters
from annobench.data.census.release import Release, Report, opened_release
from annobench.data.census.republished import compare, is_republished
from annobench.data.census.rows import read_donors, read_hashes

CELL = "observation_joinid"  # of the cell's own name: the same in every release and dataset that has the column


@dataclass
class Older:
    """What is remembered of it. where: for messages; datasets: rows of its table by id; donors: of each dataset."""

    where: str
    build_date: str | None
    datasets: dict[str, dict[str, Any]]
    donors: dict[str, set[str]]
    knows_cells: bool
    place: dict[str, Any]

    @classmethod
    def read(cls, release: Release, place: dict[str, Any], report: Report) -> "Older":
        """Its datasets and their donors. place: how to open it again."""
        datasets = {str(row["dataset_id"]): row for row in release.datasets()}
        report(f"{release.where}: reading the donors of {len(datasets)} datasets")
        donors = read_donors(release.obs)
        return cls(release.where, release.build_date, datasets, donors, CELL in release.obs.schema.names, place)

    def describe(self, datasets: Mapping[str, Any]) -> dict[str, Any]:
        """What the record says of the two releases: datasets that are gone, and new ones."""
        return {
            "release": self.place["release"],
            "build_date": self.build_date,
            "uri": self.where,
            "datasets": len(self.datasets),
            "vanished": sorted(set(self.datasets) - set(datasets)),
            "new": sorted(set(datasets) - set(self.datasets)),
        }

    def flagged(
        self,
        release: Release,
        datasets: Mapping[str, dict[str, Any]],
        obs: Mapping[str, Categorical],
        record: dict[str, Any],
        report: Report,
    ) -> Categorical:
        """`true` for every selected cell of a dataset that is held to be published again, else `false`.

        The matches, of whatever strength, go into `record`.
        """
        used = sorted(obs["dataset_id"].counts())
        donors = obs["dataset_id"].crosstab(obs["donor_id"])
        both = self.knows_cells and CELL in release.obs.schema.names
        shares = None
        if both:
            report(f"comparing the cells of {len(used)} new datasets with those of {self.where}")
            shares = self._shares_of_cells(release, used)
        new, old = [datasets[name] for name in used], list(self.datasets.values())
        matches = compare(new, old, donors, self.donors, shares)
        record["cells_compared"] = both
        record["matches"] = matches
        again = {name for name, found in matches.items() if any(map(is_republished, found))}
        record["republished"] = sorted(again)
        return obs["dataset_id"].renamed(lambda name: "true" if name in again else "false")

    def _shares_of_cells(self, release: Release, used: list[str]) -> dict[str, dict[str, float]]:
        """Which share of a new dataset's cells an older one has: by new dataset, by old one that has some."""
        new = read_hashes(release.obs, CELL, Filters({"dataset_id": used}))
        if not new:  # no chosen cell has a name
            return {}
        every = np.unique(np.concatenate(list(new.values())))
        with opened_release(**self.place) as older:
            old = read_hashes(older.obs, CELL, Filters({}), among=every)
        return {
            name: {other: share for other, theirs in old.items() if (share := float(np.isin(cells, theirs).mean()))}
            for name, cells in new.items()
        }
