"""Names of genes that are none: what spreadsheets, joined columns and joined genomes make of them."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_DATE = re.compile(rf"\d{{1,2}}[-.](?:{_MONTH})|(?:{_MONTH})[-.]\d{{1,2}}|\d{{4}}-\d\d-\d\d( 00:00:00)?", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(\.\d+)?(E\+\d+)?", re.IGNORECASE)
_ID = re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?")
_JOINED = re.compile(r".+[_|;:/ -]ENS[A-Z]*G\d{6,}(\.\d+)?|ENS[A-Z]*G\d{6,}(\.\d+)?[_|;:/ -].+")
_GENOME = re.compile(r"(GRC[a-z]\d+|hg\d+|mm\d+|rn\d+|dm\d+|premrna)[A-Za-z0-9]*[_-]+.+", re.IGNORECASE)
_MANY = 0.2  # share of the genes


def what_is_wrong(name: str) -> str:
    """Why a name is no symbol of a gene, whatever the organism; empty where nothing is wrong with it."""
    if _DATE.fullmatch(name):
        return "is a date, which a spreadsheet made of a name such as MARCHF1 or SEPTIN2"
    if _NUMBER.fullmatch(name):
        return "is a number"
    return "is an Ensembl id" if _ID.fullmatch(name) else ""


def strange_names(genes: "pd.DataFrame") -> list[str]:
    """What is wrong with names of genes, and what to do, in sentences; empty where nothing is.

    Parameters
    ----------
    genes
        Columns `feature_id` (empty where not known) and `feature_name`.
    """
    names = genes["feature_name"].astype(str)
    without_id = genes["feature_id"].astype(str) == ""
    found = []
    dates = names[names.map(lambda name: bool(_DATE.fullmatch(name)))]
    if len(dates):
        found.append(
            f"{_such(dates)} are dates: a spreadsheet made them of names such as MARCHF1 and SEPTIN2; take the table "
            "from before, or name the column of Ensembl ids in genes.id"
        )
    for pattern, what in (
        (_NUMBER, "are numbers (Entrez ids?), which no method, marker or panel knows; name the column of symbols"),
        (_JOINED, "join a symbol and an Ensembl id, which nothing knows as one; name columns that hold one of them"),
        (_GENOME, "begin with a genome, as in mixed samples, and nothing knows them so; take one organism's genes"),
    ):
        strange = names[without_id & names.map(lambda name, pattern=pattern: bool(pattern.fullmatch(name)))]
        if len(strange) > _MANY * len(names):
            where = "" if pattern is _GENOME else " in genes.name and genes.id"
            found.append(f"{_such(strange)} {what}{where}")
    return found


def _such(names: "pd.Series") -> str:
    """How many, and the first of them."""
    return f"{len(names):,} names of genes ({', '.join(names.head(3))}{', ...' if len(names) > 3 else ''})"
