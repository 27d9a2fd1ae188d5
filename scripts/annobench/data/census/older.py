"""The older release that `new_since` names: its datasets, and which new datasets republish them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from annobench.core.parquet import Categorical
from annobench.core.progress import Report
from annobench.data.census.filters import Filters
from annobench.data.census.release import DatasetRow, Place, Release
from annobench.data.census.republished import compare, is_republished
from annobench.data.census.rows import read_donors, read_hashes
from annobench.data.spec import Step

CELL = "observation_joinid"  # a hash of the cell's own name: the same in every release and dataset that has it


@dataclass
class Older:
    """What is remembered of an older release once it is closed.

    Attributes
    ----------
    where, build_date
        As those of the open release.
    datasets
        Rows of its table of datasets, by id.
    donors
        Donors of each dataset.
    knows_cells
        Whether its cells have names that other releases share (`observation_joinid`).
    place
        How to open it again.
    """

    where: str
    build_date: str | None
    datasets: dict[str, DatasetRow]
    donors: dict[str, set[str]]
    knows_cells: bool
    place: Place

    @classmethod
    def read(cls, release: Release, place: Place, report: Report) -> "Older":
        """Read the datasets of an open release and their donors."""
        datasets = {str(row["dataset_id"]): row for row in release.datasets()}
        report(f"{release.where}: reading the donors of {len(datasets)} datasets")
        donors = read_donors(release.obs)
        return cls(release.where, release.build_date, datasets, donors, CELL in release.obs.schema.names, place)

    def describe(self, datasets: Mapping[str, DatasetRow]) -> Step:
        """What the record says of the two releases: which datasets are gone, and which are new."""
        return {
            "release": self.place.release,
            "build_date": self.build_date,
            "uri": self.where,
            "datasets": len(self.datasets),
            "vanished": sorted(set(self.datasets) - set(datasets)),
            "new": sorted(set(datasets) - set(self.datasets)),
        }

    def flagged(
        self,
        release: Release,
        datasets: Mapping[str, DatasetRow],
        obs: Mapping[str, Categorical],
        report: Report,
    ) -> tuple[Categorical, Step]:
        """`true` for every selected cell of a dataset that counts as republished, else `false`; and all matches."""
        used = sorted(obs["dataset_id"].counts())
        donors = obs["dataset_id"].crosstab(obs["donor_id"])
        both = self.knows_cells and CELL in release.obs.schema.names
        shares = None
        if both:
            report(f"comparing the cells of {len(used)} new datasets with the cells of {self.where}")
            shares = self._shares_of_cells(release, used)
        new, old = [datasets[name] for name in used], list(self.datasets.values())
        matches = compare(new, old, donors, self.donors, shares)
        again = {name for name, of_dataset in matches.items() if any(map(is_republished, of_dataset))}
        flags = obs["dataset_id"].renamed(lambda name: "true" if name in again else "false")
        return flags, {"cells_compared": both, "matches": matches, "republished": sorted(again)}

    def _shares_of_cells(self, release: Release, used: list[str]) -> dict[str, dict[str, float]]:
        """Share of a new dataset's cells that an older one has: by new dataset, then by older one that has some."""
        new = read_hashes(release.obs, CELL, Filters({"dataset_id": used}))
        if not new:  # no chosen cell has a name
            return {}
        every = np.unique(np.concatenate(list(new.values())))
        with self.place.opened() as older:
            old = read_hashes(older.obs, CELL, Filters({}), among=every)
        return {
            name: {other: share for other, theirs in old.items() if (share := float(np.isin(cells, theirs).mean()))}
            for name, cells in new.items()
        }
