"""What is promised: the report can say what methods warn of, once for every method and dataset."""

import pandas as pd

from annobench.report.warned import warned
from annobench.tables.runs import COLUMNS

GENES = "the cells have {} of the 1,240 genes of the model"
CLASSES = "3 of 9 classes of the model have no Cell Ontology id (a, b, c), so that {} of 80 cells are `unknown`"
TABLE = pd.DataFrame(
    [
        ("lung", "kfold", "celltypist", CLASSES.format(17), 3, "f"),
        ("lung", "kfold", "celltypist", CLASSES.format(21), 2, "g"),
        ("lung", "kfold", "celltypist", GENES.format(99), 5, "f"),
        ("lung", "holdout", "celltypist", GENES.format(99), 1, "h"),
        ("blood", "kfold", "celltypist", GENES.format(80), 1, "i"),
        ("blood", "kfold", "other", GENES.format(80), 1, "i"),
    ],
    columns=COLUMNS["warnings"],
)


def test_warnings_that_differ_in_numbers_alone_are_one_sentence() -> None:
    assert warned(TABLE, {"celltypist": "CellTypist"}, {"lung": "Human lung"}) == [
        f"CellTypist on Human lung (5 fits): {CLASSES.format(17)}",
        f"CellTypist on Human lung (6 fits): {GENES.format(99)}",
        f"CellTypist on blood (1 fit): {GENES.format(80)}",
        f"other on blood (1 fit): {GENES.format(80)}",
    ]


def test_a_study_without_warnings_has_none() -> None:
    assert warned(pd.DataFrame(columns=COLUMNS["warnings"])) == []
