"""What methods learn of perturbed cells: mean profiles of conditions, and which genes a condition names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from annobench.cells.expression import log_normalised
from annobench.config.names import CONDITION
from annobench.core.errors import DataError, MethodSkipped
from annobench.core.parquet import NOT_GIVEN
from annobench.core.records import lines_of, plain, read_text
from annobench.fit.expression import Expression

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    Array = NDArray[np.float64]

STATE = "log1p_cp10k"  # of all profiles
SHOWN = 5  # conditions that messages name


@dataclass(frozen=True)
class Profiles:
    """Mean log-normalised expression of the training cells by condition.

    Parameters
    ----------
    values
        CSR (cells, genes) of the training cells.
    control
        (cells,) which of them are controls.
    control_mean
        (genes,) their mean.
    names
        The other conditions, sorted.
    means
        (conditions, genes) mean of the cells of each.
    naming
        How conditions name genes.
    """

    values: "csr_matrix"
    control: "NDArray[np.bool_]"
    control_mean: "Array"
    names: list[str]
    means: "Array"
    naming: "Naming"

    @classmethod
    def of(cls, train: "AnnData") -> "Profiles":
        """From training cells.

        Raises
        ------
        MethodSkipped
            Where the dataset declares no perturbation.
        DataError
            Where no training cell is a control.
        """
        facts = train.uns["annobench"]
        if CONDITION not in train.obs or "control" not in facts:
            raise MethodSkipped(
                "the method predicts expression under a condition, and the dataset declares no `perturbation`"
            )
        conditions = train.obs[CONDITION].astype(str).to_numpy(dtype=object)
        control = conditions == str(facts["control"])
        if not control.any():
            raise DataError(
                f"no training cell is a control (condition '{facts['control']}'), from which effects are measured"
            )
        values = log_normalised(train)
        names = sorted(set(conditions) - {str(facts["control"]), NOT_GIVEN})
        means = np.array([mean_of(values[conditions == name]) for name in names]).reshape(len(names), train.n_vars)
        return cls(values, control, mean_of(values[control]), names, means, Naming.of(train))

    @property
    def effects(self) -> "Array":
        """(conditions, genes) differences of means from the controls."""
        return self.means - self.control_mean

    @property
    def mean_effect(self) -> "Array":
        """(genes,) mean of the effects, every condition counting the same. Raises MethodSkipped without conditions."""
        if not self.names:
            raise MethodSkipped("no training cell is perturbed, so no effect can be learned")
        return np.asarray(self.effects.mean(axis=0))


@dataclass(frozen=True)
class Naming:
    """Which genes of the data a condition names.

    Parameters
    ----------
    at
        Symbols and ids of the genes -> position.
    separator
        Text between the genes of a condition.
    no_gene
        Words that stand for no gene.
    """

    at: Mapping[str, int]
    separator: str = "+"
    no_gene: Sequence[str] = ()

    @classmethod
    def of(cls, cells: "AnnData") -> "Naming":
        """From prepared cells."""
        facts = cells.uns["annobench"]
        at: dict[str, int] = {}
        for column in ("feature_id", "feature_name"):
            at |= {str(name): i for i, name in enumerate(cells.var[column]) if str(name)}
        return cls(at, str(facts.get("separator", "+")), [str(word) for word in facts.get("no_gene", [])])

    def words(self, condition: str) -> list[str]:
        """The genes of a condition, whether the data has them or not."""
        parts = [part.strip() for part in condition.split(self.separator)]
        return [part for part in parts if part and part not in self.no_gene]

    def genes(self, condition: str) -> list[int]:
        """Positions of all genes of a condition; empty where the data lacks one of them."""
        words = self.words(condition)
        return [self.at[word] for word in words] if all(word in self.at for word in words) else []


def named(profiles: Profiles, what: str, fewest: int = 2) -> "NDArray[np.intp]":
    """Training conditions whose genes the data has.

    Raises
    ------
    MethodSkipped
        Where there are fewer than `fewest`; `what` says for which the genes are needed.
    """
    known = [i for i, name in enumerate(profiles.names) if profiles.naming.genes(name)]
    if len(known) < fewest:
        unknown = [name for i, name in enumerate(profiles.names) if i not in known]
        raise MethodSkipped(
            f"{what} needs the genes that conditions name, and of {len(profiles.names)} training conditions "
            f"{len(known)} name genes of the data, expected at least {fewest} (not among the genes: "
            f"{', '.join(unknown[:SHOWN])}{', ...' if len(unknown) > SHOWN else ''}); see `separator` and `no_gene` of "
            "the dataset, or run methods that look at no gene"
        )
    return np.array(known, dtype=np.intp)


def gene_components(values: "csr_matrix", n: int, seed: int) -> "Array":
    """Genes in the space of the principal components of their expression over cells, (genes, components).

    Every gene is centred over the cells. Fewer components where cells or genes are fewer.
    """
    from sklearn.decomposition import PCA

    rank = min(n, min(values.shape) - 1)
    genes = np.asarray(values.T.todense(), dtype=np.float64)
    genes -= genes.mean(axis=1, keepdims=True)
    return np.asarray(PCA(rank, svd_solver="arpack", random_state=seed).fit_transform(genes))


def expression_of(query: "AnnData", conditions: Sequence[str], profiles: Mapping[str, "Array"]) -> Expression:
    """The same profile for every cell of a condition: condition -> (genes,)."""
    wanted = np.asarray(conditions, dtype=object)
    values = np.empty((query.n_obs, query.n_vars), dtype=np.float32)
    for name, profile in profiles.items():
        values[wanted == name] = np.maximum(profile, 0)  # expression is not negative
    return Expression(query.obs_names.to_numpy(dtype=object), wanted, values, STATE)


def mean_of(values: "csr_matrix") -> "Array":
    """Mean over cells, (genes,)."""
    return np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()


def listed(names: Sequence[str]) -> tuple[str, ...]:
    """The first names, for run records."""
    return tuple(names[:SHOWN])


def located_sets(path: Path) -> dict[str, set[str]]:
    """Gene sets of a GMT file: name -> symbols. Raises DataError for a line that is not one."""
    sets: dict[str, set[str]] = {}
    for number, line in enumerate(lines_of(read_text(path)), 1):
        fields = [plain(field) for field in line.split("\t")]
        if not line.strip():
            continue
        if len(fields) < 3 or fields[0] in sets:
            what = "is listed twice" if fields[0] in sets else "has no genes"
            raise DataError(
                f"{path}, line {number}: the gene set '{fields[0]}' {what}; expected a name, a description and genes, "
                "separated by tabs"
            )
        sets[fields[0]] = {field for field in fields[2:] if field}
    if not sets:
        raise DataError(f"{path}: holds no gene set")
    return sets
