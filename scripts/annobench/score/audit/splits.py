"""Which splits and fits of an evaluation are there to be audited."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from annobench.config.results import Fit, Results


def audited_splits(dataset: str, splits: Iterable[Mapping[str, Any]], results: Results) -> list[dict[str, Any]]:
    """The splits and seeds of an audit with the files that they need; fits and splits that are not there are left out.

    `splits` has split, fitted, seeds, methods and panel (a file or None).
    """
    found = []
    for split in splits:
        for seed in split["seeds"]:
            roles, train = results.roles(dataset, split["split"], seed), results.train(dataset, split["fitted"], seed)
            fits = {m: Fit(dataset, split["fitted"], m, seed) for m in split["methods"]}
            folders = {m: results.fit(fit) for m, fit in fits.items() if Path(results.run(fit)).is_file()}
            if Path(roles).is_file() and Path(train).is_file():
                files = {"roles": roles, "train": train, "panel": split["panel"], "fits": folders}
                found.append({"split": split["split"], "seed": seed, **files})
    return found
