"""Where the files of a study lie: every path under results/ is made here, and nowhere else taken apart.

Imported while the Snakefile is parsed: the standard library only.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fit:
    """One method on one split of a dataset with one seed: the unit of work and of failure."""

    dataset: str
    split: str
    method: str
    seed: int


@dataclass(frozen=True)
class View:
    """One reading of a fit: the cells of a split, scored by a method or by a decoding of it."""

    dataset: str
    split: str
    method: str
    seed: int


AUDIT = (  # tables of an audit
    "metrics",
    "margins",
    "types",
    "degs",
    "spatial",
    "places",
    "label_noise",
    "disputed",
    "misplaced",
    "predicted",
)


class Results:
    """Names of all files of a run.

    Parameters
    ----------
    root
        The folder of results, relative to the working directory of Snakemake.
    """

    def __init__(self, root: str | Path = "results") -> None:
        self.root = str(root)

    def _at(self, *parts: object) -> str:
        return "/".join([self.root, *map(str, parts)])

    # data

    def ontology(self, release: str, source: str) -> str:
        """JSON of an ontology release; one in OBO format is not byte for byte the one of the wheel."""
        return self._at("ontology", f"cl-{release}{'-obo' if source == 'obo' else ''}.json")

    def source(self, dataset: str) -> dict[str, str]:
        """Fetched files of a dataset (`folder`) and where they came from (`record`)."""
        return {"folder": self._at("data", dataset, "source"), "record": self._at("data", dataset, "source.json")}

    def cells(self, dataset: str) -> str:
        """Prepared cells."""
        return self._at("data", dataset, "cells.h5ad")

    def store(self, dataset: str) -> str:
        """Counts of many cells; an empty folder where they are in cells.h5ad."""
        return self._at("data", dataset, "store")

    def obs(self, dataset: str) -> str:
        """Observations of the prepared cells."""
        return self._at("data", dataset, "obs.parquet")

    def card(self, dataset: str) -> str:
        """What a prepared dataset holds, and what was left out."""
        return self._at("data", dataset, "card.json")

    def selection(self, dataset: str) -> dict[str, str]:
        """Cells and genes that are taken of a Census release, and the record of the selection."""
        names = {"cells": "cells.parquet", "genes": "genes.parquet", "record": "record.json"}
        return {key: self._at("data", dataset, "selection", name) for key, name in names.items()}

    def chunk(self, dataset: str, chunk: str) -> str:
        """Counts of some of the selected cells of a Census release."""
        return self._at("data", dataset, "chunks", chunk)

    def release(self, built: str, date: str) -> str:
        """Folder of a release that is built here."""
        return self._at("releases", built, date)

    def panel(self, panel: str) -> str:
        """Genes of a panel."""
        return self._at("panels", f"{panel}.csv")

    def orthologues(self, name: str) -> str:
        """One-to-one pairs of genes of two organisms."""
        return self._at("orthologues", f"{name}.csv")

    def checkpoint(self, checkpoint: str) -> str:
        """Folder of a checkpoint; without a record of it that says `ok` there are no weights in it."""
        return self._at("checkpoints", checkpoint)

    def tokens(self, dataset: str, checkpoint: str) -> str:
        """Folder of the cells of a dataset as tokens of a checkpoint."""
        return self._at("tokens", dataset, checkpoint)

    def download(self, method: str, name: str) -> str:
        """Record of a file that a method declares; the file lies in a folder of the same name without `.json`."""
        return self._at("files", method, f"{name}.json")

    # splits

    def roles(self, dataset: str, split: str, seed: int) -> str:
        """Role of every cell in a split."""
        return self._at("splits", dataset, split, f"seed{seed}.parquet")

    def train(self, dataset: str, split: str, seed: int) -> str:
        """Balanced training selection of a split."""
        return self._at("train", dataset, split, f"seed{seed}.parquet")

    # fits

    def fit(self, fit: Fit) -> str:
        """Folder of a fit."""
        return self._at("fits", fit.dataset, fit.split, fit.method, f"seed{fit.seed}")

    def run(self, fit: Fit) -> str:
        """Run record of a fit."""
        return f"{self.fit(fit)}/run.json"

    def predictions(self, fit: Fit) -> str:
        """Predictions of a fit."""
        return f"{self.fit(fit)}/predictions.parquet"

    def attempt(self, fit: Fit) -> str:
        """What the last attempt of a fit left behind, for fits whose record a cluster removed."""
        return self._at("logs", "fit_method", fit.dataset, fit.split, fit.method, f"seed{fit.seed}.attempt.json")

    def runs(self) -> list[Path]:
        """Run records of all fits that are there, of any study."""
        return sorted(Path(self.root).glob("fits/*/*/*/seed*/run.json"))

    # score

    def scores(self, fit: Fit) -> dict[str, str]:
        """Scores of a fit (`scores`), and what intervals come from.

        Cells per unit, true and predicted label (`confusion`), the same within groups of cells (`groups`), sums over
        the cells of units (`sums`), and confidence rules compared (`confidence`).
        """
        place = self._at("scores", fit.dataset, fit.split, fit.method, f"seed{fit.seed}")
        return {
            "scores": f"{place}.parquet",
            "confusion": f"{place}.confusion.parquet",
            "groups": f"{place}.groups.parquet",
            "sums": f"{place}.sums.parquet",
            "confidence": f"{place}.confidence.parquet",
        }

    def audit(self, study: str, dataset: str, evaluation: str) -> dict[str, str]:
        """Tables of the audit of an evaluation."""
        return {name: self._at("audit", study, dataset, evaluation, f"{name}.parquet") for name in AUDIT}

    # tables, figures, report

    def table(self, study: str, name: str) -> str:
        """A table of a study."""
        return self._at("tables", study, f"{name}.csv")

    def figure(self, study: str, name: str, suffix: str) -> str:
        """A figure of a study, as `.pdf` or `.png`."""
        return self._at("figures", study, f"{name}{suffix}")

    def report(self, study: str) -> str:
        """The page of a study."""
        return self._at("report", study, "index.html")

    def provenance(self, study: str) -> str:
        """The provenance record of a study."""
        return self._at("provenance", f"{study}.json")
