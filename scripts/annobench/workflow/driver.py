"""What every driver script does first: it sends its output to the log, and reports errors on the terminal.

A driver is a map from Snakemake's inputs, params and outputs to one library call. It runs inside `with job(snakemake)`.
"""

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from annobench.core.errors import AnnobenchError
from annobench.core.files import is_disk_full
from annobench.core.progress import heard_by
from annobench.workflow.seals import check, seal

if TYPE_CHECKING:
    from snakemake.iocontainers import Snakemake


@contextmanager
def job(snakemake: "Snakemake") -> Iterator[Callable[[str], None]]:
    """Redirect stdout and stderr, those of child processes too, to the log of the job.

    Yields a function that prints a line to the terminal and to the log. On an AnnobenchError the terminal shows its
    message, on any other error its type too; the traceback is in the log.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with open(log, "w", encoding="utf-8", buffering=1) as handle:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(handle.fileno(), stream.fileno())
        faulthandler.enable()

        def say(text: str) -> None:
            print(text, flush=True)
            print(f"  {snakemake.rule}: {text}", file=terminal)

        try:
            check(given_files(snakemake.input))
            with heard_by(say):
                yield say
            seal(given_files(snakemake.output))
        except Exception as error:  # noqa: BLE001 - whatever it is, terminal and log must show it
            traceback.print_exc()
            if is_disk_full(error) and not isinstance(error, AnnobenchError):
                print(f"the disk is full: {error}; make room and run the same command again", file=terminal)
            elif isinstance(error, AnnobenchError):
                print(f"\n{snakemake.rule}: {error}\n", file=terminal)
            else:
                print(
                    f"\n{snakemake.rule}: {type(error).__name__}: {error}\nThis is a bug; the traceback is in {log}\n",
                    file=terminal,
                )
            sys.exit(1)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def given_files(given: Iterable[object]) -> list[str]:
    """All inputs or outputs of a job."""
    return [str(path) for path in given]


def files_of(given: str | Iterable[str] | None) -> list[str]:
    """The files of an input that may have one, several or none."""
    return [given] if isinstance(given, str) else list(given or [])


def only_file(given: str | Iterable[str] | None) -> str | None:
    """The absolute path of the one file of an input, or None where it has none."""
    files = files_of(given)
    return str(Path(files[0]).resolve()) if files else None
