"""SearchParameters that are created, changed and deleted while the server runs, through the door."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.http.support import Http, created, entry, found, patched, put, read, refused, send, transact
from tests.support.definitions import (
    complete,
    defined,
    extension,
    gone,
    held_up,
    of_extension,
    search_parameter,
    settled,
    standing,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

R4 = "http://hl7.org/fhir/SearchParameter/"
QUANTITY = {"value": 5, "system": "http://unitsofmeasure.org", "code": "g", "unit": "g"}


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_left(database: str, http: Http) -> AsyncIterator[None]:
    """Each test leaves R4's parameters alone behind."""
    yield
    for one in await found(http, "SearchParameter?_count=1000"):
        response = await http.delete(f"/SearchParameter/{one['id']}")
        assert response.status_code == 204, response.text
    await settled(database)


async def ids(http: Http, search: str) -> set[str]:
    return {one["id"] for one in await found(http, search)}


async def issue(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    return response.json()["issue"][0]


async def eyes(http: Http, *colours: str) -> list[str]:
    """Patients whose eyes have these colours; the url is new to each call."""
    eyes_ = [
        await created(
            http, {"resourceType": "Patient", "extension": [extension("urn:eye", valueCode=colour)]}
        )
        for colour in colours
    ]
    return [one["id"] for one in eyes_]


EYE = search_parameter("eye-colour", "token", of_extension("urn:eye"))


# -- from definition to search


async def test_what_was_stored_before_is_found_once_it_is_complete(database: str, http: Http) -> None:
    blue, green = await eyes(http, "blue", "green")
    async with held_up(database):
        id_ = await defined(http, EYE)
        later = (await eyes(http, "blue"))[0]
        early = await issue(await http.get("/Patient?eye-colour=blue"), 409)
        assert early["code"] == "transient"
        assert (
            f"0% are done; it can be used when it is complete: SearchParameter/{id_}/$status"
            in early["diagnostics"]
        )
        now = await standing(http, id_)
        assert (now["status"], now["percentage"], now["type"]) == ("pending", 0, ["Patient"])
    await complete(http, id_)
    assert await ids(http, "Patient?eye-colour=blue") >= {blue, later}
    assert green not in await ids(http, "Patient?eye-colour=blue")
    assert await ids(http, f"Patient?eye-colour:missing=false&_id={green},{blue}") == {green, blue}
    now = await standing(http, id_)
    assert (now["status"], now["percentage"]) == ("complete", 100)


async def test_it_is_announced_while_it_can_be_searched_by(database: str, http: Http) -> None:
    def announced(statement: dict[str, Any]) -> bool:
        patient = next(one for one in statement["rest"][0]["resource"] if one["type"] == "Patient")
        return {"name": "eye-colour", "definition": EYE["url"], "type": "token"} in patient["searchParam"]

    async def within(seconds: float, expected: bool) -> None:
        for _ in range(int(seconds * 20)):
            docs = (await http.get(http.base_url.join("/docs/openapi.json?type=Patient"))).text
            if (
                announced(await read(http, "metadata")) is expected
                and ("Patient.eye-colour" in docs) is expected
            ):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(expected)

    async with held_up(database):
        id_ = await defined(http, EYE)
        await asyncio.sleep(1.5)
        assert not announced(await read(http, "metadata"))
    await complete(http, id_)
    await within(10, True)
    assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
    await within(10, False)


async def test_one_that_is_not_complete_is_refused_wherever_it_stands(database: str, http: Http) -> None:
    async with held_up(database):
        await defined(http, EYE)
        await defined(http, search_parameter("best-friend", "reference", of_extension("urn:friend")))
        await defined(http, search_parameter("rules", "uri", "Resource.implicitRules", "Resource"))
        searches = [
            *("Patient?eye-colour=blue", "Patient?eye-colour:missing=true", "Patient?_sort=eye-colour"),
            *("Observation?subject:Patient.eye-colour=blue", "Observation?subject.eye-colour=blue"),
            *(
                "Group?_has:Patient:best-friend:active=true",
                "Organization?_has:Patient:organization:eye-colour=x",
            ),
            *("Patient?_include=Patient:best-friend", "Patient?_revinclude=Patient:best-friend"),
            *("Patient?best-friend.name=x", "?rules=urn:x", "Medication?rules=urn:x"),
        ]
        for search in searches:
            for prefer in ({}, {"Prefer": "handling=lenient"}):
                text = (await issue(await http.get(f"/{search}", headers=prefer), 409))["diagnostics"]
                assert "is being built" in text, search
        response = await http.post(
            "/Patient", json={"resourceType": "Patient"}, headers={"If-None-Exist": "eye-colour=x"}
        )
        assert (await issue(response, 409))["code"] == "transient"
        assert (await http.delete("/Patient?eye-colour=blue")).status_code == 409
        assert (await http.get("/Patient?_include=*")).status_code == 200


async def test_a_deleted_one_is_unknown_at_once_and_leaves_nothing_behind(database: str, http: Http) -> None:
    (blue,) = await eyes(http, "blue")
    id_ = await defined(http, EYE)
    await complete(http, id_)
    assert blue in await ids(http, "Patient?eye-colour=blue")
    async with held_up(database):
        assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
        text = (await issue(await http.get("/Patient?eye-colour=blue"), 400))["diagnostics"]
        assert text.startswith("Patient has no search parameter 'eye-colour'")
        assert (await standing(http, id_))["status"] == "dropping"
    await gone(http, id_)


async def test_it_can_come_back_as_something_else(http: Http) -> None:
    (blue,) = await eyes(http, "blue")
    id_ = await defined(http, EYE)
    await complete(http, id_)
    other = EYE | {"id": id_, "expression": of_extension("urn:hair"), "type": "string"}
    brown = await created(
        http, {"resourceType": "Patient", "extension": [extension("urn:hair", valueString="Brown")]}
    )
    await put(http, other)
    await complete(http, id_)
    assert await ids(http, "Patient?eye-colour=brow") == {brown["id"]}
    assert await ids(http, "Patient?eye-colour:missing=false") == {brown["id"]}
    await put(http, EYE | {"id": id_})
    await complete(http, id_)
    assert blue in await ids(http, "Patient?eye-colour=blue")
    assert brown["id"] not in await ids(http, "Patient?eye-colour:missing=false")


# -- the states of a definition


async def test_drafts_and_what_is_retired_are_kept_and_no_more(http: Http) -> None:
    id_ = await defined(http, EYE | {"status": "draft"})
    assert (await standing(http, id_))["status"] == "inactive"
    assert (await http.get("/Patient?eye-colour=blue")).status_code == 400
    nonsense = search_parameter("_a", "token", None) | {"status": "draft"}
    assert (await http.post("/SearchParameter", json=nonsense)).status_code == 201
    await patched(http, f"/SearchParameter/{id_}", {"op": "replace", "path": "/status", "value": "active"})
    await complete(http, id_)
    assert (await http.get("/Patient?eye-colour=blue")).status_code == 200
    await put(http, EYE | {"id": id_, "status": "retired"})
    assert (await http.get("/Patient?eye-colour=blue")).status_code == 400


async def test_what_changes_nothing_about_searching_rebuilds_nothing(database: str, http: Http) -> None:
    id_ = await defined(http, EYE)
    await complete(http, id_)
    async with held_up(database):
        await put(http, EYE | {"id": id_, "description": "another one"})
        assert (await standing(http, id_))["status"] == "complete"
        assert (await http.get("/Patient?eye-colour=blue")).status_code == 200


async def test_what_repeats_one_of_r4_s_is_complete_at_once(database: str, http: Http) -> None:
    guide_s = search_parameter("name", "string", "Patient.name", derivedFrom=f"{R4}Patient-name")
    async with held_up(database):
        id_ = await defined(http, guide_s)
        now = await standing(http, id_)
        assert (now["status"], now["type"]) == ("complete", [])
        assert (await http.get("/Patient?name=x")).status_code == 200
    assert (await http.delete(f"/SearchParameter/{id_}")).status_code == 204
    assert (await http.get(f"/SearchParameter/{id_}/$status")).status_code == 410
    assert (await http.get("/Patient?name=x")).status_code == 200


async def test_the_status_of_nothing(http: Http) -> None:
    assert (await http.get("/SearchParameter/nobody/$status")).status_code == 404
    assert (await http.get("/Patient/nobody/$status")).status_code == 404


# -- refused


async def test_a_faulty_one_is_refused_in_every_way_of_writing(http: Http) -> None:
    faulty = EYE | {"expression": "Patient.eye"}
    for response in (
        await http.post("/SearchParameter", json=faulty),
        await http.post("/SearchParameter", json=faulty, headers={"If-None-Exist": "code=eye-colour"}),
        await http.put("/SearchParameter/eye", json=faulty | {"id": "eye"}),
        await http.put("/SearchParameter?code=eye-colour", json=faulty),
    ):
        one = await issue(response, 422)
        assert one["expression"] == ["SearchParameter.expression"]
        assert "no element 'eye'" in one["diagnostics"]
    assert await ids(http, "SearchParameter") == set()
    id_ = await defined(http, EYE)
    broken = {"op": "replace", "path": "/expression", "value": "Patient.eye"}
    assert (await patched(http, f"/SearchParameter/{id_}", broken)).status_code == 422
    assert (await patched(http, "/SearchParameter?code=eye-colour", broken)).status_code == 422
    assert (await read(http, f"SearchParameter/{id_}"))["meta"]["versionId"] == "1"
    await complete(http, id_)
    again = await http.post("/SearchParameter", json=EYE | {"code": "eye"})
    assert (await issue(again, 422))["expression"] == ["SearchParameter.url"]


async def test_in_a_transaction_all_come_or_none(http: Http) -> None:
    faulty = EYE | {"type": "date"} | {"expression": "Patient.gender"}
    hair = search_parameter("hair", "string", of_extension("urn:hair"))
    one = await refused(
        http, 422, entry("POST", "SearchParameter", hair), entry("POST", "SearchParameter", faulty)
    )
    assert one["expression"] == ["Bundle.entry[1].resource.expression"]
    assert one["diagnostics"].startswith("entry 1 (POST SearchParameter): ")
    assert await ids(http, "SearchParameter") == set()
    assert (await http.get("/Patient?hair=x")).status_code == 400


async def test_a_transaction_brings_parameters_resources_and_composites_together(http: Http) -> None:
    hair = search_parameter("hair", "token", of_extension("urn:hair"))
    both = search_parameter(
        "eye-and-hair",
        "composite",
        "Patient",
        component=[
            {"definition": EYE["url"], "expression": "extension.where(url = 'urn:eye').value.ofType(code)"},
            {"definition": hair["url"], "expression": "extension.where(url = 'urn:hair').value.ofType(code)"},
        ],
    )
    someone = {
        "resourceType": "Patient",
        "extension": [extension("urn:eye", valueCode="blue"), extension("urn:hair", valueCode="brown")],
    }
    answers = await transact(
        http,
        entry("POST", "SearchParameter", both),
        entry("POST", "SearchParameter", hair),
        entry("POST", "Patient", someone),
        entry("POST", "SearchParameter", EYE),
    )
    parts = [answer["response"]["location"].split("/")[-3] for answer in answers]
    await complete(http, parts[0], parts[1], parts[3])
    assert await ids(http, "Patient?eye-and-hair=blue$brown") == {parts[2]}
    assert await ids(http, "Patient?eye-and-hair=brown$blue") == set()
    deletes = [entry("DELETE", f"SearchParameter/{parts[index]}") for index in (0, 1, 3)]
    await transact(http, *deletes)
    assert (await http.get("/Patient?hair=brown")).status_code == 400


async def test_in_a_batch_each_by_itself(http: Http) -> None:
    faulty = search_parameter("hair", "date", "Patient.gender")
    response = await send(
        http,
        "batch",
        entry("POST", "SearchParameter", EYE),
        entry("POST", "SearchParameter", faulty),
        entry(
            "POST",
            "Patient",
            {"resourceType": "Patient", "extension": [extension("urn:eye", valueCode="grey")]},
        ),
        entry("GET", "Patient?hair=x"),
    )
    statuses = [answer["response"]["status"][:3] for answer in response.json()["entry"]]
    assert statuses == ["201", "422", "201", "400"]
    await complete(http, *(await ids(http, "SearchParameter")))
    assert len(await ids(http, "Patient?eye-colour=grey")) == 1


# -- what can be defined


TYPES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], list[str]]] = {
    "token": (
        {"valueCodeableConcept": {"coding": [{"system": "urn:s", "code": "A"}]}},
        {"valueCodeableConcept": {"coding": [{"system": "urn:s", "code": "B"}]}},
        ["a", "urn:s|a", "urn:s|"],
        ["urn:t|a", "c"],
    ),
    "string": ({"valueString": "Ångström"}, {"valueString": "Bohr"}, ["ang", "ANGSTROM"], ["str"]),
    "date": (
        {"valueDateTime": "2024-05-06T07:08:09Z"},
        {"valueDateTime": "2020"},
        ["2024", "gt2024-05-05", "sa2023"],
        ["2023", "lt2020"],
    ),
    "number": ({"valueDecimal": 1.5}, {"valueInteger": 7}, ["1.5", "lt2"], ["3", "gt8"]),
    "quantity": (
        {"valueQuantity": QUANTITY},
        {"valueQuantity": QUANTITY | {"value": 50}},
        ["5", "5000|http://unitsofmeasure.org|mg", "lt6||g"],
        ["7", "gt51"],
    ),
    "uri": ({"valueUri": "urn:a"}, {"valueUri": "urn:b"}, ["urn:a"], ["urn:c", "urn"]),
    "reference": (
        {"valueReference": {"reference": "Organization/a"}},
        {"valueReference": {"reference": "Organization/b"}},
        ["Organization/a", "a"],
        ["Patient/a"],
    ),
}


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_every_type_on_an_extension(http: Http, type_: str, when: str) -> None:
    first, second, matching, missing = TYPES[type_]
    definition = search_parameter(f"x-{type_}", type_, of_extension(f"urn:x:{type_}:{when}"))
    if when == "before":
        await complete(http, await defined(http, definition))
    one, other = [
        (
            await created(
                http, {"resourceType": "Patient", "extension": [extension(f"urn:x:{type_}:{when}", **value)]}
            )
        )["id"]
        for value in (first, second)
    ]
    # A value of another type in the same place is none of this parameter's.
    stranger = {"valueBase64Binary": "AQID"}
    await created(
        http, {"resourceType": "Patient", "extension": [extension(f"urn:x:{type_}:{when}", **stranger)]}
    )
    if when == "after":
        await complete(http, await defined(http, definition))
    assert await ids(http, f"Patient?x-{type_}:missing=false") == {one, other}
    for value in matching:
        assert one in await ids(http, f"Patient?x-{type_}={value}"), value
    for value in missing:
        assert await ids(http, f"Patient?x-{type_}={value}") == set(), value
    if type_ in ("date", "number", "quantity", "string"):
        assert [p["id"] for p in await found(http, f"Patient?x-{type_}:missing=false&_sort=x-{type_}")] in (
            [one, other],
            [other, one],
        )


