"""One pass over all fits of a study: every table, written at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from annobench.config.results import Fit, Results
from annobench.core.files import atomic
from annobench.ontology import Ontology
from annobench.ontology.rollup import Rollup
from annobench.tables import audit
from annobench.tables import overview as describe
from annobench.tables.compare import Comparison
from annobench.tables.confidence import Confidences
from annobench.tables.contrasts import contrasts
from annobench.tables.effects import Effects
from annobench.tables.nodes import nodes_and_edges
from annobench.tables.published import published
from annobench.tables.published_values import published_values
from annobench.tables.shared.fits import FitFiles, Fits


def aggregate(
    study: Mapping[str, Any],
    ontology: Ontology,
    audit_files: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Path],
) -> None:
    """Build the tables named by `outputs` from what lies under results/.

    `study` has splits (each with dataset, evaluation, regime, split, fitted, spec, methods and seeds), methods, scoring
    and statistics, contrasts, merge (rules or None), published (or None) and published_values (files). `audit_files`:
    table -> files of the audits. Fits without files are listed as missing.
    """
    for name, table in build(study, ontology, audit_files).items():
        write_csv(outputs[name], table)


def build(
    study: Mapping[str, Any], ontology: Ontology, audit_files: Mapping[str, Sequence[str]]
) -> dict[str, pd.DataFrame]:
    """All tables by name; a table without rows has its columns all the same."""
    planned = [
        FitFiles(
            dataset=split["dataset"],
            evaluation=split["evaluation"],
            regime=split["regime"],
            split=split["split"],
            method=method,
            seed=seed,
            **_files(Fit(split["dataset"], split["fitted"], study["methods"][method]["fitted"], seed)),
        )
        for split in study["splits"]
        for method in split["methods"]
        for seed in split["seeds"]
    ]
    fits = Fits(planned, ontology)
    comparison = Comparison(fits, study, study["methods"])
    summary, resources, tests = comparison.summary(), fits.resources(), comparison.tests()
    ranking = comparison.ranking(summary, resources, tests)
    level = study["statistics"]["confidence"]
    audits = audit.read(audit_files, list(dict.fromkeys(tuple(fit.belongs.values()) for fit in planned)))
    audited = audit.audit(audits["metrics"], resources)
    verdicts = audit.Verdicts(audited)
    scores = describe.scores(fits, verdicts)
    classes = describe.classes(fits, scores)
    of_rules = Confidences(fits, level)
    merge = Rollup.from_config(study["merge"], ontology) if study["merge"] else None
    names = [name for name, method in study["methods"].items() if method["kind"] == "method"]
    effects = Effects(fits, of_rules, study["splits"], names, merge, study["statistics"])
    marker_table = audit.markers(audits["metrics"], audits["types"], audited, level)
    return {
        "scores": scores,
        "summary": verdicts.added_to(summary),
        "ranking": verdicts.added_to(ranking, study["scoring"]["primary"]),
        "tests": verdicts.added_to(tests),
        "audit": audited,
        **of_rules.tables(study["methods"]),
        "factors": effects.factors(),
        "effects": effects.effects(),
        "markers": marker_table,
        "types": audit.types(audits["types"], ontology),
        "degs": audit.degs(audits["degs"], ontology),
        "spatial": audit.spatial(audits["spatial"], ontology),
        "published": published(study["published"], marker_table, of_rules, audited),
        "failed": fits.failed(),
        "resources": resources,
        "confusion": describe.confusion(fits),
        "calibration": describe.calibration(fits, scores),
        "classes": classes,
        "trees": describe.trees(classes, ontology),
        "splits": describe.split_sizes(study["splits"]),
        "contrasts": contrasts(fits, scores, study),
        "published_values": published_values(study["published_values"]),
        **dict(zip(("nodes", "edges"), nodes_and_edges(study["splits"], ontology), strict=True)),
    }


def _files(fit: Fit) -> dict[str, Path]:
    results = Results()
    paths = {"run": results.run(fit), **results.scores(fit), "attempt": results.attempt(fit)}
    return {name: Path(path) for name, path in paths.items()}


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table, numbers with 6 significant digits."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
