"""The one reader of text tables: rows of texts, whatever their encoding, line ends, quotes and separator.

What is not clear from the bytes is decided by a stated rule, and said where it is a guess; what cannot be read is
refused with file and line. Only the standard library is imported: the configuration is read with it.

Encoding
    As a byte order mark says; UTF-16 without one where every other byte is zero; else UTF-8. What is none of these is
    taken for Windows-1252 (Mac Roman, where lines end as on old Macs), which is a guess and printed.
Separator
    That of the file's ending (a comma in .csv, a tab elsewhere), unless the header does not have it, or rows do not
    fit it, and another one fits; or what Excel's first line `sep=;` says.
Quotes
    Enclose fields and are doubled within, or have a backslash before them. In a tab-separated file that these rules do
    not fit, quotes are ordinary characters: many programs write them so.
Rows
    A row without any text is passed over. Empty fields behind the last column are, too. Any other row that is longer
    or shorter than the header is refused. A header with one name fewer than the rows is R's: the rows have names.
"""

import csv
import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path

from annobench.core.errors import ConfigError, DataError, nearest
from annobench.core.progress import say

INDEX = "index"  # the column of row names, which R and pandas write without a name
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
_SEPARATORS = (",", ";", "\t", "|", " ")
_SHOWN = {"\t": "tab", " ": "blank"}
_HEAD = 1 << 16  # bytes that tell the separator
_SAMPLE = 50  # rows that tell it
_MARKS = (  # the longer ones first
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_PACKED = b"\x1f\x8b"
_QUOTING = ({"doublequote": True}, {"doublequote": False, "escapechar": "\\"})
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u202f\u2007\u2003\u2002\u2009\t"), " ")
_WHOLE = re.compile(r"-?\d+")
_DIGITS = re.compile(r"\d+(?:[eE][+-]?\d+)?")


def plain(text: str) -> str:
    """A text as it is compared: without blanks around it, no-break blanks as blanks, without invisible characters."""
    if text.isascii():
        return text.strip().replace("\t", " ")
    return unicodedata.normalize("NFC", text.translate(_INVISIBLE).translate(_BLANKS)).strip()


# bytes


@dataclass(frozen=True)
class Decoded:
    """A text, and how it was encoded; `guess` says so to people where nothing in the file tells."""

    text: str
    guess: str | None = None


def decoded(content: bytes, name: str) -> Decoded:
    """The text of a file. Raises DataError where it is none."""
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{name}: is not text but a workbook or an archive; export the sheet as CSV in UTF-8")
    try:
        for mark, encoding in _MARKS:
            if content.startswith(mark):
                return Decoded(_checked(content.decode(encoding), name))
        if encoding := _wide(content):
            return Decoded(_checked(content.decode(encoding), name))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name}: is not the text that its first bytes say ({error.encoding}: {error.reason}); save it as UTF-8"
        ) from error
    try:
        return Decoded(_checked(content.decode(), name))
    except UnicodeDecodeError as error:
        return _guessed(content, error.start, name)


