"""The codes of value sets: against a slow reading of the definition, code by code, and by example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.terminology import expand
from fhirserver.terminology.errors import NotEnumerable, UnknownDefinition
from tests.support.terminology import SET, SYSTEM, code_system, concept, filtered, value_set
from tests.unit.terminology.library import codes, terminology
from tests.unit.terminology.slow import INNER, OTHER, ROWS, SYSTEMS, THIRD, member, sets_of


@settings(max_examples=400, deadline=None)
@given(
    sets_of(SET, INNER, THIRD),
    sets_of(INNER),
    sets_of(THIRD, INNER),
)
async def test_membership(outer: dict[str, Any], inner: dict[str, Any], third: dict[str, Any]) -> None:
    sets = {one["url"]: one for one in (outer, inner, third)}
    expected = {
        (system, code)
        for system, rows in ROWS.items()
        for code in {row[0] for row in rows}
        if member(outer, system, code, sets)
    }
    found = await codes(terminology(*SYSTEMS, *sets.values()))
    known = {system: {row[0] for row in rows} for system, rows in ROWS.items()}
    assert {
        (system, code) for system, members in found.items() for code in members if code in known[system]
    } == expected


# -- by example


def expansion(*contains: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"timestamp": "2020-01-01T00:00:00Z", "contains": list(contains), **more}


async def test_a_stored_expansion_stands_where_there_is_no_definition() -> None:
    nested = {"display": "group", "contains": [{"system": SYSTEM, "code": "b"}, {"code": "c"}]}
    stored = value_set(expansion=expansion({"system": SYSTEM, "code": "a"}, nested))
    del stored["compose"]
    assert await codes(terminology(stored)) == {SYSTEM: {"a", "b"}, "": {"c"}}


async def test_it_also_stands_where_the_definition_cannot_be_followed() -> None:
    stored = value_set(
        filtered("concept", "is-a", "a", "http://snomed.info/sct"),
        expansion=expansion({"system": "http://snomed.info/sct", "code": "1"}),
    )
    assert await codes(terminology(stored)) == {"http://snomed.info/sct": {"1"}}
    both = value_set({"system": SYSTEM}, expansion=expansion({"system": SYSTEM, "code": "old"}))
    assert "old" not in (await codes(terminology(*SYSTEMS, both)))[SYSTEM]


EXTENSIONS = "http://hl7.org/fhir/StructureDefinition"
INCOMPLETE = [
    {"total": 5},
    {"offset": 10},
    {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-toocostly", "valueBoolean": True}
        ]
    },
    {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed", "valueBoolean": True}
        ]
    },
]


@pytest.mark.parametrize("more", INCOMPLETE)
async def test_an_incomplete_expansion_is_none(more: dict[str, Any]) -> None:
    stored = value_set(expansion=expansion({"system": SYSTEM, "code": "a"}, **more))
    del stored["compose"]
    with pytest.raises(NotEnumerable, match="neither a definition nor a complete expansion"):
        await codes(terminology(stored))


@pytest.mark.parametrize(
    ("resources", "error", "text"),
    [
        ([value_set({"system": "urn:nowhere"})], UnknownDefinition, "no code system 'urn:nowhere'"),
        ([value_set({"system": SYSTEM, "version": "2"})], UnknownDefinition, r"cs\|2"),
        ([value_set({"valueSet": ["urn:nowhere|1"]})], UnknownDefinition, r"no value set 'urn:nowhere\|1'"),
        ([code_system(content="not-present"), value_set({"system": SYSTEM})], NotEnumerable, "not-present"),
        (
            [code_system(concept("a"), content="example"), value_set({"system": SYSTEM})],
            NotEnumerable,
            "example",
        ),
        ([value_set(filtered("concept", "is-a", "nothing"))], NotEnumerable, "no code 'nothing'"),
        ([code_system(), value_set({"system": SYSTEM})], NotEnumerable, "with 0 codes"),
        ([value_set(filtered("kind", "sounds-like", "x"))], NotEnumerable, "sounds-like"),
        ([value_set(filtered("own-filter", "=", "x"))], NotEnumerable, "own-filter"),
        ([value_set(filtered("kind", "exists", "perhaps"))], NotEnumerable, "perhaps"),
        ([{"resourceType": "ValueSet", "url": SET, "status": "active"}], NotEnumerable, "does not say"),
        ([value_set({"valueSet": [SET]})], Invalid, "defined by itself"),
        (
            [value_set({"valueSet": [INNER]}), value_set({"valueSet": [SET]}, url=INNER)],
            Invalid,
            "defined by itself",
        ),
    ],
)
async def test_what_cannot_be_worked_out_is_an_error_that_says_why(
    resources: list[dict[str, Any]], error: type[FhirError], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        await codes(terminology(*SYSTEMS, *resources))
    assert caught.value.status == 400


async def test_a_part_that_is_not_held_matters_only_where_it_is_needed() -> None:
    named = value_set({"system": "urn:nowhere", "concept": [{"code": "1"}]}, inactive=False)
    assert await codes(terminology(named)) == {"urn:nowhere": {"1"}}


async def test_elements_that_hold_an_extension_instead_of_a_value() -> None:
    """https://hl7.org/fhir/R4/json.html#null"""
    absent = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}
    odd = value_set(
        {"valueSet": [None], "_valueSet": [absent]},
        {"system": SYSTEM, "concept": [{"_code": absent}, {"code": "a"}]},
    )
    systems = code_system({"_code": absent, "concept": [{"code": "b"}]}, concept("a"))
    assert await codes(terminology(systems, odd)) == {SYSTEM: {"a"}}
    whole = value_set({"system": SYSTEM})
    assert await codes(terminology(systems, whole)) == {SYSTEM: {"a", "b"}}


