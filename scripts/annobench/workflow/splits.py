"""What the rules of splits.smk ask for."""

from typing import Any

from annobench.workflow.common import Chapter, canonical


class SplitRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Memory (MB) of jobs that read the observations of a dataset and the predictions of a fit."""
        return int((1500 + self.study.datasets[wildcards.dataset]["resources"]["cells"] / 2500) * attempt)

    def split_spec(self, wildcards: Any) -> str:
        """The resolved entry of `evaluations` behind a split."""
        split = self.study.split(wildcards.dataset, wildcards.split)
        return canonical({"regime": split.regime, **split.settings})

    def balance_policy(self, wildcards: Any) -> str:
        """The balance policy of a split."""
        return canonical(self.study.split(wildcards.dataset, wildcards.split).balance.to_params())