def _wide(content: bytes) -> str:
    """`utf-16-le` or `utf-16-be` where every other byte is zero; else empty."""
    start = content[: _HEAD // 16]
    half = len(start) // 2
    if half < 4 or b"\0" not in start:
        return ""
    even, odd = start[0 : 2 * half : 2].count(0) / half, start[1 : 2 * half : 2].count(0) / half
    return "utf-16-le" if odd > 0.4 and even < 0.1 else "utf-16-be" if even > 0.4 and odd < 0.1 else ""


def _checked(text: str, name: str) -> str:
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{name}, line {line}: holds a zero character, so it is not text; save it as UTF-8")
    return text


def _guessed(content: bytes, at: int, name: str) -> Decoded:
    """Text that is not UTF-8 at some byte."""
    old_mac = b"\r" in content and b"\n" not in content
    encoding, called = ("mac_roman", "Mac Roman") if old_mac else ("cp1252", "Windows-1252")
    line = len(re.split(rb"\r\n|\n|\r", content[:at]))
    try:
        text = _checked(content.decode(encoding), name)
    except UnicodeDecodeError as error:
        line = len(re.split(rb"\r\n|\n|\r", content[: error.start]))
        raise DataError(
            f"{name}, line {line}: is not UTF-8 text, nor {called} (byte {content[error.start]:#04x}); save it as UTF-8"
        ) from error
    word = next((one for one in re.split(r"[\t,;\r\n]", text) if re.search(r"[^\x00-\x7f]", one)), "").strip(' "')
    return Decoded(text, f"{name}: is not UTF-8 (line {line}); read as {called}, such as '{word}'. Save it as UTF-8")


def read_text(path: Path, *, quiet: bool = False) -> str:
    """The text of a file, unpacked where it is a gzip file. A guess of its encoding is printed, unless `quiet`.

    Raises DataError, with the line, for what is not text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return text_of(content, path.name, packed=path.suffix == ".gz", quiet=quiet)


def text_of(content: bytes, name: str, *, packed: bool = False, quiet: bool = False) -> str:
    """As `read_text`, of bytes."""
    if packed or content.startswith(_PACKED):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"{name}: is not a whole gzip file ({error}); make it again") from error
    found = decoded(content, name)
    if found.guess and not quiet:
        say(found.guess)
    return found.text


def lines_of(text: str) -> list[str]:
    """Lines of a text, whatever ends them, without the ends; only line feeds and carriage returns end a line."""
    found = re.split(r"\r\n|\n|\r", text)
    return found[:-1] if found and not found[-1] else found


# rows


@dataclass(frozen=True)
class Records:
    """Rows of a text table.

    Parameters
    ----------
    name
        Of the file, for messages.
    text
        All of it.
    delimiter
        What separates fields.
    optional
        Whether a row may end before the last column: its other fields are empty.
    """

    name: str
    text: str
    delimiter: str
    optional: bool = False

    @classmethod
    def read(
        cls, path: Path, delimiter: str | None = None, *, optional: bool = False, comment: str | None = None
    ) -> "Records":
        """Read a file. `comment` begins lines that are passed over, wherever they are."""
        return cls.of(read_text(path), path.name, delimiter, kind=ending(path), optional=optional, comment=comment)

    @classmethod
    def of(
        cls,
        text: str,
        name: str,
        delimiter: str | None = None,
        *,
        kind: str = ".csv",
        optional: bool = False,
        comment: str | None = None,
    ) -> "Records":
        """As `read`, of a text. `kind` is the ending that says what separates fields unless the text says otherwise."""
        if comment:
            text = "\n".join("" if line.startswith(comment) else line for line in lines_of(text))
        chosen = delimiter or separator(text[:_HEAD], DELIMITERS.get(kind, ","), whole=len(text) <= _HEAD)
        if len(chosen) != 1 or chosen in '\r\n"':
            raise ConfigError(f"options.delimiter is '{delimiter}', expected one character")
        return cls(name, text, chosen, optional)

    @cached_property
    def _quoting(self) -> "dict[str, object]":
        """How quotes are meant: the first rule that all rows fit. Raises DataError, with the line, where none does."""
        rules: list[dict[str, object]] = [dict(_QUOTING[0])]
        if '"' in self.text:
            rules += [dict(_QUOTING[1])] if '\\"' in self.text else []
            if self.delimiter == "\t":
                rules.append({"quoting": csv.QUOTE_NONE})
        problem: DataError | None = None
        swallowed: dict[str, object] | None = None
        for rule in rules:
            try:
                spans = self._check(rule)
            except DataError as error:
                problem = problem or error
                continue
            if spans and rules[-1] is not rule:  # a quote within a field may have swallowed lines
                swallowed = swallowed or rule
                continue
            if "quoting" in rule and swallowed is None:
                say(f"{self.name}: its quotes do not enclose fields; they are read as characters")
            return rule
        if swallowed is not None:
            return swallowed
        assert problem is not None
        raise problem

    def _check(self, rule: "dict[str, object]") -> bool:
        """Raise DataError for a row that does not fit; else whether a field holds both a line end and a separator."""
        names, rows = self._begin(rule)
        spans = False
        for line, fields in rows:
            self._fitted(line, fields, len(names))
            spans = spans or any("\n" in field and self.delimiter in field for field in fields)
        return spans

    def _begin(self, rule: "dict[str, object]") -> "tuple[list[str], Iterator[tuple[int, list[str]]]]":
        records = _parsed(self.text, self.name, self.delimiter, rule)
        _, header = next(records, (0, []))
        sample = [fields for _, fields in islice(records, _SAMPLE)]
        quoted = _first_is_quoted(self.text)
        names = header_of(self.name, header, sample, self.delimiter, quoted=quoted)
        records = _parsed(self.text, self.name, self.delimiter, rule)
        next(records, None)
        return names, records

    def _fitted(self, line: int, fields: list[str], n: int) -> list[str]:
        """The fields of a row, as many as the header has; raises DataError where there are more or fewer."""
        if len(fields) == n:
            return fields
        if len(fields) > n and not any(field.strip() for field in fields[n:]):
            return fields[:n]
        if len(fields) < n and self.optional:
            return [*fields, *[""] * (n - len(fields))]
        hint = "; is a text with a delimiter not quoted, or the file cut off?"
        if n == 1 and self.delimiter in DELIMITERS.values():
            first = next(filter(None, map(str.strip, lines_of(self.text[:_HEAD]))), "")[:40]
            hint = f"; '{first}' is taken for the header: remove what stands above the names of the columns"
        if len(fields) > n and self.delimiter == "," and (pair := split_number(fields)):
            hint = f"; is '{pair}' a number with a decimal comma? Write a decimal point, or separate columns by ';'"
        raise DataError(f"{self.name}, line {line}: has {len(fields)} fields, expected {n}{hint}")

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns; `index` for row names."""
        return self._begin(self._quoting)[0]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The line at which a row ends, and its fields, one for each name."""
        names, rows = self._begin(self._quoting)
        for line, fields in rows:
            yield line, self._fitted(line, fields, len(names))

    def table(self, wanted: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Where a row is, to begin a message with, and its fields in some columns, as they are compared (`plain`).

        Raises DataError for a column that is not there.
        """
        at = column_positions(self.name, self.names, wanted)
        for line, fields in self:
            yield f"{self.name}, line {line}", [plain(fields[at[name]]) for name in wanted]


def ending(path: Path) -> str:
    """The ending of a name that says how a text is laid out, before `.gz`."""
    return (Path(path.stem).suffix if path.suffix == ".gz" else path.suffix).lower()


def column_positions(file: str, names: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Where the wanted columns are among the names of all columns of a file."""
    for name in wanted:
        if name not in names:
            raise DataError(f"{file}: there is no column '{name}'{nearest(name, filter(None, names))}")
        if names.count(name) > 1:
            raise DataError(f"{file}: column '{name}' is listed twice in the header; rename one")
    return {name: names.index(name) for name in wanted}


def header_of(
    name: str, header: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str, *, quoted: bool
) -> list[str]:
    """Names of the columns of a file, from its first record and the next ones; `index` for row names.

    Raises DataError where all rows have one field more than the header, but that may be decimal commas. `quoted` says
    that the first field of the first row is in quotes, as R writes row names.
    """
    names = [plain(one) for one in header]
    longer = bool(rows) and all(len(row) == len(names) + 1 for row in rows)
    if longer and names and any(row[-1].strip() for row in rows):  # R's write.table names no column for the row names
        counted = [row[0] for row in rows] == [str(i) for i in range(1, len(rows) + 1)]
        pair = split_number(rows[0])
        if delimiter == "," and pair and not quoted and not counted and all(split_number(row) for row in rows):
            raise DataError(
                f"{name}, line 2: has {len(names) + 1} fields, as all rows, but the header {len(names)}; is '{pair}' a "
                "number with a decimal comma? Write a decimal point, or separate columns by ';'. If the rows have "
                f"names, name their column '{INDEX}' in the header"
            )
        names = ["", *names]
    if names and not names[0] and INDEX not in names:
        names[0] = INDEX
    return names


def split_number(fields: Sequence[str]) -> str:
    """Two neighbouring fields that a decimal comma may have split, joined by it; else empty."""
    for whole, digits in reversed(list(pairwise(fields))):
        if _WHOLE.fullmatch(whole.strip()) and _DIGITS.fullmatch(digits.strip()):
            return f"{whole.strip()},{digits.strip()}"
    return ""


def _first_is_quoted(text: str) -> bool:
    """Whether the line below the header begins with a quote."""
    return bool(re.match(r"\s*[^\r\n]*[\r\n]+\"", text[:_HEAD]))


def _parsed(text: str, name: str, delimiter: str, rule: "dict[str, object]") -> Iterator[tuple[int, list[str]]]:
    """Lines and fields of the records that hold a text; raises DataError with the line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **rule)  # type: ignore[arg-type]
    try:
        for fields in reader:
            if reader.line_num == 1 and _stated(text[:8]):
                continue
            if any(not field.isspace() and field for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: {error}; is a quote missing?") from error


def _stated(line: str) -> str:
    """What the line `sep=;` of Excel says; else empty."""
    found = re.match(r'"?sep=([^\r\n])"?\s*[\r\n]', line, re.IGNORECASE)
    return found[1] if found else ""


def separator(head: str, default: str, *, whole: bool = True) -> str:
    """What separates the columns of a file that begins so; `whole` where this is all of it.

    Parameters
    ----------
    head
        The first lines.
    default
        What the ending of the file says.
    whole
        Whether the last line is complete.
    """
    if stated := _stated(head[:8]):
        return stated
    found: dict[str, int] = {}
    for one in dict.fromkeys((default, *_SEPARATORS)):
        width, fits = _fit(head, one, whole=whole, named=one == " ")
        if width > 1 and fits:
            if one in (default, " "):
                return one if one == default or not found else max(found, key=lambda key: found[key])
            found[one] = width
    if found:
        return max(found, key=lambda key: found[key])
    first = next((line for line in lines_of(head) if line.strip()), "")
    return next((one for one in (default, *_SEPARATORS[:3]) if one in first), default)


def _fit(head: str, one: str, *, whole: bool, named: bool) -> tuple[int, bool]:
    """Number of columns by a separator, and whether rows have as many fields (or `named`: only if rows have names)."""
    try:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=one)
        rows = [row for row in islice(reader, _SAMPLE) if any(field.strip() for field in row)]
        ended = next(reader, None) is None
    except csv.Error:
        return 0, False
    if ended and not whole and len(rows) > 2:
        rows = rows[:-1]
    if not rows:
        return 0, False
    width = len(rows[0])
    widths = {len(row) for row in rows[1:]}
    plus = widths == {width + 1}
    if named:
        return width, plus or (widths == {width} and _first_is_quoted(head))
    return width, plus or widths <= {width}
