"""What is promised: a change reruns exactly what it touches."""

from collections.abc import Callable

import pytest
import yaml

from repo import Repo

pytestmark = pytest.mark.xdist_group("finished")
AFTER_FITS = {"aggregate_scores": 1, "plot_figure": 2, "write_provenance": 1, "render_report": 1}
Keep = Callable[..., None]


def test_nothing_changed(finished: Repo) -> None:
    assert finished.jobs() == {}


def test_a_figure_redraws_itself_only(finished: Repo, restored: Keep) -> None:
    restored("scripts/annobench/figures/ranking.py")
    finished.edit("scripts/annobench/figures/ranking.py", "size=5", "size=6")
    assert finished.jobs() == {"plot_figure": 1, "render_report": 1}


def test_the_style_redraws_all_figures_and_refits_nothing(finished: Repo, restored: Keep) -> None:
    restored("scripts/annobench/figures/shared/style.py")
    finished.edit("scripts/annobench/figures/shared/style.py", '"font.size": 9', '"font.size": 10')
    assert finished.jobs() == {"plot_figure": 2, "render_report": 1}


def test_comments_and_docstrings_rerun_nothing(finished: Repo, restored: Keep) -> None:
    files = [
        "scripts/annobench/splits/roles.py",
        "scripts/annobench/methods/shared/features.py",
        "scripts/annobench/fit/child.py",
    ]
    restored(*files)
    for file in files:
        text = (finished.folder / file).read_text()
        (finished.folder / file).write_text(text.replace('"""', '"""Other words. ', 1) + "\n# a comment\n")
    assert finished.jobs() == {}


def test_a_parameter_of_one_method_refits_that_method_only(finished: Repo, restored: Keep) -> None:
    restored("config/methods/logistic_regression.yaml")
    file = finished.folder / "config/methods/logistic_regression.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"parameters": {"C": 0.5}}))
    assert finished.jobs() == {"fit_method": 1, "score_fit": 1, "audit_evaluation": 1, **AFTER_FITS}


def test_limits_labels_and_the_order_of_keys_refit_nothing(finished: Repo, restored: Keep) -> None:
    restored("config/methods/logistic_regression.yaml")
    file = finished.folder / "config/methods/logistic_regression.yaml"
    method = yaml.safe_load(file.read_text())
    method["resources"]["memory_mb"] = 2500
    method["estimate"]["seconds"] = 9
    method["parameters"] = {"max_iter": 1000, "C": 1.0}  # the defaults, in another order
    file.write_text(yaml.safe_dump(dict(reversed(method.items())), sort_keys=False))
    assert "fit_method" not in finished.jobs()


def test_the_code_of_one_method_refits_that_method_only(finished: Repo, restored: Keep) -> None:
    restored("scripts/annobench/methods/nearest_centroid.py")
    finished.edit("scripts/annobench/methods/nearest_centroid.py", "np.zeros((cells", "0.0 * np.ones((cells")
    jobs = finished.jobs()
    assert jobs["fit_method"] == jobs["score_fit"] == 1


def test_a_metric_rescores_and_refits_nothing(finished: Repo, restored: Keep) -> None:
    file = (
        "scripts/annobench/score/metrics/topk.py"  # those of all families count: see tests/unit/core/test_codehash.py
    )
    restored(file)
    finished.edit(file, '"""\n\n', '"""\n\nADDED = 1\n', once=True)
    jobs = finished.jobs()
    assert "fit_method" not in jobs
    assert jobs["score_fit"] == 3


def test_words_and_versions_refit_nothing(finished: Repo, restored: Keep) -> None:
    restored(
        "scripts/annobench/__init__.py", "scripts/annobench/core/errors.py", "config/datasets/simulated_small.yaml"
    )
    finished.edit("scripts/annobench/__init__.py", "__version__ = ", '__version__ = "9" + ')
    finished.edit("scripts/annobench/core/errors.py", "; did you mean", "; perhaps")
    finished.edit("config/datasets/simulated_small.yaml", "citation: ", "citation: As said by ")
    assert set(finished.jobs()) == {"render_report", "write_provenance"}


def test_statistics_make_new_tables_only(finished: Repo, restored: Keep) -> None:
    restored("config/studies/tiny.yaml")
    finished.study("tiny", statistics={"replicates": 200})
    assert finished.jobs() == AFTER_FITS


def test_another_study_reuses_the_fits(finished: Repo) -> None:
    finished.study("second", title="other words", figures=["ranking"])
    assert finished.jobs("second") == AFTER_FITS | {"plot_figure": 1, "audit_evaluation": 1}


def test_a_new_method_fits_itself_only_and_runs_as_it_is_written(finished: Repo, restored: Keep) -> None:
    from helpers import annobench

    restored("config/studies/tiny.yaml")
    done = annobench(finished.folder, "new-method", "my_first")
    assert done.stdout.splitlines() == [
        "wrote scripts/annobench/methods/my_first.py",
        "wrote config/methods/my_first.yaml",
    ]
    finished.study("tiny", methods=["nearest_centroid", "logistic_regression", "my_first"])
    jobs = finished.jobs()
    assert jobs["fit_method"] == jobs["score_fit"] == 1
    finished.run()
    scores = {row["method"]: float(row["score"]) for row in finished.table("ranking") if row["dataset"] != "all"}
    assert scores["my_first"] > 0.8
    again = annobench(finished.folder, "new-method", "my_first")
    assert again.returncode == 2
    assert "exists already; choose another name" in again.stderr
    bad = annobench(finished.folder, "new-method", "My-Method")
    assert "'My-Method' does not match" in bad.stderr


def test_a_new_dataset_is_valid_as_it_is_written(finished: Repo) -> None:
    from helpers import annobench

    assert annobench(finished.folder, "new-dataset", "mine").stdout == "wrote config/datasets/mine.yaml\n"
    finished.study("with_mine", evaluations=[{"dataset": "mine", "regime": "holdout"}])
    assert finished.jobs("with_mine")["fit_method"] == 3


def test_deleting_a_result_makes_it_again(finished: Repo) -> None:
    finished.run()  # whatever other tests left to do
    (finished.folder / "results" / "figures" / "tiny" / "ranking.pdf").unlink()
    assert finished.jobs() == {"plot_figure": 1, "render_report": 1}
    finished.run()


def test_a_large_study_is_planned_without_running(finished: Repo) -> None:
    folds = [
        {"dataset": "simulated_small", "regime": "kfold", "folds": 10, "name": f"part{part}", "seeds": [1, 2, 3, 4, 5]}
        for part in range(10)
    ]
    finished.study("large", evaluations=folds)
    assert finished.jobs("large")["fit_method"] == 1500