async def test_limits() -> None:
    whole = value_set({"system": SYSTEM})
    assert await codes(terminology(*SYSTEMS, whole, codes_max=6))
    with pytest.raises(TooCostly, match="6 codes; 5 is the limit"):
        await codes(terminology(*SYSTEMS, whole, codes_max=5))
    chain = [value_set({"valueSet": [f"urn:{n + 1}"]}, url=f"urn:{n}") for n in range(40)]
    with pytest.raises(TooCostly, match="within each other"):
        await codes(terminology(*chain, value_set({"system": SYSTEM}, url="urn:40")), "urn:0")
    many = value_set({"valueSet": [f"urn:{n}" for n in range(300)]})
    with pytest.raises(TooCostly, match="more than 200 definitions"):
        await codes(terminology(many))


async def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of filters which let nothing through."""
    monkeypatch.setattr(expand, "WORK_MAX", 60)
    some = [filtered("kind", "=", "none")] * 8
    assert await codes(terminology(*SYSTEMS, value_set(*some, {"system": OTHER})))
    with pytest.raises(TooCostly, match="more than 60 codes"):
        await codes(terminology(*SYSTEMS, value_set(*some, *some)))


async def test_what_is_named_often_is_worked_out_once() -> None:
    """Each level names the one below twice: without that, 2 to the power of 25 expansions."""
    tower = [
        value_set({"valueSet": [f"urn:{n + 1}"]}, {"valueSet": [f"urn:{n + 1}"]}, url=f"urn:{n}")
        for n in range(25)
    ]
    found = await codes(terminology(*SYSTEMS, *tower, value_set({"system": OTHER}, url="urn:25")), "urn:0")
    assert found == {OTHER: {"a", "b", "z"}}


async def test_implicit_value_sets() -> None:
    """https://hl7.org/fhir/R4/snomedct.html#implicit"""
    service = terminology(*SYSTEMS)
    assert await codes(service, f"{SYSTEM}?fhir_vs") == {SYSTEM: set("abcdef")}
    assert await codes(service, f"{SYSTEM}?fhir_vs=isa/b") == {SYSTEM: {"b", "c", "f"}}
    for unknown in (f"{SYSTEM}?fhir_vs=refset/1", "urn:nowhere?fhir_vs", f"{SYSTEM}?fhir_vs|1"):
        with pytest.raises(UnknownDefinition):
            await codes(service, unknown)


async def test_r4_own_value_sets_are_known() -> None:
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    expected = {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}}
    assert await codes(terminology(), gender) == expected
    assert await codes(terminology(), f"{gender}|4.0.1") == expected
    assert await codes(terminology(value_set({"valueSet": [gender]}))) == expected
    stored = value_set({"system": OTHER}, url=gender)
    assert await codes(terminology(*SYSTEMS, stored), gender) == {OTHER: {"a", "b", "z"}}
    with pytest.raises(UnknownDefinition):
        await codes(terminology(), f"{gender}|3.0.2")
    with pytest.raises(TooCostly, match="no end"):
        await codes(terminology(), "http://hl7.org/fhir/ValueSet/mimetypes")
