"""Promise: the table of maps names the types that methods give, and leaves cells empty where a method gives none."""

import pandas as pd

from annobench.tables.places import places
from study_files import Context, study


def test_a_method_without_labels_has_no_predicted_types() -> None:
    base = {"dataset": "d", "evaluation": "e", "regime": "r", "x": 0.0, "y": 1.0, "label_id": "A1"}
    given = {"one": "A2", "two": "", "three": "unknown"}
    rows = [base | {"name": name, "cell_id": "c", "predicted": label} for name, label in given.items()]
    context = Context(study())
    context.__dict__["audits"] = {"places": pd.DataFrame(rows)}
    table = places(context).set_index("name")
    assert table.loc["one", "predicted"] == "a two"
    assert pd.isna(table.loc["two", "predicted"])
    assert table.loc["three", "predicted"] == "unknown"
    assert set(table["label"]) == {"a one"}
