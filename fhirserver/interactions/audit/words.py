"""The words of a request: all of them for auditors, and for a patient those that cannot name anybody else.

What is told to a patient is what is known to be harmless, and nothing else is: dates, numbers, codes, how the
answer is given, each if it has the shape that it should have, and the patient's own reference. Names,
identifiers, other references, chains, modifiers and what nobody knows stand without their values.
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.audit.shapes import HARMLESS, is_criterion, is_primitive, is_result
from fhirserver.interactions.call import Call
from fhirserver.search.parse import CURSOR

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
    if is_result(call.type, name, value):
        return True
    if call.operation is not None:
        types = {one.type for one in call.operation.inputs if one.name == name}
        return types <= HARMLESS and is_primitive(types, value)
    return is_criterion(call.type, name, value)


def referred(name: str, value: str, type_: str | None) -> str | None:
    """The Patient whom the value of such a parameter means: a subject without a type may be anybody, an id
    that of whatever is sought."""
    found = _REFERENCE.fullmatch(value)
    if found is None or (name.startswith("subject") and not found[1]):
        return None
    if name == "_id" and (found[1] or type_ not in (None, "Patient")):
        return None
    return f"Patient/{found[2]}"
