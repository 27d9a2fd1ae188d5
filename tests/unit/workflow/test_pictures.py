"""What is promised: every picture of docs/ is listed with the command that makes it; none is older than its code."""

import re
from io import BytesIO
from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from annobench.config.figures import figure_facts
from annobench.config.tables import table_facts
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.workflow import pictures as module
from annobench.workflow.launch import resolve
from annobench.workflow.pictures import Picture, pictures, redraw, stamp_of, stamped


def picture_bytes() -> bytes:
    figure = plt.figure(figsize=(1, 1))
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    plt.close(figure)
    return content.getvalue()


def test_every_picture_of_the_docs_is_listed_with_a_command_of_its_study() -> None:
    listed = pictures()
    assert {one.file for one in listed} == {path.name for path in (ROOT / "docs").glob("**/*.png")}
    for one in listed:
        assert one.figure in (resolve(one.study).settings["figures"] or [one.figure])
        run = "make run" + (f" STUDY={one.study}" if one.study != "quickstart" else "")
        assert one.command == f"{run} && make pictures STUDY={one.study}"


def test_every_picture_that_pages_show_is_there() -> None:
    shown = set()
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        shown |= {Path(name).name for name in re.findall(r"!\[[^]]*\]\(([^)]+\.png)\)", page.read_text())}
    assert shown == {one.file for one in pictures()}


@pytest.mark.parametrize("one", pictures(), ids=lambda one: one.file)
def test_no_picture_is_older_than_what_it_shows(one: Picture) -> None:
    assert one.problem() is None, one.problem()


def test_a_stamp_is_read_back_and_changes_no_pixel() -> None:
    plain = picture_bytes()
    marked = stamped(plain, "ranking 0123")
    assert stamp_of(marked) == "ranking 0123"
    assert stamp_of(plain) is None
    before, after = (matplotlib.image.imread(BytesIO(content)) for content in (plain, marked))
    assert np.array_equal(before, after)


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no PNG"):
        stamped(b"<svg>", "x")
    assert stamp_of(b"") is None


def test_a_stamp_follows_the_figure_and_its_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Picture("x.png", "quickstart", "ranking", "make run")
    asked: list[str] = []
    monkeypatch.setattr(module, "code_hash", lambda *names, within: asked.extend([*names, within]) or "0")
    assert one.stamp().startswith("ranking 0")
    assert {"annobench.figures.ranking", "annobench.figures."} <= set(asked)
    for table in figure_facts("ranking").tables:
        assert f"annobench.tables.{table_facts(table).module}" in asked


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Picture:
    """One picture, of the default study, in a folder without results."""
    (tmp_path / "pictures.md").write_text("| `a.png` | `quickstart` | `ranking` | `make run` |\n")
    monkeypatch.setattr(module, "LIST", tmp_path / "pictures.md")
    monkeypatch.chdir(tmp_path)
    return pictures()[0]


def write(listed: Picture, **change: object) -> None:
    """Tables with one method in one evaluation."""
    columns = [name for name in table_facts("ranking").columns if not name.startswith("<")]
    values: dict[str, object] = dict.fromkeys(columns, "x")
    values |= {"dataset": "pbmc68k", "evaluation": "kfold", "method": "mlp_hce", "kind": "method", "label": "MLP"}
    numbers = ("score", "low", "high", "rank", "n_fits", "n_planned", "fit_seconds")
    values |= {name: 0.5 for name in columns if name in numbers}
    for name in figure_facts(listed.figure).tables:
        own = [column for column in table_facts(name).columns if not column.startswith("<")]
        row = {column: values.get(column) for column in own} | (change if name == "ranking" else {})
        path = Path("results") / "tables" / listed.study / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([row]).to_csv(path, index=False)


def test_pictures_are_drawn_from_tables_and_stamped(listed: Picture) -> None:
    assert "is not there; run: make run" in str(listed.problem())
    write(listed)
    assert redraw("quickstart") == 0
    assert listed.problem() is None
    content = listed.path.read_bytes()
    listed.path.write_bytes(content.replace(listed.stamp().encode(), b"ranking older".ljust(len(listed.stamp()))))
    assert "its figure or its tables have changed since it was drawn; run: make run" in str(listed.problem())
    listed.path.write_bytes(picture_bytes())
    assert "it has no stamp; run: make run" in str(listed.problem())


def test_tables_that_are_missing_or_older_are_told(listed: Picture, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"ranking\.csv: is not there; run: make run"):
        redraw("quickstart")
    assert redraw() == 0
    assert "left as it is, since results/tables/quickstart/" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"lists no picture of the study 'quickstar'; did you mean 'quickstart'"):
        redraw("quickstar")
    write(listed)
    path = Path("results/tables/quickstart/ranking.csv")
    path.write_text(path.read_text().replace("evaluation", "task", 1))
    with pytest.raises(ConfigError, match="has other columns than today's code writes; run: make run"):
        redraw("quickstart")
