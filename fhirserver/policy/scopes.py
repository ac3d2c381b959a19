"""SMART scopes, version 1 and 2, as values.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast
from urllib.parse import parse_qsl

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest

Context = Literal["patient", "user", "system"]

ACTIONS: Final = "cruds"
"""create, read (with vread and the history of an instance), update (with patch), delete, search (with the
history of a type and of the system), in the order in which a scope has to name them."""

VERSION_1: Final = {"read": "rs", "write": "cud", "*": ACTIONS}
"""What the words of version 1 mean in letters."""

_FORM: Final = re.compile(r"(patient|user|system)/([A-Za-z]+|\*)\.([a-z]+|\*)(?:\?(.+))?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BROKEN: Final = re.compile(r"%00|%(?![0-9A-Fa-f]{2})|\x00")
"""What no text of FHIR holds, and what is no percent-encoding."""
_OF_RESULTS: Final = frozenset(
    {"_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_format", "_pretty"}
    | {"_type", "_filter", "_query", "_has", "_contained", "_containedType", "_text", "_content", "_list"}
)
"""What narrows nothing, or cannot be decided of a row by itself."""


class UnknownScope(ValueError):
    """What the text is instead of a scope, for people."""


class UnknownType(UnknownScope):
    """A well-formed scope on a type that R4 does not have."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`type` is a resource type or `*`; `actions` letters of ACTIONS; `params` search parameters of the type
    that narrow it, all of which must hold. `text` is the scope as it was written."""

    context: Context
    type: str
    actions: frozenset[str]
    params: tuple[tuple[str, str], ...]
    text: str

    def covers(self, resource_type: str) -> bool:
        return self.type in ("*", resource_type)


@lru_cache(maxsize=4_096)
def parse(text: str) -> Scope:
    """A scope on resources. Raises UnknownScope; never is a malformed one understood as a wider one."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UnknownScope(f"{text[:80]!r} is not (patient|user|system)/(Type|*).cruds, with ?parameters")
    context, type_, written, query = found.groups()
    params = _params(query, text) if query is not None else ()
    if params and written in VERSION_1:
        raise UnknownScope(f"{text[:80]!r}: parameters need letters of {ACTIONS}, not '{written}'")
    letters = VERSION_1.get(written, written)
    if "".join(letter for letter in ACTIONS if letter in letters) != letters:
        raise UnknownScope(f"{text[:80]!r}: the letters are of {ACTIONS}, each once, in this order")
    if type_ != "*" and type_ not in ENDPOINT_TYPES:
        near = nearest(type_, ENDPOINT_TYPES)
        raise UnknownType(
            f"{type_!r} in {text[:80]!r} is no type" + (f"; alike: {', '.join(near)}" if near else "")
        )
    return Scope(cast(Context, context), type_, frozenset(letters), params, text)


def _params(query: str, text: str) -> tuple[tuple[str, str], ...]:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters

    Plain parameters alone: modifiers and chains could widen or ask elsewhere.
    """
    if _BROKEN.search(query):
        raise UnknownScope(f"the parameters of {text[:80]!r} are malformed")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise UnknownScope(f"the parameters of {text[:80]!r} are malformed") from None
    for name, value in pairs:
        if _NAME.fullmatch(name) is None or name in _OF_RESULTS:
            raise UnknownScope(f"{name[:40]!r} in {text[:80]!r} is no plain search parameter")
        if not value or any(not part for part in value.split(",")):
            raise UnknownScope(f"{name[:40]!r} in {text[:80]!r} has no value")
    return tuple(pairs)


def parse_all(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Those that are scopes on resources; others (`openid`, `launch/patient`) say nothing about rows."""
    return tuple(parse(text) for text in texts if text.startswith(("patient/", "user/", "system/")))
