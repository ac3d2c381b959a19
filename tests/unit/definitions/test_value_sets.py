"""Required value sets: known codes, the official examples, and the expansion rules on made-up value sets."""

from collections.abc import Iterator
from typing import Any

import pytest

from conformance.derive.valuesets import Expander, NotEnumerable, value_sets
from fhirserver.fhir import structure as s

FHIR = "http://hl7.org/fhir/ValueSet/"
NOT_ENUMERABLE = {FHIR + "currencies", FHIR + "mimetypes", FHIR + "ucum-units", "http://loinc.org/vs/LL379-9"}


def test_known_codes() -> None:
    genders = s.value_set(FHIR + "administrative-gender")
    assert genders == {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}}
    statuses = s.value_set(FHIR + "observation-status")
    assert statuses is not None
    assert "entered-in-error" in statuses["http://hl7.org/fhir/observation-status"]
    clinical = s.value_set(FHIR + "condition-clinical")
    assert clinical is not None
    assert {"active", "relapse", "resolved"} <= clinical[
        "http://terminology.hl7.org/CodeSystem/condition-clinical"
    ], "nested concepts belong to the value set too"
    kinds = s.value_set(FHIR + "resource-types")
    assert kinds is not None
    assert kinds["http://hl7.org/fhir/resource-types"] == s.RESOURCE_TYPES | {"Resource", "DomainResource"}


def test_every_required_binding_has_a_value_set() -> None:
    bound = {e.binding for x in s.STRUCTURES.values() for e in x.elements.values() if e.binding}
    assert {url for url in bound if s.value_set(url) is None} == NOT_ENUMERABLE
    assert all(codes for url in bound - NOT_ENUMERABLE for codes in (s.value_set(url) or {}).values())
    assert s.value_set("http://example.org/none") is None


def _coded(value: dict[str, Any], kind: str) -> Iterator[tuple[str, str | None, str]]:
    """(value set, system if written, code) of each element with a required binding."""
    for key, child in value.items():
        known = s.structure(kind).keys.get(key)
        if known is None:
            continue
        element, child_kind = known
        for item in child if isinstance(child, list) else [child]:
            if element.binding and isinstance(item, str):
                yield element.binding, None, item
            elif element.binding and child_kind == "CodeableConcept":
                yield from (
                    (element.binding, c.get("system"), c.get("code", "")) for c in item.get("coding", [])
                )
            elif isinstance(item, dict):
                yield from _coded(item, item["resourceType"] if child_kind == "Resource" else child_kind)


def test_codes_of_the_examples_are_in_their_value_sets(examples: dict[str, dict[str, Any]]) -> None:
    wrong: set[tuple[str, str | None, str]] = set()
    checked = 0
    for example in examples.values():
        for url, system, code in _coded(example, example["resourceType"]):
            systems = s.value_set(url)
            if systems is None:
                continue
            checked += 1
            members = [codes for name, codes in systems.items() if system in (None, name)]
            if not any(code in codes for codes in members):
                wrong.add((url, system, code))
    assert wrong == set()
    assert checked > 20_000


SYSTEM = {
    "resourceType": "CodeSystem",
    "url": "urn:s",
    "content": "complete",
    "concept": [
        {"code": "a", "concept": [{"code": "b", "concept": [{"code": "c"}]}, {"code": "d"}]},
        {
            "code": "e",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [{"code": "f"}],
        },
        {"code": "g", "property": [{"code": "kind", "valueCode": "special"}]},
    ],
}
FRAGMENT = {
    "resourceType": "CodeSystem",
    "url": "urn:fragment",
    "content": "fragment",
    "concept": [{"code": "z"}],
}


def _filter(operator: str, value: str, name: str = "concept") -> dict[str, Any]:
    return {"system": "urn:s", "filter": [{"property": name, "op": operator, "value": value}]}


@pytest.mark.parametrize(
    ("compose", "expected"),
    [
        ({"include": [{"system": "urn:s"}]}, ["a", "b", "c", "d", "f", "g"]),
        ({"include": [{"system": "urn:s", "concept": [{"code": "c"}, {"code": "a"}]}]}, ["c", "a"]),
        ({"include": [_filter("is-a", "b")]}, ["b", "c"]),
        ({"include": [_filter("descendent-of", "a")]}, ["b", "c", "d"]),
        ({"include": [_filter("is-not-a", "a")]}, ["f", "g"]),
        ({"include": [_filter("=", "special", "kind")]}, ["g"]),
        ({"include": [_filter("in", "special,other", "kind")]}, ["g"]),
        ({"include": [_filter("is-a", "b"), _filter("is-a", "a")]}, ["b", "c", "a", "d"]),
        ({"include": [{"system": "urn:s"}], "exclude": [_filter("is-a", "a")]}, ["f", "g"]),
        ({"include": [{"valueSet": ["urn:v:under-a|1.0"]}]}, ["b", "c", "d"]),
        ({"include": [{"valueSet": ["urn:v:under-a"]}], "exclude": [_filter("is-a", "b")]}, ["d"]),
        ({"include": [{"system": "urn:s", "valueSet": ["urn:v:under-a"]}]}, ["b", "c", "d"]),
        ({"include": [{"valueSet": ["urn:v:under-a", "urn:v:cg"]}]}, ["c"]),
    ],
)
def test_expansion(compose: dict[str, Any], expected: list[str]) -> None:
    under_a = {"include": [_filter("descendent-of", "a")]}
    some = {"include": [{"system": "urn:s", "concept": [{"code": "g"}, {"code": "c"}]}]}
    sets = {"urn:v": compose, "urn:v:under-a": under_a, "urn:v:cg": some}
    resources = [{"resourceType": "ValueSet", "url": url, "compose": c} for url, c in sets.items()]
    assert Expander([SYSTEM, *resources]).expand("urn:v") == {"urn:s": expected}


@pytest.mark.parametrize(
    "include",
    [
        {"system": "urn:unknown"},
        {"system": "urn:fragment"},
        {"valueSet": ["urn:unknown"]},
        _filter("regex", "a.*"),
    ],
)
def test_what_cannot_be_listed_has_no_expansion(include: dict[str, Any]) -> None:
    resources = [
        SYSTEM,
        FRAGMENT,
        {"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [include]}},
    ]
    with pytest.raises(NotEnumerable):
        Expander(resources).expand("urn:v")
    assert value_sets(["urn:v", "urn:absent"], resources) == {"urn:v": None, "urn:absent": None}
