"""What the rules of splits.smk ask for."""

from annobench.core.codehash import code_hash
from annobench.core.spec import Params
from annobench.splits.spec import BalanceSpec, SplitSpec
from annobench.workflow.common import Chapter, Wildcards


class SplitRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of jobs that read the observations of a dataset and the predictions of a fit."""
        return int((1500 + self.study.datasets[wildcards.dataset]["resources"]["cells"] / 2500) * attempt)

    def split_spec(self, wildcards: Wildcards) -> Params:
        """How the cells of a split get their roles."""
        split = self.study.split(wildcards.dataset, wildcards.split)
        return SplitSpec(split.settings, int(wildcards.seed)).to_params()

    def balance_spec(self, wildcards: Wildcards) -> Params:
        """Which of the training cells of a split are used."""
        split = self.study.split(wildcards.dataset, wildcards.split)
        return BalanceSpec(split.balance, int(wildcards.seed)).to_params()

    def split_code(self, wildcards: Wildcards) -> str:
        """Hash of the code that assigns roles, the regime of the split included."""
        regime = self.study.split(wildcards.dataset, wildcards.split).regime
        return code_hash("split_dataset", f"annobench.splits.regimes.{regime}")
