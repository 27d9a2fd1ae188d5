"""Texts that mean that there is no value: one list for all tables and columns, in lower case.

`NOTHING` holds what programs write for a missing value, and `NO_ANSWER` what people write. A column of treatments may
hold `none` as a value, and a label table may map a label `NA`: the caller says what counts in a column.
"""

NOTHING = frozenset(
    {"", "na", "n/a", "#n/a", "nan", "<na>", "null", "#null!", "nat", "na_character_", "#value!", "#ref!", "\\n"}
)
NO_ANSWER = frozenset(
    {
        *("none", "nil", "-", "--", "---", "–", "—", ".", "..", "?", "??", "n.a.", "n.a", "n/d", "nd", "n.d."),
        *("<none>", "(none)", "<null>", "not known", "not available", "not applicable", "not provided", "not given"),
        *("not collected", "not reported", "not specified", "not recorded", "not determined", "missing", "<missing>"),
        *("missing value", "unavailable", "unspecified", "undefined", "undetermined", "no data", "blank", "(blank)"),
    }
)


def is_missing(text: str, *, words: bool = True) -> bool:
    """Whether a text means that there is no value, in any case, with or without blanks around it.

    `words` says whether what people write counts: `-`, `none`, `not available`. The word `unknown` is not looked at: it
    is what a column holds here where there is no value.
    """
    known = text.strip().lower()
    return known in NOTHING or (words and known.replace("_", " ") in NO_ANSWER)
