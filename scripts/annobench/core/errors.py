"""Errors that a user can act on.

Every message names the file, the key or column, what was found, what was expected, and what to do. Drivers print these
errors without a traceback; any other error is a bug and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AnnobenchError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(AnnobenchError):
    """A YAML file of config/ cannot be run."""


class DataError(AnnobenchError):
    """A data file does not hold what its YAML says."""


class DownloadError(AnnobenchError):
    """A file could not be downloaded, or is not the expected one."""


class PredictionError(AnnobenchError):
    """A method returned something that is not a prediction for every test cell."""


class MethodSkipped(AnnobenchError):  # noqa: N818 - not an error, but a reason not to run
    """A method cannot run on this data or machine; recorded as `skipped`, never as a failure."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as `; did you mean 'folds'?`, or the list of valid names if none is similar."""
    candidates = sorted(map(str, known))
    close = get_close_matches(str(name), candidates, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; valid: {', '.join(candidates)}" if candidates else ""
