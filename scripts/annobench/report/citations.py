"""Citations of datasets and methods as BibTeX: what `config/references.yaml` knows in full, the rest as its text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from unicodedata import normalize

import yaml

from annobench.core.paths import ROOT

_SELF = "annobench"  # controls and our own methods cite the tool itself
_IDENTIFIER = re.compile(r"10\.\d{4,}/[^\s;,\"')]+|arXiv \d{4}\.\d{4,5}|JMLR 2011")
_SEE = re.compile(r"^see ")  # combined datasets: their parts are cited
_YEAR = re.compile(r"\b(19|20)\d{2}\b")
SOFTWARE = {
    "snakemake": "10.12688/f1000research.29032.2",
    "anndata": "10.21105/joss.04371",
    "scanpy": "10.1186/s13059-017-1382-0",
    "numpy": "10.1038/s41586-020-2649-2",
    "scipy": "10.1038/s41592-019-0686-2",
    "scikit-learn": "JMLR 2011",
    "torch": "10.1145/3620665.3640366",
}
CELL_ONTOLOGY = "10.1186/s13326-016-0088-7"


@dataclass(frozen=True)
class Reference:
    """One entry of a bibliography: its key, its kind, and its fields in order."""

    key: str
    kind: str
    fields: Mapping[str, str]

    def bibtex(self) -> str:
        """The entry."""
        lines = [f"  {name} = {{{value}}}" for name, value in self.fields.items()]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}\n"


@cache
def _known() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = yaml.safe_load((ROOT / "config" / "references.yaml").read_text("utf-8"))
    return found


class Bibliography:
    """Collects references in the order in which they are cited; every work once."""

    def __init__(self) -> None:
        self._of_work: dict[str, Reference] = {}

    @property
    def references(self) -> list[Reference]:
        """What was cited."""
        return list(self._of_work.values())

    def cite(self, citation: str) -> str:
        """What stands in a text for the citation of a file: `[@key; @key]`; empty where it names the tool or others."""
        text = " ".join(citation.split())
        if not text or text == _SELF or text.startswith(f"{_SELF} (") or _SEE.match(text):
            return ""
        keys = [self._key(one.rstrip("."), text) for one in _IDENTIFIER.findall(text)] or [self._key("", text)]
        return f"[{'; '.join(f'@{key}' for key in dict.fromkeys(keys))}]"

    def _key(self, identifier: str, text: str) -> str:
        work = identifier or text
        if work not in self._of_work:
            known = _known().get(identifier)
            fields = _fields(identifier, known) if known else {"note": _escaped(text)}
            if not known and identifier:
                fields |= _located(identifier)
            author = str(known["authors"]) if known else text
            year = str(known["year"]) if known else (found[0] if (found := _YEAR.search(text)) else "")
            kind = "article" if known else "misc"
            self._of_work[work] = Reference(self._free(_word(author) + year), kind, fields)
        return self._of_work[work].key

    def _free(self, key: str) -> str:
        """A key that no other work has: `chen2024`, `chen2024b`."""
        taken = {one.key for one in self._of_work.values()}
        ends = ["", *"bcdefghijklmnopqrstuvwxyz", *(f"-{n}" for n in range(len(taken)))]
        return next(key + end for end in ends if key + end not in taken)


def _fields(identifier: str, known: Mapping[str, object]) -> dict[str, str]:
    names = re.split(r",\s*|\s+and\s+", str(known["authors"])) if "{" not in str(known["authors"]) else None
    authors = " and ".join(names) if names else str(known["authors"])
    fields = {"author": authors, "title": f"{{{known['title']}}}", "journal": str(known["place"])}
    return fields | {"year": str(known["year"])} | _located(identifier)


def _located(identifier: str) -> dict[str, str]:
    if identifier.startswith("arXiv "):
        return {"eprint": identifier.removeprefix("arXiv "), "archiveprefix": "arXiv"}
    return {"doi": identifier} if identifier.startswith("10.") else {}


def _word(authors: str) -> str:
    """The first name of an author, in lower-case ASCII letters."""
    plain = normalize("NFKD", re.sub(r"\\.|[{}]", "", authors)).encode("ascii", "ignore").decode()
    words = [word for word in re.findall(r"[A-Za-z0-9]+", plain) if word.lower() != "the"]
    return (words[0] if words else "anonymous").lower()


def _escaped(text: str) -> str:
    """A text for BibTeX."""
    return re.sub(r"([&%$#_])", r"\\\1", re.sub(r"[{}\\]", "", text))
