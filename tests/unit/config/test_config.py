"""What is promised: a wrong configuration never starts, and its message names file, key and nearest valid key."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from annobench.config.entities import available, load_dataset
from annobench.config.schema import load_schema, load_yaml, validate
from annobench.config.split import BalanceSettings, ColumnSettings
from annobench.config.study import load_study, named_study
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.score.spec import ScoreSpec, ViewSpec
from annobench.workflow.fit import FitRules
from annobench.workflow.launch import resolve
from annobench.workflow.score import ScoreRules
from helpers import clone

KEYWORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "oneOf", "anyOf"),
    *(
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "patternProperties",
        "minProperties",
        "items",
        "minItems",
    ),
    *("uniqueItems", "pattern", "minLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("allOf", "if", "then", "not", "dependentRequired", "format", "prefixItems"),
}


def study(**changes: object) -> dict:
    minimal = {"study": "s", "methods": ["knn"], "evaluations": [{"dataset": "simulated_small", "regime": "holdout"}]}
    return minimal | changes


def refused(**changes: object) -> str:
    with pytest.raises(ConfigError) as error:
        load_study(study(**changes), ROOT, "study.yaml")
    return str(error.value)


def test_unknown_key_names_file_key_and_nearest() -> None:
    assert refused(sedes=[1]) == "study.yaml: top level: unknown key 'sedes'; did you mean 'seeds'?"


def test_unknown_key_inside_a_variant_is_explained_by_that_variant() -> None:
    message = refused(evaluations=[{"dataset": "simulated_small", "regime": "kfold", "fold": 5}])
    assert message == "study.yaml: evaluations[0]: unknown key 'fold'; did you mean 'folds'?"


def test_unknown_regime_lists_the_nearest() -> None:
    message = refused(evaluations=[{"dataset": "simulated_small", "regime": "cross_studies"}])
    assert "evaluations[0].regime: 'cross_studies' is not allowed; did you mean 'cross_study'?" in message


def test_missing_regime_is_named() -> None:
    assert "key 'regime' is missing" in refused(evaluations=[{"dataset": "simulated_small"}])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"methods": ["knnn"]}, "no file config/methods/knnn.yaml; did you mean 'knn'?"),
        ({"evaluations": [{"dataset": "pancras", "regime": "kfold"}]}, "did you mean 'pancreas'?"),
        ({"seeds": "1"}, "seeds: expected array, found text ('1')"),
        ({"seeds": []}, "seeds"),
        ({"study": "My Study"}, "study: 'My Study' does not match"),
        ({"on_failure": "ignore"}, "on_failure: 'ignore' is not allowed"),
        ({"statistics": {"confidence": 1.5}}, "statistics.confidence"),
        (
            {"evaluations": [{"dataset": "simulated_small", "regime": "pair"}]},
            "the regimes pair and release go with a dataset that",
        ),
        (
            {"evaluations": [{"dataset": "lung_cross_study", "regime": "kfold"}]},
            "the regimes pair and release go with a dataset that",
        ),
        ({"evaluations": [{"dataset": "pbmc68k", "regime": "cross_study"}]}, "needs `families`"),
        (
            {"evaluations": [{"dataset": "pancreas", "regime": "cross_study", "held_out": ["celseq"]}]},
            "no family 'celseq'; did you mean 'celseq2'?",
        ),
        ({"evaluations": [{"dataset": "simulated_small", "regime": "holdout"}] * 2}, "is listed twice"),
        (
            {"evaluations": [{"dataset": "simulated_small", "regime": "holdout", "balance": {"policy": "cap"}}]},
            "evaluations[0].balance: key 'max_cells' is missing",
        ),
    ],
)
def test_wrong_values_say_what_is_wrong(change: dict, part: str) -> None:
    assert part in refused(**change)


def test_defaults_are_filled_in_at_every_depth() -> None:
    found = load_study(study(), ROOT)
    assert found.settings["statistics"] == {"replicates": 2000, "confidence": 0.95, "min_units": 4}
    split = found.splits["simulated_small", "holdout"]
    assert split.settings.to_params()["test_fraction"] == 0.2
    assert split.balance == BalanceSettings("none")
    assert split.methods == ("oracle", "majority", "random_stratified", "knn")
    assert found.methods["knn"]["parameters"] == {"n_components": 50, "n_genes": 2000, "n_neighbors": 15}


def test_a_given_value_is_kept() -> None:
    found = load_study(study(statistics={"replicates": 300}), ROOT)
    assert found.settings["statistics"]["replicates"] == 300


def test_splits_are_named_after_regime_and_part() -> None:
    entries = [
        {"dataset": "simulated_small", "regime": "kfold", "folds": 2},
        {"dataset": "simulated_small", "regime": "low_label", "fractions": [0.05]},
        {"dataset": "simulated_small", "regime": "cross_study", "held_out": ["study2"]},
        {"dataset": "simulated_small", "regime": "holdout", "group_by": "donor"},
        {"dataset": "simulated_small", "regime": "holdout", "name": "half", "test_fraction": 0.5},
        {"dataset": "simulated_small", "regime": "kfold", "folds": 2, "name": "capped"},
    ]
    names = [split for _, split in load_study(study(evaluations=entries), ROOT).splits]
    assert names == [
        *("kfold_folds2_1", "kfold_folds2_2", "lowlabel_0.05", "crossstudy_study2", "holdout_donor", "half"),
        *("capped_1", "capped_2"),
    ]


def test_entries_that_differ_never_share_a_split() -> None:
    base = {"dataset": "simulated_small", "regime": "holdout"}
    entries = [
        base,
        base | {"group_by": "donor"},
        base | {"val_fraction": 0.3},
        base | {"test_fraction": 0.3},
        base | {"balance": {"policy": "cap", "max_cells": 50}},
        base | {"balance": {"policy": "cap", "max_cells": 50, "min_cells": 5}},
        base | {"balance": {"policy": "cap", "max_cells": 50, "share": "equal", "min_per_source": 3}},
        base | {"balance": {"policy": "cap", "max_cells": 50, "target_proportions": {"CL:0000236": 0.1}}},
        base | {"balance": {"policy": "cap", "max_cells": 50, "target_proportions": {"CL:0000236": 0.2}}},
        base | {"balance": {"policy": "spatialcore", "max_cells": 50}},
        base | {"balance": {"policy": "spatialcore", "max_cells": 50, "min_cells": 5, "min_per_source": 0}},
        base | {"name": "own", "test_fraction": 0.4},
        base | {"regime": "zero_shot", "rollup": "t_cells", "methods": ["celltypist_immune"]},
        {"dataset": "simulated_mixed", "regime": "release", "group_by": None, "multiple": 16, "split_seed": 3},
    ]
    found = load_study(study(evaluations=entries), ROOT).splits.values()
    names = [
        "holdout",
        "holdout_donor",
        "holdout_val0.3",
        "holdout_test0.3",
        "holdout_cap50",
        "holdout_cap50_min5",
        "holdout_cap50_equal_persource3",
        "holdout_cap50_sharesd8a7a4e3",
        "holdout_cap50_sharesf05cbfa5",
        "holdout_spatialcore50",
        "holdout_spatialcore50_min5_persource0",
        "own",
        "zero_shot_rollupt_cells",
        "release_cells_draw3_multiple16_id",
        "release_cells_draw3_multiple16_ood",
    ]
    assert [split.name for split in found] == [split.evaluation for split in found] == names


def test_switches_of_folds_are_part_of_their_names_in_one_order() -> None:
    entry = {"dataset": "simulated_small", "regime": "kfold", "val_fraction": 0.3, "folds": 2, "group_by": "donor"}
    found = load_study(study(evaluations=[entry]), ROOT).splits
    assert [name for _, name in found] == ["kfold_donor_folds2_val0.3_1", "kfold_donor_folds2_val0.3_2"]


def test_one_evaluation_that_stands_twice_is_refused() -> None:
    entry = {"dataset": "simulated_small", "regime": "low_label", "fractions": [0.05]}
    with pytest.raises(ConfigError, match="'low_label' of 'simulated_small' is listed twice"):
        load_study(study(evaluations=[entry, entry | {"fractions": [0.5]}]), ROOT)


@pytest.mark.parametrize("text", ["methods: [knn]\n", "study: quickstart\n"])
def test_a_study_has_the_name_of_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError, match="study: expected 'own', the name of the file"):
        named_study(tmp_path / "own.yaml")


@pytest.mark.parametrize("name", ["config", "dataset", "method", "run"])
def test_schemas_hold_nothing_but_keywords(name: str) -> None:
    def walk(schema: object, names: bool = False) -> None:
        if isinstance(schema, dict):
            if not names:
                assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
            for key, part in schema.items():
                if names or key not in ("default", "const", "enum", "required"):
                    walk(part, names=not names and key in ("properties", "patternProperties", "$defs"))
        elif isinstance(schema, list):
            for part in schema:
                walk(part)

    walk(load_schema(name))


def test_entries_may_have_their_own_seeds_and_methods() -> None:
    entry = {"dataset": "simulated_small", "regime": "holdout", "seeds": [7], "methods": ["nearest_centroid"]}
    fits = list(load_study(study(evaluations=[entry]), ROOT).fits())
    assert {fit.seed for fit in fits} == {7}
    assert [fit.method for fit in fits][-1] == "nearest_centroid"


def test_a_key_that_stands_twice_in_yaml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("study: a\nstudy: b\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: line 2: key 'study' is listed twice"):
        load_yaml(file)


@pytest.mark.parametrize("text", ["- a list\n", "key: [unclosed\n", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load_yaml(file)


def test_methods_refuse_unknown_and_missing_parameters(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    file = repo / "config" / "methods" / "knn.yaml"
    method = yaml.safe_load(file.read_text())
    for change, part in [
        ({"parameters": {"n_neighbours": 3}}, "unknown key 'n_neighbours'; did you mean 'n_neighbors'?"),
        ({"implementation": "knm"}, "did you mean 'knn'?"),
        ({"implementation": "oracle", "parameters": {}}, "only a control may see the labels"),
        ({"needs": {"truth": True}}, "needs: unknown key 'truth'"),
        ({"abilities": {"gpu": True}}, "abilities.gpu: the class in scripts/annobench/methods/knn.py states it"),
        ({"exec": {"command": "true"}}, "`exec` goes with `implementation: exec`"),
        ({"resources": {"memory": 10}}, "unknown key 'memory'; did you mean 'memory_mb'?"),
    ]:
        file.write_text(yaml.safe_dump(method | change))
        with pytest.raises(ConfigError) as error:
            load_study(study(), repo, "study.yaml")
        assert part in str(error.value)


def test_a_pair_must_name_plain_datasets(tmp_path: Path) -> None:
    repo = clone(tmp_path)
    file = repo / "config" / "datasets" / "lung_cross_study.yaml"
    dataset = yaml.safe_load(file.read_text())
    entry = [{"dataset": "lung_cross_study", "regime": "pair"}]
    for pair, part in [
        ({"references": ["lung_cross_study"], "query": "lung_travaglini"}, "is itself a pair"),
        ({"references": ["lung_travaglini"], "query": "lung_travaglini"}, "both reference and query"),
        ({"references": ["lung_travaglin"], "query": "lung_tabula_sapiens"}, "did you mean 'lung_travaglini'?"),
    ]:
        file.write_text(yaml.safe_dump(dataset | {"pair": pair}))
        with pytest.raises(ConfigError) as error:
            load_study(study(evaluations=entry), repo, "study.yaml")
        assert part in str(error.value)


def test_a_dataset_has_a_source_or_a_pair_not_both() -> None:
    dataset = load_yaml(ROOT / "config/datasets/lung_cross_study.yaml")
    both = dataset | {"source": {"kind": "local", "path": "x.h5ad"}}
    with pytest.raises(ConfigError, match="give one of source, pair, combined, not several"):
        validate(both, "dataset", "d.yaml")
    neither = {key: value for key, value in dataset.items() if key != "pair"}
    with pytest.raises(ConfigError, match="key 'source' is missing"):
        validate(neither, "dataset", "d.yaml")


@pytest.mark.parametrize("name", [None, *available("studies", ROOT)])
def test_every_study_of_the_repository_resolves(name: str | None) -> None:
    assert list(resolve(name).fits())


@pytest.mark.parametrize("name", available("datasets", ROOT))
def test_every_dataset_of_the_repository_is_valid(name: str) -> None:
    load_dataset(name, ROOT, "test")


def test_the_default_study_is_large_enough_to_mean_something() -> None:
    found = resolve(None)
    assert len(list(found.fits())) >= 150
    assert set(found.scored_datasets()) == {"pbmc68k", "pancreas"}


def test_parsing_the_workflow_imports_nothing_heavy() -> None:
    code = (
        "import sys; import annobench.workflow.common, annobench.config, annobench.core.codehash;"
        "from annobench.workflow.launch import resolve; resolve(None);"
        "print([m for m in ('numpy', 'pandas', 'anndata', 'torch', 'sklearn', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "scripts", check=True
    )
    assert done.stdout.strip() == "[]"


def test_one_fit_is_scored_on_two_releases_and_by_several_decodings() -> None:
    entry = {"dataset": "simulated_mixed", "regime": "release", "split_seed": 1}
    methods = ["mlp_ce", "mlp_ce.leaf", "linear_hce.top_down"]
    found = load_study(study(methods=methods, evaluations=[entry], controls=[], seeds=[1, 2]), ROOT)
    assert [name for _, name in found.splits] == ["release_draw1_id", "release_draw1_ood"]
    assert [name for _, name in found.fitted_splits] == ["release_draw1"]
    assert list(found.evaluations()) == [("simulated_mixed", name) for _, name in found.splits]
    fits = [(fit.split, fit.method, fit.seed) for fit in found.fits()]
    assert sorted(fits) == [("release_draw1", m, s) for m in ("linear_hce", "mlp_ce") for s in (1, 2)]
    assert len(list(found.views())) == 2 * 3 * 2
    assert found.methods["mlp_ce.leaf"] | {"label": 0, "kind": 0, "decoding": 0} == found.methods["mlp_ce"] | {
        "label": 0,
        "kind": 0,
        "decoding": 0,
    }
    score = ScoreRules(found)
    place = SimpleNamespace(dataset="simulated_mixed", split="release_draw1", method="mlp_ce", seed="2")
    decodings = {"mlp_ce": "argmax", "mlp_ce.leaf": "leaf"}
    assert ScoreSpec.from_params(score.score_spec(place)).views == tuple(
        ViewSpec(split=f"release_draw1_{end}", part=part, methods=decodings)
        for end, part in (("id", "reference"), ("ood", "query"))
    )
    assert score.scored_roles(place) == [
        f"results/splits/simulated_mixed/release_draw1_{part}/seed2.parquet" for part in ("id", "ood")
    ]


def test_decodings_that_are_made_when_a_fit_is_scored() -> None:
    entry = {"dataset": "pbmc68k", "regime": "holdout", "columns": {"clusters": "leiden"}}
    given = {"methods": ["mlp_ce", "knn"], "decodings": ["multilevel", "clusters"], "controls": [], "seeds": [1]}
    options = {"decoding_options": {"multilevel": {"confidence": 0.95}, "clusters": {"min_share": 0.5}}}
    found = load_study(study(evaluations=[entry], **given, **options), ROOT)
    split = next(iter(found.splits.values()))
    assert split.methods == ("mlp_ce", "knn", *(f"{m}.{d}" for m in ("mlp_ce", "knn") for d in given["decodings"]))
    assert found.methods["knn.clusters"]["label"].endswith(", cluster majority decoding")
    score, place = ScoreRules(found), SimpleNamespace(dataset=split.dataset, split=split.name, method="knn", seed="1")
    spec = ScoreSpec.from_params(score.score_spec(place))
    assert spec.decoding_options == options["decoding_options"]
    assert spec.views[0].methods == {"knn": "argmax", "knn.multilevel": "multilevel", "knn.clusters": "clusters"}
    assert "cells" in score.measured_cells(place)
    assert spec.allowed is None
    plain = load_study(study(evaluations=[entry | {"columns": {}}], **given), ROOT)
    plain.datasets[split.dataset]["allowed_labels"] = ["CL:0000084"]
    assert ScoreSpec.from_params(ScoreRules(plain).score_spec(place)).allowed is None  # nothing looks at them
    asks = load_study(study(evaluations=[entry], **given | {"decodings": ["allowed"]}), ROOT)
    asks.datasets[split.dataset]["allowed_labels"] = ["CL:0000084"]
    assert ScoreSpec.from_params(ScoreRules(asks).score_spec(place)).allowed == ("CL:0000084",)
    assert ScoreRules(plain).measured_cells(place) == {}  # a column of obs is enough
    for wrong, message in (
        ({"multilevel": {"confidenc": 0.9}}, "decoding_options.multilevel: there is no option 'confidenc'"),
        ({"multilevel": {"confidence": "high"}}, "decoding_options.multilevel.confidence: expected a number"),
        ({"multi": {}}, "decoding_options: there is no decoding 'multi'"),
    ):
        assert message in refused(decoding_options=wrong)


def test_baselines_are_methods_of_the_study_that_others_can_be_held_against() -> None:
    def scored(*names: str) -> dict:
        return {"baselines": list(names)}

    methods = ["knn", "xgboost"]
    settings = load_study(study(methods=methods, scoring=scored("knn")), ROOT).settings
    assert settings["scoring"]["baselines"] == ["knn"]
    assert load_study(study(methods=methods), ROOT).settings["scoring"]["baselines"] == []
    message = refused(methods=methods, scoring=scored("xgbost"))
    assert "scoring.baselines: 'xgbost' does not run in this study; did you mean 'xgboost'?" in message
    assert "scoring.baselines: 'oracle' is a control, which has no rank" in refused(scoring=scored("oracle"))
    assert "every method is a baseline" in refused(methods=methods, scoring=scored(*methods))


def test_contrasts_are_between_methods_that_run_on_the_same_cells() -> None:
    one = {"name": "gain", "base": "knn", "method": "xgboost"}
    methods = ["knn", "xgboost"]
    assert load_study(study(methods=methods, contrasts=[one]), ROOT).settings["contrasts"] == [one]
    assert "contrasts[0].method: 'xgboost' does not run in this study" in refused(contrasts=[one])
    assert "contrasts[1].name: 'gain' is listed twice" in refused(methods=methods, contrasts=[one, one])
    assert "are both 'knn'" in refused(contrasts=[one | {"method": "knn"}])
    entries = [
        {"dataset": "simulated_small", "regime": r, "methods": [m]}
        for r, m in (("holdout", "knn"), ("kfold", "xgboost"))
    ]
    assert "no evaluation runs both" in refused(methods=methods, contrasts=[one], evaluations=entries)


def test_what_gives_no_probabilities_cannot_be_decoded() -> None:
    assert "'awk_centroid' gives no probabilities" in refused(methods=["awk_centroid.leaf"])
    assert "'knn.leaf.top_down': a fit is decoded once" in refused(methods=["knn.leaf.top_down"])


HCE = [f"hce_{net}_{loss}" for net in ("linear", "mlp", "tabnet") for loss in ("ce", "hce")]
SMALL = [f"{net}_{loss}" for net in ("linear", "mlp", "tabnet") for loss in ("ce", "hce")]
LOSSES = ["ce", "hce", "hce_logsumexp", "label_updating"]


def views_of(names: list[str]) -> list[str]:
    """Both decodings of every method, as studies listed them one by one."""
    return [f"{name}.{decoding}" for name in names for decoding in ("leaf", "top_down")]


@pytest.mark.parametrize(
    ("name", "dataset", "controls", "expected"),
    [
        ("hce", "hce_release", 3, [*HCE, *views_of(HCE)]),
        ("hce_clean", "hce_release_clean", 3, [*HCE[2:4], *views_of(HCE[2:4])]),
        (
            "hce_small",
            "lung_release",
            2,
            [*(f"{net}_{loss}" for net in ("linear", "mlp", "tabnet") for loss in LOSSES), *views_of(SMALL)],
        ),
        ("hce_small", "simulated_mixed", 2, [*SMALL[:4], *views_of(SMALL[:4])]),
        ("hce_small", "simulated_leaves", 2, [*SMALL[:4], *views_of(SMALL[:4])]),
    ],
)
def test_decodings_stand_for_the_views_that_studies_listed(
    name: str, dataset: str, controls: int, expected: list[str]
) -> None:
    splits = [split for split in resolve(name).splits.values() if split.dataset == dataset]
    assert [list(split.methods[controls:]) for split in splits] == [expected, expected]


def test_decodings_are_of_methods_with_probabilities_and_may_differ_between_entries() -> None:
    base = {"dataset": "simulated_small", "regime": "holdout"}
    entries = [
        base,
        base | {"name": "plain", "decodings": []},
        base | {"name": "own", "methods": ["mlp_ce", "mlp_ce.top_down"], "decodings": ["leaf", "top_down"]},
    ]
    found = load_study(study(methods=["knn", "awk_centroid"], decodings=["leaf"], evaluations=entries), ROOT)
    ran = {name: split.methods[3:] for (_, name), split in found.splits.items()}
    assert ran == {
        "holdout": ("knn", "awk_centroid", "knn.leaf"),
        "plain": ("knn", "awk_centroid"),
        "own": ("mlp_ce", "mlp_ce.top_down", "mlp_ce.leaf"),
    }
    assert "decodings[0]: 'leaves' is not allowed; did you mean 'leaf'?" in refused(decodings=["leaves"])


def test_an_entry_names_columns_and_metric_families() -> None:
    base = {"dataset": "simulated_small", "regime": "holdout"}
    entries = [base, base | {"name": "own", "columns": {"batch": "study"}, "metric_families": ["flat"]}]
    whole, own = load_study(study(evaluations=entries), ROOT).splits.values()
    assert (whole.columns, whole.metric_families) == (ColumnSettings("batch", "order", "organism"), None)
    assert (own.columns, own.metric_families) == (ColumnSettings("study", "order", "organism"), ("flat",))
    message = refused(evaluations=[base | {"metric_families": ["flatt"]}])
    assert message == "study.yaml: evaluations[0]: metric_families: there is no family 'flatt'; did you mean 'flat'?"
    message = refused(evaluations=[base | {"columns": {"bach": "study"}}])
    assert message == "study.yaml: evaluations[0].columns: unknown key 'bach'; did you mean 'batch'?"


def test_no_split_takes_the_name_of_one_that_is_only_fitted() -> None:
    fitted, other = ({"dataset": "simulated_mixed", "regime": regime} for regime in ("release", "pair"))
    assert "is listed twice (split 'release')" in refused(evaluations=[fitted, other | {"name": "release"}])


def test_limits_of_a_fit_grow_with_the_table_of_cells() -> None:
    found = load_study(study(evaluations=[{"dataset": "hce_release", "regime": "release"}], methods=["knn"]), ROOT)
    own, millions = found.methods["knn"]["resources"], found.datasets["hce_release"]["resources"]["cells"] / 1e6
    place = SimpleNamespace(dataset="hce_release", split="release", method="knn", seed="1")
    assert FitRules(found).limit_mb(place, 2) == int(2 * (own["memory_mb"] + 150 * millions))
    assert FitRules(found).limit_seconds(place, 1) == own["minutes"] * 60 + int(30 * millions)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_yaml_files_as_editors_save_them(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(end.join(["label: M\u00fcller", "parameters:", "\u00a0 k: 3", ""]).encode(encoding))
    assert load_yaml(file) == {"label": "M\u00fcller", "parameters": {"k": 3}}


def test_yaml_files_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(b"label: \x00\n")
    with pytest.raises(ConfigError, match="m.yaml, line 1: holds a zero character"):
        load_yaml(file)
