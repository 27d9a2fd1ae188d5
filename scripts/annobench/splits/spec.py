"""What the steps of this chapter are told: written by the rules into their params, read by the drivers.

Imported while the Snakefile is parsed: the standard library and light modules only.
"""

from dataclasses import dataclass

from annobench.config.regimes import Regime
from annobench.config.split import BalanceSettings
from annobench.core.spec import Spec


@dataclass(frozen=True)
class SplitSpec(Spec):
    """How the cells of one split get their roles.

    Attributes
    ----------
    settings
        The regime, with what it needs to know of this split.
    seed
        Decides every draw.
    """

    settings: Regime
    seed: int


@dataclass(frozen=True)
class BalanceSpec(Spec):
    """Which of the training cells of one split are used.

    Attributes
    ----------
    settings
        The policy.
    seed
        Decides which cells of a class are drawn.
    """

    settings: BalanceSettings
    seed: int
