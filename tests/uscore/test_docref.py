"""$docref, the documents of a patient: http://hl7.org/fhir/us/core/OperationDefinition/docref"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir.validate import issues
from fhirserver.interactions import run
from fhirserver.interactions.call import Call
from fhirserver.interactions.operations.definitions import DOCREF
from fhirserver.interactions.permission import decided
from fhirserver.policy.principal import Principal, Role
from fhirserver.policy.scopes import parse_all
from tests.db.search.oracle import date_holds
from tests.support.server import BASE, serving
from tests.uscore.chart import FORM, found
from tests.uscore.literal import Literal, path_of, span
from tests.uscore.packages import VERSIONS, Resource, package

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOINC = "http://loinc.org"
CCD, NOTE = "34133-9", "11506-3"
PATH = "/DocumentReference/$docref"
PROFILE = "http://hl7.org/cda/us/ccda/StructureDefinition/CCD"


def document(id_: str, code: str, date: str, **more: Any) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/summed-up"},
        "date": f"{date}T12:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/1"}}],
        "context": {"period": {"start": date, "end": date}},
        **more,
    }


DOCUMENTS = [
    document("ccd-old", CCD, "2020-01-01"),
    document("ccd-new", CCD, "2022-01-01"),
    document("ccd-later-but-superseded", CCD, "2023-01-01", status="superseded"),
    document("ccd-in-error", CCD, "2021-01-01", status="entered-in-error"),
    document("note-old", NOTE, "2020-06-01"),
    document("note-new", NOTE, "2021-06-01"),
    document("untyped", NOTE, "2021-01-01", type={"text": "letter"}),
    document("another-untyped", NOTE, "2020-12-01", type={"text": "letter"}),
    document("somebody-else", CCD, "2024-01-01", subject={"reference": "Patient/another"}),
    document(
        "by-profile",
        "57133-1",
        "2019-01-01",
        content=[
            {
                "attachment": {"contentType": "text/xml", "url": "Binary/2"},
                "format": {"system": "urn:ietf:rfc:3986", "code": PROFILE},
            }
        ],
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def documents(http: httpx.AsyncClient) -> None:
    for name in ("summed-up", "another"):
        await http.put(f"/Patient/{name}", json={"resourceType": "Patient", "id": name})
    for one in DOCUMENTS:
        answer = await http.put(f"/DocumentReference/{one['id']}", json=one)
        assert answer.status_code == 201, answer.text


def parameters(values: list[tuple[str, str]]) -> Resource:
    """The body for what a URL says."""
    kinds = {"patient": "valueId", "on-demand": "valueBoolean", "profile": "valueCanonical"}
    parts: list[Resource] = []
    for name, text in values:
        if name == "type":
            system, _, code = text.rpartition("|")
            parts.append({"name": name, "valueCoding": {"system": system, "code": code}})
        else:
            value = text == "true" if name == "on-demand" else text
            parts.append({"name": name, kinds.get(name, "valueDateTime"): value})
    return {"resourceType": "Parameters", "parameter": parts}


async def docref(http: httpx.AsyncClient, *values: tuple[str, str]) -> Resource:
    """The searchset that GET, a form and a Parameters resource all give."""
    text = urlencode(values)
    by_get = await http.get(f"{PATH}?{text}")
    assert by_get.status_code == 200, by_get.text
    by_form = await http.post(PATH, content=text, headers=FORM)
    by_post = await http.post(PATH, json=parameters(list(values)))
    assert by_get.content == by_form.content == by_post.content
    bundle = by_get.json()
    assert bundle["type"] == "searchset" and issues(bundle) == []
    return bundle


async def ids(http: httpx.AsyncClient, *values: tuple[str, str]) -> list[str]:
    bundle = await docref(http, ("patient", "summed-up"), *values)
    matches = [entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] == "match"]
    assert bundle["total"] == len(matches)
    return [entry["resource"]["id"] for entry in matches]


async def test_without_dates_the_current_document_of_each_type(http: httpx.AsyncClient) -> None:
    """The newest first; the current CCD is among them."""
    assert await ids(http) == ["ccd-new", "note-new", "untyped", "by-profile"]
    assert await ids(http, ("type", f"{LOINC}|{CCD}")) == ["ccd-new"]
    assert await ids(http, ("type", f"{LOINC}|{NOTE}"), ("type", f"{LOINC}|{CCD}")) == ["ccd-new", "note-new"]
    assert await ids(http, ("type", f"{LOINC}|0000-0")) == []


async def test_with_dates_all_about_care_in_that_time(http: httpx.AsyncClient) -> None:
    assert await ids(http, ("start", "2022-01-01T00:00:00Z")) == ["ccd-later-but-superseded", "ccd-new"]
    assert await ids(http, ("end", "2020-01-01")) == ["ccd-old", "by-profile"]
    assert await ids(http, ("start", "2020-06"), ("end", "2021-06-01"), ("type", f"{LOINC}|{NOTE}")) == [
        "note-new",
        "note-old",
    ]
    assert await ids(http, ("start", "2030")) == []


async def test_a_profile_is_that_of_the_content(http: httpx.AsyncClient) -> None:
    assert await ids(http, ("profile", PROFILE)) == ["by-profile"]
    assert await ids(http, ("profile", "http://example.org/none"), ("profile", PROFILE)) == ["by-profile"]


async def test_on_demand_documents_do_not_exist(http: httpx.AsyncClient) -> None:
    """ "If the server cannot generate a document ..., the operation will return an empty search bundle." """
    bundle = await docref(http, ("patient", "summed-up"), ("on-demand", "true"))
    assert (bundle["total"], found(bundle)) == (0, [])
    assert bundle["entry"][0]["search"]["mode"] == "outcome"
    assert await ids(http, ("on-demand", "false")) == await ids(http)


async def test_nobody_has_no_documents(http: httpx.AsyncClient) -> None:
    bundle = await docref(http, ("patient", "nobody"))
    assert bundle["total"] == 0 and "entry" not in bundle


async def test_an_older_clients_type_is_a_concept(http: httpx.AsyncClient) -> None:
    """CodeableConcept until 5.0.1, and Coding since."""
    codings = [{"system": LOINC, "code": CCD}, {"system": "http://local", "code": "sum"}]
    parts = [
        {"name": "patient", "valueId": "summed-up"},
        {"name": "type", "valueCodeableConcept": {"coding": codings}},
    ]
    answer = await http.post(PATH, json={"resourceType": "Parameters", "parameter": parts})
    assert found(answer.json()) == ["DocumentReference/ccd-new"]
    parts[1] = {"name": "type", "valueCodeableConcept": {"text": "CCD"}}
    answer = await http.post(PATH, json={"resourceType": "Parameters", "parameter": parts})
    assert answer.status_code == 400 and "no code" in answer.json()["issue"][0]["diagnostics"]


async def test_the_self_link_gives_the_same_documents(http: httpx.AsyncClient) -> None:
    for values in ([], [("start", "2020")], [("type", f"{LOINC}|{CCD}")]):
        bundle = await docref(http, ("patient", "summed-up"), *values)
        (self_link,) = [link["url"] for link in bundle["link"] if link["relation"] == "self"]
        assert self_link.startswith(f"{BASE}/DocumentReference?")
        assert (await http.get(self_link)).json() == bundle


async def test_many_documents_come_in_pages(http: httpx.AsyncClient, database: str) -> None:
    """Whose links go on as a search does."""
    whole = await ids(http)
    async with serving(database, base_url=BASE, count_default=3) as small:
        seen: list[str] = []
        url: str | None = f"{PATH}?patient=summed-up"
        while url is not None:
            page = (await small.get(url)).json()
            assert page["total"] == len(whole)
            seen += [entry["resource"]["id"] for entry in page["entry"]]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert seen == whole


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "'patient'"),
        ("?patient=a&patient=b", "2 times"),
        ("?patient=Patient/a", "'patient'"),
        ("?patient=a&start=01/02/2020", "'start'"),
        ("?patient=a&on-demand=maybe", "'on-demand'"),
        ("?patient=a&type=http://loinc.org|", "'type'"),
        ("?patient=a&strat=2020", "start"),
    ],
)
async def test_what_is_wrong_is_refused(http: httpx.AsyncClient, query: str, said: str) -> None:
    answer = await http.get(f"{PATH}{query}")
    assert answer.status_code == 400
    assert said in answer.json()["issue"][0]["diagnostics"]


async def test_it_stands_on_the_type_alone(http: httpx.AsyncClient) -> None:
    assert (await http.get("/$docref?patient=a")).status_code == 404
    assert (await http.get("/Patient/$docref?patient=a")).status_code == 404
    assert (await http.get("/DocumentReference/1/$docref?patient=a")).status_code == 404


async def test_nobody_sees_the_documents_of_others(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the restriction of a search: another's are none, and what the scope leaves out is not there."""
    role = Role("patient", parse_all(["patient/*.rs"]))
    scopes = parse_all(["patient/DocumentReference.s?status=current"])
    user = ("Patient", "summed-up")
    caller = Principal("a", scopes, user=user, patient="summed-up", own=("summed-up",), roles=(role,))

    def decided_for_them(call: Call) -> None:
        call.principal = replace(caller, tenant=call.services.tenant)
        decided(call)

    monkeypatch.setattr(run, "decided", decided_for_them)
    assert await ids(http) == ["ccd-new", "note-new", "untyped", "by-profile"]
    assert await ids(http, ("start", "2022")) == ["ccd-new"]
    assert (await docref(http, ("patient", "another")))["total"] == 0


