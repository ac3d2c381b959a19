"""Resources that chance would not make: code systems and value sets, hierarchies, lists, places."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.oracle.datatypes import TREE

Resource = dict[str, Any]
SETS = "http://oracle.example/fhir/ValueSet"


def _concept(code: str, *below: Resource) -> Resource:
    return {"code": code, "display": f"The {code}"} | ({"concept": list(below)} if below else {})


def _value_set(id_: str, **compose: Any) -> Resource:
    return {
        "resourceType": "ValueSet",
        "id": id_,
        "url": f"{SETS}/{id_}",
        "status": "active",
        "compose": compose,
    }


def _is_a(code: str, operator: str = "is-a") -> Resource:
    return {"system": TREE, "filter": [{"property": "concept", "op": operator, "value": code}]}


TERMINOLOGY: list[Resource] = [
    {
        "resourceType": "CodeSystem",
        "id": "tree",
        "url": TREE,
        "status": "active",
        "content": "complete",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "concept": [
            _concept(
                "root",
                _concept("a", _concept("a1", _concept("a1x")), _concept("a2")),
                _concept("b", _concept("b1")),
            )
        ],
    },
    _value_set("all", include=[{"system": TREE}]),
    _value_set("below-a", include=[_is_a("a")]),
    _value_set("under-a", include=[_is_a("a", "descendent-of")]),
    _value_set("listed", include=[{"system": TREE, "concept": [{"code": "a1"}, {"code": "b"}]}]),
    _value_set("joined", include=[{"valueSet": [f"{SETS}/listed"]}, _is_a("a2")]),
    _value_set("without-a1", include=[_is_a("a")], exclude=[_is_a("a1")]),
    _value_set("both", include=[{"valueSet": [f"{SETS}/listed", f"{SETS}/below-a"]}]),
    _value_set(
        "codes",
        include=[
            {"system": "urn:oid:1.2.3", "concept": [{"code": code} for code in ("a", "A1", "x|y", "ß")]},
            {"system": "http://oracle.example/other", "concept": [{"code": "8480-6"}]},
        ],
    ),
]


def _location(id_: str, part_of: str | None, latitude: str | None = None, longitude: str = "0") -> Resource:
    made: Resource = {"resourceType": "Location", "id": id_, "name": f"The {id_}"}
    if latitude is not None:
        made["position"] = {"latitude": Decimal(latitude), "longitude": Decimal(longitude)}
    return made | ({"partOf": {"reference": f"Location/{part_of}"}} if part_of else {})


PLACES: list[Resource] = [
    _location("campus", None, "52.52", "13.405"),
    _location("house", "campus", "52.5201", "13.4049"),
    _location("ward", "house", "48.137", "11.575"),
    _location("bed", "ward"),
    _location("west", None, "0", "-179.95"),
    _location("east", "west", "0", "179.95"),
    _location("pole", None, "90", "0"),
    *(
        {
            "resourceType": "Encounter",
            "id": f"stay-{place}",
            "status": "finished",
            "class": {"code": "IMP"},
            "location": [{"location": {"reference": f"Location/{place}"}}],
        }
        for place in ("campus", "ward", "bed", "east")
    ),
    *(
        {
            "resourceType": "Encounter",
            "id": f"part-{number}",
            "status": "finished",
            "class": {"code": "IMP"},
            "partOf": {"reference": f"Encounter/part-{number - 1}"},
        }
        for number in range(1, 4)
    ),
    {"resourceType": "Encounter", "id": "part-0", "status": "finished", "class": {"code": "IMP"}},
]

LISTS: list[Resource] = [
    {
        "resourceType": "List",
        "id": "some",
        "status": "current",
        "mode": "working",
        "entry": [
            {"item": {"reference": "Patient/g1"}},
            {"item": {"reference": "Patient/g3"}, "deleted": True},
            {"item": {"reference": "Observation/g2"}},
            {"item": {"reference": "http://test/fhir/Location/campus"}},
            {"item": {"reference": "Patient/nobody"}},
            {"item": {"reference": "Encounter/part-1/_history/1"}},
        ],
    },
    {"resourceType": "List", "id": "none", "status": "current", "mode": "working"},
]


def _observation(number: int, *members: int) -> Resource:
    """A panel and what belongs to it, some of it in circles."""
    return {
        "resourceType": "Observation",
        "id": f"panel-{number}",
        "status": "final",
        "code": {"coding": [{"system": TREE, "code": "b1"}]},
        "subject": {"reference": f"Patient/g{number % 3}"},
        "hasMember": [{"reference": f"Observation/panel-{member}"} for member in members],
    } | ({} if members else {"hasMember": [{"reference": "Observation/nobody"}]})


PANELS: list[Resource] = [
    _observation(0, 1, 2),
    _observation(1, 3),
    _observation(2, 3, 4),
    _observation(3, 0),
    _observation(4),
    {
        "resourceType": "MedicationRequest",
        "id": "inside",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/g1"},
        "medicationReference": {"reference": "#drug"},
        "contained": [
            {
                "resourceType": "Medication",
                "id": "drug",
                "code": {"coding": [{"system": TREE, "code": "a1"}]},
                "ingredient": [{"itemCodeableConcept": {"coding": [{"system": TREE, "code": "a1x"}]}}],
            }
        ],
    },
]

BY_HAND: list[Resource] = [*TERMINOLOGY, *PLACES, *LISTS, *PANELS]
