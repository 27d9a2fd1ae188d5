"""Opening a release of the CELLxGENE Census through its own client, from the network or from a folder."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from annobench.core.errors import AnnobenchError, DataError, DownloadError, nearest
from annobench.core.files import expanded
from annobench.core.progress import Report
from annobench.data.census.spec import Settings

if TYPE_CHECKING:
    import tiledbsoma as soma

T = TypeVar("T")
BUFFER_BYTES = 128 * 2**20  # of one column that the client reads at a time; its default is 1 GiB
MEASUREMENT, LAYER = "RNA", "raw"
# TileDB 2.30 (tiledbsoma 2.3.0) frees what its parallel merge of tiles still uses, and dies now and then, of a
# segmentation fault or of its own check of memory (https://github.com/TileDB-Inc/TileDB/pull/5723); 0 goes without it
_SAFE = {"sm.query.sparse_global_order.preprocess_tile_merge": 0}
_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NameError, TypeError, ValueError)
DatasetRow = dict[str, str | int]  # a row of census_info/datasets


class NotReachedError(DownloadError):
    """A release could not be opened; it may be there a moment later."""


class Release:
    """An open release; use `opened_release`.

    Attributes
    ----------
    build_date
        What its summary states; None where it states none.
    where
        Its address or date, for messages and records.
    """

    def __init__(self, census: Any, where: str, organism: str) -> None:
        self._census, self.where = census, where
        self.build_date = self._build_date()
        known = list(census["census_data"])
        if organism not in known:
            raise DataError(f"source.organism: {where} has no '{organism}'{nearest(organism, known)}")
        self._experiment = census["census_data"][organism]

    def _build_date(self) -> str | None:
        table = self._census["census_info"]["summary"].read().concat()
        facts = dict(zip(table["label"].to_pylist(), table["value"].to_pylist(), strict=True))
        return facts.get("census_build_date")

    @property
    def obs(self) -> "soma.DataFrame":
        """The SOMA data frame of the cells."""
        return self._experiment.obs

    @property
    def var(self) -> "soma.DataFrame":
        """The SOMA data frame of the genes."""
        return self._experiment.ms[MEASUREMENT].var

    @property
    def counts(self) -> "soma.SparseNDArray":
        """The SOMA array of the raw counts."""
        return self._experiment.ms[MEASUREMENT].X[LAYER]

    @property
    def presence(self) -> "soma.SparseNDArray":
        """The SOMA array that says which dataset measured which gene."""
        return self._experiment.ms[MEASUREMENT]["feature_dataset_presence_matrix"]

    def datasets(self) -> list[DatasetRow]:
        """Rows of census_info/datasets, in their order."""
        rows: list[DatasetRow] = self._census["census_info"]["datasets"].read().concat().to_pylist()
        return rows


def is_remote(uri: str | None) -> bool:
    """Whether a release is reached over a network."""
    return uri is None or ("://" in uri and not uri.startswith("file://"))


def address(uri: str) -> str:
    """The address behind a uri: variables are expanded, a path is made absolute."""
    if "://" in uri:
        return uri
    path = expanded(uri)
    if "$" in str(path):
        raise DataError(f"source.uri: '{uri}' names a variable that is not set; set it or write the path out")
    return str(path.absolute())


@contextmanager
def opened_release(
    release: str,
    uri: str | None = None,
    *,
    organism: str = "homo_sapiens",
    tiledb: Settings | None = None,
    buffer_bytes: int = BUFFER_BYTES,
) -> Iterator[Release]:
    """Open a release by its date, or what lies at `uri`, which must be a build of that date.

    Parameters
    ----------
    release
        Date of the release.
    uri
        Path or address; None for the Census's own.
    organism
        Name in census_data.
    tiledb
        Settings for the client, such as a region of S3.
    buffer_bytes
        Of one column that the client reads at a time.

    Raises
    ------
    DataError
        For a release that does not exist, or is another one.
    DownloadError
        Where nothing can be reached.
    """
    import cellxgene_census

    own = {key: str(value).lower() if isinstance(value, bool) else value for key, value in (tiledb or {}).items()}
    settings = {"soma.init_buffer_bytes": buffer_bytes, "py.init_buffer_bytes": buffer_bytes, **own}
    where = f"Census {release}" if uri is None else address(uri)
    if uri is not None and not is_remote(uri) and not Path(where.removeprefix("file://")).is_dir():
        raise DataError(f"source.uri: there is no folder {where}; give the folder of a release (its `soma`)")
    try:
        context = client_context(tuple(sorted(settings.items())))
        census = cellxgene_census.open_soma(census_version=release, uri=None if uri is None else where, context=context)
    except Exception as error:  # whatever requests and TileDB raise
        raise _not_opened(release, uri, where, error) from error
    with census:
        try:
            opened = Release(census, where, organism)
        except AnnobenchError:
            raise
        except Exception as error:  # a collection of another kind
            raise DataError(f"source.uri: {where} is not a release of the Census ({_said(error)})") from error
        # the Census publishes some builds under a later date: its client knows which (2024-07-01 was built 2024-05-20)
        if uri is not None and opened.build_date not in (None, release):
            raise DataError(
                f"source.release: {where} is release {opened.build_date}, but {release} is asked for; correct "
                "`release` or `uri` (a copy is called by the day of its build, which it states, and which may be "
                "earlier than its publication)"
            )
        yield opened


@dataclass(frozen=True)
class Place:
    """How to open a release: its date, and where it lies (`uri`; None for the Census's own)."""

    release: str
    uri: str | None
    organism: str
    tiledb: Settings

    def opened(self) -> AbstractContextManager[Release]:
        """Open it; see `opened_release`."""
        return opened_release(self.release, self.uri, organism=self.organism, tiledb=self.tiledb)


@cache
def client_context(settings: tuple[tuple[str, object], ...]) -> "soma.SOMATileDBContext":
    """The client's context for some settings, one for the life of the process: each has threads of its own."""
    import cellxgene_census

    return cellxgene_census.get_default_soma_context(tiledb_config={**_SAFE, **dict(settings)})


def _not_opened(release: str, uri: str | None, where: str, error: Exception) -> AnnobenchError:
    if uri is None and isinstance(error, ValueError) and "not valid" in str(error):
        return DataError(f"source.release: the Census has no release '{release}'{nearest(release, _releases())}")
    what = "the Census could not be reached" if uri is None else f"{where} could not be opened"
    return NotReachedError(
        f"source.{'release' if uri is None else 'uri'}: {what} ({_said(error)}); check the network and the address, or "
        "name a copy of the release in `uri`"
    )


def _releases() -> list[str]:
    """Dates of the releases that the Census offers."""
    import cellxgene_census

    return [name for name in cellxgene_census.get_census_version_directory() if name[:1].isdigit()]


def _said(error: BaseException) -> str:
    """The first line of an error of another library."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def with_patience(
    read: Callable[[], T], *, uri: str | None, report: Report, attempts: int = 6, first_wait: float = 2.0
) -> T:
    """What `read` returns; read again with growing pauses where a network fails, also in opening. Raises DownloadError.

    Other errors that are meant for the user pass, and so does everything of a release on this machine: it would fail
    again.
    """
    wait = first_wait
    for attempt in range(1, attempts + 1):
        try:
            return read()
        except Exception as error:  # TileDB raises errors of its own for a lost connection
            unreachable = isinstance(error, NotReachedError)
            if isinstance(error, (AnnobenchError, *_BUGS)) and not unreachable:
                raise
            if not is_remote(uri) or attempt == attempts:
                if unreachable:
                    raise
                raise DownloadError(
                    f"the Census could not be read ({_said(error)}; attempt {attempt}); run the same command again: it "
                    "resumes where it stopped"
                ) from error
            report(f"{_said(error)}; trying again in {wait:.0f} s (attempt {attempt} of {attempts})")
            time.sleep(wait)
            wait *= 2
    raise AssertionError("unreachable")
