"""What is promised: every command says what it does, starts at once, and lists what there is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annobench.__main__ import main
from annobench.config.entities import available, load_method
from annobench.config.metrics import metric_facts
from annobench.core.paths import ROOT, SCRIPTS
from annobench.workflow.own.lines import columns, first_sentence, wrapped
from annobench.workflow.own.listing import HERE, KINDS, lack_of, listed

HEAVY = {"numpy", "pandas", "yaml", "jsonschema", "anndata", "h5py", "scipy", "sklearn", "torch", "scanpy", "snakemake"}


def commands(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Every command, and the rest of its line in the help."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    return dict(re.findall(r"^    ([a-z][a-z-]+) +(\S.*)$", capsys.readouterr().out, re.MULTILINE))


def test_help_has_a_line_for_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = commands(capsys)
    with pytest.raises(SystemExit) as ended:
        main(["no-such-command"])
    assert ended.value.code == 2
    known = re.findall(r"'([a-z-]+)'", capsys.readouterr().err.split("choose from")[1])
    assert list(found) == known
    for name in found:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: annobench {name} ")


def test_no_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: annobench" in capsys.readouterr().err


def test_help_of_every_command_loads_nothing_heavy() -> None:
    code = (
        "import contextlib, io, re, sys\n"
        "from annobench.__main__ import main\n"
        "def ask(*words):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):\n"
        "        main([*words, '--help'])\n"
        "    return out.getvalue()\n"
        "names = re.findall(r'^    ([a-z][a-z-]+) ', ask(), re.MULTILINE)\n"
        "for name in names: ask(name)\n"
        f"print(len(names), *sorted({HEAVY} & set(sys.modules)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    number, *loaded = done.stdout.split()
    assert int(number) > 10
    assert loaded == []


def test_the_command_is_on_the_path_of_the_environment() -> None:
    command = shutil.which("annobench", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("annobench is not installed in this environment; `make env` does it")
    done = subprocess.run([command, "list", "checkpoints"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(available('checkpoints', ROOT))} checkpoints"


def test_output_that_nobody_reads_to_the_end_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m annobench list metrics | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable=shutil.which("bash"),
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


# lists


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_has_a_line_for_everything_of_a_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert names == sorted(names)
    assert last == f"{len(names)} {kind}"
    if kind in ("datasets", "methods", "checkpoints"):
        assert names == available(kind, ROOT)
    if kind == "studies":
        assert names == sorted([*available(kind, ROOT), "quickstart"])
    if kind == "metrics":
        assert set(names) == set(metric_facts())
    assert "cannot be read" not in "\n".join(lines)


def test_a_list_fits_the_terminal() -> None:
    for kind in KINDS:
        whole, narrow = listed(kind).splitlines(), listed(kind, 100).splitlines()
        assert len(whole) == len(narrow)
        assert max(map(len, narrow)) <= 100 < max(map(len, whole))
        assert all(a.split()[0] == b.split()[0] for a, b in zip(whole, narrow, strict=True))


def test_a_file_that_is_wrong_keeps_its_line(tmp_path: Path) -> None:
    (tmp_path / "config" / "datasets").mkdir(parents=True)
    (tmp_path / "config" / "datasets" / "broken.yaml").write_text("label: [\n")
    assert re.match(r"broken +- +cannot be read +.*not valid YAML", listed("datasets", root=tmp_path))


def test_what_a_method_lacks_here_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANNOBENCH_DATA", str(tmp_path))
    assert lack_of("nearest_centroid") is None
    needs_file = lack_of("celltypist_immune")
    assert needs_file is not None
    assert needs_file.short == "needs a file"
    assert "New_Models_CT_98" in needs_file.text
    reads = lack_of("probe_scvi_census")
    assert reads is not None
    assert reads.text.startswith("it reads frozen_scvi_census: no $ANNOBENCH_DATA")
    monkeypatch.delenv("ANNOBENCH_DATA")
    unset = lack_of("celltypist_immune")
    assert unset is not None
    assert unset.short == "needs ANNOBENCH_DATA"
    model = load_method("celltypist_immune", ROOT, "")["parameters"]["model"].removeprefix("$ANNOBENCH_DATA/")
    (tmp_path / model).parent.mkdir(parents=True)
    (tmp_path / model).touch()
    monkeypatch.setenv("ANNOBENCH_DATA", str(tmp_path))
    assert lack_of("celltypist_immune") is None
    assert re.search(rf"^nearest_centroid .* {HERE} ", listed("methods"), re.MULTILINE)


def test_a_package_that_is_missing_is_named_with_the_file_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annobench.workflow.own.listing._is_installed", lambda name: name != "scvi-tools")
    lack = lack_of("scvi")
    assert lack is not None
    assert lack == ("needs scvi-tools", "scvi-tools: requirements-scvi.txt")


# lines


def test_columns_are_aligned_and_cut_off_at_the_width() -> None:
    rows = [("a", "first", "1"), ("bcd", "second\nline", "12")]
    assert columns(rows, right=[2]) == "a    first         1\nbcd  second line  12"
    long = [("name", "x" * 50, "y" * 50)]
    (line,) = columns(long, 60).splitlines()
    assert len(line) == 60
    assert line.startswith("name  x")
    assert line.endswith("y…")
    assert columns([]) == ""
    wrapped_rows = columns([("name", "one", "word " * 12), ("b", "two", "short")], 40, wrap=True).splitlines()
    assert max(map(len, wrapped_rows)) <= 40
    assert wrapped_rows[0].startswith("name  one  word")
    assert wrapped_rows[1].startswith("           word")
    assert wrapped_rows[-1] == "b     two  short"
    assert " ".join(wrapped_rows).count("word") == 12
    assert columns([("Mφ", "b"), ("e\u0301", "b")]) == "Mφ  b\ne\u0301   b"


def test_sentences_end_at_a_full_stop_that_ends_one() -> None:
    assert first_sentence("One of 1.5 cells of Smith et al. 2020. Two.") == "One of 1.5 cells of Smith et al. 2020."
    assert first_sentence("No stop") == "No stop"
    assert wrapped("a b", None, "  ") == "  a b"
    assert wrapped("word " * 10, 30, "  ").splitlines()[1].startswith("  word")
