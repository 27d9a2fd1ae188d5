"""One pass over all fits of a study: every table, written at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annobench.config import Fit
from annobench.ontology import Ontology
from annobench.tables import FitFiles, StudyTables, split_table, write_csv
from annobench.workflow import fit_paths


def aggregate(study: Mapping[str, Any], ontology: Ontology, outputs: Mapping[str, Path]) -> None:
    """Build the tables named by `outputs` from what lies under results/.

    `study` has fits (dataset, regime, split, methods, seeds), splits (dataset, name, spec), methods, scoring and
    statistics. Fits without files are listed as missing.
    """
    fits = [
        FitFiles(
            dataset,
            regime,
            split,
            method,
            seed,
            **{k: Path(v) for k, v in fit_paths(Fit(dataset, split, method, seed)).items()},
        )
        for dataset, regime, split, methods, seeds in study["fits"]
        for method in methods
        for seed in seeds
    ]
    tables = StudyTables(fits, study, study["methods"], ontology)
    scores, summary, resources, tests = tables.scores(), tables.summary(), tables.resources(), tables.tests()
    classes = tables.classes(scores)
    built = {
        "scores": scores,
        "summary": summary,
        "tests": tests,
        "ranking": tables.ranking(summary, resources, tests),
        "failed": tables.failed(),
        "resources": resources,
        "confusion": tables.confusion(),
        "calibration": tables.calibration(scores),
        "classes": classes,
        "trees": tables.trees(classes),
        "splits": split_table(study["splits"], study["fits"]),
    }
    for name, path in outputs.items():
        write_csv(path, built[name])
