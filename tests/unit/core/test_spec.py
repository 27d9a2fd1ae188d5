"""What is promised: a spec travels from a rule to its driver unchanged, and what does not fit is refused by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pytest

from annobench.core.spec import Spec, SpecError


@dataclass(frozen=True)
class Table(Spec):
    file: str
    column: str = "id"


@dataclass(frozen=True)
class Step(Spec):
    names: tuple[str, ...]
    share: float
    filters: Mapping[str, tuple[str | bool | int, ...] | Table]
    most: int | None = None


@dataclass(frozen=True)
class Base(Spec):
    kind: str

    @classmethod
    def variant(cls, params: Mapping[str, Any]) -> type[Self]:
        return {"a": A}[params["kind"]] if cls is Base else cls  # type: ignore[return-value]


@dataclass(frozen=True)
class A(Base):
    path: str


@dataclass(frozen=True)
class Holder(Spec):
    source: Base


STEP = Step(("b", "a"), 0.5, {"z": (True, 1, "x"), "a": Table("t.csv")}, 3)


def test_a_spec_comes_back_as_it_was() -> None:
    assert Step.from_params(STEP.to_params()) == STEP


def test_params_are_sorted_and_plain() -> None:
    params = STEP.to_params()
    assert list(params) == ["filters", "most", "names", "share"]
    assert params["filters"] == {"a": {"column": "id", "file": "t.csv"}, "z": [True, 1, "x"]}
    assert list(params["filters"]) == ["a", "z"]


def test_a_key_with_a_default_may_be_missing() -> None:
    read = Step.from_params({"names": [], "share": 1, "filters": {"a": {"file": "t"}}})
    assert read == Step((), 1.0, {"a": Table("t", "id")}, None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"names": [], "share": 1}, "Step: key 'filters' is missing"),
        ({"names": [], "share": 1, "filters": {}, "mots": 1}, "Step: key 'mots' is unknown"),
        ({"names": "b", "share": 1, "filters": {}}, "Step.names: expected a list, found 'b'"),
        ({"names": [1], "share": 1, "filters": {}}, r"Step.names\[0\]: expected str, found 1"),
        ({"names": [], "share": "1", "filters": {}}, "Step.share: expected float, found '1'"),
        ({"names": [], "share": 1, "filters": {"a": 1.5}}, "Step.filters.a: expected .* or Table, found 1.5"),
        ({"names": [], "share": 1, "filters": {}, "most": "3"}, "Step.most: expected int, found '3'"),
    ],
)
def test_what_does_not_fit_is_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Step.from_params(params)


def test_a_base_is_read_as_the_variant_that_its_params_name() -> None:
    assert Holder.from_params({"source": {"kind": "a", "path": "p"}}) == Holder(A("a", "p"))
    assert Base.from_params({"kind": "a", "path": "p"}) == A("a", "p")
