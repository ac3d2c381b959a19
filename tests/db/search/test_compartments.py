"""The five compartments, with each type and each parameter that leads into them.

https://hl7.org/fhir/R4/compartmentdefinition.html. One resource for every reference that a type's
parameters find, to every kind of compartment; the definitions say which of them are in which.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from fhirserver.errors import NotSupported
from fhirserver.fhir.fhirpath.routes import Route
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.facts import routes_of
from fhirserver.settings import data_path
from tests.db.search.harness import REGISTRY, Runner, query

Resource = dict[str, Any]
DEFINITIONS: dict[str, dict[str, list[str]]] = msgspec.json.decode(
    (data_path("conformance") / "compartments.json").read_bytes()
)


def _ways(resource_type: str, code: str) -> list[Route]:
    param = REGISTRY.get(resource_type, code)
    assert param is not None, (resource_type, code)
    return [way for way in routes_of(param, resource_type) or () if way[-1].type == "Reference"]


def _built(way: Route, literal: str) -> Resource:
    """The elements that a route goes through, with a reference at its end."""
    value: Any = {"reference": literal}
    for hop in reversed(way):
        value = {hop.key: [value] if hop.many else value}
    return value


def _referred(value: Any, way: Route) -> Iterator[str]:
    """What a resource refers to along a route; a criterion is one on the type referred to."""
    if not way:
        yield value["reference"]
        return
    inner = value.get(way[0].key, [])
    for one in inner if isinstance(inner, list) else [inner]:
        for literal in _referred(one, way[1:]):
            criteria = " ".join(map(repr, way[0].criteria))
            if not criteria or literal.partition("/")[0] in criteria:
                yield literal


def _population() -> list[Resource]:
    found: list[Resource] = [{"resourceType": type_, "id": "x"} for type_ in DEFINITIONS]
    for resource_type in sorted(ENDPOINT_TYPES):
        ways = {
            tuple((hop.key, hop.many) for hop in way): way
            for code, param in REGISTRY.for_type(resource_type).items()
            if param.type == "reference"
            for way in _ways(resource_type, code)
        }
        for number, way in enumerate(ways.values()):
            for target in DEFINITIONS:
                resource = _built(way, f"{target}/x")
                found.append(resource | {"resourceType": resource_type, "id": f"{number}-{target}"})
                elsewhere = _built(way, f"{target}/y")
                found.append(elsewhere | {"resourceType": resource_type, "id": f"{number}-{target}-y"})
    return found


POPULATION = _population()


def _members(compartment: str, resource_type: str) -> set[str]:
    codes = DEFINITIONS[compartment].get(resource_type, [])
    ways = [way for code in codes if code != "{def}" for way in _ways(resource_type, code)]
    return {
        resource["id"]
        for resource in POPULATION
        if resource["resourceType"] == resource_type
        and (
            (resource_type == compartment and resource["id"] == "x")
            or any(f"{compartment}/x" in _referred(resource, way) for way in ways)
        )
    }


@pytest.fixture(scope="module")
def db(database: str) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    yield runner
    runner.close()


@pytest.mark.parametrize("compartment", DEFINITIONS)
def test_each_type(db: Runner, compartment: str) -> None:
    found = 0
    for resource_type in sorted({compartment, *DEFINITIONS[compartment]} & ENDPOINT_TYPES):
        wanted = _members(compartment, resource_type)
        assert db.ids(f"{compartment}/x/{resource_type}?") == wanted, resource_type
        assert db.run(db.harness.count(f"{compartment}/x/{resource_type}?")) == len(wanted)
        assert db.ids(f"{compartment}/nobody/{resource_type}?") == set()
        found += bool(wanted)
    assert found >= 20


@pytest.mark.parametrize("compartment", DEFINITIONS)
def test_all_types(db: Runner, compartment: str) -> None:
    types = {compartment, *DEFINITIONS[compartment]} & ENDPOINT_TYPES
    wanted = {(type_, id_) for type_ in types for id_ in _members(compartment, type_)}
    rows = db.run(db.harness.rows(query(f"{compartment}/x/*?")))
    assert len(rows) == len(wanted)
    assert {(row["type"], row["id"]) for row in rows} == wanted
    some = sorted(types)[:3]
    rows = db.run(db.harness.rows(query(f"{compartment}/x/*?_type={','.join(some)}")))
    assert {(row["type"], row["id"]) for row in rows} == {pair for pair in wanted if pair[0] in some}


@pytest.mark.parametrize("compartment", DEFINITIONS)
def test_types_that_are_never_within(compartment: str) -> None:
    for resource_type in ENDPOINT_TYPES - {compartment, *DEFINITIONS[compartment]}:
        with pytest.raises(NotSupported):
            query(f"{compartment}/x/{resource_type}?")


def test_every_parameter_of_the_definitions_leads_somewhere() -> None:
    """Each is a reference of its type; a resource above is found by it."""
    for compartment, types in DEFINITIONS.items():
        for resource_type in types:
            assert _members(compartment, resource_type), (compartment, resource_type)
