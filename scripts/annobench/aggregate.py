"""One pass over all fits of a study: every table, written at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from annobench.config import Fit
from annobench.files import atomic
from annobench.ontology import Ontology
from annobench.tables import describe
from annobench.tables.compare import Comparison
from annobench.tables.fits import FitFiles, Fits
from annobench.targets import fit_paths


def aggregate(study: Mapping[str, Any], ontology: Ontology, outputs: Mapping[str, Path]) -> None:
    """Build the tables named by `outputs` from what lies under results/.

    `study` has splits (each with dataset, evaluation, regime, split, spec, methods and seeds), methods, scoring and
    statistics. Fits without files are listed as missing.
    """
    for name, table in build(study, ontology).items():
        write_csv(outputs[name], table)


def build(study: Mapping[str, Any], ontology: Ontology) -> dict[str, pd.DataFrame]:
    """All tables by name; a table without rows has its columns all the same."""
    planned = [
        FitFiles(
            dataset=split["dataset"],
            evaluation=split["evaluation"],
            regime=split["regime"],
            split=split["split"],
            method=method,
            seed=seed,
            **{k: Path(v) for k, v in fit_paths(Fit(split["dataset"], split["split"], method, seed)).items()},
        )
        for split in study["splits"]
        for method in split["methods"]
        for seed in split["seeds"]
    ]
    fits = Fits(planned, ontology)
    comparison = Comparison(fits, study, study["methods"])
    scores, summary, resources, tests = (
        describe.scores(fits),
        comparison.summary(),
        fits.resources(),
        comparison.tests(),
    )
    classes = describe.classes(fits, scores)
    return {
        "scores": scores,
        "summary": summary,
        "ranking": comparison.ranking(summary, resources, tests),
        "tests": tests,
        "failed": fits.failed(),
        "resources": resources,
        "confusion": describe.confusion(fits),
        "calibration": describe.calibration(fits, scores),
        "classes": classes,
        "trees": describe.trees(classes, ontology),
        "splits": describe.split_sizes(study["splits"]),
    }


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table, numbers with 6 significant digits."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
