"""What is promised: a table is one file that says what it is, and holds exactly the columns that it declares."""

import ast
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from annobench.config.plugins import plugin_path, plugins
from annobench.config.results import AUDIT, Results
from annobench.config.tables import table_facts, tables
from annobench.core.errors import AnnobenchError, ConfigError
from annobench.core.paths import LIBRARY
from annobench.tables.shared import context as context_module
from annobench.tables.shared.build import write_tables
from annobench.tables.shared.columns import MEANINGS, matches
from annobench.tables.shared.context import TableContext, builder_of
from helpers import clone, toy_ontology
from study_files import Context, study, whole_study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """All tables of a study, as they are read from their files."""
    folder = tmp_path_factory.mktemp("study")
    context = TableContext(whole_study(folder), Results(folder), toy_ontology(), folder)
    outputs = {name: folder / "tables" / f"{name}.csv" for name in tables()}
    write_tables(context, outputs)
    return {name: pd.read_csv(path) for name, path in outputs.items()}


@pytest.mark.parametrize("name", tables())
def test_a_table_has_rows_and_exactly_its_declared_columns(name: str, written: dict[str, pd.DataFrame]) -> None:
    assert len(written[name])
    assert matches(list(written[name].columns), list(table_facts(name).columns))


@pytest.mark.parametrize("name", tables())
def test_a_table_without_rows_has_its_columns_all_the_same(name: str) -> None:
    made = Context(study())
    made.audits = dict.fromkeys(AUDIT, pd.DataFrame())
    table = made.table(name)
    assert table.empty
    assert matches(list(table.columns), list(table_facts(name).columns))


@pytest.mark.parametrize("name", tables())
def test_a_table_says_what_it_and_its_columns_hold(name: str) -> None:
    facts = table_facts(name)
    assert facts.meaning.endswith(".")
    assert all(meaning.endswith(".") and meaning[0] in meaning[0].upper() + "`" for meaning in facts.columns.values())
    assert callable(builder_of(name))
    assert builder_of(name).__module__ == f"annobench.tables.{facts.module}"


def test_no_meaning_is_declared_for_nothing() -> None:
    used = {column for name in tables() for column in table_facts(name).columns}
    assert set(MEANINGS) - used == set()
    for module in plugins("tables"):
        tree = ast.parse(plugin_path("tables", module).read_text(encoding="utf-8"))
        values = {n.targets[0].id: n.value for n in tree.body if isinstance(n, ast.Assign)}  # type: ignore[attr-defined]
        columns = ast.literal_eval(values["COLUMNS"])
        here = {column for of in columns.values() for column in of}
        here |= {f"{name}.{column}" for name, of in columns.items() for column in of}
        assert set(ast.literal_eval(values.get("MEANINGS", ast.parse("{}", mode="eval").body))) <= here, module
        assert set(ast.literal_eval(values.get("IN_REPORT", ast.parse("()", mode="eval").body))) <= set(columns), module


def test_facts_are_read_without_importing_a_table() -> None:
    code = (
        "import sys; from annobench.config.tables import table_facts, tables; [table_facts(n) for n in tables()]; "
        "print([m for m in sys.modules if m.startswith('annobench.tables') or m in ('numpy', 'pandas')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="there is no table 'rankings'; did you mean 'ranking'"):
        table_facts("rankings")


def test_another_table_is_built_once_and_never_from_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def first(context: TableContext) -> pd.DataFrame:
        built.append("first")
        return context.table("second" if len(built) > 1 else "third")

    builders = {"first": first, "second": lambda context: context.table("first"), "third": lambda _: pd.DataFrame()}
    monkeypatch.setattr(context_module, "builder_of", builders.__getitem__)
    one = Context(study())
    assert one.table("first") is one.table("first")
    assert built == ["first"]
    with pytest.raises(AnnobenchError, match="first needs second needs first; a table cannot be built from itself"):
        Context(study()).table("first")


# a table of one's own

OWN = '''"""Cells per donor."""

import pandas as pd

from annobench.tables.shared.context import TableContext

COLUMNS = {"donors": ("dataset", "donor", "n")}
MEANINGS = {"donor": "Donor."}
IN_REPORT = ("donors",)


def donors(context: TableContext) -> pd.DataFrame:
    """Test cells of every donor, for a test of a table of one's own.

    Not shown to anybody.
    """
    sizes = context.table("splits")
    return pd.DataFrame([(row.dataset, "all", row.test) for row in sizes.itertuples()], columns=COLUMNS["donors"])
'''
USED = """
import sys
from pathlib import Path
from study_files import whole_study
from helpers import toy_ontology
from annobench.config.results import Results
from annobench.tables.shared.build import write_tables
from annobench.tables.shared.context import TableContext
from annobench.workflow.launch import resolve
from annobench.workflow.tables import TableRules
from annobench.workflow.targets import Targets

smoke, folder = resolve("smoke"), Path(sys.argv[1])
print(Targets(smoke).tables()["donors"])
print(TableRules(smoke).labels("donors")["content"])
context = TableContext(whole_study(folder), Results(folder), toy_ontology(), folder)
write_tables(context, {"donors": folder / "donors.csv"})
print((folder / "donors.csv").read_text().splitlines()[1])
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with one more table."""
    folder = clone(tmp_path_factory.mktemp("clone"))
    (folder / "scripts" / "annobench" / "tables" / "donors.py").write_text(OWN)
    return folder


def test_a_table_is_added_by_one_file(copy: Path, tmp_path: Path) -> None:
    done = _python(copy, USED, str(tmp_path))
    assert done.stdout.splitlines() == [
        "results/tables/smoke/donors.csv",
        "Test cells of every donor, for a test of a table of one's own.",
        "d,all,30",
    ], done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def donors", "def of_donors", "expected a function donors(context) with a docstring"),
        ('MEANINGS = {"donor"', 'MEANINGS = {"owner"', "MEANINGS has no entry for the column 'donor' of donors"),
        ("COLUMNS = {", "COLUMNS = {} or {", "line 7: COLUMNS must be a literal"),
        ("COLUMNS = {", "_COLUMNS = {", "COLUMNS is missing; name the columns"),
        ('"donors": (', '"splits": (', "'splits' is declared twice, in donors.py and splits.py"),
    ],
)
def test_a_table_that_does_not_declare_itself_is_refused(copy: Path, old: str, new: str, message: str) -> None:
    file = copy / "scripts" / "annobench" / "tables" / "donors.py"
    text = OWN.replace(old, new, 1)
    file.write_text(text.replace("def donors", "def splits") if "splits" in new else text)
    try:
        done = _python(copy, "from annobench.config.tables import tables; tables()")
    finally:
        file.write_text(OWN)
    assert done.returncode
    assert message in done.stderr


def _python(copy: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = f"{copy / 'scripts'}:{copy / 'tests'}"
    environment = {"PYTHONPATH": paths, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
