"""The words of a request: all of them for auditors, and for a patient those that cannot name anybody else.

What is told to a patient is what is known to be harmless, and nothing else is: dates, numbers, codes, how the
answer is given, and the patient's own reference. Names, identifiers, other references, chains, modifiers and
what nobody knows stand without their values. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Call
from fhirserver.params.facts import node_types
from fhirserver.params.registry import r4
from fhirserver.search.parse import CURSOR

_HOW: Final = frozenset(
    {
        *(
            "_type",
            "_sort",
            "_elements",
            "_include",
            "_include:iterate",
            "_revinclude",
            "_revinclude:iterate",
        ),
        *("_summary", "_count", "_total", "_format", "_pretty", "_profile", "_since", "_at"),
    }
)
"""What says how an answer is given, and of which kind of resource."""
_ORDERED: Final = frozenset({"date", "number", "quantity"})
_CODED: Final = frozenset({"code", "Coding", "CodeableConcept", "boolean"})
_HARMLESS: Final = frozenset({"date", "dateTime", "instant", "code", "integer", "positiveInt", "boolean"})
"""Types of what an operation is called with."""
WHOSE: Final = frozenset({"patient", "subject", "patient:Patient", "subject:Patient"})
"""Search parameters that say whose record it is."""
_REFERENCE: Final = re.compile(r"(Patient/)?([A-Za-z0-9.\-]{1,64})")
_WORDS: Final = frozenset({"_search", "_history", "*"})


def words(call: Call) -> str:
    """The request below the base, as auditors read it."""
    return _text(call.path, [(name, "" if name == CURSOR else value) for name, value in call.query])


def words_for(call: Call, patient: str) -> str:
    """The same as the patient may read it: `Observation?patient=1&date=2026&performer=`."""
    path = "/".join(_segments(call, patient))
    query = [(name, value if _is_told(call, patient, name, value) else "") for name, value in call.query]
    return _text(path, query)


def _text(path: str, query: list[tuple[str, str]]) -> str:
    text = urlencode(query, safe=":,/|$")
    return f"{path}?{text}" if text else path


def _segments(call: Call, patient: str) -> list[str]:
    """The path: types, operations, and the patient's own id."""
    before, told = "", list[str]()
    operation = None if call.operation is None else f"${call.operation.code}"
    for one in call.path.split("/"):
        known = not one or one in ENDPOINT_TYPES or one in _WORDS or one == operation
        hidden = "$" if one.startswith("$") else "[id]"
        told.append(one if known or f"{before}/{one}" == patient else hidden)
        before = one
    return told


def _is_told(call: Call, patient: str, name: str, value: str) -> bool:
    if name in WHOSE or name == "_id":
        return referred(name, value, call.type) == patient
    if call.operation is not None:
        types = {one.type for one in call.operation.inputs if one.name == name}
        return name in _HOW or (bool(types) and types <= _HARMLESS)
    return name in _HOW or _is_harmless(call.type, name)


def referred(name: str, value: str, type_: str | None) -> str | None:
    """The Patient whom the value of such a parameter means: a subject without a type may be anybody, an id
    that of whatever is sought."""
    found = _REFERENCE.fullmatch(value)
    if found is None or (name.startswith("subject") and not found[1]):
        return None
    if name == "_id" and (found[1] or type_ not in (None, "Patient")):
        return None
    return f"Patient/{found[2]}"


@lru_cache(maxsize=4_096)
def _is_harmless(type_: str | None, name: str) -> bool:
    """Whether the values of a search parameter, without modifier and chain, are dates, numbers or codes; by
    R4's own definitions."""
    param = r4().for_type(type_ or "Resource").get(name)
    if param is None:
        return False
    if param.type in _ORDERED:
        return True
    types = node_types(param, type_ or "Resource") if param.type == "token" else frozenset[str]()
    return bool(types) and types <= _CODED
