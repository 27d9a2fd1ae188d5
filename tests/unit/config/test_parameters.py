"""What is promised: parameters are checked before anything runs, without importing a method."""

import json
import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from annobench.config.entities import available, load_method
from annobench.config.losses import losses
from annobench.config.parameters import declared, part_modules, parts, resolve_parameters
from annobench.config.plugins import implementations
from annobench.core.errors import ConfigError
from annobench.core.paths import LIBRARY, ROOT, SCRIPTS
from annobench.fit.registry import load_class


def resolved(implementation: str, given: dict) -> dict:
    return resolve_parameters(implementation, given, lambda *keys: "m.yaml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recipe": {"epoch": 5}}, "parameters.recipe: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"recipe": 5}, "parameters.recipe: expected a mapping, found a number (5)"),
        ({"recipe": None}, "parameters.recipe: expected a mapping, found nothing (None)"),
        ({"recipe": {"epochs": "many"}}, "parameters.recipe.epochs: expected a whole number, found text ('many')"),
        ({"recipe": {"epochs": 1.5}}, "parameters.recipe.epochs: expected a whole number, found a number (1.5)"),
        ({"recipe": {"epochs": True}}, "parameters.recipe.epochs: expected a whole number, found true/false (True)"),
        (
            {"recipe": {"learning_rate": "1e-4"}},
            "parameters.recipe.learning_rate: expected a number, found text ('1e-4'); YAML reads this as text, write "
            "1.0e-4",
        ),
        (
            {"recipe": {"selection": "macro_f2"}},
            "parameters.recipe.selection: 'macro_f2' is not allowed; did you mean 'macro_f1'?",
        ),
        ({"recipe": {"drop_last": 1}}, "parameters.recipe.drop_last: expected true or false, found a number (1)"),
        ({"epochs": 5}, "parameters: unknown key 'epochs'"),
        ({"n_genes": "all"}, "parameters.n_genes: expected a whole number or null, found text ('all')"),
        ({"class_weights": "yes"}, "parameters.class_weights: expected true or false or sampling, found text ('yes')"),
        (
            {"loss": "hse"},
            "parameters.loss: there is no file scripts/annobench/methods/torch/losses/hse.py; did you mean 'hce'?",
        ),
    ],
)
def test_wrong_parameters_of_a_network(given: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolved("linear", given)
    assert str(error.value).startswith(f"m.yaml: {message}")


def test_a_recipe_is_merged_over_that_of_the_network() -> None:
    plain = resolved("linear", {})["recipe"]
    assert plain == {
        **{"batch_size": 128, "clip": 1.0, "decay": 0.9, "drop_last": False, "epochs": 50, "learning_rate": 5e-4},
        **{"min_steps": 1000, "patience": 10, "precision": "auto", "selection": "macro_f1", "weight_decay": 0.01},
    }
    assert list(plain) == sorted(plain)
    changed = resolved("linear", {"recipe": {"epochs": 2, "clip": 3}})["recipe"]
    assert changed == plain | {"epochs": 2, "clip": 3}


@pytest.mark.parametrize("name", ["linear", "mlp", "tabnet"])
def test_what_is_read_is_what_the_class_does(name: str) -> None:
    """The defaults without import are those of the object; a recipe in full makes the same recipe."""
    kind, found = load_class(name), resolved(name, {})
    assert asdict(kind().recipe) == found["recipe"]
    assert kind(**found).recipe == kind().recipe
    recipe = declared(name)["recipe"].fields
    assert recipe is not None
    assert list(recipe) == [field.name for field in fields(kind().recipe)]


@pytest.mark.parametrize("name", implementations())
def test_every_default_is_of_its_type(name: str) -> None:
    defaults = {key: one.default for key, one in declared(name).items() if not one.required}
    required = {key: "x" for key, one in declared(name).items() if one.required}
    assert resolved(name, defaults | required) == resolved(name, required)


@pytest.mark.parametrize("name", [name for name in implementations() if parts(name)])
def test_parts_lie_where_the_class_says(name: str) -> None:
    for folder in parts(name).values():
        assert (LIBRARY / folder).is_dir()


def test_the_parts_of_a_method_are_modules() -> None:
    parameters = load_method("mlp_hce", ROOT, "")["parameters"]
    assert part_modules("mlp", parameters) == ["annobench.methods.torch.losses.hce"]
    assert part_modules("knn", load_method("knn", ROOT, "")["parameters"]) == []


def test_losses_say_their_labels_without_torch() -> None:
    assert [(loss.name, loss.label, loss.hierarchical) for loss in losses().values()] == [
        ("ce", "CE", False),
        ("hce", "HCE", True),
        ("hce_logsumexp", "HCE, log-sum-exp", True),
        ("label_updating", "label updating", True),
    ]
    assert [loss.order for loss in losses().values()] == [0, 1, 2, 3]


def test_reading_methods_and_losses_imports_nothing_heavy() -> None:
    code = (
        "import sys; from annobench.config.entities import load_method; from annobench.core.paths import ROOT; "
        "from annobench.config.losses import losses; losses(); load_method('hce_tabnet_hce', ROOT, ''); "
        "print(sorted({'numpy', 'torch', 'annobench.methods'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPTS, check=True)
    assert done.stdout.strip() == "[]"


def test_the_networks_are_what_they_were() -> None:
    """Resolved from five lines each, they are what 24 whole files said: frozen when these were replaced."""
    frozen = json.loads((ROOT / "tests" / "data" / "networks.json").read_text())
    seen = set()
    for name in available("methods", ROOT):
        model, _, loss = name.removeprefix("hce_").partition("_")
        base = f"hce_{model}" if name.startswith("hce_") else model
        if base not in frozen:
            continue
        seen.add(base)
        method = load_method(name, ROOT, "")
        parameters = dict(method["parameters"])
        recipe = parameters.pop("recipe")
        assert parameters.pop("loss") == loss
        assert (recipe.pop("decay"), recipe.pop("clip")) == (0.9, 1.0)
        assert parameters | recipe == frozen[base]["parameters"], name
        assert {key: method[key] for key in frozen[base]} | {"parameters": 0} == frozen[base] | {"parameters": 0}, name
        assert method["label"].startswith(load_method(f"{base}_ce", ROOT, "")["label"].split(",")[0])
    assert seen == set(frozen)
