"""Which term of the Cell Ontology a label of an author means: the one that it surely is, or candidates to choose from.

A label is compared as words: without case, plural, hyphens and the word `cell`, Greek letters spelt out, `CD4+` as
`CD4 positive`. Short names such as `DC2` mean one thing to one author and another to the next, also where the ontology
lists one of these as a synonym: they are sure only where the table of common names (config/labels/common_names.tsv)
has them.
"""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path

from annobench.core.missing import is_missing
from annobench.core.records import Records, plain
from annobench.ontology.graph import ROOT, UNKNOWN, Ontology
from annobench.ontology.ids import is_id
from annobench.ontology.labels import COLUMNS

COMMON = "common_names.tsv"
ID, NAME, SYNONYM, SHORT, SPELLING, NO_TYPE = (
    "id",
    "name",
    "exact synonym",
    "common name",
    "name in another spelling",
    "no type",
)
_SHORT = 4  # characters of a synonym that may mean something else to another author
_CANDIDATES = 5
_LOWEST = 0.3  # score of a candidate
_NEAR = 0.85  # likeness of two words that are taken for one with a slip of the pen
_PREFIX = 4  # letters of a word that stand for a longer one
_PREFIX_COUNTS = 0.8
_COMMON_RANK = 1
_RARE = 0.7  # what is left of the score of a type of an atlas of the brain
_OF_TISSUE = 1.15  # how much the score of a type grows that has a word of the tissue in its name
_STEM = 5  # letters that `pancreas` and `pancreatic` share
_OWN_WEIGHT, _TERM_WEIGHT = 0.5, 0.6  # how much words count that only the label has, or only the name of the term

_GREEK = {
    "α": " alpha ",
    "β": " beta ",
    "γ": " gamma ",
    "δ": " delta ",
    "ε": " epsilon ",
    "κ": " kappa ",
    "λ": " lambda ",
    "μ": " mu ",
    "φ": " phi ",
    "ϕ": " phi ",
    "ω": " omega ",
}
_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"\bM ?(phi|ph|ø)\b", re.IGNORECASE), "macrophage"),
    (re.compile(r"(?<=[A-Za-z0-9])\s?\+"), " positive "),
    (re.compile(r"(?<=\d)\s?[-−–](?=$|[\s,;/|)])"), " negative "),
    (
        re.compile(r"\b((?:CD|IL|Ig)\d*[A-Za-z]?\d*)[ _-]?(bright|dim|hi|high|lo|low|neg|pos)\b", re.IGNORECASE),
        r"\1 \2",
    ),
    (re.compile(r"(?<=[a-z])(?=[A-Z][a-z]{3})"), " "),  # SmoothMuscle, but neither cDC nor gdT
]
_WORDS = {  # one spelling for each word; British to American, as the ontology writes
    **dict.fromkeys(("proliferating", "prolif", "dividing", "mitotic", "proliferative", "proliferation"), "cycling"),
    **{"pos": "positive", "neg": "negative", "hi": "high", "lo": "low", "i": "1", "ii": "2", "iii": "3"},
    **{"tumour": "tumor", "tumoral": "tumor", "oesophagus": "esophagus", "oesophageal": "esophageal"},
    **{"haematopoietic": "hematopoietic", "haemopoietic": "hematopoietic", "hemopoietic": "hematopoietic"},
    **{"foetal": "fetal", "leucocyte": "leukocyte", "centre": "center", "fibre": "fiber", "mueller": "muller"},
    **{"gammadelta": "gamma delta", "alphabeta": "alpha beta", "gd": "gamma delta", "ab": "alpha beta"},
    **{"nonclassical": "non classical", "reg": "regulatory", "endothelium": "endothelial"},
}
_ABBREVIATIONS = {  # within a longer name
    **{"nk": "natural killer", "nkt": "natural killer t", "dc": "dendritic", "pdc": "plasmacytoid dendritic"},
    **{"cdc": "conventional dendritic", "mdc": "myeloid dendritic", "modc": "monocyte derived dendritic"},
    **{"treg": "regulatory t", "gdt": "gamma delta t", "tgd": "gamma delta t", "tfh": "t follicular helper"},
    **{f"th{n}": f"t helper {n}" for n in (1, 2, 9, 17, 22)},
    **{f"ilc{n}": f"group {n} innate lymphoid" for n in (1, 2, 3)},
    **{"tem": "effector memory t", "tcm": "central memory t", "trm": "resident memory t", "tn": "naive t"},
    **{"temra": "effector memory t terminally differentiated", "ilc": "innate lymphoid"},
    **{"mait": "mucosal associated invariant t", "hsc": "hematopoietic stem", "gc": "germinal center"},
    **{"ec": "endothelial", "lec": "lymphatic endothelial", "smc": "smooth muscle", "mono": "monocyte"},
    **{"mac": "macrophage", "mph": "macrophage", "mk": "megakaryocyte", "fibro": "fibroblast"},
}
_SIGNS = ("negative", "high", "bright", "dim", "low", "intermediate")
_T_CELL = {"cd4", "cd8"}  # a name with one of these and none of the next words is of a T cell
_NOT_T = frozenset(
    [
        *("t", "b", "thymocyte", "dendritic", "killer", "monocyte", "macrophage", "myeloid", "stem", "progenitor"),
        *("precursor", "eosinophil", "innate"),
    ]
)
_SEVERAL = re.compile(r"[/&|]|\band\b|\bor\b")  # a label of several types
_LETTERS = {*("alpha", "beta", "gamma", "delta", "epsilon", "kappa", "lambda", "mu", "phi", "omega"), *"abcde"}
_PASSED_OVER = ("cell", "human")
_OTHER_SPECIES = re.compile(r"\((Mmus|Primate|Hsap)\)")  # of types that were named for an atlas of the brain
_NO_TYPE = frozenset(
    [
        *("unknown", "other", "others", "unassigned", "unidentified", "undefined", "unclassified", "uncertain"),
        *("ambiguous", "doublet", "doublets", "multiplet", "multiplets", "debris", "unresolved", "unlabelled"),
        *("unlabeled", "mixed", "low quality", "low quality cell", "low quality cells", "not assigned", "no label"),
        "not annotated",
    ]
)


