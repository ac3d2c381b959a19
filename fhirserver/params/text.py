"""The syntax of search values: prefixes, separators and their escapes.

https://hl7.org/fhir/R4/search.html#prefix, https://hl7.org/fhir/R4/search.html#escaping
"""

from __future__ import annotations

from typing import Final, Literal, cast

from fhirserver.errors import Invalid

Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
PREFIXES: Final = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})

_ESCAPED: Final = frozenset(",$|\\")


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators, their escapes kept for the next level."""
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == separator:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    parts.append(text[start:])
    return parts


def unescape(text: str) -> str:
    """The value that an escaped part means. Raises Invalid for an unknown escape."""
    if "\\" not in text:
        return text
    out: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
            if position == len(text) or text[position] not in _ESCAPED:
                raise Invalid(f"'{text}' has a backslash that escapes none of , $ | \\")
        out.append(text[position])
        position += 1
    return "".join(out)


def escape(text: str) -> str:
    """The part that means the value: the inverse of `unescape`."""
    return "".join("\\" + char if char in _ESCAPED else char for char in text)


def split_prefix(text: str) -> tuple[Prefix, str]:
    """The comparison and the rest of an ordered value; without prefix it is `eq`."""
    if text[:2] in PREFIXES:
        return cast(Prefix, text[:2]), text[2:]
    return "eq", text
