"""Versions of what a method ran with, by the conda file of its environment."""

import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from annobench.core.paths import ROOT

_PIN = re.compile(r"^\s*- ([A-Za-z0-9_.-]+) ?==?[0-9]", re.MULTILINE)
_ELSEWHERE = {"pytorch": ["torch"], "py-xgboost": ["xgboost", "xgboost-cpu"]}  # conda's name -> names on PyPI


def versions_of(environment: str) -> dict[str, str]:
    """Version of Python and of every package that envs/<environment>.yaml pins, as far as it is installed here."""
    versions = {"python": platform.python_version()}
    for name in _PIN.findall((ROOT / "envs" / f"{environment}.yaml").read_text(encoding="utf-8")):
        for distribution in _ELSEWHERE.get(name, [name]):
            with suppress(PackageNotFoundError):
                versions[distribution] = version(distribution)
    return versions