async def test_on_abstract_bases(http: Http) -> None:
    rules = await created(http, {"resourceType": "Medication", "implicitRules": "urn:rules"})
    binary = await created(
        http, {"resourceType": "Binary", "contentType": "text/plain", "implicitRules": "urn:rules"}
    )
    noted = await created(
        http,
        {
            "resourceType": "Basic",
            "code": {"text": "x"},
            "extension": [extension("urn:n", valueString="noted")],
        },
    )
    first = await defined(http, search_parameter("rules", "uri", "Resource.implicitRules", "Resource"))
    second = await defined(
        http, search_parameter("note", "string", of_extension("urn:n", "DomainResource"), "DomainResource")
    )
    await complete(http, first, second)
    assert await ids(http, "Medication?rules=urn:rules") == {rules["id"]}
    assert await ids(http, "?rules=urn:rules") == {rules["id"], binary["id"]}
    assert await ids(http, "Basic?note=not") == {noted["id"]}
    assert (await http.get("/Binary?note=not")).status_code == 400
    assert (await standing(http, first))["type"] == ["Resource"]


async def test_a_composite_of_tokens_and_quantities_on_the_same_element(http: Http) -> None:
    definition = search_parameter(
        "part-value",
        "composite",
        "Observation.component",
        "Observation",
        component=[
            {"definition": f"{R4}clinical-code", "expression": "code"},
            {"definition": f"{R4}Observation-value-quantity", "expression": "value.ofType(Quantity)"},
        ],
    )

    def part(code: str, value: int) -> dict[str, Any]:
        return {"code": {"coding": [{"code": code}]}, "valueQuantity": QUANTITY | {"value": value}}

    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    one = await created(http, observation | {"component": [part("a", 1), part("b", 2)]})
    await created(http, observation | {"component": [part("a", 2), part("b", 1)]})
    await complete(http, await defined(http, definition))
    assert await ids(http, "Observation?part-value=a$1") == {one["id"]}
    assert await ids(http, "Observation?part-value=b$2000|http://unitsofmeasure.org|mg") == {one["id"]}


