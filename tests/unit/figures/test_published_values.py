"""What is promised: published values have a source, agree with each other, and say what data they are of."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from annobench.config.contrasts import Contrast
from annobench.config.figures import figure_facts, figures
from annobench.config.published import published_datasets, published_files
from annobench.config.study import load_study
from annobench.core.errors import ConfigError, DataError
from annobench.core.paths import ROOT
from annobench.figures.shared.settings import ReleaseMethod
from annobench.tables.published_values import COLUMNS as DECLARED
from annobench.tables.published_values import published_values, read_published_values
from annobench.workflow.figures import FigureRules, other_data, release_settings
from annobench.workflow.tables import TableRules
from annobench.workflow.targets import Targets
from study_files import Context
from study_files import study as tables_study

COLUMNS = DECLARED["published_values"]
FILES = published_files(["hce", "sctab_per_class"], ROOT)
METHODS = ["mlp_ce", "mlp_hce", "mlp_ce.leaf"]


def study(**more: Any) -> Any:
    config = {"study": "s", "methods": METHODS, "evaluations": [{"dataset": "simulated_mixed", "regime": "release"}]}
    return load_study(config | more, ROOT)


def test_class_values_average_to_the_printed_ones() -> None:
    table = pd.concat(map(read_published_values, FILES), ignore_index=True)
    overall = table[(table["level"] == "overall") & (table["metric"] == "ontology_macro_f1") & (table["set"] == "id")]
    per_class = table[(table["level"] == "class") & (table["metric"] == "ontology_f1")]
    classes = pd.read_csv(ROOT / "config" / "classes" / "hce_164.tsv", sep="\t")
    assert set(per_class["group"]) == set(classes["label_id"])
    newer = classes.loc[classes["ood_80"] == 1, "label_id"]
    for model in ("linear", "tabnet", "xgboost"):
        mine = per_class[per_class["model"] == model].set_index("group")["value"]
        assert len(mine) == 164
        printed = overall[(overall["model"] == model) & (overall["label_set"] == "164")]["value"].item()
        assert mine.mean() == pytest.approx(printed, abs=0.001)
        digitised = overall[(overall["model"] == model) & (overall["kind"] == "digitised")]["value"].item()
        assert mine[newer].mean() == pytest.approx(digitised, abs=0.001)


def test_every_value_has_a_source_and_bounds_that_hold_it() -> None:
    table = pd.concat(map(read_published_values, FILES), ignore_index=True)
    assert tuple(table.columns) == COLUMNS
    assert table["source"].str.len().min() > 10
    bounded = table.dropna(subset=["value", "low", "high"])
    assert ((bounded["low"] <= bounded["value"]) & (bounded["value"] <= bounded["high"])).all()
    assert table[["value", "low", "high"]].stack().between(0, 1).all()
    assert published_datasets(FILES) == ["hce_release"]
    gain = table[table["loss"] == "hce-ce"].iloc[0]
    for model in ("linear", "mlp", "tabnet"):  # what is inferred is the sum of what is printed
        of = table[(table["model"] == model) & (table["set"] == "ood")].set_index("loss")
        assert of.loc["hce", "low"] == pytest.approx(of.loc["ce", "value"] + gain["low"])
        assert of.loc["hce", "high"] == pytest.approx(of.loc["ce", "value"] + gain["high"])


def test_no_files_give_a_table_with_its_columns() -> None:
    assert tuple(published_values(Context(tables_study())).columns) == COLUMNS


GOOD = dict(
    zip(COLUMNS, ["d", "id", "80", "mlp", "ce", "m", "overall", "all", "0.5", "", "", "printed", "x"], strict=True)
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"set": "train"}, "set: expected one of id, ood, found 'train' in row 1"),
        ({"kind": "guessed"}, "kind: expected one of printed, digitised, inferred"),
        ({"value": "a half"}, "value: 'a half' in row 1 is not a number"),
        ({"value": ""}, "row 1 has neither a value nor both of low and high"),
        ({"value": "", "low": "0.1"}, "row 1 has neither"),
    ],
)
def test_malformed_files_are_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    pd.DataFrame([GOOD | change]).to_csv(path, sep="\t", index=False)
    with pytest.raises(DataError, match=message):
        read_published_values(path)
    pd.DataFrame([GOOD]).drop(columns="kind").to_csv(path, sep="\t", index=False)
    with pytest.raises(DataError, match="expected the columns"):
        read_published_values(path)


def test_lines_that_begin_with_a_hash_are_remarks_and_others_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    rows = ["# a remark", "\t".join(COLUMNS), "\t".join((GOOD | {"source": "thread #12, Fig. 1"}).values())]
    path.write_text("\n".join(rows) + "\n")
    assert read_published_values(path)["source"].tolist() == ["thread #12, Fig. 1"]


def test_a_file_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"s.yaml: published_values: no file config/published/hcee.tsv.*hce"):
        published_files("hcee", ROOT, "s.yaml")
    with pytest.raises(ConfigError, match="published_values"):
        study(published_values="hcee")
    assert published_files(None, ROOT) == []


def test_settings_say_which_views_methods_and_losses_there_are() -> None:
    one = study(published_values="hce", contrasts=[{"name": "mlp", "base": "mlp_ce", "method": "mlp_hce"}])
    settings = release_settings(one, ROOT)
    views = {(view.dataset, view.evaluation): view.part for view in settings.views}
    assert views == {("simulated_mixed", "release_id"): "id", ("simulated_mixed", "release_ood"): "ood"}
    label = one.methods["mlp_hce"]["label"]
    assert settings.method("mlp_hce") == ReleaseMethod("mlp_hce", label, "method", "mlp", "hce", "HCE", 1)
    assert settings.method("mlp_ce.leaf").decoding == "leaf"
    assert settings.method("oracle").loss is None
    assert settings.contrasts == (Contrast("mlp", "mlp_ce", "mlp_hce"),)
    assert settings.published_datasets == ("hce_release",)
    assert settings.simulated == ("simulated_mixed",)
    lung = study(evaluations=[{"dataset": "lung_release", "regime": "release"}])
    assert release_settings(lung, ROOT).simulated == ()


def test_captions_name_the_data_where_it_is_not_the_papers() -> None:
    one = study(published_values=["hce"])
    label = one.datasets["simulated_mixed"]["label"]
    assert other_data(one, ROOT) == f"Drawn from {label}: not the data of the paper."
    assert other_data(study(), ROOT) == ""
    rules = FigureRules(one)
    assert rules.caption(SimpleNamespace(figure="release_scores")).endswith("not the data of the paper.")
    assert "not the data" not in rules.caption(SimpleNamespace(figure="ranking"))
    assert rules.settings(SimpleNamespace(figure="ranking")).release is None
    assert rules.settings(SimpleNamespace(figure="decoders")).of_release.views
    tables = TableRules(one)
    assert [ROOT / file for file in tables.published_files()] == FILES[:1]
    assert tables.spec(None).published_values == ("config/published/hce.tsv",)


def test_figures_are_asked_for_where_the_study_has_what_they_need() -> None:
    of_release = {name for name in figures() if "release" in figure_facts(name).regimes}
    contrasts = [{"name": "mlp", "base": "mlp_ce", "method": "mlp_hce"}]
    whole = set(Targets(study(published_values="hce", contrasts=contrasts)).figure_names)
    assert of_release <= whole
    assert set(Targets(study(methods=["mlp_ce"])).figure_names) & of_release == {"release_scores"}
    assert "class_published_values" not in Targets(study(contrasts=contrasts)).figure_names
    other = [{"dataset": "simulated_small", "regime": "kfold"}]
    assert not of_release & set(
        Targets(study(evaluations=other, published_values="hce", contrasts=contrasts)).figure_names
    )
    needs = {need for name in of_release for need in figure_facts(name).needs}
    assert needs == {"contrasts", "published_values", "decodings"}
