"""Short names of cell types, for places where the full name does not fit."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, pairwise
from textwrap import wrap

from matplotlib.font_manager import FontProperties, findfont, get_font

# what the field abbreviates, longest first; every rule is applied, in this order
_RULES = (
    ("intratelencephalic projecting ", "IT "),
    ("corticothalamic-projecting ", "CT "),
    ("near-projecting ", "NP "),
    ("caudal ganglionic eminence derived ", "CGE-derived "),
    ("GABAergic cortical interneuron", "GABA interneuron"),
    ("glutamatergic cortical neuron", "glut. neuron"),
    ("kidney loop of Henle", "loop of Henle"),
    ("plasmacytoid dendritic cell", "pDC"),
    (" dendritic cell", " DC"),  # alone it keeps its name
    ("natural killer cell", "NK cell"),
    ("terminally differentiated", "term. diff."),
    ("thymus-derived ", ""),
    ("alpha-beta", "αβ"),
    ("gamma-delta", "γδ"),
    ("-alpha-alpha", "αα"),
    ("double-positive, ", "double positive "),
    ("-positive", "+"),
    ("-negative", "\N{MINUS SIGN}"),
    ("effector memory", "EM"),
    ("central memory", "CM"),
    ("regulatory T cell", "Treg"),
    ("T regulatory cell", "Treg"),
    ("intraepithelial lymphocyte", "IEL"),
    ("intraepithelial T cell", "intraepith. T cell"),
    ("hematopoietic", "hematop."),
    ("epithelial cell", "epith. cell"),
    ("endothelial cell", "endoth. cell"),
    ("progenitor cell", "progenitor"),
    ("ascending", "asc."),
    ("descending", "desc."),
    ("associated", "assoc."),
    ("tracheobronchial", "tracheobr."),
    (", human", ""),
)
FONT = "DejaVu Sans"


def shortened(label: str, length: int = 34) -> str:
    """A cell type beside an axis: the most common words shortened, cut where it is still too long."""
    for long, short in (
        ("-positive", "+"),
        ("-negative", "-"),
        ("alpha-beta", "αβ"),
        ("thymus-derived ", ""),
        ("regulatory", "reg."),
    ):
        label = label.replace(long, short)
    return label if len(label) <= length else label[: length - 1] + "…"


def short_names(labels: Sequence[str], most: int = 44) -> list[str]:
    """Every label shortened; labels that would become equal keep their full names. Cut where they are too long."""
    short = [_short(label) for label in labels]
    times = Counter(short)
    names = [name if times[name] == 1 else label for name, label in zip(short, labels, strict=True)]
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]


def _short(label: str) -> str:
    for long, brief in _RULES:
        label = label.replace(long, brief)
    return label


def in_lines(name: str, width: int, most: int = 3) -> str:
    """A name over as few lines of at most `width` characters as hold it, of similar length; cut where none do."""
    words = name.split(" ")
    for lines in range(1, most + 1):
        best = min(_divided(words, lines), key=lambda parts: max(map(len, parts)), default=None)
        if best and max(map(len, best)) <= width:
            return "\n".join(best)
    return "\n".join(wrap(name, width, max_lines=most, placeholder="…"))


def _divided(words: Sequence[str], lines: int) -> Iterator[list[str]]:
    """All ways to divide words, in their order, into so many lines."""
    for cuts in combinations(range(1, len(words)), lines - 1):
        yield [" ".join(words[a:b]) for a, b in pairwise([0, *cuts, len(words)])]


@cache
def text_width(text: str, points: float) -> float:
    """Width (inches) of the longest line of a text in the font of the figures, without a canvas."""
    font = get_font(findfont(FontProperties(family=FONT)))
    font.set_size(points, 72)
    widest = 0.0
    for line in text.split("\n"):
        font.set_text(line)
        widest = max(widest, font.get_width_height()[0] / 64)
    return widest / 72