async def test_chains_includes_and_the_reverse_follow_references_of_one_s_own(http: Http) -> None:
    friend = (await eyes(http, "green"))[0]
    someone = await created(
        http,
        {
            "resourceType": "Patient",
            "extension": [extension("urn:friend", valueReference={"reference": f"Patient/{friend}"})],
        },
    )
    definition = search_parameter("friend", "reference", of_extension("urn:friend"), target=["Patient"])
    await complete(http, await defined(http, definition), await defined(http, EYE))
    assert await ids(http, "Patient?friend.eye-colour=green") == {someone["id"]}
    assert await ids(http, f"Patient?_has:Patient:friend:_id={someone['id']}") == {friend}
    bundle = await read(http, f"Patient?_id={someone['id']}&_include=Patient:friend")
    assert {one["resource"]["id"] for one in bundle["entry"]} == {someone["id"], friend}
    bundle = await read(http, f"Patient?_id={friend}&_revinclude=Patient:friend")
    assert {one["resource"]["id"] for one in bundle["entry"]} == {someone["id"], friend}


async def test_conditional_interactions_go_by_parameters_of_one_s_own(http: Http) -> None:
    await complete(http, await defined(http, EYE))
    someone = {"resourceType": "Patient", "extension": [extension("urn:eye", valueCode="violet")]}
    first = await http.post("/Patient", json=someone, headers={"If-None-Exist": "eye-colour=violet"})
    again = await http.post("/Patient", json=someone, headers={"If-None-Exist": "eye-colour=violet"})
    assert (first.status_code, again.status_code) == (201, 200)
    answers = await transact(http, entry("PUT", "Patient?eye-colour=violet", someone | {"active": True}))
    assert answers[0]["response"]["status"].startswith("200")


