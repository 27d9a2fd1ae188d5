"""Datasets of a newer release that are, or may be, datasets of an older one published again.

A dataset that is published again gets a new id, and its cells would count as never seen. Compared are titles and
collections, donors, and cells by `observation_joinid` where both releases have it. The record lists the matches of
every new dataset, so that everyone can judge for themselves; `is_republished` has the rules for `republished`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

NAMELESS = re.compile(r"^(pooled.*|unknown|na|nan|none|)$")
GENERIC = re.compile(r"^(donor|patient|sample|control|healthy|[a-z]{0,7}[ _-]?\d{1,3}|[a-z])$")  # in many studies
MANY_DONORS = 3  # so many uncommon names do not agree by chance
# names of cells are often bare barcodes, of which 10x has some 740,000: datasets share one in a hundred by chance, and
# all of them where cells are merely numbered
HALF, SOME_CELLS = 0.5, 0.1


Row = Mapping[str, str | int]  # of census_info/datasets


class Match(TypedDict):
    """What an old dataset has in common with a new one: collection, title and size are whether they are the same."""

    old_dataset: str
    old_title: str
    collection: bool
    title: bool
    size: bool
    donors: bool
    shared_donors: int
    share_of_donors: float
    share_of_cells: float | None


def normalised(title: str) -> str:
    """A title without case, accents, punctuation and spaces."""
    plain = unicodedata.normalize("NFKD", str(title)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "", plain.lower())


def compare(
    new: Sequence[Row],
    old: Sequence[Row],
    new_donors: Mapping[str, Iterable[str]],
    old_donors: Mapping[str, Iterable[str]],
    shares: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, list[Match]]:
    """For every new dataset the old ones that it has something in common with, and what.

    Parameters
    ----------
    new, old
        Rows of census_info/datasets.
    new_donors, old_donors
        Donors of each dataset.
    shares
        Share of a new dataset's cells that an old one has, by new and old dataset; None where it is not known.
    """
    matched: dict[str, list[Match]] = {}
    for dataset in new:
        name = str(dataset["dataset_id"])
        everyone = {donor for donor in new_donors.get(name, ()) if not NAMELESS.match(donor.lower())}
        own = {donor for donor in everyone if not GENERIC.match(donor.lower())}
        matches: list[Match] = []
        for other in old:
            collection = _same(dataset, other, "collection_id") or _same(dataset, other, "collection_name")
            own_title, old_title = (normalised(str(one["dataset_title"])) for one in (dataset, other))
            title = bool(own_title) and own_title == old_title
            theirs = set(old_donors.get(str(other["dataset_id"]), ()))
            shared = (everyone if collection else own) & theirs
            share = len(shared) / max(len(everyone), 1)
            donors = share >= HALF and (collection or len(shared) >= MANY_DONORS)
            cells = None if shares is None else shares.get(name, {}).get(str(other["dataset_id"]), 0.0)
            if collection or title or donors or (cells or 0) >= HALF:
                matches.append(
                    {
                        "old_dataset": str(other["dataset_id"]),
                        "old_title": str(other["dataset_title"]),
                        "collection": collection,
                        "title": title,
                        "size": _same(dataset, other, "dataset_total_cell_count"),
                        "donors": donors,
                        "shared_donors": len(shared),
                        "share_of_donors": round(share, 4),
                        "share_of_cells": None if cells is None else round(cells, 4),
                    }
                )
        if matches:
            matched[name] = matches
    return matched


def _same(one: Row, other: Row, key: str) -> bool:
    return one.get(key) not in (None, "") and one.get(key) == other.get(key)


def is_republished(match: Match) -> bool:
    """Whether a match counts as the same cells published again.

    Half of the cells suffice, or a tenth within a collection or under the same title. So do the same donors, and within
    a collection the same title or the same number of cells. The same collection alone does not: authors add studies of
    other people to it. A title alone does not either: many are called `All cells`.
    """
    related = match["collection"] or match["title"]
    if (match["share_of_cells"] or 0) >= (SOME_CELLS if related else HALF):
        return True
    return bool(match["donors"] or (match["collection"] and (match["title"] or match["size"])))
