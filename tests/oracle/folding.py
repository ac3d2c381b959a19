"""What counts in a string search: https://hl7.org/fhir/R4/search.html#string and docs/reference/search.md

"Insensitive to casing and included combining characters, like accents or other diacritical marks. Punctuation
and non-significant whitespace should also be ignored."
"""

from __future__ import annotations

import unicodedata
from functools import cache

_STROKES = {
    "ł": "l",
    "ø": "o",
    "æ": "ae",
    "đ": "d",
    "ħ": "h",
    "œ": "oe",
    "ŧ": "t",
    "ð": "d",
    "þ": "th",
    "ı": "i",
}
"""Letters of which Unicode does not know the base character."""
PHONETIC = "phonetic"
"""The parameter that compares by sound: https://hl7.org/fhir/R4/patient.html#search"""
_JOINTS = "/_,;:"
"""Punctuation between words, as dashes are; other punctuation disappears."""


@cache
def folded(text: str, dash: str = " ") -> str:
    """Base characters in lower case, words apart by one space; `dash` stands for what joins words."""
    made = ""
    for char in lowered(text):
        category = unicodedata.category(char)
        if category == "Pd" or char in _JOINTS:
            made += dash
        elif not category.startswith("P"):
            made += char
    return " ".join(made.split())


@cache
def lowered(text: str) -> str:
    """Base characters in lower case, everything else as it is."""
    return "".join(_STROKES.get(char, char) for char in _bare(_bare(text).casefold()).lower())


def _bare(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def starts(asked: str, target: str, by_parts: bool) -> bool:
    """The default search; `by_parts`: "servers should search the parts of a family name independently"."""
    wanted = folded(asked)
    words = folded(target).split()
    beginnings = range(len(words)) if by_parts else range(1)
    forms = [folded(target, ""), *(" ".join(words[first:]) for first in beginnings)]
    return any(form.startswith(wanted) for form in forms)


def sounds(asked: str, target: str) -> bool:
    """Whether every word is there as it is; what else sounds like it is for the server to say."""
    return set(folded(asked).split()) <= set(folded(target).split())


def contains(asked: str, target: str) -> bool:
    return folded(asked) in folded(target)
