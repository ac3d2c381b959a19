"""The codes of value sets: against a slow reading of the definition, code by code, and by example."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.terminology.errors import NotEnumerable, UnknownDefinition
from tests.support.terminology import SET, SYSTEM, code_system, concept, filtered, value_set
from tests.unit.terminology.library import codes, terminology

OTHER = "http://example.org/other"
SYSTEMS = [
    code_system(
        concept(
            "a",
            concept("b", concept("c", kind=("Code", "x"))),
            concept("d", kind=("Code", "y"), inactive=("Boolean", True)),
        ),
        concept("e", concept("f", parent=("Code", "b"), kind=("Code", "x")), kind=("Code", "d")),
    ),
    code_system(concept("a"), concept("z", concept("b")), url=OTHER, property=[{"code": "kind"}]),
]

# -- the slow reading


def _walk(concepts: list[dict[str, Any]], parent: str | None = None) -> list[tuple[str, str | None, Any]]:
    return [
        row
        for one in concepts
        for row in [(one["code"], parent, one), *_walk(one.get("concept", []), one["code"])]
    ]


ROWS = {system["url"]: _walk(system["concept"]) for system in SYSTEMS}


def _is_a(system: str, code: str, other: str) -> bool:
    """Whether `code` is `other` or stands below it."""
    if code == other:
        return True
    parents = [parent for known, parent, _ in ROWS[system] if known == code and parent]
    parents += [
        value for known, _, _ in ROWS[system] if known == code for value in _values(system, code, "parent")
    ]
    return any(_is_a(system, parent, other) for parent in parents)


def _values(system: str, code: str, name: str) -> list[str]:
    if name in ("concept", "code"):
        return [code]
    one = next(row for known, _, row in ROWS[system] if known == code)
    found = [entry for entry in one.get("property", []) if entry["code"] == name]
    return [str(v).lower() for entry in found for k, v in entry.items() if k.startswith("value")]


def _passes(system: str, code: str, one: dict[str, str]) -> bool:
    values, wanted = _values(system, code, one["property"]), one["value"]
    match one["op"]:
        case "=":
            return wanted in values
        case "is-a":
            return any(_is_a(system, value, wanted) for value in values)
        case "descendent-of":
            return any(_is_a(system, value, wanted) and value != wanted for value in values)
        case "is-not-a":
            return not any(_is_a(system, value, wanted) for value in values)
        case "generalizes":
            return any(_is_a(system, wanted, value) for value in values)
        case "in":
            return any(value in wanted.split(",") for value in values)
        case "not-in":
            return not any(value in wanted.split(",") for value in values)
        case "exists":
            return bool(values) is (wanted == "true")
        case "regex":
            return any(re.fullmatch(wanted, value) for value in values)
    raise AssertionError(one)


def _in_part(part: dict[str, Any], system: str, code: str, sets: dict[str, Any], inactive: bool) -> bool:
    if "system" in part:
        if part["system"] != system:
            return False
        if not inactive and "true" in _values(system, code, "inactive"):
            return False
        if "concept" in part and code not in [one["code"] for one in part["concept"]]:
            return False
        if not all(_passes(system, code, one) for one in part.get("filter", ())):
            return False
    return all(_member(sets[url], system, code, sets) for url in part.get("valueSet", ()))


def _member(value_set: dict[str, Any], system: str, code: str, sets: dict[str, Any]) -> bool:
    compose = value_set["compose"]
    inactive = compose.get("inactive", True)
    return any(_in_part(part, system, code, sets, inactive) for part in compose["include"]) and not any(
        _in_part(part, system, code, sets, inactive) for part in compose.get("exclude", ())
    )


# -- what is asked

filters = st.builds(
    lambda property_, op, value: {"property": property_, "op": op, "value": value},
    st.sampled_from(["concept", "code"]),
    st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes", "=", "in", "not-in", "regex"]),
    st.sampled_from(["a", "b"]),
) | st.sampled_from(
    [
        {"property": "kind", "op": "=", "value": "x"},
        {"property": "kind", "op": "exists", "value": "true"},
        {"property": "kind", "op": "exists", "value": "false"},
        {"property": "kind", "op": "in", "value": "x,y"},
        {"property": "kind", "op": "not-in", "value": "y,d"},
        {"property": "kind", "op": "regex", "value": "[xy]"},
        {"property": "kind", "op": "is-a", "value": "a"},
        {"property": "kind", "op": "is-not-a", "value": "a"},
    ]
)
wholes = st.fixed_dictionaries({"system": st.sampled_from([SYSTEM, OTHER])})
listed = st.builds(
    lambda system, named: {"system": system, "concept": [{"code": code} for code in named]},
    st.sampled_from([SYSTEM, OTHER]),
    st.lists(st.sampled_from("abcdefz"), min_size=1, max_size=4),
)
by_filter = st.builds(
    lambda system, some: {"system": system, "filter": some},
    st.sampled_from([SYSTEM, OTHER]),
    st.lists(filters, min_size=1, max_size=2),
)
INNER = "http://example.org/inner"
THIRD = "http://example.org/third"


def parts(*sets: str) -> st.SearchStrategy[dict[str, Any]]:
    plain = wholes | listed | by_filter
    if not sets:
        return plain
    named = st.lists(st.sampled_from(sets), min_size=1, max_size=2)
    both = st.builds(lambda part, urls: {**part, "valueSet": urls}, plain, named)
    return plain | both | st.builds(lambda urls: {"valueSet": urls}, named)


def sets_of(url: str, *others: str) -> st.SearchStrategy[dict[str, Any]]:
    made = st.lists(parts(*others), min_size=1, max_size=3)
    return st.builds(
        lambda include, exclude, inactive: value_set(
            *include, url=url, **({"exclude": exclude} if exclude else {}), inactive=inactive
        ),
        made,
        st.lists(parts(*others), max_size=2),
        st.booleans(),
    )


@settings(max_examples=400, deadline=None)
@given(
    sets_of(SET, INNER, "http://example.org/third"),
    sets_of(INNER),
    sets_of("http://example.org/third", INNER),
)
async def test_membership(outer: dict[str, Any], inner: dict[str, Any], third: dict[str, Any]) -> None:
    sets = {one["url"]: one for one in (outer, inner, third)}
    expected = {
        (system, code)
        for system, rows in ROWS.items()
        for code in {row[0] for row in rows}
        if _member(outer, system, code, sets)
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
