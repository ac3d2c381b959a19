"""Searches by what is stored: value sets, subsumption, hierarchies and canonical URLs, through the door.

https://hl7.org/fhir/R4/search.html#token, https://hl7.org/fhir/R4/search.html#recursive
"""

from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from tests.http.support import SYSTEM as IDS
from tests.http.support import created, entry, found, patient, put, read, refused, send, statuses
from tests.support.terminology import code_system, concept, filtered, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
TREE = "http://example.org/tree"
HEART = "http://example.org/vs/heart"


def condition(id_: str, code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": id_,
        "code": {"coding": [{"system": TREE, "code": code}]},
        "subject": {"reference": "Patient/p1"},
        **more,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    tree = code_system(
        concept("heart", concept("valve", concept("mitral")), concept("rhythm")), concept("lung"), url=TREE
    )
    await put(http, {**tree, "id": "tree"})
    await put(http, {**value_set(filtered("concept", "is-a", "heart", TREE), url=HEART), "id": "heart"})
    await put(http, patient() | {"id": "p1", "gender": "female"})
    for number, code in enumerate(["heart", "valve", "mitral", "rhythm", "lung", "other"]):
        await put(http, condition(f"c{number}", code))


def ids(resources: list[dict[str, Any]]) -> set[str]:
    return {one["id"] for one in resources}


async def issue(http: Http, url: str, **headers: str) -> dict[str, Any]:
    response = await http.get(f"/{url}", headers=headers)
    assert response.status_code == 400, response.text
    return response.json()["issue"][0]


# -- search


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (f"code:in={HEART}", {"c0", "c1", "c2", "c3"}),
        ("code:in=ValueSet/heart", {"c0", "c1", "c2", "c3"}),
        (f"code:not-in={HEART}", {"c4", "c5"}),
        (f"code:below={TREE}|valve", {"c1", "c2"}),
        (f"code:above={TREE}|valve", {"c0", "c1"}),
        (f"code:below={TREE}|VALVE,{TREE}|lung", {"c1", "c2", "c4"}),
        (f"code:in={TREE}?fhir_vs%3Disa/valve", {"c1", "c2"}),
        (f"code:not-in={HEART}&code:below={TREE}|lung", {"c4"}),
        (f"code:in={HEART}&patient=p1", {"c0", "c1", "c2", "c3"}),
        (f"_filter=code%20in%20{HEART}%20and%20not%20(code%20ss%20{TREE}|valve)", {"c0", "c3"}),
        (f"_filter=code%20ni%20{HEART}%20or%20code%20sb%20{TREE}|valve", {"c0", "c1", "c4", "c5"}),
        (f"code:in={HEART}&_filter=patient.gender%20eq%20female%20and%20code%20ss%20{TREE}|rhythm", {"c3"}),
    ],
)
async def test_by_value_set_and_subsumption(http: Http, asked: str, wanted: set[str]) -> None:
    assert ids(await found(http, f"Condition?{asked}")) == wanted
    posted = await http.post(
        "/Condition/_search",
        content=asked,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert {one["resource"]["id"] for one in posted.json()["entry"]} == wanted
    counted = await read(http, f"Condition?{asked}&_summary=count")
    assert counted["total"] == len(wanted)
    exact = await read(http, f"Condition?{asked}&_count=1&_total=accurate")
    assert exact["total"] == len(wanted)
    assert unquote(exact["link"][0]["url"]).partition("?")[2].startswith(unquote(asked).partition("=")[0])


async def test_in_chains(http: Http) -> None:
    assert ids(await found(http, f"Patient?_has:Condition:patient:code:in={HEART}")) == {"p1"}
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert len(await found(http, f"Condition?patient.gender:in={gender}&code:in={HEART}")) == 4


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ("code:in=http://example.org/unknown", "not-found", "no value set 'http://example.org/unknown'"),
        ("code:in=ValueSet/unknown", "not-found", "ValueSet/unknown"),
        (f"code:in={HEART}|9", "not-found", f"{HEART}|9"),
        (
            "code:below=http://snomed.info/sct|126851005",
            "not-found",
            "no code system 'http://snomed.info/sct'",
        ),
        ("code:above=126851005", "invalid", "system|code"),
        ("code:nto=x", "not-supported", "did you mean :not?"),
        ("code:of-type=a|b|c", "not-supported", "supported: "),
        ("patient:below=p1", "not-supported", "supported: a resource type, :identifier, :missing"),
    ],
)
@pytest.mark.parametrize("handling", ["strict", "lenient"])
async def test_what_is_refused(http: Http, asked: str, code: str, said: str, handling: str) -> None:
    """Whatever the handling: a search without it would find far more than was asked for."""
    told = await issue(http, f"Condition?{asked}", Prefer=f"handling={handling}")
    assert told["code"] == code
    assert said in told["diagnostics"]


