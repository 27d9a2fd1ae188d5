"""The older release that `new_since` names: which datasets it had, and which new ones are its own again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annobench.columns import Coded
from annobench.sources.census.filters import Filters
from annobench.sources.census.release import Release, Report, opened_release
from annobench.sources.census.republished import compare, is_republished
from annobench.sources.census.rows import donors_of, read_cells
from annobench.store.ids import hashed

CELL = "observation_joinid"  # the same for the same cell in every release that has the column


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
        _, obs = read_cells(release.obs, ["dataset_id", "donor_id"], Filters({}))
        donors = donors_of(obs["dataset_id"], obs["donor_id"])
        return cls(release.where, release.build_date, datasets, donors, CELL in release.obs.schema.names, place)

    def describe(self, datasets: Mapping[str, Any]) -> dict[str, Any]:
        """What the record says of the two releases: datasets that are gone, and new ones."""
        return {
            "release": self.build_date,
            "uri": self.where,
            "datasets": len(self.datasets),
            "vanished": sorted(set(self.datasets) - set(datasets)),
            "new": sorted(set(datasets) - set(self.datasets)),
        }

    def flagged(
        self,
        release: Release,
        datasets: Mapping[str, dict[str, Any]],
        obs: Mapping[str, Coded],
        record: dict[str, Any],
        report: Report,
    ) -> Coded:
        """`true` for every selected cell of a dataset that is held to be published again, else `false`.

        The matches, of whatever strength, go into `record`.
        """
        used = sorted(obs["dataset_id"].counts())
        donors = donors_of(obs["dataset_id"], obs["donor_id"])
        matches = compare([datasets[name] for name in used], list(self.datasets.values()), donors, self.donors)
        both = self.knows_cells and CELL in release.obs.schema.names
        if both and matches:
            report(f"comparing the cells of {len(matches)} new datasets with those of {self.where}")
            self._compare_cells(release, matches)
        record["cells_compared"] = both
        record["matches"] = matches
        again = {name for name, found in matches.items() if any(map(is_republished, found))}
        record["republished"] = sorted(again)
        return obs["dataset_id"].renamed(lambda name: "true" if name in again else "false")

    def _compare_cells(self, release: Release, matches: Mapping[str, list[dict[str, Any]]]) -> None:
        """Fill in which share of a new dataset's cells an older one has."""
        new = _cells(release, sorted(matches))
        with opened_release(**self.place) as older:
            old = _cells(older, sorted({match["old_dataset"] for found in matches.values() for match in found}))
        for name, found in matches.items():
            for match in found:
                theirs = old.get(match["old_dataset"], np.empty(0, dtype=np.uint64))
                match["share_of_cells"] = round(float(np.isin(new[name], theirs).mean()), 4)


def _cells(release: Release, datasets: list[str]) -> dict[str, Any]:
    """The cells of some datasets, by a hash of the name that they keep."""
    _, obs = read_cells(release.obs, ["dataset_id", CELL], Filters({"dataset_id": datasets}))
    cells = hashed(obs[CELL].text())
    return {name: cells[obs["dataset_id"] == name] for name in obs["dataset_id"].names}
