"""Cell Ontology ids in the spellings that people and programs use."""

import re

from annobench.core.records import plain

_ID = re.compile(r"<?(?:\S*[/#=])?(?:obo:)?CL[:_\- ]?(\d{7})/?>?", re.IGNORECASE)


def canonical(text: str) -> str:
    """The id as `CL:0000084`, also where it is written as `CL_0000084`, `cl:0000084` or the address of the term.

    Any other text comes back without blanks around it.
    """
    text = plain(text)
    found = _ID.fullmatch(text)
    return f"CL:{found[1]}" if found else text


def is_id(text: str) -> bool:
    """Whether a text is a Cell Ontology id in any spelling."""
    return _ID.fullmatch(plain(text)) is not None
