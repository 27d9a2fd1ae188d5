"""What the rules of checkpoints.smk ask for: see `annobench.workflow.common`."""

import math
import re

from annobench.config.entities import parts_of
from annobench.core.files import sha256_of
from annobench.data.checkpoints.spec import GENE_TABLES, CheckpointSpec
from annobench.workflow.common import Chapter, Wildcards


class CheckpointRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def fetched(self) -> str:
        """Pattern of the names of checkpoints that are not trained here."""
        return self._named(trained=False)

    def pretrained(self) -> str:
        """Pattern of the names of checkpoints that are trained here."""
        return self._named(trained=True)

    def _named(self, *, trained: bool) -> str:
        kinds = {name: one["source"]["kind"] for name, one in self.study.checkpoints.items()}
        return "|".join(re.escape(name) for name, kind in kinds.items() if (kind == "pretrain") == trained) or "(?!)"

    def _spec(self, wildcards: Wildcards) -> CheckpointSpec:
        return CheckpointSpec.of(self.study.checkpoints[wildcards.checkpoint])

    def spec(self, wildcards: Wildcards) -> dict[str, object]:
        """What making a checkpoint uses of its file."""
        return self._spec(wildcards).to_params()

    def fetch_inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """The checkpoint whose shape another one takes, and files of this machine, so that a change is noticed."""
        like = self.study.checkpoints[wildcards.checkpoint]["source"].get("like")
        return {
            "like": [self.results.checkpoint(like)] if like else [],
            "local": [str(path) for path in self._spec(wildcards).source.files()],
        }

    def local_state(self, wildcards: Wildcards) -> list[list[int]]:
        """Size and time (ns) of the files on this machine: they may be replaced by older ones."""
        states = [path.stat() for path in self._spec(wildcards).source.files()]
        return [[state.st_size, state.st_mtime_ns] for state in states]

    def pretrain_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """The cells that a checkpoint is trained on."""
        dataset = self.study.checkpoints[wildcards.checkpoint]["source"]["dataset"]
        return {
            "cells": self.results.cells(dataset),
            "store": self.results.store(dataset),
            "card": self.results.card(dataset),
        }

    def _resource(self, wildcards: Wildcards, name: str) -> float:
        return float(self.study.checkpoints[wildcards.checkpoint]["resources"][name])

    def threads(self, wildcards: Wildcards) -> int:
        """Threads of a pretraining."""
        return int(self._resource(wildcards, "threads"))

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of making a checkpoint."""
        return int(self._resource(wildcards, "memory_mb") * attempt)

    def minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes of making a checkpoint."""
        return math.ceil(self._resource(wildcards, "minutes") * attempt)

    def token_memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of turning the cells of a dataset into tokens."""
        own = self.study.datasets[wildcards.dataset]["resources"]["memory_mb"]
        return int((own + self._resource(wildcards, "token_memory_mb")) * attempt)

    def token_minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes of turning the cells of a dataset into tokens."""
        return math.ceil(self.study.datasets[wildcards.dataset]["resources"]["minutes"] * attempt)

    def parts(self, wildcards: Wildcards) -> list[str]:
        """The dataset, and those that it is made of: a checkpoint may have seen their cells."""
        return [wildcards.dataset, *parts_of(self.study.datasets[wildcards.dataset])]

    def gene_tables(self) -> list[str]:
        """Hashes of the tables that tell which symbols are of one gene."""
        return [sha256_of(self.root / table)[:12] for table in GENE_TABLES]
