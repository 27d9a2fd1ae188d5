"""What is promised: methods that differ in one part or the checkpoint are levels of a factor, with nothing declared."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annobench.config.entities import available
from annobench.config.factors import Level, MethodFactors, Pair, pairs
from annobench.config.method_factors import method_factors
from annobench.core.paths import ROOT
from annobench.workflow.launch import resolve


def study_of(folder: Path, *methods: str, **files: str) -> dict[str, MethodFactors]:
    """The factors of methods of a study with files of its own."""
    (folder / "config" / "methods").mkdir(parents=True)
    for name in ("adapted_lora", "linear_ce"):
        text = (ROOT / "config" / "methods" / f"{name}.yaml").read_text()
        (folder / "config" / "methods" / f"{name}.yaml").write_text(text)
    for name, text in files.items():
        (folder / "config" / "methods" / f"{name}.yaml").write_text(text)
    file = folder / "own.yaml"
    file.write_text(f"study: own\nmethods: [{', '.join(methods)}]\n")
    return method_factors(resolve(str(file)))


def compared(methods: dict[str, MethodFactors]) -> list[tuple[str, str, str, str, str]]:
    """Factor, labels of the levels, methods."""
    return [(one.factor, *(level.label for level in one.levels), *one.methods) for one in pairs(methods)]


LORA = "extends: adapted_lora\nlabel: L\n"


def test_parts_with_their_options_and_checkpoints_are_levels(tmp_path: Path) -> None:
    methods = study_of(
        tmp_path,
        *("oracle", "adapted_lora", "rank", "random", "hce", "knn"),
        rank=LORA + "parameters: {options: {rank: 4, target: all}}\n",
        random=LORA + "checkpoint: scformer_mini_random\n",
        hce=LORA + "parameters: {loss: hce}\n",
    )
    assert list(methods) == ["adapted_lora", "rank", "random", "hce", "knn"]
    base = methods["adapted_lora"].levels
    assert {name: level.name for name, level in base.items()} == {
        "strategy": "lora",
        "loss": "ce",
        "backbone": "scformer_mini",
    }
    assert methods["rank"].levels["strategy"] == Level('lora rank=4 target="all"', "LoRA (rank 4, all)", 1)
    assert methods["knn"] == MethodFactors("knn")
    assert compared(methods) == [
        ("backbone", "scFormer, small", "scFormer, small, random weights", "adapted_lora", "random"),
        ("loss", "CE", "HCE", "adapted_lora", "hce"),
        ("strategy", "LoRA", "LoRA (rank 4, all)", "adapted_lora", "rank"),
    ]


@pytest.mark.parametrize(
    "other",
    [
        "parameters: {loss: hce, class_weights: true}",
        "parameters: {loss: hce, recipe: {steps: 50}}",
        "parameters: {loss: hce, options: {rank: 4}}",
        "parameters: {loss: hce}\ncheckpoint: scformer_mini_random",
        "resources: {memory_mb: 9999}",  # nothing differs: limits are none of what a method computes by
    ],
)
def test_methods_that_differ_in_more_or_in_nothing_are_not_compared(tmp_path: Path, other: str) -> None:
    assert compared(study_of(tmp_path, "adapted_lora", "other", other=f"{LORA}{other}\n")) == []


def test_limits_and_words_do_not_keep_methods_apart(tmp_path: Path) -> None:
    other = LORA + "summary: s\nresources: {memory_mb: 9999}\nparameters: {loss: hce}\n"
    assert len(compared(study_of(tmp_path, "adapted_lora", "other", other=other))) == 1


def test_networks_are_compared_each_with_its_own_kind() -> None:
    methods = method_factors(resolve(None))
    settings = [(one.factor, one.methods, one.setting) for one in pairs(methods)]
    assert settings == [("loss", ("linear_ce", "linear_hce"), "linear"), ("loss", ("mlp_ce", "mlp_hce"), "mlp")]


def test_the_base_is_the_level_of_the_first_method(tmp_path: Path) -> None:
    hce = "extends: linear_ce\nlabel: L\nparameters: {loss: hce}\n"
    (found,) = pairs(study_of(tmp_path / "a", "hce", "linear_ce", hce=hce))
    assert found.methods == ("hce", "linear_ce")
    (found,) = pairs(study_of(tmp_path / "b", "linear_ce", "hce", hce=hce))
    assert found.methods == ("linear_ce", "hce")


def test_annotations_made_elsewhere_are_no_levels_of_their_reader() -> None:
    methods = method_factors(resolve("outside"))
    assert sum(one.implementation == "imported" for one in methods.values()) > 3
    assert compared(methods) == []


def made(**levels: tuple[str, int]) -> MethodFactors:
    return MethodFactors("m", {factor: Level(name, name.upper(), order) for factor, (name, order) in levels.items()})


def test_a_setting_without_the_base_is_compared_from_its_first_level_and_so_are_the_others() -> None:
    methods = {
        "probe": made(strategy=("probe", 0), loss=("ce", 0)),
        "head": made(strategy=("head", 1), loss=("ce", 0)),
        "lora": made(strategy=("lora", 2), loss=("ce", 0)),
        "head_hce": made(strategy=("head", 1), loss=("hce", 1)),
        "lora_hce": made(strategy=("lora", 2), loss=("hce", 1)),
    }
    of_strategy = [(one.methods, one.setting) for one in pairs(methods) if one.factor == "strategy"]
    assert of_strategy == [
        (("probe", "head"), "CE"),
        (("probe", "lora"), "CE"),
        (("head", "lora"), "CE"),  # since the other setting starts from the head
        (("head_hce", "lora_hce"), "HCE"),
    ]
    of_loss = [(one.methods, one.setting) for one in pairs(methods) if one.factor == "loss"]
    assert of_loss == [(("head", "head_hce"), "HEAD"), (("lora", "lora_hce"), "LORA")]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), max_size=8, unique=True),
)
def test_pairs_differ_in_one_factor_and_nobody_is_left_out(chosen: list[tuple[int, int, int]]) -> None:
    methods = {
        f"m{place}": made(a=(f"a{a}", a), b=(f"b{b}", b), c=(f"c{c}", c)) for place, (a, b, c) in enumerate(chosen)
    }
    found = list(pairs(methods))
    for one in found:
        first, second = (methods[name].levels for name in one.methods)
        assert {name for name in first if first[name] != second[name]} == {one.factor}
        assert (first[one.factor], second[one.factor]) == one.levels
        assert one.levels[0].order < one.levels[1].order
    assert len({(one.factor, *one.methods) for one in found}) == len(found)
    for factor, (name, one) in product("abc", methods.items()):
        alike = [other for other in methods.values() if other.without(factor) == one.without(factor)]
        if len(alike) > 1:  # whoever can be compared is
            assert any(name in pair.methods for pair in found if pair.factor == factor)


@pytest.mark.parametrize("name", [None, *available("studies", ROOT)])
def test_every_pair_of_every_study_is_named_for_people(name: str | None) -> None:
    for one in pairs(method_factors(resolve(name))):
        assert isinstance(one, Pair)
        assert all(level.label and "_" not in level.label for level in one.levels)
