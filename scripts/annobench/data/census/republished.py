"""Datasets of a newer release that are, or may be, datasets of an older one in other clothes.

A dataset that is published again gets a new id, and its cells would count as never seen. What is compared: titles and
collections, donors, and cells by `observation_joinid` where both releases have it. What was found stands in the record
for every new dataset, so that everyone can judge for themselves; `republished` is set by the rules of `is_republished`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NAMELESS = re.compile(r"^(pooled.*|unknown|na|nan|none|)$")
GENERIC = re.compile(r"^(donor|patient|sample|control|healthy|[a-z]{0,7}[ _-]?\d{1,3}|[a-z])$")  # in many studies
MANY_DONORS = 3  # so many names that are no names of every study do not agree by chance
# names of cells are often bare barcodes, of which 10x has some 740,000: datasets share one in a hundred by chance, and
# all of them where cells are merely numbered
HALF, SOME_CELLS = 0.5, 0.1


def normalised(title: str) -> str:
    """A title without case, accents, punctuation and spaces."""
    plain = unicodedata.normalize("NFKD", str(title)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "", plain.lower())


def compare(
    new: Sequence[Mapping[str, Any]],
    old: Sequence[Mapping[str, Any]],
    new_donors: Mapping[str, Iterable[str]],
    old_donors: Mapping[str, Iterable[str]],
    shares: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """For every new dataset the old ones that it has something in common with, and what.

    `new` and `old` are rows of census_info/datasets, the donors those of each dataset; `shares` says which share of a
    new dataset's cells an old one has, where that is known. Every match has old_dataset, old_title, collection, title
    and size (whether they are the same), donors: shared names, their share of the new dataset's, and share_of_cells.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for dataset in new:
        name = str(dataset["dataset_id"])
        everyone = {donor for donor in new_donors.get(name, ()) if not NAMELESS.match(donor.lower())}
        own = {donor for donor in everyone if not GENERIC.match(donor.lower())}
        matches = []
        for other in old:
            collection = _same(dataset, other, "collection_id") or _same(dataset, other, "collection_name")
            title = bool(normalised(dataset["dataset_title"])) and normalised(dataset["dataset_title"]) == normalised(
                other["dataset_title"]
            )
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
            found[name] = matches
    return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return one.get(key) not in (None, "") and one.get(key) == other.get(key)


def is_republished(match: Mapping[str, Any]) -> bool:
    """Whether a match is held to be the same cells again.

    Half of the cells say so by themselves, some of them within a collection or under the same title. So do the same
    donors, the same title, or the same number of cells within a collection. The same collection alone does not: authors
    add studies of other people to it. A title alone does not either: there are many called `All cells`.
    """
    related = match["collection"] or match["title"]
    if (match["share_of_cells"] or 0) >= (SOME_CELLS if related else HALF):
        return True
    return bool(match["donors"] or (match["collection"] and (match["title"] or match["size"])))