@dataclass(frozen=True)
class Candidate:
    """A term that a label may mean.

    Parameters
    ----------
    label_id
        Its id.
    score
        Likeness of the names, 0 to 1.
    name
        The name or synonym that is like the label.
    """

    label_id: str
    score: float
    name: str


@dataclass(frozen=True)
class Match:
    """What a label means.

    Parameters
    ----------
    label_id
        Id of the term that it surely is; `unknown` where it says that there is no type; None where nothing is sure.
    how
        By what it is sure: one of the constants of this module; empty where it is not.
    candidates
        Terms with similar names, the most similar first; empty where the label is sure.
    """

    label_id: str | None
    how: str
    candidates: tuple[Candidate, ...] = ()


def words(text: str) -> tuple[str, ...]:
    """The words of a name as they are compared, in order: without `cell`, and `CD4-positive` as `cd4`."""
    text = plain(text).replace("_", " ")
    for letter, name in _GREEK.items():
        text = text.replace(letter, name).replace(letter.upper(), name)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)).lower()
    found: list[str] = []
    for word in map(_singular, re.findall(r"[a-z0-9]+", text)):
        for one in _ABBREVIATIONS.get(word, _WORDS.get(word, word)).split():
            marker = found[-1] if found and any(map(str.isdigit, found[-1])) and found[-1][0].isalpha() else ""
            if marker and one in _SIGNS:
                found[-1] = f"{marker}-{one}"  # so that CD16- is not CD16+
            elif one not in _PASSED_OVER and not (marker and one == "positive"):
                found.append(one)
    return tuple(found)


def _singular(word: str) -> str:
    ends = word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if ends and len(word) > 2 else word


def is_number(label: str) -> bool:
    """Whether a label is a whole number, as of a cluster."""
    return re.fullmatch(r"\s*\d+(\.0)?\s*", label) is not None


def _is_abbreviated(text: str) -> bool:
    return any(_singular(word) in _ABBREVIATIONS for word in re.findall(r"[a-z0-9]+", text.lower()))


