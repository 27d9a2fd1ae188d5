"""Contrasts: pairs of methods whose difference a study asks for; tables and figures read them."""

from dataclasses import dataclass

from annobench.core.spec import Spec


@dataclass(frozen=True)
class Contrast(Spec):
    """Two methods whose difference is set out: `method` minus `base`."""

    name: str
    base: str
    method: str
