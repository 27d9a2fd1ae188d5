"""Zero shot: every cell with a known label is tested, none trains; for methods that have learned elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from annobench.config.regimes import Entry, Regime
from annobench.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy import object_
    from numpy.typing import NDArray

    from annobench.core.parquet import Categorical


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Regime):
    """Nothing is drawn: the roles are the same for every seed."""

    LABEL = "zero shot"
    TRAINS = False

    @classmethod
    def check(cls, entry: Entry) -> None:
        """There is no training selection to be balanced."""
        if entry.policy != "none":
            raise ConfigError(
                f"balance.policy: '{entry.policy}' selects training cells, and no cell trains in the regime zero_shot; "
                "leave `balance` out"
            )

    def assign(self, obs: "Mapping[str, Categorical]", seed: int) -> "NDArray[object_]":
        """`test` where the label is known, else `unused`."""
        import numpy as np

        from annobench.ontology import UNKNOWN

        unknown = obs["label_id"] == UNKNOWN
        if unknown.all():
            raise DataError("splits: zero_shot: no cell has a known label, so nothing can be scored; map the labels")
        return np.where(unknown, "unused", "test").astype(object)
