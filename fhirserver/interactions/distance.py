"""How far matches of `near` are away: https://hl7.org/fhir/R4/extension-location-distance.html"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.params import near
from fhirserver.params.near import NearValue
from fhirserver.search.query import Clause, SearchQuery
from fhirserver.store.version import Version

URL: Final = "http://hl7.org/fhir/StructureDefinition/location-distance"


def places(query: SearchQuery) -> list[NearValue]:
    """The places that Locations are looked for around."""
    return [
        value
        for condition in query.conditions.get("Location", ())
        if isinstance(condition, Clause)
        for value in condition.values
        if isinstance(value, NearValue)
    ]


def extensions(version: Version, around: list[NearValue]) -> list[dict[str, Any]]:
    """What Bundle.entry.search says of a match: its distance to the nearest of the places."""
    if not around or version.type != "Location":
        return []
    found = near.distance(around, version.resource().get("position"))
    return [] if found is None else [{"url": URL, "valueDistance": found}]