def period(document: Resource) -> Resource | None:
    """When the care was that it is about."""
    return document.get("context", {}).get("period")


async def test_the_charts_documents(http: httpx.AsyncClient, chart: Literal) -> None:
    """Of the real patients: what a literal reading of dates, types and states finds."""
    for patient in chart.of("Patient"):
        mine = [
            one for one in chart.of("DocumentReference") if one["subject"]["reference"] == path_of(patient)
        ]
        current = [one for one in mine if one["status"] == "current"]
        answered = set(found(await docref(http, ("patient", patient["id"]))))
        assert answered <= set(map(path_of, current))
        types = {one["type"]["coding"][0]["code"] for one in current}
        assert {chart.by_path[path]["type"]["coding"][0]["code"] for path in answered} == types
        assert len(answered) == len(types)
        valid = [one for one in mine if one["status"] != "entered-in-error" and period(one)]
        for year in ("1950", "1990", "2020"):
            expected = [path_of(one) for one in valid if date_holds("ge", year, span(period(one)), chart.now)]
            bundle = await docref(http, ("patient", patient["id"]), ("start", year))
            assert found(bundle) == sorted(expected)


@pytest.mark.parametrize("version", VERSIONS)
async def test_it_is_what_the_package_defines(http: httpx.AsyncClient, igs: Path, version: str) -> None:
    """Announced by the definition's URL, with its parameters at least."""
    resources = package(igs, version).resources
    definition = resources["OperationDefinition-docref"]
    statement = (await http.get("/metadata")).json()["rest"][0]
    (described,) = [one for one in statement["resource"] if one["type"] == "DocumentReference"]
    announced = {one["name"]: one["definition"] for one in described["operation"]}
    assert announced["docref"] == definition["url"]
    offered = {one.name: one for one in (*DOCREF.inputs, *DOCREF.outputs)}
    for one in definition["parameter"]:
        mine = offered[one["name"]]
        kinds = {mine.type, *mine.also} | ({"date"} if mine.type == "dateTime" else set())
        assert one["type"] in kinds
        assert str(mine.min) == str(one["min"])
        assert mine.max is None or str(mine.max) == one["max"]
