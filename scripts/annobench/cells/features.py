"""Columns of a matrix that are no genes: antibodies, guides, hashtags, peaks, spike-ins and control probes.

They are told by a column of var with the type of a feature, and by the names that vendors give them.
"""

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TYPE_COLUMNS = ("feature_types", "feature_type", "feature_biotype")
_GENE_WORDS = {"gene expression", "gene", "genes", "rna", "gex", "mrna"}
# `feature_type` also holds biotypes of genes (protein_coding, lncRNA), so that unknown words are genes
_OTHER_WORDS = re.compile(
    r"antibody|\badt\b|\bhto\b|hashtag|protein(?!.coding)|antigen|crispr|guide|multiplexing|custom|\bpeaks?\b|\batac\b"
    r"|control|blank|codeword|spike|\bercc\b|synthetic|intergenic"
)
_NAMES: dict[str, re.Pattern[str]] = {
    "antibody": re.compile(
        r"[_-]?total-?seq[_-]?[abcd]?\d*$|^(adt|hto|cite|prot|ab)[_-]|^hto\d|^hashtag"
        r"|^anti[- _](human|mouse|hamster|rat)",
        re.IGNORECASE,
    ),
    "guide": re.compile(r"(^|[_-])sgrna|(^|[_-])grna[_-]|[_-]grna\d*$", re.IGNORECASE),
    "spike-in": re.compile(r"^(ercc[-_.]?\d{5}|sirv\d{1,4}|sequin_?r?\d+|r[12]_\d+_\d+)$", re.IGNORECASE),
    "control probe": re.compile(
        r"^(neg(ative)?_?(control|ctrl|prb|probe|prob)|negative\d+$|systemcontrol|falsecode|unassignedcodeword"
        r"|deprecatedcodeword|genomic_?control|blank([-_]|\d|$)|antisense_|intergenic_region)",
        re.IGNORECASE,
    ),
    "counting summary": re.compile(
        r"^(__(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)|n_(unmapped|multimapping|nofeature"
        r"|ambiguous))$",
        re.IGNORECASE,
    ),
}


def not_genes(var: "pd.DataFrame", names: "list[str]") -> "tuple[NDArray[np.bool_], dict[str, int]]":
    """Which columns of a matrix are no genes, and how many there are by type.

    Parameters
    ----------
    var
        Table of the columns, (columns,); its columns `feature_types`, `feature_type` and `feature_biotype` are read.
    names
        Their names: symbols, or what stands for them.

    Returns
    -------
    Mask (columns,), and the number by the type that the file gives, else by the kind of the name.
    """
    kinds = [""] * len(var)
    for column in TYPE_COLUMNS:
        if column not in var:
            continue
        types = var[column].astype(object).astype(str).tolist()
        words = [re.sub(r"[_\s]+", " ", text).strip().lower() for text in types]
        declared = any(word in _GENE_WORDS - {"gene"} for word in words)  # then all else is no gene
        for i, word in enumerate(words):
            other = word not in ("", "nan", "none", "unknown") if declared else bool(_OTHER_WORDS.search(word))
            if not kinds[i] and word not in _GENE_WORDS and other:
                kinds[i] = types[i]
    for i, name in enumerate(names):
        if not kinds[i]:
            kinds[i] = next((kind for kind, pattern in _NAMES.items() if pattern.search(name)), "")
    mask = np.array([bool(kind) for kind in kinds], dtype=bool)
    return mask, dict(sorted(Counter(filter(None, kinds)).items()))
