"""What a method needs, and what it can do: stated on its class, read by everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Literal

from annobench.core.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Needs(Spec):
    """What a method cannot do without; a fit that lacks it is recorded as skipped.

    Parameters
    ----------
    cells
        `matrix`, or `none` for a method that uses ids and observations only: its fits never read the expression
        matrix, and its cells have no `X`.
    counts
        Raw counts, not logarithmic values.
    gpu
        A CUDA device.
    query
        The unlabelled test cells while it fits (`context.query`). The run record and the tables show it.
    truth
        The labels of the test cells (`context.truth`); of a control only.
    min_genes
        Genes that training and test cells must share.
    tokens
        The cells as tokens of a checkpoint (`context.tokens`), which the method file names (`checkpoint`).
    """

    cells: Literal["matrix", "none"] = "matrix"
    counts: bool = False
    gpu: bool = False
    query: bool = False
    truth: bool = False
    min_genes: int = 1
    tokens: bool = False


@dataclass(frozen=True, kw_only=True)
class Abilities(Spec):
    """What a method gives, and how it works.

    Parameters
    ----------
    predictions, embedding, expression
        Which of `predict`, `embed` and `predict_expression` it has.
    probabilities
        Predictions hold a probability for every training class.
    closed_labels
        Only labels of the training cells (or `unknown`) are predicted; anything else is a failure.
    gpu
        It runs on a CUDA device where there is one.
    streams
        It takes StoredCells, whose counts stay on disk.
    parallel
        Several processes can train it together; then `load(folder).to(device, threads)` is the trained method.
    one_step
        Training and prediction cannot be told apart: all time counts as training, and it predicts once.
    trains
        It learns from the training cells. One that does not may run where nothing trains (regime `zero_shot`).
    """

    predictions: bool = True
    embedding: bool = False
    expression: bool = False
    probabilities: bool = True
    closed_labels: bool = True
    gpu: bool = False
    streams: bool = False
    parallel: bool = False
    one_step: bool = False
    trains: bool = True


@dataclass(frozen=True)
class MethodFacts:
    """What the class of a method states.

    Parameters
    ----------
    needs, abilities
        The attributes of these names.
    set_by_yaml
        Names of needs and abilities that depend on the parameters, so that a YAML file may state them.
    files
        Paths of files that the method reads, with names of parameters in braces.
    uses
        Fits of other methods that it reads: the name by which it knows them -> the output that they must have left, in
        a tuple where it reads several.
    """

    needs: Needs = Needs()
    abilities: Abilities = Abilities()
    set_by_yaml: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    uses: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)

    def files_of(self, parameters: Mapping[str, object]) -> list[str]:
        """Paths of the files that a method with these parameters reads."""
        return filled(self.files, parameters)


def filled(templates: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """Paths with names of parameters in braces, filled in; one whose parameters are not set is left out."""
    found = []
    for path in templates:
        names = [name for _, name, _, _ in Formatter().parse(path) if name]
        if all(values.get(name) is not None for name in names):
            found.append(path.format_map(values))
    return found
