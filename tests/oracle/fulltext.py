"""Words in narratives and contents: https://hl7.org/fhir/R4/search.html#text

What a word is and how words are joined is this server's choice: docs/reference/search.md
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding

SAID = ("string", "markdown", "code")


@dataclass(frozen=True, slots=True)
class Words:
    """Words one after the other in one text; the last may be a beginning."""

    words: tuple[str, ...]
    is_beginning: bool = False

    def __str__(self) -> str:
        text = " ".join(self.words)
        return f"{text}*" if self.is_beginning else f'"{text}"' if len(self.words) > 1 else text


@dataclass(frozen=True, slots=True)
class Joined:
    """`word` is AND, OR or NOT."""

    word: str
    left: Query
    right: Query

    def __str__(self) -> str:
        return f"({self.left}) {self.word} ({self.right})"


Query = Words | Joined


def narrative(resource: dict[str, Any]) -> list[str]:
    """The text of the narrative, without its markup."""
    div = resource.get("text", {}).get("div", "")
    return [html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<!--.*?-->", " ", div, flags=re.DOTALL)))]


def content(resource: dict[str, Any]) -> list[str]:
    """The narrative and every string, markdown and code, however deep; ids and references are neither."""
    return [*narrative(resource), *_said(resource, resource["resourceType"])]


def _said(value: dict[str, Any], type_: str) -> Iterator[str]:
    for key, (name, kind) in d.elements(type_).items():
        if name == "id" or (type_, name) == ("Reference", "reference"):
            continue
        found = value.get(key, value.get(f"_{key}"))
        for one in found if isinstance(found, list) else [found]:
            if isinstance(one, str) and kind in SAID:
                yield one
            elif isinstance(one, dict):
                inner = one["resourceType"] if kind in d.ABSTRACT else kind
                inner = "Element" if d.is_primitive(inner) else inner
                if inner != "Narrative":
                    yield from _said(one, inner)
                elif "div" in one and type_ in d.RESOURCE_TYPES and "resourceType" in value:
                    yield from narrative(value)
        companion = value.get(f"_{key}") if key in value else None
        for one in companion if isinstance(companion, list) else [companion]:
            if isinstance(one, dict):
                yield from _said(one, "Element")


def words(text: str) -> list[str]:
    """Letters and digits without case and accents; an apostrophe is nothing, all else is between words."""
    return re.findall(r"[^\W_]+", re.sub("['\u2019\u02bc]", "", folding.lowered(text)))


def matches(texts: list[list[str]], query: Query) -> bool:
    """Whether the words of some texts are as a query wants them."""
    match query:
        case Words(wanted, is_beginning):
            return any(_occurs(text, list(wanted), is_beginning) for text in texts)
        case Joined("AND", left, right):
            return matches(texts, left) and matches(texts, right)
        case Joined("OR", left, right):
            return matches(texts, left) or matches(texts, right)
        case Joined(_, left, right):
            return matches(texts, left) and not matches(texts, right)


def _occurs(text: list[str], wanted: list[str], is_beginning: bool) -> bool:
    for start in range(len(text) - len(wanted) + 1):
        part = text[start : start + len(wanted)]
        if part == wanted or (is_beginning and part[:-1] == wanted[:-1] and part[-1].startswith(wanted[-1])):
            return True
    return False
