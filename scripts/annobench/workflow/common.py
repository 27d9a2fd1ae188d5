"""What the rules ask for: inputs, params and resources as functions of wildcards.

Imported while the Snakefile is parsed, by every cluster job again: the standard library and light modules only. Params
are canonical JSON text, so that the order of keys in a YAML file never reruns a job.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from annobench.config import Fit, Split, Study
from annobench.config.names import REGIME_NAMES, STORE_CELLS
from annobench.config.plugins import about
from annobench.config.published import mark_files
from annobench.config.results import fit_paths, role_file, train_file
from annobench.config.study import named_study
from annobench.core.codehash import code_hash
from annobench.core.errors import AnnobenchError
from annobench.core.files import expanded, sha256_of
from annobench.core.paths import ROOT
from annobench.data.sources.xenium import bundle_files
from annobench.workflow.census import AskCensus
from annobench.workflow.figures import other_data, release_settings
from annobench.workflow.targets import Targets

SAMPLE = 20_000  # cells that an audit looks at, see annobench.fit.decisions (which imports numpy)
HEADROOM_MB = 500  # what the job needs besides its fit: Snakemake and the watching process
HEADROOM_MINUTES = 3
TABLE_MB_A_MILLION = 150  # ids and annotations of a million cells, which a fit holds besides what its method needs
TABLE_SECONDS_A_MILLION = 30  # and to read them, check the bytes of their counts, and write what is predicted


@contextmanager
def stop_with_message() -> Iterator[None]:
    """End Snakemake with the message of an AnnobenchError instead of a traceback."""
    try:
        yield
    except AnnobenchError as error:
        from snakemake.exceptions import WorkflowError

        raise WorkflowError(f"\n{error}\n") from None


def named_source(workflow: Any) -> str:
    """The configuration file that errors should name: the last one given, else the default. Raises ConfigError."""
    given = [Path(path) for path in getattr(workflow, "overwrite_configfiles", None) or []]
    for path in given:
        named_study(path)
    return str(given[-1]) if given else "config/config.yaml"


def canonical(value: Any) -> str:
    """JSON with sorted keys."""
    return json.dumps(value, sort_keys=True)


def _existing(path: str) -> list[str]:
    found = expanded(path)
    return [str(found)] if found.is_file() else []


class Ask(AskCensus):
    """Functions of wildcards for inputs, params and resources."""

    def __init__(self, study: Study, root: Path = ROOT) -> None:
        self.study, self.root, self.targets = study, root, Targets(study)

    def wildcard_constraints(self) -> dict[str, str]:
        """Every wildcard is one of the known names, which makes for better errors."""

        def one_of(names: Iterable[Any]) -> str:
            return "|".join(re.escape(str(name)) for name in dict.fromkeys(names)) or "(?!)"

        splits = self.study.all_splits()
        return {
            "dataset": one_of(self.study.datasets),
            "split": one_of(split.name for split in splits),
            "method": one_of(method["fitted"] for method in self.study.methods.values()),
            "download": one_of(name for method in self.study.methods.values() for name in method["downloads"]),
            "seed": one_of(seed for split in splits for seed in split.seeds),
            "evaluation": one_of(split.evaluation for split in splits),
            "figure": one_of(self.study.settings["figures"]),
            "panel": one_of(self.study.panels),
            "ontology": re.escape(Path(self.targets.ontology).stem),
            **self.census_constraints(),
        }

    def code(self, *modules: str) -> str:
        """Hash of library modules and all that they import."""
        return code_hash(*modules)

    # data

    def ontology_settings(self, wildcards: Any) -> str:
        """Release and source of the ontology."""
        return canonical(self.study.settings["ontology"])

    def source(self, wildcards: Any) -> str:
        """The source of a dataset."""
        return canonical(self.study.datasets[wildcards.dataset]["source"])

    def ontology_file(self, wildcards: Any) -> list[str]:
        """The OBO or OWL file behind the ontology, so that a change of it is noticed; empty for the wheel."""
        settings = self.study.settings["ontology"]
        return _existing(settings["path"]) if settings["source"] == "obo" and settings["path"] else []

    def fetch_inputs(self, wildcards: Any) -> dict[str, Any]:
        """Files behind a source on this machine, so that a change is noticed; a simulation's ontology; chunks."""
        source = self.study.datasets[wildcards.dataset]["source"]
        if source["kind"] == "census":
            return self.gather_inputs(wildcards.dataset, source)
        if source["kind"] == "local":
            return {"local": _existing(source["path"])}
        if source["kind"] == "xenium" and "path" in source:
            return {"local": [str(path) for path in bundle_files(expanded(source["path"]))]}
        return {"ontology": self.targets.ontology} if source["kind"] == "simulate" else {}

    def fetch_code(self, wildcards: Any) -> str:
        """Hash of the code behind a source; what only one kind of source imports counts for that kind only."""
        kind = self.study.datasets[wildcards.dataset]["source"]["kind"]
        own = {
            "simulate": ("annobench.data.sources.simulate", "annobench.ontology"),
            "xenium": ("annobench.data.sources.xenium", "annobench.data.sources.xenium_files"),
            "census": ("annobench.data.census.gather",),
        }
        leave_out = tuple(module for other, modules in own.items() if other != kind for module in modules)
        return code_hash("annobench.data.fetch", leave_out=leave_out)

    def fetch_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of fetching a dataset: only a bundle is read, all others are passed on as they are."""
        bundle = self.study.datasets[wildcards.dataset]["source"]["kind"] == "xenium"
        return self.data_memory(wildcards, attempt) if bundle else 2000

    def local_state(self, wildcards: Any) -> list[list[int]]:
        """Size and time (ns) of the files behind a local source: they may be replaced by older ones."""
        files = self.fetch_inputs(wildcards).get("local", [])
        return [[Path(path).stat().st_size, Path(path).stat().st_mtime_ns] for path in files]

    def download(self, wildcards: Any) -> str:
        """A file that a method declares."""
        return canonical(self.study.methods[wildcards.method]["downloads"][wildcards.download])

    def dataset(self, wildcards: Any) -> str:
        """What prepare uses of a dataset file: no prose, no resources, nothing that other steps use."""
        used = ("pair", "matrix", "storage", "genes", "cells")  # `foreign` is used by fits and the audit
        return canonical({k: v for k, v in self.study.datasets[wildcards.dataset].items() if k in used})

    def prepare_inputs(self, wildcards: Any) -> dict[str, Any]:
        """The source, and the label table where there is one; for a pair the prepared parts, the query last."""
        dataset = self.study.datasets[wildcards.dataset]
        if "pair" in dataset:
            parts = [*dataset["pair"]["references"], dataset["pair"]["query"]]
            return {
                kind: [f"results/data/{part}/{file}" for part in parts]
                for kind, file in (("parts", "cells.h5ad"), ("stores", "store"), ("cards", "card.json"))
            }
        inputs: dict[str, Any] = {
            "folder": f"results/data/{wildcards.dataset}/source",
            "record": f"results/data/{wildcards.dataset}/source.json",
        }
        table = dataset["cells"]["label_table"]
        if table:
            inputs["labels"] = str(self.root / "config" / "labels" / f"{table}.tsv")
        return inputs

    def data_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of preparing a dataset."""
        return int(self.study.datasets[wildcards.dataset]["resources"]["memory_mb"] * attempt)

    def data_minutes(self, wildcards: Any, attempt: int) -> int:
        """Minutes for fetching or preparing a dataset."""
        return math.ceil(self.study.datasets[wildcards.dataset]["resources"]["minutes"] * attempt)

    def table_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of jobs that read the observations of a dataset and the predictions of a fit."""
        return int((1500 + self.study.datasets[wildcards.dataset]["resources"]["cells"] / 2500) * attempt)

    def aggregate_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of building the tables of all fits; a few columns of the largest dataset are read at a time."""
        cells = max(dataset["resources"]["cells"] for dataset in self.study.datasets.values())
        return int((1500 + 3 * sum(1 for _ in self.study.fits()) + cells / 40_000) * attempt)

    def panel(self, wildcards: Any) -> str:
        """What fetching a panel uses of its file."""
        return canonical({key: self.study.panels[wildcards.panel][key] for key in ("source", "columns")})

    def panel_file(self, wildcards: Any) -> list[str]:
        """The file behind a panel of kind local."""
        source = self.study.panels[wildcards.panel]["source"]
        return _existing(source["path"]) if source["kind"] == "local" else []

    # splits

    def split_spec(self, wildcards: Any) -> str:
        """The resolved entry of `evaluations` behind a split."""
        spec = self.study.split(wildcards.dataset, wildcards.split).spec
        return canonical({key: value for key, value in spec.items() if key not in ("balance", "genes", "rollup")})

    def balance_policy(self, wildcards: Any) -> str:
        """The balance policy of a split."""
        return canonical(self.study.split(wildcards.dataset, wildcards.split).spec["balance"])

    # fit

    def fit_inputs(self, wildcards: Any) -> dict[str, list[str]]:
        """Panel of a split, foreign cells of its dataset, files that a method declares: where there are any."""
        records = self.targets.downloads(wildcards.method)
        panel = self.study.split(wildcards.dataset, wildcards.split).spec["genes"]["panel"]
        foreign = self.foreign(wildcards)
        return {
            "panel": [self.targets.panel(panel)] if panel else [],
            "foreign": [foreign] if foreign else [],
            "foreign_store": [str(Path(foreign).with_name("store"))] if foreign else [],
            "downloads": records,
            "folders": [path.removesuffix(".json") for path in records],
        }

    def foreign(self, wildcards: Any) -> str | None:
        """Cells of another tissue, where a dataset names some."""
        foreign = self.study.datasets[wildcards.dataset]["foreign"]
        return f"results/data/{foreign}/cells.h5ad" if foreign else None

    def fit_training(self, wildcards: Any) -> str:
        """Whether a fit is trained on the measured genes (`panel`) or on all."""
        return str(self.study.split(wildcards.dataset, wildcards.split).spec["genes"]["training"])

    def method(self, wildcards: Any) -> str:
        """What a fit uses of a method file and of the study."""
        method, settings = self.study.methods[wildcards.method], self.study.settings
        used = {key: method.get(key) for key in ("implementation", "parameters", "exec", "needs", "abilities")}
        used["device"] = settings["device"] if method["needs"]["gpu"] or method["abilities"]["gpu"] else "cpu"
        return canonical(used | {key: settings[key] for key in ("keep", "top_k")})

    def method_code(self, wildcards: Any) -> str:
        """Hash of the runner, of the method's own modules, and of the files that it names."""
        method = self.study.methods[wildcards.method]
        return self._method_code(method["implementation"], tuple(method["files"]))

    def _method_code(self, implementation: str, files: tuple[str, ...]) -> str:
        code = code_hash("annobench.fit.parent", "annobench.fit.child", f"annobench.methods.{implementation}")
        paths = [self.root / expanded(file) for file in files]
        return "-".join([code, *(sha256_of(path)[:12] if path.is_file() else "missing" for path in paths)])

    def method_threads(self, wildcards: Any) -> int:
        """Threads of a fit."""
        return int(self.study.methods[wildcards.method]["resources"]["threads"])

    def method_limit_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory limit (MB) of the fit itself, enforced by the runner."""
        own = self.study.methods[wildcards.method]["resources"]["memory_mb"]
        return int((own + TABLE_MB_A_MILLION * self._millions(wildcards.dataset)) * attempt)

    def _millions(self, dataset: str) -> float:
        """Million cells of a dataset."""
        return float(self.study.datasets[dataset]["resources"]["cells"] / 1e6)

    def method_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of the job around a fit."""
        return self.method_limit_mb(wildcards, attempt) + HEADROOM_MB

    def method_limit_seconds(self, wildcards: Any, attempt: int) -> int:
        """Time limit (seconds) of the fit itself, enforced by the runner."""
        own = self.study.methods[wildcards.method]["resources"]["minutes"] * 60
        return math.ceil((own + int(TABLE_SECONDS_A_MILLION * self._millions(wildcards.dataset))) * attempt)

    def method_minutes(self, wildcards: Any, attempt: int) -> int:
        """Minutes of the job around a fit."""
        return math.ceil(self.method_limit_seconds(wildcards, attempt) / 60) + HEADROOM_MINUTES

    def method_gpus(self, wildcards: Any) -> int:
        """GPUs that a fit asks a cluster for: where it needs one, or may use one and the study asks for CUDA."""
        return self._gpus(wildcards, ("cuda",))

    def method_cuda_jobs(self, wildcards: Any) -> int:
        """GPUs that a fit uses where there are any: `make run` lets no more be used at once than it finds."""
        return self._gpus(wildcards, ("cuda", "auto"))

    def _gpus(self, wildcards: Any, devices: tuple[str, ...]) -> int:
        method = self.study.methods[wildcards.method]
        used = method["needs"]["gpu"] or (method["abilities"]["gpu"] and self.study.settings["device"] in devices)
        return int(method["resources"]["gpus"]) if used else 0

    def method_environment(self, wildcards: Any) -> str:
        """Conda file of a method."""
        return str(self.root / "envs" / f"{self.study.methods[wildcards.method]['environment']}.yaml")

    # score and tables

    def scored_roles(self, wildcards: Any) -> list[str]:
        """Roles of the splits that a fit is scored on, in the order of `scoring_settings`."""
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        return [role_file(split.dataset, split.name, int(wildcards.seed)) for split in scored]

    def scoring_settings(self, wildcards: Any) -> str:
        """What scoring a fit uses of the study; `views` says as what it is scored: split -> method -> decoding."""
        scoring = self.study.settings["scoring"]
        used = {key: scoring[key] for key in ("unknown_truth", "calibration_bins")}
        rollup = self.study.split(wildcards.dataset, wildcards.split).spec["rollup"]
        scored = self.study.scored_on(wildcards.dataset, wildcards.split)
        used["views"] = [
            {"split": s.name, "part": s.spec.get("part"), "methods": self._decodings(s, wildcards.method)}
            for s in scored
        ]
        used |= {"rollup": self._rollup(rollup), "merge": self._rollup(scoring["merge"])}
        return canonical(used | {"min_units": self.study.settings["statistics"]["min_units"]})

    def _decodings(self, split: Split, fitted: str) -> dict[str, str]:
        """The methods of a split that score the fit of a method, and which labels of it."""
        methods = ((name, self.study.methods[name]) for name in split.methods)
        return {name: method["decoding"] for name, method in methods if method["fitted"] == fitted}

    def _rollup(self, name: str | None) -> dict[str, Any] | None:
        """What rolling up uses of its file; None where there is none."""
        return {key: self.study.rollups[name][key] for key in ("targets", "others")} if name else None

    def audit_inputs(self, wildcards: Any) -> dict[str, Any]:
        """What the audit of an evaluation reads; with `partial`, the fits and splits that are there."""
        splits = self.study.evaluations()[wildcards.dataset, wildcards.evaluation]
        dataset = wildcards.dataset
        fits = [
            fit_paths(Fit(dataset, split.fitted, method, seed))["run"]
            for split in splits
            for method in self._audited(split)
            for seed in split.seeds
        ]
        pairs = [(split, seed) for split in splits for seed in split.seeds]
        panels = {split.spec["genes"]["panel"] for split in splits} - {None}
        foreign, markers = self.foreign(wildcards), self.audit_markers(wildcards)
        there = self.targets.there
        return {
            "cells": f"results/data/{dataset}/cells.h5ad",
            "store": f"results/data/{dataset}/store",
            "obs": f"results/data/{dataset}/obs.parquet",
            "run": there(fits),
            "predictions": there([run.replace("run.json", "predictions.parquet") for run in fits]),
            "roles": there([role_file(dataset, split.name, seed) for split, seed in pairs]),
            "train": there([train_file(dataset, split.fitted, seed) for split, seed in pairs]),
            "panel": [self.targets.panel(panel) for panel in sorted(panels)],
            "other": [path for path in (foreign, foreign and str(Path(foreign).with_name("store")), markers) if path],
        }

    def _audited(self, split: Split) -> list[str]:
        return [method for method in split.methods if self.study.methods[method]["kind"] == "method"]

    def audit_markers(self, wildcards: Any) -> str | None:
        """The marker table of an audit."""
        name = self.study.settings["scoring"]["markers"]
        return str(self.root / "config" / "markers" / f"{name}.tsv") if name else None

    def audit_settings(self, wildcards: Any) -> str:
        """What the audit of an evaluation uses of the study."""
        splits = self.study.evaluations()[wildcards.dataset, wildcards.evaluation]
        scoring = self.study.settings["scoring"]
        return canonical(
            {
                "dataset": wildcards.dataset,
                "splits": [
                    {
                        **{"split": split.name, "fitted": split.fitted},
                        "seeds": list(split.seeds),
                        "methods": self._audited(split),
                        "panel": split.spec["genes"]["panel"] and self.targets.panel(split.spec["genes"]["panel"]),
                    }
                    for split in splits
                ],
                "rollup": self._rollup(splits[0].spec["rollup"]),
                "merge": self._rollup(scoring["merge"]),
                "bins": scoring["calibration_bins"],
            }
        )

    def audit_memory(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of an audit: a sample of the test cells is dense for a while."""
        cells = self.study.datasets[wildcards.dataset]["resources"]["cells"]
        return int((2000 + min(cells, SAMPLE) / 5 + min(cells, STORE_CELLS) / 50 + cells / 2500) * attempt)

    def fit_files(self, wildcards: Any) -> dict[str, list[str]]:
        """Run records, scores and counts of all fits; with `partial`, of those that are there."""
        found: dict[str, list[str]] = {"run": [], "scores": [], "confusion": [], "confidence": []}
        for fit in self.study.fits():  # a file of scores holds all views of its fit
            paths = fit_paths(fit)
            if not self.study.settings["partial"] or Path(paths["run"]).is_file():
                for key, files in found.items():
                    files.append(paths[key])
        return found

    def audit_files(self, wildcards: Any) -> dict[str, list[str]]:
        """Tables of the audits of all evaluations."""
        return {f"audit_{table}": files for table, files in self.targets.audit().items()}

    def _published(self) -> dict[str, Any] | None:
        """The published table beside which results are set: its path, and which method stands for which column."""
        found = self.study.settings["published"]
        return found and {**found, "table": str(self.root / "config" / "published" / f"{found['table']}.tsv")}

    def marks(self) -> list[str]:
        """Files of published values that figures draw as references."""
        return [str(path) for path in mark_files(self.study.settings["marks"], self.root)]

    def study_settings(self, wildcards: Any) -> str:
        """What the tables use of the study."""
        settings = self.study.settings
        about = ("label", "kind", "fitted", "decoding")
        methods = {name: {key: m[key] for key in about} for name, m in self.study.methods.items()}
        splits = [
            {
                **{key: getattr(split, key) for key in ("dataset", "evaluation", "regime", "spec", "fitted")},
                **{"split": split.name, "methods": list(split.methods), "seeds": list(split.seeds)},
            }
            for split in self.study.splits.values()
        ]
        used = {key: settings[key] for key in ("scoring", "statistics", "partial", "contrasts")}
        used |= {"merge": self._rollup(settings["scoring"]["merge"]), "published": self._published()}
        return canonical(used | {"methods": methods, "splits": splits, "marks": self.marks()})

    def _evaluation_names(self) -> dict[str, str]:
        """`dataset/evaluation` -> a name for people."""
        found = {}
        for split in self.study.splits.values():
            name = split.evaluation.replace("_", " ")
            if split.evaluation.startswith(split.regime):
                rest = split.evaluation.removeprefix(split.regime)
                if split.regime == "release":
                    rest = rest.replace("_id", " in distribution").replace("_ood", " out of distribution")
                rest = rest.replace("_donor", ", whole donors").replace("_", ", ")
                name = REGIME_NAMES[split.regime] + rest
            found[f"{split.dataset}/{split.evaluation}"] = name
        return found

    def resolved_study(self, wildcards: Any) -> str:
        """The whole configuration, as resolved."""
        study = self.study
        return canonical({"settings": study.settings, "datasets": study.datasets, "methods": study.methods})

    # figures and report

    def table_files(self, wildcards: Any) -> dict[str, str]:
        """All tables by name."""
        return self.targets.tables()

    def figure_tables(self, wildcards: Any) -> dict[str, str]:
        """The tables that a figure is drawn from."""
        return self.targets.tables(about(wildcards.figure)["TABLES"])

    def figure_settings(self, wildcards: Any) -> str:
        """What figures use of the study."""
        datasets = {name: d["label"] for name, d in self.study.datasets.items()}
        used = {"primary": self.study.settings["scoring"]["primary"], "datasets": datasets}
        published = self.study.settings["published"]
        place = published and {key: published[key] for key in ("dataset", "evaluation")}
        if "release" in about(wildcards.figure)["REGIMES"]:
            used["release"] = release_settings(self.study, self.root)
        return canonical(used | {"evaluations": self._evaluation_names(), "published": place})

    def figure_caption(self, wildcards: Any) -> str:
        """Caption of a figure, for Snakemake's report."""
        return self._caption(wildcards.figure)

    def _caption(self, figure: str) -> str:
        """What a figure says of itself; of the regime release also on what other data than the paper's it is drawn."""
        said = about(figure)
        note = other_data(self.study, self.root) if "release" in said["REGIMES"] else ""
        return f"{said['CAPTION']} {note}".strip()

    def figure_code(self, wildcards: Any) -> str:
        """Hash of the file of a figure and all that it imports."""
        return code_hash(f"annobench.figures.{wildcards.figure}")

    def report_settings(self, wildcards: Any) -> str:
        """What the page uses of the study."""
        settings = self.study.settings
        methods = {
            name: {k: m[k] for k in ("label", "summary", "citation", "licence", "kind")}
            for name, m in self.study.methods.items()
        }
        datasets = {
            name: {k: d[k] for k in ("label", "summary", "citation", "licence", "run_here")}
            for name, d in self.study.datasets.items()
        }
        return canonical(
            {
                **{
                    k: settings[k]
                    for k in ("study", "title", "question", "scoring", "statistics", "ontology", "partial")
                },
                "methods": methods,
                "datasets": datasets,
                "evaluations": self._evaluation_names(),
                "captions": {name: self._caption(name) for name in self.targets.figure_names},
            }
        )

    def report_code(self, wildcards: Any) -> str:
        """Hash of the page's code and template."""
        return (
            code_hash("annobench.report.page")
            + sha256_of(self.root / "scripts" / "annobench" / "report" / "page.html.jinja")[:12]
        )
