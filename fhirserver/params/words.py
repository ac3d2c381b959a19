"""The words of a resource: what stands in its narrative and its strings, for full text.

https://hl7.org/fhir/R4/search.html#content

Read are narratives and the values of `string`, `markdown` and `code`, wherever they stand: in contained
resources, in the entries of a Bundle and in extensions too. Not read are ids, URIs, references, dates,
numbers and base64, which have parameters of their own or say nothing to people.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from typing import Final, Literal
from unicodedata import category, combining, east_asian_width, normalize

from fhirserver.fhir.structure import Resource, structure
from fhirserver.params.string import STROKES

READ: Final = frozenset({"string", "markdown", "code"})
WORD_LENGTH_MAX: Final = 100
"""Characters of a word that count; longer ones are cut where they are written and where they are sought."""

# -- words

_APOSTROPHES: Final = frozenset("'’‘`´ʹʻʼʽ")


class _Letters(dict[int, str]):
    """Code point -> what it is within words: itself, nothing for accents, a blank for what separates."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        if combining(char) or char in _APOSTROPHES:
            found = ""
        elif char.isalnum():
            found = f" {char} " if category(char) == "Lo" and east_asian_width(char) in "WF" else char
        else:
            found = char if category(char).startswith("M") else " "
        self[point] = found
        return found


_LETTERS: Final = _Letters({ord("ı"): "i", **{ord(char): base for char, base in STROKES.items()}})


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without accents. Every ideograph is a word of its own."""
    if not text.isascii():
        text = normalize("NFKD", normalize("NFKD", text).casefold())
    return [word[:WORD_LENGTH_MAX] for word in text.lower().translate(_LETTERS).split()]


# -- narrative

_MARKUP: Final = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[(?P<plain>.*?)\]\]>"
    r"|</?(?P<name>[^\s<>/\"']+)(?:[^<>\"']|\"[^\"]*\"|'[^']*')*>",
    re.DOTALL,
)
_INLINE: Final = frozenset(
    {
        *("a", "abbr", "acronym", "b", "big", "cite", "code", "dfn", "em", "i", "samp", "small", "span"),
        *("strong", "sub", "sup", "tt", "var"),
    }
)


def plain(div: str) -> str:
    """The text of a narrative's div. Elements end a word, but for those within a line.

    https://hl7.org/fhir/R4/narrative.html#xhtml
    """

    def text_of(match: re.Match[str]) -> str:
        if match["plain"] is not None:
            return match["plain"].replace("&", "&amp;")
        return " " if match["name"] and match["name"].lower() not in _INLINE else ""

    return unescape(_MARKUP.sub(text_of, div))


# -- resources

_Step = Literal["text", "div", "resource"] | str
"""What is in an element: text, XHTML, a resource, or a structure to walk, by its name."""


def narrative(resource: Resource) -> str | None:
    """The text of the resource's own narrative; None where it has none."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    return None if div is None else plain(div)


def strings(resource_type: str, resource: Resource) -> list[str]:
    """All that a resource says but its own narrative, each text once."""
    found: list[str] = []
    _walk({key: value for key, value in resource.items() if key != "text"}, resource_type, found)
    return list(dict.fromkeys(found))


def _walk(value: Resource, name: str, found: list[str]) -> None:
    steps = _steps(name)
    for key, inner in value.items():
        step = steps.get(key)
        if step is None:
            if key[0] != "_":
                continue
            step = "Element"
        for one in inner if isinstance(inner, list) else (inner,):
            if one is None:
                continue
            if step == "text":
                found.append(one)
            elif step == "div":
                found.append(plain(one))
            else:
                _walk(one, one["resourceType"] if step == "resource" else step, found)


@cache
def _steps(name: str) -> dict[str, _Step]:
    """The elements of a structure that text can be in, by their keys in JSON."""
    if name == "Narrative":
        return {"div": "div"}
    found: dict[str, _Step] = {}
    for key, (_, type_) in structure(name).keys.items():
        if key == "id" or (name, key) == ("Reference", "reference"):
            continue
        kind = structure(type_).kind
        if type_ in READ:
            found[key] = "text"
        elif kind == "resource":
            found[key] = "resource"
        elif kind != "primitive":
            found[key] = type_
    return found
