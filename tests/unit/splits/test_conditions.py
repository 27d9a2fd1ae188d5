"""What is promised: conditions are tested whole, controls always train, and what cannot be is said."""

from typing import Any

import numpy as np
import pytest

from annobench.config.regimes import Entry, Regime, regime_class
from annobench.core.errors import ConfigError, DataError
from annobench.splits.roles import assign_roles, check_roles
from annobench.splits.spec import SplitSpec

NAMES = ["none", "unknown", *"abcde"]
CONDITIONS = np.repeat(np.array(NAMES, dtype=object), 4)
OBS = {"label_id": np.full(len(CONDITIONS), "CL:1", dtype=object), "condition": CONDITIONS}


def settings(**changes: Any) -> list[Regime]:
    own = {"folds": 2, "val_fraction": 0} | changes
    entry = Entry("d", {}, "none", own, control="none")
    regime = regime_class("conditions")
    regime.check(entry)
    shared = {key: value for key, value in own.items() if key not in regime.LISTS}
    return [Regime.from_params({"regime": "conditions", **shared, **part.settings}) for part in regime.expand(entry)]


def test_every_condition_is_tested_once_and_one_label_is_enough() -> None:
    tested = []
    for one in settings():
        roles = assign_roles(OBS, SplitSpec(one, 3))
        assert set(roles[CONDITIONS == "none"]) == {"train"}
        assert set(roles[CONDITIONS == "unknown"]) == {"unused"}  # it could be any of those that are tested
        tested += sorted(set(CONDITIONS[roles == "test"]))
        assert not set(CONDITIONS[roles == "test"]) & set(CONDITIONS[roles == "train"])
    assert sorted(tested) == list("abcde")


def test_named_conditions_are_tested_in_one_split() -> None:
    (one,) = settings(held_out=["b", "d"])
    roles = assign_roles(OBS, SplitSpec(one, 1))
    assert set(CONDITIONS[roles == "test"]) == {"b", "d"}
    assert one.label() == "b, d"


def test_folds_depend_on_the_seed_and_repeat() -> None:
    one = settings()[0]
    drawn = [tuple(assign_roles(OBS, SplitSpec(one, seed))) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("changes", "conditions", "message"),
    [
        ({"held_out": ["bb"]}, CONDITIONS, r"held_out: no cell has 'bb'"),
        ({"folds": 9}, CONDITIONS, "5 conditions beside the control for 9 folds; use fewer"),
        (
            {},
            np.where(CONDITIONS == "none", "nome", CONDITIONS),
            r"no cell is a control \('none'\); did you mean 'nome'",
        ),
    ],
)
def test_what_the_data_cannot_give_is_refused(changes: dict[str, Any], conditions: Any, message: str) -> None:
    obs = OBS | {"condition": conditions}
    with pytest.raises(DataError, match=message):
        assign_roles(obs, SplitSpec(settings(**changes)[0], 1))


def test_leaks_and_controls_without_training_cells_are_found() -> None:
    (one,) = settings(held_out=["b"])
    roles = assign_roles(OBS, SplitSpec(one, 1))
    leaking = roles.copy()
    leaking[np.flatnonzero(CONDITIONS == "b")[0]] = "train"
    with pytest.raises(DataError, match="condition 'b' has cells on the training side and on the test side"):
        check_roles(OBS, leaking, one)
    roles[CONDITIONS == "none"] = "unused"
    with pytest.raises(DataError, match=r"no control cell \('none'\) is on the training side"):
        check_roles(OBS, roles, one)


def test_the_dataset_must_say_what_the_control_is() -> None:
    regime = regime_class("conditions")
    with pytest.raises(ConfigError, match="needs `perturbation` in config/datasets/d.yaml"):
        regime.check(Entry("d", {}, "none", {"folds": 2}))
    with pytest.raises(ConfigError, match="held_out: 'none' is the control of 'd'"):
        settings(held_out=["none"])