async def test_what_an_expression_cannot_tell_of_a_resource_does_not_keep_it_from_being_stored(
    http: Http,
) -> None:
    """`is` of several values is an error of the language, and no fault of the patient's."""
    odd = search_parameter("odd", "token", "Patient.where(name is HumanName).gender")
    await complete(http, await defined(http, odd))
    several = {"resourceType": "Patient", "name": [{"text": "a"}, {"text": "b"}], "gender": "other"}
    one = await created(http, several)
    other = await created(http, several | {"name": [{"text": "a"}]})
    found_ = await ids(http, "Patient?odd=other")
    assert other["id"] in found_
    assert one["id"] not in found_


async def test_a_server_that_starts_later_knows_them(database: str, http: Http) -> None:
    (blue,) = await eyes(http, "blue")
    await complete(http, await defined(http, EYE))
    async with serving(database) as other:
        assert blue in await ids(other, "Patient?eye-colour=blue")


# -- what an expression computes


async def test_expressions_may_compute(http: Http) -> None:
    """Functions of all of FHIRPath; one that takes too long finds nothing, and the write goes on."""
    slow = "Patient.name.family.where(('" + "x" * 3_000 + "').matches('(x+x+)+y'))"
    for code, type_, expression in (
        ("first-given", "string", "Patient.name.given.first()"),
        ("initials", "string", "Patient.name.select(given.first().substring(0, 1) & family.substring(0, 1))"),
        ("grown-up", "token", "Patient.birthDate <= @2000-01-01"),
        ("next-birthday", "date", "Patient.birthDate + 1 year"),
        ("slow-name", "string", slow),
    ):
        await complete(http, await defined(http, search_parameter(code, type_, expression)))
    one = await created(
        http,
        {
            "resourceType": "Patient",
            "birthDate": "1990-02-28",
            "name": [{"given": ["Xaver", "Yves"], "family": "Zumthor"}],
        },
    )
    for search in (
        "first-given=Xaver",
        "initials:exact=XZ",
        "grown-up=true",
        "next-birthday=1991-02-28",
        "slow-name:missing=true",
    ):
        assert one["id"] in await ids(http, f"Patient?{search}&_count=1000"), search
    assert one["id"] not in await ids(http, "Patient?first-given=Yves")
