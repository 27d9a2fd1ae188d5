"""What the rules of fit.smk ask for."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from annobench.config.method_facts import Abilities, Needs
from annobench.config.parameters import part_modules
from annobench.config.results import Fit
from annobench.config.uses import reads_several, used_outputs
from annobench.core.codehash import code_hash
from annobench.core.files import expanded, sha256_of
from annobench.core.spec import Params
from annobench.fit.job import Command, FitSettings, Keep, MethodSettings, Use
from annobench.workflow.common import Chapter, Wildcards
from annobench.workflow.resources import HEADROOM_MB, HEADROOM_MINUTES, TABLE_MB_A_MILLION, TABLE_SECONDS_A_MILLION


def _digest(path: Path) -> str:
    """SHA-256 of a file; one that several fits read, and that does not change, is read once."""
    state = path.stat()
    return _digest_of(path, state.st_size, state.st_mtime_ns)


@cache
def _digest_of(path: Path, size: int, changed: int) -> str:
    return sha256_of(path)


class FitRules(Chapter):
    """Inputs, params and resources as functions of wildcards."""

    def inputs(self, wildcards: Wildcards) -> dict[str, list[str]]:
        """Panel, unrelated cells, files of the method, and tokens and fits that it reads, where there are any."""
        records = self.targets.downloads(wildcards.method)
        panel = self.study.split(wildcards.dataset, wildcards.split).genes.panel
        unrelated = self.unrelated(wildcards)
        checkpoint = self.study.methods[wildcards.method]["checkpoint"]
        fit = Fit(wildcards.dataset, wildcards.split, wildcards.method, int(wildcards.seed))
        return {
            "panel": [self.targets.panel(panel)] if panel else [],
            "unrelated": [unrelated] if unrelated else [],
            "unrelated_store": [str(Path(unrelated).with_name("store"))] if unrelated else [],
            "downloads": records,
            "folders": [path.removesuffix(".json") for path in records],
            "tokens": [self.results.tokens(wildcards.dataset, checkpoint)] if checkpoint else [],
            "weights": [self.results.checkpoint(checkpoint)] if checkpoint else [],
            "uses": [self.results.run(used) for used in self.study.fits_used_by(fit)],
        }

    def settings(self, wildcards: Wildcards) -> Params:
        """What a fit uses of a method file and of the study, as params."""
        return self.fit_settings(wildcards).to_params()

    def fit_settings(self, wildcards: Wildcards) -> FitSettings:
        """What a fit uses of a method file and of the study."""
        method, settings = self.study.methods[wildcards.method], self.study.settings
        read, several = used_outputs(method["implementation"]), reads_several(method["implementation"])
        used = MethodSettings(
            implementation=method["implementation"],
            parameters=method["parameters"],
            exec=Command.from_params(method["exec"]) if "exec" in method else None,
            needs=Needs.from_params(method["needs"]),
            abilities=Abilities.from_params(method["abilities"]),
            environment=method["environment"],
            uses={
                role: Use(output=read[role], methods=tuple(names), several=role in several)
                for role, names in method["uses"].items()
            },
        )
        return FitSettings(
            method=used,
            device=settings["device"] if used.uses_gpu else "cpu",
            keep=Keep.from_params(settings["keep"]),
            top_k=settings["top_k"],
            training=self.study.split(wildcards.dataset, wildcards.split).genes.training,
        )

    def code(self, wildcards: Wildcards) -> str:
        """Hash of the code behind a fit, of the method's own modules and parts, and of the files that it names."""
        method = self.study.methods[wildcards.method]
        parts = part_modules(method["implementation"], method["parameters"])
        return self._method_code(method["implementation"], parts, method["files"], wildcards.dataset)

    def _method_code(self, implementation: str, parts: Sequence[str], files: Sequence[str], dataset: str) -> str:
        code = code_hash("annobench.fit.parent", "annobench.fit.child", f"annobench.methods.{implementation}", *parts)
        paths = [self.root / expanded(file.replace("{dataset}", dataset)) for file in files]
        return "-".join([code, *(_digest(path)[:12] if path.is_file() else "missing" for path in paths)])

    def threads(self, wildcards: Wildcards) -> int:
        """Threads of a fit."""
        return int(self.study.methods[wildcards.method]["resources"]["threads"])

    def limit_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory limit (MB) of the fit itself, enforced by its parent process."""
        own = self.study.methods[wildcards.method]["resources"]["memory_mb"]
        return int((own + TABLE_MB_A_MILLION * self._millions(wildcards.dataset)) * attempt)

    def _millions(self, dataset: str) -> float:
        """Million cells of a dataset."""
        return float(self.study.datasets[dataset]["resources"]["cells"] / 1e6)

    def memory_mb(self, wildcards: Wildcards, attempt: int) -> int:
        """Memory (MB) of the job around a fit."""
        return self.limit_mb(wildcards, attempt) + HEADROOM_MB

    def limit_seconds(self, wildcards: Wildcards, attempt: int) -> int:
        """Time limit (seconds) of the fit itself, enforced by its parent process."""
        own = self.study.methods[wildcards.method]["resources"]["minutes"] * 60
        return math.ceil((own + int(TABLE_SECONDS_A_MILLION * self._millions(wildcards.dataset))) * attempt)

    def minutes(self, wildcards: Wildcards, attempt: int) -> int:
        """Minutes of the job around a fit."""
        return math.ceil(self.limit_seconds(wildcards, attempt) / 60) + HEADROOM_MINUTES

    def gpus(self, wildcards: Wildcards) -> int:
        """GPUs that a fit requests on a cluster: if it needs one, or can use one and the study says `device: cuda`."""
        return self._gpus(wildcards, ("cuda",))

    def cuda_jobs(self, wildcards: Wildcards) -> int:
        """GPUs that a fit uses where there are any; `make run` limits their sum to the GPUs of the machine."""
        return self._gpus(wildcards, ("cuda", "auto"))

    def _gpus(self, wildcards: Wildcards, devices: tuple[str, ...]) -> int:
        method = self.study.methods[wildcards.method]
        used = method["needs"]["gpu"] or (method["abilities"]["gpu"] and self.study.settings["device"] in devices)
        return int(method["resources"]["gpus"]) if used else 0

    def environment(self, wildcards: Wildcards) -> str:
        """Conda file of a method."""
        return str(self.root / "envs" / f"{self.study.methods[wildcards.method]['environment']}.yaml")
