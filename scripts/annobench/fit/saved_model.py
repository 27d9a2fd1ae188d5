"""A model that a fit keeps, with what others need to use it: genes, state of the values, labels, calibration.

Beside what the method itself writes, the folder `model` holds annobench.json, annobench_genes.parquet and, in
annobench_ontology.json, the classes and all types above them, so that it can be moved away from the fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from annobench.core.errors import AnnobenchError, DataError
from annobench.core.files import read_json, sha256_of, write_json
from annobench.core.spec import Spec, SpecError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from annobench.cells.stored_cells import StoredCells
    from annobench.fit.inputs import FitCells
    from annobench.fit.job import FitJob
    from annobench.fit.method import Context
    from annobench.ontology import Ontology

FACTS, GENES, ONTOLOGY = "annobench.json", "annobench_genes.parquet", "annobench_ontology.json"
BESIDE = (FACTS, GENES, ONTOLOGY)  # what a model has beside what the method itself saved
VERSION = 1
_LOOKED_AT = 1000  # training cells from which the scale of logarithmic values is told
_NEAR = 0.01


class NoModelError(AnnobenchError):
    """A folder does not hold a model that can be used."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Spec):
    """What a model was trained on and what it gives.

    Parameters
    ----------
    dataset, split, method, seed
        The fit that kept it.
    implementation
        Name of the class that loads it.
    data_sha256, code
        Hashes of the cells and of the code of the fit.
    matrix
        State of the values of its training cells.
    sums_to_scale
        Whether logarithmic values of a training cell sum to the scale over the genes of the model.
    ontology
        Release of the Cell Ontology.
    classes
        Labels of the training cells.
    labels
        Names of all labels that may be predicted, by id.
    embedding
        Whether the method gives an embedding as well.
    calibration
        State of the calibration (annobench.fit.calibration), fitted on the validation cells; None where there is none.
    versions
        Versions of the libraries of the fit.
    temperature
        What calibrates its probabilities (annobench.fit.temperature); None where there is none.
    cuts
        State of the cuts that were tested on the validation cells (annobench.fit.cuts), of the calibrated confidence;
        None where there is no calibration.
    version
        Version of this format.
    """

    dataset: str
    split: str
    method: str
    seed: int
    implementation: str
    data_sha256: str
    code: str
    matrix: str
    sums_to_scale: bool
    ontology: str
    classes: tuple[str, ...]
    labels: Mapping[str, str]
    embedding: bool
    calibration: Mapping[str, tuple[float, ...]] | None
    versions: Mapping[str, str]
    temperature: float | None = None
    cuts: Mapping[str, tuple[float, ...]] | None = None
    version: int = VERSION


@dataclass(frozen=True)
class SavedModel:
    """A model on disk: its folder, facts and genes (`feature_id`, `feature_name`, indexed by name)."""

    folder: Path
    facts: ModelFacts
    genes: "pd.DataFrame"

    @classmethod
    def open(cls, place: Path) -> "SavedModel":
        """Find the model of a fit; raises NoModelError where there is none that can be used.

        Parameters
        ----------
        place
            Folder of a fit, or its folder `model`.
        """
        if not place.is_dir():
            raise NoModelError(f"{place}: there is no such folder; expected that of a fit, results/fits/.../seed1")
        folder = place if (place / FACTS).is_file() else place / "model"
        for name in (FACTS, GENES):
            if not (folder / name).is_file():
                raise NoModelError(f"{place}: {_why_not(place, folder, name)}")
        facts = read_json(folder / FACTS)
        if facts.get("version") != VERSION:
            raise NoModelError(
                f"{folder / FACTS}: was written in format {facts.get('version')}, expected {VERSION}; fit again"
            )
        try:
            return cls(folder, ModelFacts.from_params(facts), _read_genes(folder / GENES))
        except SpecError as error:
            raise NoModelError(f"{folder / FACTS}: {error}; fit again") from error

    def ontology(self) -> "Ontology":
        """The classes of the model and all types above them; raises NoModelError where an older fit kept none."""
        from annobench.ontology import Ontology

        if not (self.folder / ONTOLOGY).is_file():
            raise NoModelError(
                f"{self.folder}: the model has no {ONTOLOGY}, without which its classes are not related; fit again"
            )
        return Ontology.load(self.folder / ONTOLOGY)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file of the model, by name."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): sha256_of(path) for path in files}

    def __str__(self) -> str:
        return f"{self.facts.method} ({self.facts.dataset}, {self.facts.split}, seed {self.facts.seed})"


