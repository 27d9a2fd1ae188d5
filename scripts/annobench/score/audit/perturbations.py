"""Controls of predicted expression: predictions of a condition whose worth is known.

- `oracle`: other cells of the same condition, a technical duplicate. Everything is compared with one half of the
  measured cells of a condition, and this control predicts the other half: no method can be expected to do better.
- `control_mean`: the mean of the control cells, that is no effect.
- `perturbed_mean`: the mean effect of the training conditions, the same for every condition.
- `shuffled_conditions`: the other half of the cells of another condition.
- `sign_flipped`: the other half of the cells, with their mean effect turned round.

The last four know nothing of what the condition does, or know it wrong. What methods predict is compared with the same
half of the cells, so that the values here differ a little from those of the table `scores`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from annobench.config.names import CONDITION, SAMPLE
from annobench.core.parquet import NOT_GIVEN, read_columns
from annobench.score.audit.tables import Recorder
from annobench.score.evidence import FitEvidence
from annobench.score.metric import Row
from annobench.score.metrics import perturbation, perturbation_published
from annobench.score.perturbation.compared import Compared
from annobench.score.perturbation.reading import control_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Predicted = Mapping[str, Array]  # condition -> (cells, genes)

FAMILIES = {module.FAMILY.name: module for module in (perturbation, perturbation_published)}


class TrainingCells(NamedTuple):
    """Where the training cells of a split are.

    Parameters
    ----------
    cells, obs
        The dataset.
    roles
        Role of every cell.
    """

    cells: Path
    obs: Path
    roles: Path


def record_perturbations(
    recorder: Recorder,
    evidence: Mapping[str, FitEvidence],
    training: TrainingCells,
    seed: int,
    allowed: Iterable[str] | None = None,
) -> None:
    """Record the metrics of perturbations of methods and controls; nothing where no method predicts expression.

    Parameters
    ----------
    recorder
        Takes the values.
    evidence
        What every method left behind.
    training
        Where the training cells are, from which `perturbed_mean` comes.
    seed
        Of the halves, and of the order of conditions.
    allowed
        Metric families of the evaluation; None for all.
    """
    families = [name for name in FAMILIES if allowed is None or name in set(allowed)]
    having = {name: one for name, one in evidence.items() if "perturbations" in one.has}
    if not having or not families:
        return
    halves: Predicted = {}
    half: Compared | None = None
    for name, one in having.items():
        half, halves = one.perturbations.halved(seed)
        recorder.metrics("method", name, _rows(half, families))
    if half is None or not half.conditions:
        print("no tested condition has two cells, so that controls of perturbations cannot be made", flush=True)
        return
    for name, predicted in controls(half, halves, perturbed_profile(training, half.genes), seed).items():
        recorder.metrics("control", name, _rows(half.with_predictions(predicted), families))


def _rows(compared: Compared, families: Iterable[str]) -> Iterator[Row]:
    for name in families:
        yield from FAMILIES[name].rows(compared)


def controls(
    compared: Compared, others: "Predicted", perturbed_mean: "Array | None", seed: int
) -> "dict[str, dict[str, Array]]":
    """Predictions of all controls that can be made: control -> condition -> (cells, genes).

    Parameters
    ----------
    compared
        The tested conditions, with one half of their cells.
    others
        The other halves.
    perturbed_mean
        (genes,) mean profile of the training conditions; None where nothing is known of any.
    seed
        Of the order of conditions.
    """
    names, none = compared.names, compared.control_mean
    found = {
        "oracle": {name: others[name] for name in names},
        "control_mean": dict.fromkeys(names, none[None]),
        "sign_flipped": {name: others[name] - 2 * (others[name].mean(axis=0) - none) for name in names},
    }
    if perturbed_mean is not None:
        found["perturbed_mean"] = dict.fromkeys(names, perturbed_mean[None])
    if len(names) > 1:  # every condition gets that of its neighbour in a random round
        order = np.random.default_rng([seed, _ROUND]).permutation(len(names))
        after = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
        found["shuffled_conditions"] = {name: others[names[after[i]]] for i, name in enumerate(names)}
    return found


def perturbed_profile(training: TrainingCells, genes: "NDArray[np.object_]") -> "Array | None":
    """Mean log-normalised profile of the perturbed training cells, every condition counting the same.

    None where there are none. Of more than 20,000 cells a sample is read.
    """
    from annobench.cells.expression import log_normalised
    from annobench.cells.stored_cells import read_cells

    conditions = read_columns(training.obs, [CONDITION], categorical=[CONDITION])[CONDITION]
    roles = read_columns(training.roles, ["role"], categorical=["role"])["role"]
    perturbed = ~((conditions == str(control_name(training.cells))) | (conditions == NOT_GIVEN))
    rows = np.flatnonzero(perturbed & (roles == "train"))
    if not len(rows):
        return None
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    values = log_normalised(read_cells(training.cells, rows)[:, list(genes)])
    names = conditions[rows].to_text()
    means = [np.asarray(values[names == name].mean(axis=0, dtype=np.float64)).ravel() for name in sorted(set(names))]
    return np.asarray(np.mean(means, axis=0))


_ROUND = 8  # random stream