async def test_regular_expressions(http: Http) -> None:
    url = "http://example.org/vs/regex"
    await put(http, {**value_set(filtered("code", "regex", "[lr].*", TREE), url=url), "id": "regex"})
    assert ids(await found(http, f"Condition?code:in={url}")) == {"c3", "c4"}
    await put(http, {**value_set(filtered("code", "regex", "(", TREE), url=url), "id": "regex"})
    told = await issue(http, f"Condition?code:in={url}")
    assert told["code"] == "invalid" and "regular expression" in told["diagnostics"]


# -- which definition


async def test_the_one_in_use_with_the_latest_version_counts(http: Http) -> None:
    url = f"http://example.org/vs/{uuid4().hex}"

    async def define(id_: str, code: str, version: str | None, status: str) -> None:
        one = value_set({"system": TREE, "concept": [{"code": code}]}, url=url)
        await put(http, {**one, "id": id_, "status": status} | ({"version": version} if version else {}))

    async def matched(version: str = "") -> set[str]:
        return ids(await found(http, f"Condition?code:in={url}{version}"))

    await define("v-none", "other", None, "active")
    assert await matched() == {"c5"}
    await define("v-9", "lung", "9.0", "active")
    assert await matched() == {"c4"}
    await define("v-10", "mitral", "10.0", "active")
    assert await matched() == {"c2"}
    await define("v-11", "heart", "11.0", "draft")
    assert await matched() == {"c2"}
    assert (await matched("|9.0"), await matched("|11.0")) == ({"c4"}, {"c0"})
    assert await matched("|9.0&_count=1&_total=accurate") == {"c4"}
    await define("v-10", "mitral", "10.0", "retired")
    assert await matched() == {"c4"}
    await http.delete("/ValueSet/v-9")
    assert await matched() == {"c5"}
    told = await issue(http, f"Condition?code:in={url}|9.0")
    assert told["code"] == "not-found"


async def test_a_definition_that_changes_counts_from_then_on_but_not_on_later_pages(http: Http) -> None:
    url = f"http://example.org/vs/{uuid4().hex}"
    one = value_set({"system": TREE, "concept": [{"code": "heart"}, {"code": "lung"}]}, url=url)
    await put(http, {**one, "id": "changing"})
    first = await read(http, f"Condition?code:in={url}&_count=1&_total=accurate")
    assert first["total"] == 2
    one["compose"]["include"][0]["concept"] = [{"code": "other"}]
    await put(http, {**one, "id": "changing"})
    assert ids(await found(http, f"Condition?code:in={url}")) == {"c5"}
    (link,) = (link["url"] for link in first["link"] if link["relation"] == "next")
    second = (await http.get(link)).json()
    assert {one["resource"]["id"] for page in (first, second) for one in page["entry"]} == {"c0", "c4"}


# -- conditional interactions