def common_names(path: Path, ontology: Ontology) -> dict[str, str]:
    """Name -> id of the table of common names, without terms that the release does not have."""
    records = Records.read(path, optional=True)
    rows = (fields for _, fields in records.table(COLUMNS[:2]))
    return {name: found for name, label_id in rows if (found := ontology.resolve(label_id))}


class Matcher:
    """Finds terms for labels.

    Parameters
    ----------
    ontology
        The release.
    common
        Names that the field uses and the ontology does not have -> id.
    tissues
        Where the cells come from, such as `pancreas`: types of it come first among candidates of similar names.
    """

    def __init__(
        self, ontology: Ontology, common: Mapping[str, str] | None = None, tissues: Iterable[str] = ()
    ) -> None:
        self._ontology, self._common = ontology, dict(common or {})
        self._factors: dict[str, float] = {}
        self._likes: dict[str, dict[str, float]] = {}
        self._stems = {word[:_STEM] for tissue in tissues for word in words(tissue) if len(word) > _STEM - 2}

    def match(self, label: str, candidates: int = _CANDIDATES) -> Match:
        """What a label means; at most so many candidates."""
        text = plain(label)
        if is_missing(text) or " ".join(re.findall(r"[a-z]+", text.lower())) in _NO_TYPE:
            return Match(UNKNOWN, NO_TYPE)
        if is_id(text) and (found := self._ontology.resolve(text)):
            return Match(found, ID)
        if found := self._by_name.get(text.lower()):
            return Match(found, NAME)
        own = _sorted(words(text))
        common = self._common_text.get(text.lower()) or (None if _SEVERAL.search(text) else self._by_common.get(own))
        found = self._ontology.find(text)
        if found and (common == found or (len(text) > _SHORT and not self._is_rare(found))):
            return Match(found, SYNONYM)
        alike = set() if _SEVERAL.search(text) or set(own) <= _LETTERS else self._by_words.get(own, set())
        if common and alike != {common}:
            return Match(common, SHORT)
        if len(alike) == 1 and not self._is_rare(next(iter(alike))):
            return Match(next(iter(alike)), SHORT if _is_abbreviated(text) else SPELLING)
        if common:
            return Match(common, SHORT)
        return Match(None, "", tuple(self.candidates(text, candidates)))

    def _is_rare(self, label_id: str) -> bool:
        """Whether a term was named for an atlas of the brain of one species; its synonyms are common words."""
        return bool(_OTHER_SPECIES.search(self._ontology.label(label_id)))

    def candidates(self, label: str, number: int = _CANDIDATES) -> list[Candidate]:
        """Terms with names like the label, the most similar first.

        The score of a name is the weight of the words that both have, over that and the weights of words that only one
        of them has. A word weighs the more, the fewer names have it.
        """
        own = list(dict.fromkeys(words(label)))
        if not own or is_number(label) or number < 1:
            return []
        if _T_CELL & set(own) and not _NOT_T & set(own):
            own.append("t")
        like = {word: self._like(word) for word in own}
        weights = {word: self._weight(word, like[word]) for word in own}
        shared: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for word, others in like.items():
            for other, likeness in others.items():
                for at in self._at[other]:
                    shared[at][word] = max(shared[at].get(word, 0.0), likeness)
        best: dict[str, tuple[float, int, str]] = {}
        idfs = self._idfs
        whole = sum(weights.values())
        for at, found in shared.items():
            label_id, name, of_name, rank = self._names[at]
            both = sum(weights[word] * likeness for word, likeness in found.items())
            theirs = {other for word in found for other in like[word]}
            lacking = sum(idfs[word] for word in of_name if word not in theirs)
            score = both / (both + _OWN_WEIGHT * (whole - both) + _TERM_WEIGHT * lacking)
            score = min(1.0, score * self._factor(label_id))
            if label_id not in best or (score, -rank) > best[label_id][:2]:
                best[label_id] = (score, -rank, name)
        ordered = sorted(
            best.items(), key=lambda item: (-round(item[1][0], 6), -item[1][1], self._ontology.depth(item[0]), item[0])
        )
        return [Candidate(key, score, name) for key, (score, _, name) in ordered[:number] if score >= _LOWEST]

    def _factor(self, label_id: str) -> float:
        """What the scores of a term are multiplied by."""
        if label_id not in self._factors:
            label = self._ontology.label(label_id)
            factor = _RARE if self._is_rare(label_id) else 1.0
            of_tissue = bool(self._stems) and not self._stems.isdisjoint(word[:_STEM] for word in words(label))
            self._factors[label_id] = factor * _OF_TISSUE if of_tissue else factor
        return self._factors[label_id]

    # names, and words in them

    @cached_property
    def _by_name(self) -> dict[str, str]:
        terms = self._ontology.terms
        return {term.label.lower(): key for key, term in terms.items() if not term.obsolete and key.startswith("CL:")}

    @cached_property
    def _common_text(self) -> dict[str, str]:
        return {name.lower(): label_id for name, label_id in self._common.items()}

    @cached_property
    def _by_common(self) -> dict[tuple[str, ...], str]:
        return {_sorted(words(name)): label_id for name, label_id in self._common.items() if not _SEVERAL.search(name)}

    @cached_property
    def _names(self) -> list[tuple[str, str, tuple[str, ...], int]]:
        """Id, name, its words, and its rank: that of the term 0, a common name 1, a synonym 2."""
        found: list[tuple[str, str, tuple[str, ...], int]] = []
        for key, term in sorted(self._ontology.terms.items()):
            if term.obsolete or key == ROOT or not key.startswith("CL:"):
                continue
            for name, rank in [(term.label, 0), *((name, 2) for name in term.synonyms)]:
                of_name = tuple(dict.fromkeys(words(name)))
                if rank == 0 or not set(of_name) <= _LETTERS:  # `alpha cell` is a synonym of a neuron
                    found.append((key, name, of_name, rank))
        for name, key in self._common.items():
            found.append((key, name, tuple(dict.fromkeys(words(name))), _COMMON_RANK))
        return [entry for entry in found if entry[2]]

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], set[str]]:
        found: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for key, name, of_name, rank in self._names:
            if rank != _COMMON_RANK and len(name) > _SHORT:
                found[_sorted(of_name)].add(key)
        return dict(found)

    @cached_property
    def _at(self) -> dict[str, list[int]]:
        """Positions in `_names` of the names that have a word."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for at, (_, _, of_name, _) in enumerate(self._names):
            for word in of_name:
                found[word].append(at)
        return dict(found)

    @cached_property
    def _terms_with(self) -> Counter[str]:
        """Number of terms that have a word in a name."""
        pairs = {(key, word) for key, _, of_name, _ in self._names for word in of_name}
        return Counter(word for _, word in pairs)

    @cached_property
    def _idfs(self) -> dict[str, float]:
        return {word: math.log(1 + len(self._ontology.terms) / n) for word, n in self._terms_with.items()}

    def _idf(self, word: str) -> float:
        """Weight of a word of names; that of the rarest for any other."""
        return self._idfs.get(word) or math.log(1 + len(self._ontology.terms))

    def _weight(self, word: str, like: Mapping[str, float]) -> float:
        """Weight of a word of a label: that of the word it is like; one that no name has (a gene) weighs less."""
        known = [self._idf(other) for other, likeness in like.items() if likeness == max(like.values())]
        return max(known) if known else 0.5 * self._idf("")

    def _like(self, word: str) -> dict[str, float]:
        """Words of names that a word of a label stands for, and how alike they are."""
        if word not in self._likes:
            self._likes[word] = self._found_like(word)
        return self._likes[word]

    def _found_like(self, word: str) -> dict[str, float]:
        if word in self._at:
            return {word: 1.0}
        if word.isdigit() or len(word) < _PREFIX:
            return {}
        begun = {other: _PREFIX_COUNTS for other in self._at if other.startswith(word)}
        if begun:
            return begun
        near: dict[str, float] = {}
        for other in self._at:
            if other[0] == word[0] and abs(len(other) - len(word)) <= 2 and not any(map(str.isdigit, word + other)):
                likeness = SequenceMatcher(None, word, other, autojunk=False).ratio()
                if likeness >= _NEAR:
                    near[other] = likeness
        best = max(near.values(), default=0.0)
        return {other: likeness for other, likeness in near.items() if likeness == best}


def _sorted(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))
