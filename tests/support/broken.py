"""How the invariants of US Core and of R4's vital signs are broken, read from what they say.

By key and a word of the expression, as editions give a key to different invariants.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

Resource = dict[str, Any]
Edit = Callable[[Any], bool]
"""Changes what an invariant is about; False where that does not break it."""


def _without(*names: str) -> Edit:
    """Take away elements, those of choices in each type."""

    def edit(holder: Any) -> bool:
        keys = [key for key in holder for name in names if key == name or _is_choice(key, name)]
        for key in keys:
            del holder[key]
        return bool(keys)

    return edit


def _is_choice(key: str, name: str) -> bool:
    return (
        name in ("value", "effective", "performed")
        and key.startswith(name)
        and key[len(name) :][:1].isupper()
    )


def _set(name: str, value: Any) -> Edit:
    def edit(holder: Any) -> bool:
        if not isinstance(holder, dict) or name not in holder:
            return False
        holder[name] = value
        return True

    return edit


def _inner(name: str, edit: Edit) -> Edit:
    def outer(holder: Any) -> bool:
        inner = holder.get(name)
        return isinstance(inner, dict) and edit(inner)

    return outer


def _with_status(name: str, *gone: str) -> Edit:
    take = _without(*gone)

    def edit(holder: Any) -> bool:
        holder["status"] = name
        return take(holder)

    return edit


def _names(holder: Any) -> bool:
    return all(_without("family", "given")(name) for name in holder.get("name", ())) and "name" in holder


def _categories(holder: Any) -> bool:
    parts = holder.get("extension", [])
    value = {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}
    part = {"url": "ombCategory", "valueCoding": value}
    holder["extension"] = [*parts, part]
    return any(one.get("url") == "ombCategory" for one in parts)


def _by_whom(holder: Any) -> bool:
    holder["who"] = {"reference": "Practitioner/1"}
    holder.pop("onBehalfOf", None)
    return True


def _ordered(holder: Any) -> bool:
    holder["intent"] = "order"
    return _without("requester")(holder)


def _text_value(holder: Any) -> bool:
    if not any(one.get("code") in ("72166-2", "11367-0") for one in holder["code"].get("coding", ())):
        return False
    _without("value")(holder)
    holder["valueString"] = "x"
    return True


_ABSENT: Final = "dataAbsentReason"
_EDITS: Final[tuple[tuple[str, str, Edit], ...]] = (
    ("provenance-1", "(who.resolve()", _by_whom),
    ("provenance-1", "who.exists(", _by_whom),
    ("us-core-7", "performed", _with_status("completed", "performed")),
    ("us-core-8", "effective", _with_status("final", "effective")),
    ("us-core-10", "effective", _with_status("final", "effective")),
    ("us-core-9", "issued", _with_status("final", "issued")),
    (
        "us-core-9",
        "lotNumber",
        _without("manufactureDate", "expirationDate", "lotNumber", "serialNumber", "distinctIdentifier"),
    ),
    ("us-core-13", "practitioner", _without("practitioner", "organization", "healthcareService", "location")),
    ("us-core-14", "name", _without("name", "relationship")),
    ("us-core-15", "subscriberId", _without("identifier", "subscriberId")),
    ("us-core-16", "value", _set("value", "123")),
    ("us-core-17", "value", _set("value", "1234567890")),
    ("us-core-18", "value", _set("value", "x")),
    ("us-core-19", "value", _set("value", "x")),
    ("us-core-2", "component", _without("value", _ABSENT, "component", "hasMember")),
    ("vs-2", "component", _without("value", _ABSENT, "component", "hasMember")),
    ("vs-3", "value", _without("value", _ABSENT)),
    ("us-core-26", "value", _without("value", _ABSENT)),
    ("us-core-20", "whenHandedOver", _with_status("completed", "whenHandedOver")),
    ("us-core-21", "requester", _ordered),
    ("us-core-22", "low.system", _inner("low", _set("system", "urn:x"))),
    ("us-core-23", "ombCategory", _categories),
    ("us-core-24", "CodeableConcept", _text_value),
    ("us-core-3", "value.ofType", _inner("valueQuantity", _set("system", "urn:x"))),
    ("us-core-3", "ofType(Quantity)", _set("system", "urn:x")),
    ("us-core-6", "url.exists", _without("url", "data")),
    ("us-core-6", "(family", _without("family", "given")),
    ("us-core-6", "(name.family", _names),
    ("us-core-8", "(family", _without("family", "given")),
)
_DATES: Final = frozenset({"us-core-1", "vs-1"})


def broken(key: str, expression: str, example: Resource, steps: tuple[str | int, ...]) -> Iterator[Resource]:
    """The example with the invariant on the element at `steps` broken; none where nothing breaks it."""
    for name, word, edit in _EDITS:
        if name == key and word in expression:
            made = copy.deepcopy(example)
            holder: Any = made
            for step in steps:
                holder = holder[step]
            if isinstance(holder, dict) and edit(holder):
                yield made
            return
    # `is DateTime` asks for a type of FHIRPath, which a dateTime of FHIR is not
    if key in _DATES and "is DateTime" not in expression and steps and steps[-1] == "effectiveDateTime":
        made = copy.deepcopy(example)
        made["effectiveDateTime"] = "2020"
        yield made
