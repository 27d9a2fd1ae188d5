"""What is promised: what tables need to know of a study travels from the rule to the driver without a loss."""

import json

import pytest

from annobench.config.entities import available
from annobench.config.published import published_files
from annobench.core.paths import ROOT
from annobench.tables.shared.spec import ScoredSplit, TablesSpec
from annobench.workflow.launch import resolve
from annobench.workflow.tables import TableRules

STUDIES = [None, *available("studies", ROOT)]


@pytest.mark.parametrize("name", STUDIES)
def test_the_spec_of_every_study_is_read_as_it_was_written(name: str | None) -> None:
    rules = TableRules(resolve(name))
    spec, params = rules.spec(None), rules.params(None)
    text = json.dumps(params, sort_keys=True)
    assert text == json.dumps(params)  # mappings are sorted: the order of keys in a YAML file reruns nothing
    assert TablesSpec.from_params(json.loads(text)).to_params() == params
    assert str(ROOT) not in text
    study = rules.study
    assert [split.split for split in spec.splits] == [split.name for split in study.splits.values()]
    assert set(spec.method_names) == {n for n in study.shown_methods() if study.methods[n]["kind"] == "method"}
    assert {place[:2] for place in spec.evaluations} == set(study.evaluations())
    files = [*spec.published_values, *([spec.published.table] if spec.published else [])]
    assert all((ROOT / file).is_file() for file in files)
    assert {ROOT / file for file in files} == {ROOT / file for file in rules.published_files()}


def split_of(name: str, split: str) -> ScoredSplit:
    return next(one for one in TableRules(resolve(name)).spec(None).splits if one.split == split)


def test_what_tells_splits_apart_is_no_difference_of_their_evaluations() -> None:
    first, second = split_of("full", "kfold_1"), split_of("full", "kfold_2")
    assert (first.within_evaluation, second.within_evaluation) == ({"fold": 1}, {"fold": 2})
    assert first.other_settings == second.other_settings


def test_evaluations_that_are_rolled_up_differ_in_more_than_a_factor() -> None:
    spec = TableRules(resolve("spatial")).spec(None)
    rolled = {split.evaluation: split for split in spec.splits if split.rollup}
    plain = {split.evaluation: split for split in spec.splits if not split.rollup}
    assert rolled
    assert plain
    assert not {split.other_settings for split in rolled.values()} & {s.other_settings for s in plain.values()}
    assert spec.merge is not None
    assert spec.published is not None
    assert spec.published.table == published_files("spatialcore", ROOT)[0].relative_to(ROOT).as_posix()
