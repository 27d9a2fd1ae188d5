"""The organism of cells, told from the names of their genes."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_PREFIXES = {  # of Ensembl ids of genes
    "ENSG": "Homo sapiens",
    "ENSMUSG": "Mus musculus",
    "ENSRNOG": "Rattus norvegicus",
    "ENSDARG": "Danio rerio",
    "ENSMMUG": "Macaca mulatta",
    "ENSMFAG": "Macaca fascicularis",
    "ENSPTRG": "Pan troglodytes",
    "ENSCJAG": "Callithrix jacchus",
    "ENSMICG": "Microcebus murinus",
    "ENSSSCG": "Sus scrofa",
    "ENSBTAG": "Bos taurus",
    "ENSCAFG": "Canis lupus familiaris",
    "ENSOCUG": "Oryctolagus cuniculus",
    "ENSGALG": "Gallus gallus",
    "ENSXETG": "Xenopus tropicalis",
}
_PREFIX = re.compile(r"^(ENS[A-Z]*G)\d")
_SYMBOL = re.compile(r"^(?=(?:.*[A-Za-z]){3})[A-Za-z][A-Za-z0-9]{2,}$")  # with three letters, so that case shows
_CLONE = re.compile(r"^(ENS|AC\d|AL\d|LOC\d|RP\d|LINC|Gm\d|MIR|Mir|[A-Z]{2}\d{6})|[Rr]ik$")  # their case tells nothing
_OTHER_NAMES = {
    "human": "homo sapiens",
    "ncbitaxon:9606": "homo sapiens",
    "mouse": "mus musculus",
    "ncbitaxon:10090": "mus musculus",
    "rat": "rattus norvegicus",
    "ncbitaxon:10116": "rattus norvegicus",
    "zebrafish": "danio rerio",
    "ncbitaxon:7955": "danio rerio",
}
_CASES = {  # which organisms write their symbols so
    "capitals": (
        "Homo sapiens",
        ("homo", "macaca", "pan ", "callithrix", "microcebus", "sus ", "bos ", "canis", "gallus"),
    ),
    "one capital": ("Mus musculus", ("mus ", "rattus")),
    "small letters": ("Danio rerio", ("danio", "xenopus")),
}
_LEAST = 20  # symbols that show their case
_SHARE = 0.8  # of them, or of the ids


@dataclass(frozen=True)
class Told:
    """What the names of genes say of the organism.

    Parameters
    ----------
    organism
        Its scientific name; for symbols the most frequent one that writes them so. None where nothing is told.
    by
        `Ensembl ids`, `case of symbols`, or an empty text.
    share
        Share of the ids (or of the symbols that show their case) that say so.
    """

    organism: str | None
    by: str
    share: float
    case: str = ""

    def contradicts(self, stated: str) -> bool:
        """Whether a name of an organism is not the one that the genes tell."""
        name = _OTHER_NAMES.get(stated.strip().lower(), stated.strip().lower())
        if self.organism is None or not name or name == "unknown" or re.fullmatch(r"ncbitaxon:\d+", name):
            return False
        if self.case:
            known = [prefix for _, prefixes in _CASES.values() for prefix in prefixes]
            return name.startswith(tuple(known)) and not name.startswith(_CASES[self.case][1])
        return name != self.organism.lower()

    def notes(self) -> dict[str, object]:
        """The entry of the card."""
        return {"told": self.organism, "by": self.by, "share": round(self.share, 3)}


def organism_of(genes: "pd.DataFrame") -> Told:
    """The organism that most Ensembl ids, else the case of most symbols, tell.

    Parameters
    ----------
    genes
        Columns `feature_id` (empty where not known) and `feature_name`.
    """
    found = [_PREFIX.match(text) for text in genes["feature_id"]]
    prefixes = Counter(match[1] for match in found if match)
    if prefixes:
        prefix, number = prefixes.most_common(1)[0]
        share = number / prefixes.total()
        if share >= _SHARE:
            return Told(_PREFIXES.get(prefix, f"organism of {prefix}"), "Ensembl ids", share)
        return Told(None, "Ensembl ids", share)
    cases = Counter(_case(name) for name in genes["feature_name"] if _SYMBOL.match(name) and not _CLONE.search(name))
    if cases.total() >= _LEAST:
        case, number = cases.most_common(1)[0]
        share = number / cases.total()
        if share >= _SHARE and case in _CASES:
            return Told(_CASES[case][0], "case of symbols", share, case)
    return Told(None, "", 0.0)


def _case(name: str) -> str:
    letters = "".join(filter(str.isalpha, name))
    if letters.isupper():
        return "capitals"
    if letters.islower():
        return "small letters"
    return "one capital" if letters[0].isupper() and letters[1:].islower() else "mixed"
