"""A real SLURM on this machine: a controller and two nodes, for as long as the tests need it.

Debian's packages slurm-wlm and munge; root. The configuration lies in the standard place, because cluster jobs do not
inherit a variable that names another one; a SLURM that is already configured is left alone.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
NODES = ("node1", "node2")


class NoClusterError(Exception):
    """This machine does not let the tests set up a SLURM; the message says why."""


def install() -> None:
    """Install the packages where they are missing. Raises NoClusterError."""
    if os.geteuid():
        raise NoClusterError("setting up a SLURM needs root")
    if all(map(shutil.which, PROGRAMS)):
        return
    if not shutil.which("apt-get"):
        raise NoClusterError("slurm-wlm and munge are not installed, and there is no apt-get to install them with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]):
        done = subprocess.run(["apt-get", "--quiet", *command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise NoClusterError(f"slurm-wlm and munge cannot be installed: {done.stderr.strip()[-300:]}")


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def configuration(folder: Path, memory_mb: int) -> str:
    """Text of slurm.conf: two nodes of two processors each."""
    host = socket.gethostname()
    controller, *nodes = _free_ports(1 + len(NODES))
    lines = [
        "ClusterName=annobench",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={controller}",
        "SlurmUser=root",
        "AuthType=auth/munge",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool-%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd-%n.log",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "MpiDefault=none",
        "ReturnToService=2",
        "KillWait=5",
        "MinJobAge=600",
        "SchedulerParameters=sched_min_interval=100000,bf_interval=5",
    ]
    lines += [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory={memory_mb}"
        for name, port in zip(NODES, nodes, strict=True)
    ]
    return "\n".join([*lines, f"PartitionName=smoke Nodes={','.join(NODES)} Default=YES MaxTime=1440 State=UP", ""])


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A running SLURM, taken down at the end. Raises NoClusterError."""
    install()
    if CONFIGURATION.exists():
        raise NoClusterError(f"{CONFIGURATION} exists: this machine has a SLURM of its own, which stays as it is")
    (folder / "state").mkdir(parents=True)
    for name in NODES:
        (folder / f"spool-{name}").mkdir()
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(configuration(folder, memory_mb=8000))
    started: list[subprocess.Popen[bytes]] = []
    try:
        started += _munge()
        for command in (["slurmctld", "-D", "-c"], *(["slurmd", "-D", "-N", name] for name in NODES)):
            with open(folder / "daemons.out", "ab") as out:
                started.append(subprocess.Popen(command, stdout=out, stderr=out))
        _wait_until_idle(folder)
        yield
    finally:
        subprocess.run(["scancel", "--user", "root"], capture_output=True, timeout=60)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            if process.poll() is None:
                process.kill()
                process.wait()
        CONFIGURATION.unlink(missing_ok=True)


def _munge() -> "list[subprocess.Popen[bytes]]":
    """The authentication service, unless it runs already."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return []
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["/usr/sbin/mungekey", "--create"], check=True)
        shutil.chown("/etc/munge/munge.key", "munge", "munge")
    for place in ("/run/munge", "/var/lib/munge", "/var/log/munge"):
        Path(place).mkdir(exist_ok=True)
        shutil.chown(place, "munge", "munge")
    Path("/run/munge").chmod(0o755)
    process = subprocess.Popen(
        ["munged", "--foreground", "--force"], user="munge", group="munge", extra_groups=[], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while subprocess.run(["munge", "-n"], capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise NoClusterError("munged does not answer")
        time.sleep(0.2)
    return [process]


def _wait_until_idle(folder: Path) -> None:
    deadline = time.monotonic() + 60
    states = ""
    while time.monotonic() < deadline:
        done = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%N %t"], capture_output=True, text=True)
        states = done.stdout
        if sorted(states.split()) == sorted(word for name in NODES for word in (name, "idle")):
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-1500:] for path in (*folder.glob("*.log"), folder / "daemons.out"))
    raise NoClusterError(f"the nodes do not come up: {states!r}\n{logs}")
