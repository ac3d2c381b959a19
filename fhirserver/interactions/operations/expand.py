"""ValueSet/$expand: https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, TooCostly
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.asked import stored, terminology, value_set_of
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.store.version import instant
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.contains import Entry, Wish, chosen, contains, used
from fhirserver.terminology.library import Version
from fhirserver.terminology.pinned import Pinned
from fhirserver.terminology.valueset import ValueSet

_SHOWN: Final = {
    "filter": "String",
    "offset": "Integer",
    "count": "Integer",
    "includeDesignations": "Boolean",
    "activeOnly": "Boolean",
    "excludeNested": "Boolean",
    "excludeNotForUI": "Boolean",
    "displayLanguage": "Code",
    "exclude-system": "Uri",
    "system-version": "Uri",
    "check-system-version": "Uri",
    "force-system-version": "Uri",
}
"""Inputs that an expansion repeats, as what changed it."""
_LARGE: Final = 5_000
"""Codes beyond which choosing among them is left to a thread."""


async def expand(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with the ValueSet. Raises NotFound, UnknownDefinition, NotEnumerable, TooCostly, Invalid."""
    wish = _wish(inputs)
    library = _pinned(WithBuiltIn(stored(connection, call)), inputs)
    value_set, cache = await value_set_of(connection, call, library, inputs)
    service = terminology(library, call, cache)
    expansion, held = await service.expanded(value_set)
    if expansion.total > _LARGE:
        entries = await asyncio.to_thread(chosen, expansion, held, wish)
    else:
        entries = chosen(expansion, held, wish)
    _require_page(entries, wish, service.codes_max)
    return Answer(200, json.dumps(_resource(call, inputs, value_set, entries, wish)))


def _wish(inputs: Inputs) -> Wish:
    offset, count = inputs.one("offset") or 0, inputs.one("count")
    for name, value in (("offset", offset), ("count", count)):
        if value is not None and value < 0:
            raise Invalid(f"'{name}' is 0 or more, not {value}")
    return Wish(
        text=inputs.one("filter") or "",
        offset=offset,
        count=count,
        language=inputs.one("displayLanguage"),
        excluded=tuple(_canonical(one) for one in inputs.all("exclude-system")),
        designations=inputs.one("includeDesignations") is True,
        active_only=inputs.one("activeOnly") is True,
        selectable_only=inputs.one("excludeNotForUI") is True,
        nested=inputs.one("excludeNested") is False,
    )


def _canonical(text: str) -> Version:
    url, _, version = text.partition("|")
    return url, version or None


def _pinned(library: WithBuiltIn, inputs: Inputs) -> Pinned:
    return Pinned(
        library,
        _versions(inputs, "system-version"),
        _versions(inputs, "check-system-version"),
        _versions(inputs, "force-system-version"),
        needed=True,
    )


def _versions(inputs: Inputs, name: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in inputs.all(name):
        url, version = _canonical(text)
        if version is None or found.setdefault(url, version) != version:
            raise Invalid(f"'{name}' is system|version, once for each system; not {text!r}")
    return found


def _require_page(entries: Sequence[Entry], wish: Wish, codes_max: int) -> None:
    """Raises TooCostly for more codes than are shown at once."""
    shown = len(entries) if wish.nested else max(0, len(entries) - wish.offset)
    if wish.count is not None and not wish.nested:
        shown = min(shown, wish.count)
    if shown > codes_max:
        raise TooCostly(
            f"the expansion holds {len(entries)} codes; {codes_max} are shown at once: ask for pages with"
            " count and offset, or for less with filter"
        )


def _resource(
    call: Call, inputs: Inputs, value_set: ValueSet, entries: Sequence[Entry], wish: Wish
) -> Resource:
    found: Resource = {"resourceType": "ValueSet", "status": "active"} | value_set.head
    if inputs.one("includeDefinition") is True and value_set.includes:
        found["compose"] = value_set.compose()
    expansion: dict[str, Any] = {
        "identifier": f"urn:uuid:{uuid4()}",
        "timestamp": instant(call.now),
        "total": len(entries),
    }
    if not wish.nested and (wish.count is not None or wish.offset):
        expansion["offset"] = wish.offset
    if parameters := _parameters(inputs, entries):
        expansion["parameter"] = parameters
    if shown := contains(entries, wish):
        expansion["contains"] = shown
    return found | {"expansion": expansion}


def _parameters(inputs: Inputs, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What the expansion hangs on: https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.expansion.parameter"""
    found = [
        {"name": name, f"value{type_}": value} for name, type_ in _SHOWN.items() for value in inputs.all(name)
    ]
    return found + [{"name": "version", "valueUri": name} for name in used(entries) if "|" in name]