def _why_not(place: Path, folder: Path, name: str) -> str:
    run = read_json(place / "run.json") if (place / "run.json").is_file() else None
    if run is not None and run["status"] != "ok":
        return f"the fit has no model: it was {run['status']} ({run['reason']})"
    if not folder.is_dir():
        if run is None:
            return "is not the folder of a fit (it has neither run.json nor model); expected results/fits/.../seed1"
        return (
            "the fit kept no model; set `keep: {model: true}` in its study and fit again, or take another method: an "
            "external command keeps none"
        )
    return f"the model has no {name}, without which its genes and labels are not known; fit again"


def save_facts(folder: Path, facts: ModelFacts, genes: "pd.DataFrame", ontology: "Ontology") -> None:
    """Write what `SavedModel.open` reads into the folder of a model; of the ontology what lies above its classes."""
    from annobench.core.parquet import write_columns

    columns = {"gene": genes.index.to_numpy(dtype=str)}
    columns |= {name: genes[name].to_numpy(dtype=str) for name in ("feature_id", "feature_name")}
    write_columns(folder / GENES, columns)
    ontology.above(facts.classes).save(folder / ONTOLOGY)
    write_json(folder / FACTS, facts.to_params())


def _read_genes(path: Path) -> "pd.DataFrame":
    import pandas as pd

    from annobench.core.parquet import read_columns

    columns = read_columns(path)
    if not {"gene", "feature_id", "feature_name"} <= columns.keys():
        raise DataError(f"{path}: expected the columns gene, feature_id and feature_name; fit again")
    return pd.DataFrame(columns).set_index("gene")


def sums_to_scale(cells: "AnnData | StoredCells") -> bool:
    """Whether logarithmic values of the cells sum to their scale over all genes; false for counts."""
    import numpy as np

    from annobench.cells.expression import linear
    from annobench.cells.matrix import SCALE
    from annobench.cells.stored_cells import is_stored

    state = str(cells.uns["annobench"]["matrix"])
    if is_stored(cells) or state not in SCALE:
        return False
    sums = np.asarray(linear(cells.X[:_LOOKED_AT], state, "float64").sum(axis=1)).ravel()
    sums = sums[sums > 0]
    return bool(len(sums) and (np.abs(sums / SCALE[state] - 1) < _NEAR).all())


def facts_of(job: "FitJob", cells: "FitCells", context: "Context", decisions: Path | None) -> ModelFacts:
    """Facts of the model of a fit.

    Parameters
    ----------
    job, cells, context
        What the fit was made from.
    decisions
        Its decisions.npz, where there is one.
    """
    from annobench.fit.decisions import read_temperature
    from annobench.fit.versions import versions_of

    ontology, identity = context.ontology, job.identity
    possible = set(context.classes)
    if not job.abilities.closed_labels:
        possible |= {label for label in ontology.terms if label in ontology}
    validation = cells.validation
    if decisions is None or validation is None:
        calibration = cuts = None
    else:
        calibration, cuts = calibration_of(decisions, validation.obs["label_id"])
    return ModelFacts(
        dataset=identity.dataset,
        split=identity.split,
        method=identity.method,
        seed=identity.seed,
        implementation=job.method.implementation,
        data_sha256=job.facts.data_sha256,
        code=job.facts.code,
        matrix=str(cells.train.uns["annobench"]["matrix"]),
        sums_to_scale=sums_to_scale(cells.train),
        ontology=ontology.release,
        classes=tuple(context.classes),
        labels={label: ontology.label(label) for label in sorted(possible)},
        embedding=job.abilities.embedding,
        calibration=calibration,
        versions=versions_of(job.method.environment),
        temperature=None if decisions is None else read_temperature(decisions),
        cuts=cuts,
    )


State: TypeAlias = "dict[str, tuple[float, ...]]"


def calibration_of(decisions: Path, labels: "pd.Series") -> "tuple[State | None, State | None]":
    """States of a calibration and of the cuts of its confidence, by the validation cells in decisions.npz.

    Both are None where none has a known label.

    Parameters
    ----------
    decisions
        The file decisions.npz of a fit.
    labels
        Labels of the validation cells, indexed by cell id.
    """
    from annobench.fit.calibration import Platt, strength
    from annobench.fit.cuts import Ladder
    from annobench.fit.decisions import read_decisions
    from annobench.ontology import UNKNOWN

    given = read_decisions(decisions)
    judged = given["part"] == "validation"
    expected = labels.astype(str).reindex(given["cell_ids"][judged]).to_numpy()
    known = expected != UNKNOWN
    if not known.any():
        return None, None
    right = (given["labels"][judged] == expected)[known]
    score = strength(given["decisions"][judged][known])
    calibration = Platt(score, right)
    states = (calibration.state(), Ladder.of(calibration(score), right).state())
    first, second = ({name: tuple(values) for name, values in state.items()} for state in states)
    return first, second
