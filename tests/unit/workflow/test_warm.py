"""What is promised: a job in a forked process is like one of its own, and dies alone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from annobench.core.paths import SCRIPTS
from annobench.workflow.call import Named
from annobench.workflow.warm import COMMON, NotWarmError, Warm
from helpers import call

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are warm processes on Linux only")


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    processes = Warm()
    yield processes
    processes.close()


@pytest.fixture
def fresh() -> Iterator[Warm]:
    processes = Warm()
    yield processes
    processes.close()


def script(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text("import os, sys, time\nfrom pathlib import Path\ngiven = snakemake.params\n" + text)
    return path


def servers(warm: Warm) -> list[int]:
    return [server._process.pid for server in warm._servers.values()]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('words')", 1),
        ("sys.exit(None)", 0),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", 1),
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), 9)", -9),
        ("import ctypes; ctypes.string_at(0)", -11),
    ],
)
def test_the_end_of_a_job(warm: Warm, tmp_path: Path, text: str, status: int) -> None:
    before = set(servers(warm))
    assert warm.run(call(script(tmp_path, text)), "kind").status == status
    assert warm.run(call(script(tmp_path, "pass")), "kind").status == 0  # nothing else was hurt
    assert before <= set(servers(warm))


def test_a_job_is_told_what_snakemake_tells_it(warm: Warm, tmp_path: Path) -> None:
    text = (
        "assert (given.a, given['b'], given.get('c'), list(given)) == (1, [2, 3], None, [1, [2, 3]])\n"
        "assert dict(given.items())['a'] == 1 and list(given.keys()) == ['a', 'b']\n"
        "assert (snakemake.rule, snakemake.threads, __name__) == ('a_rule', 1, '__main__')\n"
    )
    assert warm.run(call(script(tmp_path, text), a=1, b=[2, 3]), "kind").status == 0


def test_time_memory_and_processor_time_are_those_of_the_job(warm: Warm, tmp_path: Path) -> None:
    text = "x = bytearray(300_000_000)\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    small, large = (warm.run(call(script(tmp_path, text)), "kind") for text in ("pass", text))
    assert large.peak_rss_mb - small.peak_rss_mb == pytest.approx(300, abs=10)
    assert large.cpu_seconds - small.cpu_seconds > 0.45
    assert large.seconds > 0.5


def test_memory_of_a_job_is_not_the_largest_so_far(warm: Warm, tmp_path: Path) -> None:
    """A smaller job after a larger one in the same warm process."""
    for _ in range(2):
        large, small = (warm.run(call(script(tmp_path, text)), "kind") for text in ("bytearray(300_000_000)", "pass"))
        assert large.peak_rss_mb is not None
        assert small.peak_rss_mb is not None
        assert large.peak_rss_mb - small.peak_rss_mb == pytest.approx(300, abs=10)


def test_the_second_job_of_a_kind_has_what_the_first_imported(fresh: Warm, tmp_path: Path) -> None:
    there = "Path(given.file).write_text(str('imaplib' in sys.modules))\nimport imaplib, sklearn"
    answers = []
    for n in range(3):
        assert fresh.run(call(script(tmp_path, there), file=str(tmp_path / str(n))), "kind").status == 0
        answers.append((tmp_path / str(n)).read_text())
    assert answers == ["False", "True", "True"]
    assert len(servers(fresh)) == 2
    # another kind that imports the same packages shares its process
    for _ in range(2):
        assert fresh.run(call(script(tmp_path, "import sklearn")), "other").status == 0
    assert len(servers(fresh)) == 2


def test_a_failed_job_teaches_nothing(fresh: Warm, tmp_path: Path) -> None:
    text = "Path(given.file).write_text(str('imaplib' in sys.modules))\nimport imaplib, sklearn\nsys.exit(1)"
    for n in range(2):
        fresh.run(call(script(tmp_path, text), file=str(tmp_path / str(n))), "kind")
    assert (tmp_path / "1").read_text() == "False"


def test_jobs_go_on_when_their_warm_process_is_killed(fresh: Warm, tmp_path: Path) -> None:
    text = "Path(given.begun).touch()\ntime.sleep(1)\nPath(given.ended).touch()"
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    endings = []
    job = call(script(tmp_path, text), begun=str(begun), ended=str(ended))
    runs = threading.Thread(target=lambda: endings.append(fresh.run(job, "kind")))
    runs.start()
    while not begun.exists():
        time.sleep(0.01)
    (first,) = servers(fresh)
    os.kill(first, signal.SIGKILL)
    runs.join()
    assert ended.exists()
    assert endings[0].status == 0
    assert endings[0].peak_rss_mb is None  # which the killed process would have known
    (tmp_path / "more").mkdir()
    assert fresh.run(call(script(tmp_path / "more", "pass")), "kind").status == 0
    assert servers(fresh) != [first]


def test_a_job_that_dies_with_its_warm_process_is_noticed(fresh: Warm, tmp_path: Path) -> None:
    ending = fresh.run(call(script(tmp_path, "os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)")), "kind")
    assert ending.status is None


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty for one that nobody has waited for
    except OSError:
        return False


def test_warm_processes_end_when_snakemake_does(tmp_path: Path) -> None:
    import subprocess

    text = (
        "import sys, os\nfrom pathlib import Path\nfrom annobench.workflow.warm import Warm\nfrom helpers import call\n"
        "warm = Warm(); warm.run(call(Path(sys.argv[1])), 'kind')\n"
        "print([s._process.pid for s in warm._servers.values()][0], flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SCRIPTS), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-c", text, str(script(tmp_path, "pass"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    server, deadline = int(done.stdout), time.monotonic() + 20
    while runs(server):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("when", ["always", "then"])
def test_what_starts_threads_on_import_is_not_forked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str
) -> None:
    """Then jobs start from what all share, and where that has threads too, as Snakemake starts them."""
    module = tmp_path / "starts_a_thread.py"
    module.write_text("import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()")
    monkeypatch.setattr("annobench.workflow.warm.SCRIPTS", f"{SCRIPTS}{os.pathsep}{tmp_path}")
    if when == "always":
        monkeypatch.setattr("annobench.workflow.warm.COMMON", (*COMMON, "starts_a_thread"))
    warm = Warm()
    text = "Path(given.file).write_text(str('starts_a_thread' in sys.modules))\nimport starts_a_thread"
    jobs = [call(script(tmp_path, text), file=str(tmp_path / str(n))) for n in range(3)]
    if when == "always":
        with pytest.raises(NotWarmError):
            warm.run(jobs[0], "kind")
    else:
        assert [warm.run(job, "kind").status for job in jobs] == [0, 0, 0]
        assert [(tmp_path / str(n)).read_text() for n in range(3)] == ["False"] * 3
    warm.close()


def test_random_numbers_differ_between_jobs(warm: Warm, tmp_path: Path) -> None:
    text = "import numpy, random\nPath(given.file).write_text(f'{numpy.random.rand()} {random.random()}')"
    for n in range(2):
        warm.run(call(script(tmp_path, text), file=str(tmp_path / str(n))), "numbers")
    first, second = ((tmp_path / str(n)).read_text().split() for n in range(2))
    assert not set(first) & set(second)


def test_many_jobs_at_once(warm: Warm, tmp_path: Path) -> None:
    text = "time.sleep(0.2)\nPath(given.file).touch()"
    job = [call(script(tmp_path, text), file=str(tmp_path / str(n))) for n in range(20)]
    statuses: list[int | None] = []
    threads = [threading.Thread(target=lambda n=n: statuses.append(warm.run(job[n], n % 3).status)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 20
    assert all((tmp_path / str(n)).exists() for n in range(20))


def test_no_descriptor_of_another_job_is_inherited(warm: Warm, tmp_path: Path) -> None:
    """Else a job would seem to go on for as long as another one does."""
    waits = call(script(tmp_path, "time.sleep(1)"))
    other = threading.Thread(target=warm.run, args=(waits, "kind"))
    other.start()
    time.sleep(0.3)
    (tmp_path / "b").mkdir()
    text = (
        "files = [f'/proc/self/fd/{number}' for number in os.listdir('/proc/self/fd')]\n"
        "links = [os.readlink(file) for file in files if os.path.lexists(file)]\n"
        "Path(given.file).write_text(str(sum(link.startswith('socket') for link in links)))"
    )
    warm.run(call(script(tmp_path / "b", text), file=str(tmp_path / "n")), "kind")
    other.join()
    assert int((tmp_path / "n").read_text()) == 1


def test_a_named_list() -> None:
    named = Named([1, 2, 3], {"a": 1, "b": [2, 3]})
    assert (named[0], named[-1], named["b"], named.a, named.get("c", 5)) == (1, 3, [2, 3], 1, 5)
    assert named[1:] == [2, 3]
    with pytest.raises(AttributeError):
        _ = named.c
