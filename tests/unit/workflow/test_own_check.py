"""What is promised: one method can be put through the contract, and what came out is said in a line."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from annobench.__main__ import main
from annobench.core.errors import ConfigError
from annobench.core.paths import ROOT
from annobench.workflow.own import check
from helpers import annobench, clone


def ends_with(status: int, calls: list[list[str]]) -> object:
    """Stands in for subprocess: notes commands and ends with a status."""

    def run(command: list[str], **_: object) -> SimpleNamespace:
        calls.append(command)
        return SimpleNamespace(returncode=status)

    return SimpleNamespace(run=run)


@pytest.mark.parametrize(("status", "said"), [(0, "majority keeps the contract"), (1, "majority does not keep")])
def test_what_came_out_is_said(
    status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(check, "subprocess", ends_with(status, calls))
    assert main(["check-method", "majority", "--", "-x"]) == status
    assert said in capsys.readouterr().out
    ((*_, option, name, argument),) = calls
    assert (option, name, argument) == ("--method", "majority", "-x")


def test_a_method_that_no_contract_test_runs_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "subprocess", ends_with(5, []))
    with pytest.raises(ConfigError, match="celltypist_immune: no contract test runs an implementation"):
        check.check_method("celltypist_immune")


def test_without_the_tools_for_tests_the_message_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"not installed here \(pytest, xdist, hypothesis\); `make env-dev` adds them"
    ):
        check.check_method("majority")


def test_a_name_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-method", "majorit"]) == 2
    assert "did you mean 'majority'?" in capsys.readouterr().err
    assert main(["check-method", ""]) == 2
    assert capsys.readouterr().err == "annobench: NAME: is missing; name a method: make check-method NAME=my_method\n"


def test_the_tests_exist() -> None:
    assert all((ROOT / path).is_file() for path in check.TESTS)


@pytest.mark.slow
def test_a_new_method_keeps_the_contract_until_it_is_broken(tmp_path: Path) -> None:
    repo = clone(tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return annobench(repo, *words, timeout=600)

    assert run("new-method", "my_own").returncode == 0
    done = run("check-method", "my_own")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "my_own keeps the contract"
    assert " passed, " in done.stdout
    assert "failed" not in done.stdout
    file = repo / "scripts" / "annobench" / "methods" / "my_own.py"
    file.write_text(file.read_text().replace("-logits.max", "-0 * logits.max").replace("logits = 2 *", "logits = 0 *"))
    done = run("check-method", "my_own")
    assert done.returncode == 1
    assert "FAILED tests/contract/test_methods.py::test_methods_learn_something[my_own]" in done.stdout
    assert done.stdout.splitlines()[-1] == "my_own does not keep the contract, which docs/method.md describes"
