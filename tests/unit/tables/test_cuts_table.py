"""What is promised: the table of cuts says what each fit's cut holds, and counts the fits without one."""

from pathlib import Path

import pandas as pd

from annobench.score.score_tables import COLUMNS
from study_files import Context, fit_files, split, study


def test_means_over_fits_and_fits_without_a_cut(tmp_path: Path) -> None:
    given = split(methods=("m",), seeds=(1, 2))
    place = {"evaluation": "holdout", "regime": "holdout", "split": "s", "method": "m"}
    fits = [fit_files(tmp_path, f"seed{seed}", seed=seed, **place) for seed in (1, 2)]
    values = {
        1: {
            ("cut_confidence", "-"): 0.8,
            ("cut_kept", "-"): 0.6,
            ("cut_error", "-"): 0.04,
            ("cut_accepted", "noise"): 0.1,
        },
        2: {("cut_kept", "-"): 0.0, ("cut_accepted", "noise"): 0.0, ("conformal_size", "-"): 1.5},
    }
    rows = [
        ("d", "s", "m", seed, "ok", "cuts", metric, variant, "error", "0.05", value, 10)
        for seed, of in values.items()
        for (metric, variant), value in of.items()
    ]
    rows.append(("d", "s", "m", 1, "ok", "flat", "accuracy", "-", "overall", "all", 0.9, 10))
    context = Context(study(given, methods=["m"]), fits).having(scores=pd.DataFrame(rows, columns=COLUMNS))
    table = context.table("cuts")
    assert len(table) == 1
    found = table.iloc[0]
    assert (found["wanted_error"], found["cut"], found["kept"], found["error"]) == (0.05, 0.8, 0.3, 0.04)
    assert (found["accepted_noise"], found["set_size"], found["error_highest"]) == (0.05, 1.5, 0.04)
    assert (found["n_with_cut"], found["n_fits"]) == (1, 2)
    assert pd.isna(found["accepted_unrelated_tissue"])