async def test_conditional_create(http: Http) -> None:
    """https://hl7.org/fhir/R4/http.html#ccreate"""
    mark = uuid4().hex
    resource = condition("x", "mitral", identifier=[{"system": IDS, "value": mark}])
    del resource["id"]
    criteria = f"identifier={IDS}|{mark}&code:in={HEART}"
    answers = [
        await http.post("/Condition", json=resource, headers={"If-None-Exist": criteria}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    other = f"identifier={IDS}|{mark}&code:not-in={HEART}"
    third = await http.post("/Condition", json=resource, headers={"If-None-Exist": other})
    assert third.status_code == 201
    ambiguous = await http.post("/Condition", json=resource, headers={"If-None-Exist": criteria})
    assert ambiguous.status_code == 412
    for answer in (answers[0], third):
        assert (await http.delete(f"/Condition/{answer.json()['id']}")).status_code == 204


async def test_conditional_update_patch_and_delete(http: Http) -> None:
    mark = uuid4().hex
    made = await created(http, {**condition("x", "rhythm"), "identifier": [{"value": mark}]})
    criteria = f"identifier={mark}&code:below={TREE}|heart"
    updated = await http.put(f"/Condition?{criteria}", json={**made, "recordedDate": "2020"})
    assert (updated.status_code, updated.json()["id"]) == (200, made["id"])
    miss = await http.delete(f"/Condition?identifier={mark}&code:below={TREE}|lung")
    assert miss.status_code == 204
    assert (await http.get(f"/Condition/{made['id']}")).status_code == 200
    assert (await http.delete(f"/Condition?{criteria}")).status_code == 204
    assert (await http.get(f"/Condition/{made['id']}")).status_code == 410


async def test_transactions(http: Http) -> None:
    """Criteria of entries and of references: https://hl7.org/fhir/R4/http.html#trules"""
    mark = uuid4().hex
    made = patient(mark) | {"gender": "female"}
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    criteria = f"identifier={IDS}|{mark}&gender:in={gender}"
    about = condition("x", "heart", subject={"reference": f"Patient?{criteria}"})
    del about["id"]
    first = await send(http, "transaction", entry("POST", "Patient", made, ifNoneExist=criteria))
    assert statuses(first.json()["entry"]) == [201]
    second = await send(
        http,
        "transaction",
        entry("POST", "Patient", made, ifNoneExist=criteria),
        entry("POST", "Condition", about),
    )
    assert statuses(second.json()["entry"]) == [200, 201], second.text
    unknown = entry("POST", "Patient", made, ifNoneExist=f"identifier={mark}&gender:in=urn:nothing")
    told = await refused(http, 400, unknown)
    assert told["code"] == "not-found" and "urn:nothing" in told["diagnostics"]
    path = second.json()["entry"][1]["response"]["location"]
    await http.delete("/" + "/".join(path.split("/")[-4:-2]))


# -- resources


async def test_hierarchies(http: Http) -> None:
    """https://hl7.org/fhir/R4/search.html#recursive"""
    await put(http, {"resourceType": "Location", "id": "house"})
    await put(http, {"resourceType": "Location", "id": "ward", "partOf": {"reference": "Location/house"}})
    await put(http, {"resourceType": "Location", "id": "bed", "partOf": {"reference": "Location/ward"}})
    procedure = {"resourceType": "Procedure", "status": "completed", "subject": {"reference": "Patient/p1"}}
    for place in ("house", "ward", "bed"):
        await put(http, {**procedure, "id": f"in-{place}", "location": {"reference": f"Location/{place}"}})
    assert ids(await found(http, "Procedure?location:below=ward")) == {"in-ward", "in-bed"}
    assert ids(await found(http, "Procedure?location:above=Location/ward")) == {"in-house", "in-ward"}
    assert ids(await found(http, "Location?partof:below=house")) == {"ward", "bed"}


async def test_identifiers_by_their_type(http: Http) -> None:
    mark, types = uuid4().hex, {"coding": [{"system": "http://t", "code": "MR"}]}
    made = await created(http, {"resourceType": "Patient", "identifier": [{"type": types, "value": mark}]})
    assert ids(await found(http, f"Patient?identifier:of-type=http://t|MR|{mark}")) == {made["id"]}
    assert await found(http, f"Patient?identifier:of-type=http://t|SS|{mark}") == []
    told = await issue(http, f"Patient?identifier:of-type=MR|{mark}")
    assert "system|code|value" in told["diagnostics"]
    again = await http.post(
        "/Patient", json=made, headers={"If-None-Exist": f"identifier:of-type=http://t|MR|{mark}"}
    )
    assert again.status_code == 200


async def test_canonicals_by_the_id_of_what_has_the_url(http: Http) -> None:
    """`_profile=StructureDefinition/lipid` is R4's own example of a local profile."""
    url = "http://example.org/Measure/one"
    await put(http, {"resourceType": "Measure", "id": "m1", "status": "active", "url": url, "version": "2"})
    report = {
        "resourceType": "MeasureReport",
        "status": "complete",
        "type": "summary",
        "period": {"start": "2020"},
    }
    await put(http, {**report, "id": "r1", "measure": f"{url}|2.1"})
    await put(http, {**report, "id": "r2", "measure": f"{url}|3"})
    for asked in ("Measure/m1", "m1", url, f"{url}|2.1,{url}|3"):
        assert ids(await found(http, f"MeasureReport?measure={asked}")) == {"r1", "r2"}, asked
    assert ids(await found(http, f"MeasureReport?measure:below={url}|2")) == {"r1"}
    assert await found(http, f"MeasureReport?measure={url}|2") == []
    told = await issue(http, f"MeasureReport?measure:identifier={url}")
    assert "supported: a resource type, :below, :missing" in told["diagnostics"]
    profile = {
        "resourceType": "StructureDefinition",
        "id": "lipid",
        "url": "http://example.org/StructureDefinition/lipid",
        "name": "Lipid",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "DiagnosticReport",
    }
    await put(http, profile)
    await put(http, {**report, "id": "r3", "measure": url, "meta": {"profile": [profile["url"]]}})
    assert ids(await found(http, "MeasureReport?_profile=StructureDefinition/lipid")) == {"r3"}
    assert await found(http, "MeasureReport?_profile=StructureDefinition/none") == []
