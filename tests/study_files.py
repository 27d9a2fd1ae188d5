"""Studies for tests of tables: what a spec says of them, and their fits on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from annobench.config.contrasts import Contrast
from annobench.config.results import Results
from annobench.core.parquet import write_columns
from annobench.fit import predictions_file
from annobench.fit.predictions import Predictions
from annobench.score.audit.tables import TABLES as AUDIT
from annobench.score.metric import Row
from annobench.score.metrics import flat, ontology_aware, per_class
from annobench.score.score_tables import COLUMNS, CONFIDENCE, REPLICATES, SUMS, count_confusion
from annobench.score.spec import RollupRule
from annobench.tables.published_values import COLUMNS as VALUES
from annobench.tables.shared.context import TableContext
from annobench.tables.shared.fits import FitFiles, Fits, planned_fits
from annobench.tables.shared.spec import (
    PublishedColumn,
    PublishedTable,
    ScoredSplit,
    Scoring,
    Statistics,
    StudyMethod,
    TablesSpec,
)
from helpers import rows_of_family, run_record, scored, toy_ontology

SHOWN = ("macro_f1", "balanced_accuracy", "accuracy", "hierarchical_f1_micro", "ontology_macro_f1")


def split(name: str = "s", evaluation: str = "holdout", **more: Any) -> ScoredSplit:
    """A split of the dataset `d` that is fitted itself."""
    settings = {"dataset": "d", "regime": "holdout", "fitted": name, "methods": (), "seeds": (1,)} | more
    return ScoredSplit(split=name, evaluation=evaluation, **settings)


def study(*splits: ScoredSplit, methods: Mapping[str, str] | Sequence[str] = (), **more: Any) -> TablesSpec:
    """A study of some splits; `methods` may say the kind of each."""
    kinds = methods if isinstance(methods, Mapping) else dict.fromkeys(methods, "method")
    return TablesSpec(
        study="study",
        splits=splits,
        methods={name: StudyMethod(label=name.upper(), kind=kind, fitted=name) for name, kind in kinds.items()},
        **{"scoring": Scoring("macro_f1", SHOWN), "statistics": Statistics(0.95, 200)} | more,
    )


def contrast(name: str, base: str, method: str) -> Contrast:
    """A contrast."""
    return Contrast(name, base, method)


def fit_files(folder: Path, place: str, **key: Any) -> FitFiles:
    """The files of a fit of the dataset `d`, in a folder that is made for them."""
    (folder / place).mkdir(parents=True)
    names = {"run": "run.json", "attempt": "attempt.json"}
    names |= {name: f"{name}.parquet" for name in ("scores", "confusion", "groups", "sums", "confidence")}
    return FitFiles(**{"dataset": "d"} | key, **{kind: folder / place / name for kind, name in names.items()})


class Context(TableContext):
    """The context of some fits, in which some tables are already built."""

    def __init__(self, spec: TablesSpec, fits: Sequence[FitFiles] = (), folder: Path = Path("nowhere")) -> None:
        super().__init__(spec, Results(folder), toy_ontology())
        self.fits = Fits(fits, self.ontology)

    def having(self, **tables: pd.DataFrame) -> "Context":
        """The same with tables that are already built."""
        self._tables |= tables
        return self


# a whole study on disk

CLASSES = ["A", "A1", "A2", "A2x", "B"]
CELLS = 120
RUN = {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_rss_mb": 100.0, "trainable_parameters": 10, "device": "cpu"}


def whole_study(folder: Path) -> TablesSpec:
    """A study that has rows in every table: two methods and a control on a release, with files under a folder."""
    methods = {"old": "method", "new": "method", "zero": "control"}
    shared = {"fitted": "release", "regime": "release", "methods": tuple(methods), "seeds": (1, 2)}
    splits = [
        split(f"release{end}", f"release{end}", part=part, **shared)
        for end, part in (("_id", "reference"), ("_ood", "query"))
    ]
    columns = {"theirs": PublishedColumn("new", "release_id")}
    spec = study(
        *splits,
        methods=methods,
        contrasts=(contrast("gain", "old", "new"),),
        merge=RollupRule(targets={"A": ("A",)}, others="keep"),
        published=PublishedTable("published.tsv", "d", "release_id", columns),
        published_values=("values.tsv",),
    )
    header = "row\tmetric\trule\tunit\tscale\tcolumn\tvalue\tsource\n"
    (folder / "published.tsv").write_text(f"{header}Purity\tmarker_purity\t\t%\t100\ttheirs\t39.0\tpage\n")
    values = dict.fromkeys(VALUES["published_values"], "x")
    values |= {
        "set": "id",
        "label_set": "80",
        "level": "overall",
        "kind": "printed",
        "value": 0.5,
        "low": "",
        "high": "",
    }
    pd.DataFrame([values]).to_csv(folder / "values.tsv", sep="\t", index=False)
    results = Results(folder)
    cells = _write_dataset(results, splits)
    scored = {one.split: cells["role"][one.split] == "test" for one in splits}
    for fit in planned_fits(spec, results):
        test = scored[fit.split]
        if (fit.method, fit.seed) == ("zero", 2):
            continue  # was never run
        _write_fit(fit, cells["label_id"][test], cells["donor"][test])
        again = np.where(np.arange(CELLS) % 4 < fit.seed, "A", "B").astype(object)  # seeds differ in a quarter
        ids = np.array([f"c{i}" for i in range(CELLS)], dtype=object)
        predictions_file.write(fit.run.with_name("predictions.parquet"), Predictions.from_labels(ids, again))
    for one in splits:
        for name, path in results.audit(spec.study, "d", one.evaluation).items():
            write_columns(path, _audit(name))
    return spec


def _write_dataset(results: Results, splits: Sequence[ScoredSplit]) -> dict[str, Any]:
    """Cells of a dataset, a quarter of them tested in distribution and a quarter out of it."""
    rng = np.random.default_rng(1)
    cells: dict[str, Any] = {"label_id": np.array(CLASSES * (CELLS // 5), dtype=object)}
    number = rng.integers(0, 8, CELLS)
    cells |= {"donor": np.array([f"d{i}" for i in number], dtype=object)}
    cells |= {"study": np.array([f"s{i % 4}" for i in number], dtype=object)}
    write_columns(results.obs("d"), cells)
    part = np.arange(CELLS) // (CELLS // 4)
    cells["role"] = {}
    for tested, one in zip((2, 3), splits, strict=True):
        cells["role"][one.split] = np.where(part < 2, "train", np.where(part == tested, "test", "unused"))
        for seed in one.seeds:
            ids = np.array([f"c{i}" for i in range(CELLS)], dtype=object)
            roles = {"cell_id": ids, "role": cells["role"][one.split].astype(object)}
            write_columns(results.roles("d", one.split, seed), roles)
            write_columns(results.train("d", one.fitted, seed), {"label_id": cells["label_id"][part < 2]})
    return cells


def _write_fit(fit: FitFiles, truth: Any, donor: Any) -> None:
    """Run record, scores, counts and confidence rules; every view writes the file of its fit anew, with all views."""
    run_record(fit.run, sees_test_cells=fit.method == "new", **RUN, notes={"warnings": ("few genes",)})
    right = {"old": 0.4, "new": 0.7, "zero": 0.0}[fit.method]
    wrong = np.random.default_rng([fit.seed, int(100 * right)]).random(len(truth)) >= right
    predicted = np.where(wrong, np.roll(truth, 1), truth)
    data = scored(truth, predicted)
    rows = [row for family in (flat, per_class, ontology_aware) for row in rows_of_family(family, data)]
    rows += [Row("calibration", "bin_accuracy", "-", "bin", "03", 0.4, 8)]
    rows += [Row("calibration", "bin_confidence", "-", "bin", "03", 0.4, 8)]
    rows += [Row("cuts", name, "-", "error", "0.05", 0.9, 8) for name in ("cut_confidence", "cut_kept", "cut_error")]
    rows += [Row("clustering", "clustering_ari", "-", "resolution", "0.5", 0.3, 8)]
    rows += [Row("probes", "probe_f1", "cells knn", "class", "A1", 0.6, 8)]
    table = pd.DataFrame([asdict(row) for row in rows]).assign(**fit.key, status="ok")
    pairs = pd.DataFrame(
        {k: v if k == "n" else v.to_text() for k, v in count_confusion(donor, truth, predicted).items()}
    )
    rules = [
        (rule, "none", "aurc", "-", i, 0.3 + i / 1000) for rule in ("raw", "zscore") for i in range(-1, REPLICATES)
    ]
    rules += [("raw", "none", "risk", "0.5", -1, 0.2), ("raw", "none", "share_right", "3", -1, 0.2)]
    confidence = pd.DataFrame(rules, columns=CONFIDENCE)
    view = {"split": fit.split, "method": fit.method}
    for path, part in (
        (fit.scores, table[COLUMNS]),
        (fit.confusion, pairs.assign(unit_kind="donor", **view)),
        (fit.groups, pairs.assign(level="assay", group="10x", unit_kind="donor", **view)),
        (fit.sums, pd.DataFrame(columns=[*SUMS, "unit_kind", *view])),
        (fit.confidence, confidence.assign(**view)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        before = [pd.read_parquet(path)] if path.is_file() else []
        whole = pd.concat([*before, part], ignore_index=True)
        write_columns(path, {name: whole[name].to_numpy() for name in whole})


def _audit(name: str) -> dict[str, list[Any]]:
    """A table of an audit."""
    if name == "metrics":
        of = [("control", "oracle", 1.0), ("control", "majority", 0.2), ("method", "new", 0.7), ("method", "old", 0.4)]
        named = [("flat", "accuracy", "-"), ("markers", "marker_purity", "published")]
        rows = [("s", 1, "training", *who[:2], *metric, "-", who[2]) for who in of for metric in named]
    elif name == "types":
        rows = [("s", 1, "new", "published", label, "marker_purity", v) for label, v in (("A1", 0.6), ("B", 0.8))]
    elif name == "degs":
        rows = [("new", "A1", "GENE", "B", 0.5)]
    elif name == "places":
        rows = [("new", "c1", 0.0, 1.0, "A1", "B")]
    elif name == "margins":
        rows = [("flat", "accuracy", "-", "-", "majority", "methods", 0.5, 0.4, 0.6, "donors")]
    elif name == "label_noise":
        rows = [
            ("accuracy", share, 0, method, share, value - share)
            for share in (0.0, 0.1)
            for method, value in (("new", 0.7), ("old", 0.4))
        ]
    elif name == "disputed":
        rows = [("c1", "A1", "B", 2, 4, "s1", "d1")]
    elif name == "misplaced":
        rows = [("new", "c1", "A1", "B", 0.9, 2, 2, "s1", "d1")]
    elif name == "predicted":
        rows = [("s", 1, "new", "A1", 3, 0.9)]
    else:
        rows = [("new", "c1", 0.0, 1.0, "A1", "B", 0.5)]
    return dict(zip(AUDIT[name], map(list, zip(*rows, strict=True)), strict=True))
