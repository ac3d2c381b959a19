"""Consents through the door: what they deny is not there, in whatever way one asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.callers import granted
from tests.support.consents import PATIENTS, World, actor, concept, consent, enforcing, observation, purpose
from tests.support.server import BASE, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


async def test_without_consents_treatment_is_permitted_and_research_is_not(world: World) -> None:
    assert await world.ids(world.doctor, "/Patient") == set(PATIENTS)
    assert await world.ids(world.admin, "/Patient", **{"X-Purpose-Of-Use": "HRESCH"}) == set()
    assert await world.ids(world.admin, "/Organization", **{"X-Purpose-Of-Use": "HRESCH"}) == {
        "house",
        "ward",
    }


async def test_what_is_denied_is_not_there(world: World) -> None:
    doctor = world.doctor
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    rest = {"obs-anna", "obs-carl"}
    assert await world.ids(doctor, "/Patient") == {"anna", "carl"}
    assert await world.ids(doctor, "/Observation") == rest
    assert await world.ids(doctor, "/Observation?_count=1000&_total=accurate") == rest
    assert await world.ids(doctor, "/Observation?patient=bert") == set()
    assert await world.ids(doctor, "/Observation?patient.name=bert") == set()
    assert await world.ids(doctor, "/Patient?_has:Observation:patient:code=1-8") == {"anna", "carl"}
    assert await world.ids(doctor, "/Patient?_revinclude=Observation:patient") == {"anna", "carl"} | rest
    assert await world.ids(doctor, "/Observation/_history") >= rest
    assert "obs-bert" not in await world.ids(doctor, "/Observation/_history")
    assert "obs-bert" not in await world.ids(doctor, "/_history?_count=1000")
    assert (await world.ask(doctor, "GET", "/Observation?_summary=count")).json()["total"] == 2
    for path in ("Patient/bert", "Observation/obs-bert", "Observation/obs-bert/_history/1", f"Consent/{id_}"):
        assert (await world.ask(doctor, "GET", f"/{path}")).status_code == 404, path
    body = observation("obs-bert", "bert")
    for path, sent in (("obs-bert", body), ("nothing", {**body, "id": "nothing"})):
        answer = await world.ask(doctor, "PUT", f"/Observation/{path}", sent)
        assert answer.status_code == 405, answer.text
    answer = await world.ask(doctor, "POST", "/Observation", observation("x", "bert"))
    assert answer.status_code == 403, answer.text
    await world.revoke(id_)
    assert await world.ids(doctor, "/Patient") == set(PATIENTS)
    assert (await world.ask(doctor, "GET", "/Observation/obs-bert")).status_code == 200


@pytest.mark.parametrize(
    ("name", "kept_out"),
    [
        ("Practitioner/d", {"doctor"}),
        ("Practitioner/e", {"other"}),
        ("PractitionerRole/role-e", {"other"}),
        ("Organization/ward", {"other"}),
        ("Organization/house", {"other"}),
        ("CareTeam/team", {"doctor"}),
        ("Group/group", {"doctor"}),
        ("Device/app", {"doctor", "other"}),
        ("Practitioner/nobody", set[str]()),
    ],
)
async def test_an_actor_is_who_asks_and_what_they_belong_to(
    world: World, name: str, kept_out: set[str]
) -> None:
    id_ = await world.agreed(consent("bert", "OPTIN", type="deny", actor=actor(name)))
    seen = {who: "bert" in await world.ids(getattr(world, who), "/Patient") for who in ("doctor", "other")}
    assert seen == {who: who not in kept_out for who in ("doctor", "other")}
    await world.revoke(id_)


async def test_research_needs_the_consent_of_the_patient(world: World) -> None:
    id_ = await world.agreed(consent("carl", "OPTOUT", purpose=purpose("HRESCH"), type="permit"))
    research = {"X-Purpose-Of-Use": "HRESCH"}
    assert await world.ids(world.admin, "/Patient", **research) == {"carl"}
    assert await world.ids(world.admin, "/Observation", **research) == {"obs-carl"}
    assert await world.ids(world.admin, "/Patient") == {"anna", "bert"}
    await world.revoke(id_)


async def test_a_policy_of_the_organisation_is_about_everybody(world: World) -> None:
    codes = [{"coding": [{"system": "http://loinc.org", "code": "1-8"}]}]
    id_ = await world.agreed(consent(None, "OPTIN", type="deny", code=codes, purpose=purpose("TREAT")))
    assert await world.ids(world.doctor, "/Observation") == set()
    assert await world.ids(world.doctor, "/Organization") == {"house", "ward"}
    await world.revoke(id_)
    assert len(await world.ids(world.doctor, "/Observation")) == 3


async def test_purposes_have_to_be_ones_own(world: World) -> None:
    answer = await world.ask(world.doctor, "GET", "/Patient", **{"X-Purpose-Of-Use": "HRESCH"})
    assert answer.status_code == 403
    answer = await world.ask(world.doctor, "GET", "/Patient", **{"X-Purpose-Of-Use": "FUN"})
    assert answer.status_code == 400


async def test_the_own_record_stays_ones_own(world: World) -> None:
    id_ = await world.agreed(consent("anna", "OPTOUT"))
    assert await world.ids(world.patient, "/Observation") == {"obs-anna"}
    assert await world.ids(world.patient, "/Device?_contained=both") == {"app"}
    assert (await world.ask(world.patient, "GET", "/Patient/anna")).status_code == 200
    assert (await world.ask(world.patient, "GET", f"/Consent/{id_}")).status_code == 200
    assert (await world.ask(world.doctor, "GET", "/Patient/anna")).status_code == 404
    await world.revoke(id_)


async def test_nobody_lets_themselves_in_by_what_they_write(world: World) -> None:
    """Neither by a consent nor by joining what one may see more than oneself."""
    id_ = await world.agreed(
        consent("bert", "OPTOUT", provision=[{"type": "permit", "actor": actor("Practitioner/adm")}])
    )
    entry = [
        {"resource": consent(None, "OPTIN", type="permit"), "request": {"method": "POST", "url": "Consent"}},
        {
            "resource": observation("x", "bert"),
            "request": {"method": "POST", "url": "Observation"},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    answer = await world.ask(world.doctor, "POST", "", bundle)
    assert answer.status_code == 403, answer.text
    await world.revoke(id_)


async def test_a_page_link_serves_the_purpose_it_was_given_for(world: World) -> None:
    first = await world.ask(world.admin, "GET", "/Patient?_count=1&_total=accurate")
    (url,) = [one["url"] for one in first.json()["link"] if one["relation"] == "next"]
    path = url.removeprefix(BASE)
    assert (await world.ask(world.admin, "GET", path)).json()["total"] == 3
    answer = await world.ask(world.admin, "GET", path, **{"X-Purpose-Of-Use": "HRESCH"})
    assert answer.status_code == 400, answer.text
    assert "purpose" in answer.json()["issue"][0]["diagnostics"]


async def test_what_is_not_enforced_is_said_to_who_writes_it(world: World) -> None:
    """By whatever way they prefer to be answered, and alone or among others."""
    empty = consent("bert", None)
    answer = await world.ask(world.admin, "POST", "/Consent", empty)
    assert answer.status_code == 201
    assert answer.headers["Warning"].startswith('299 - "neither policyRule (OPTIN, ')
    entry = {"resource": empty, "request": {"method": "POST", "url": "Consent"}}
    for type_ in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": type_, "entry": [entry]}
        said = (await world.ask(world.admin, "POST", "", bundle)).json()["entry"][0]["response"]
        assert [one["severity"] for one in said["outcome"]["issue"]] == ["warning"]
    unknown = consent("bert", "OPTIN", type="deny", purpose=purpose("NOPE"))
    answer = await world.ask(world.admin, "POST", "/Consent", unknown)
    assert answer.headers["Warning"].startswith('299 - "names what is no purpose of use of ')
    assert (await world.ask(world.doctor, "GET", "/Patient/bert")).status_code == 404
    await world.revoke(answer.json()["id"])
    plain = await world.ask(world.admin, "POST", "/Consent", {**consent("bert", "OPTIN"), "status": "draft"})
    assert "Warning" not in plain.headers


async def test_nothing_is_announced_that_consents_do_away_with(world: World) -> None:
    (rest,) = (await world.http.get("/metadata")).json()["rest"]
    types = {one["type"]: one for one in rest["resource"]}
    chosen = {name: types[name]["updateCreate"] for name in ("Patient", "Task", "Binary", "Organization")}
    assert chosen == {"Patient": False, "Task": False, "Binary": False, "Organization": True}
    named = {one["name"] for of in (rest, *types.values()) for one in of.get("operation", ())}
    assert "explain" not in named
    assert {"break-glass", "explain-access"} <= named


async def test_a_service_writes_consents_by_a_scope_that_names_them(world: World) -> None:
    """`*` is about what they bind, not about them."""
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    everything = await granted(world.dsn, "system/*.cruds")
    assert await world.ids(everything, "/Consent?status=active") == set()
    for method, path, body in (
        ("POST", f"/Consent/{id_}/$revoke", None),
        ("POST", "/Consent", consent("carl", "OPTIN")),
        ("PUT", f"/Consent/{id_}", {**consent("bert", "OPTIN"), "id": id_}),
        ("DELETE", f"/Consent/{id_}", None),
    ):
        answer = await world.ask(everything, method, path, body)
        assert answer.status_code == 403, (method, answer.text)
    named = await granted(world.dsn, "system/*.cruds", "system/Consent.c")
    made = await world.ask(named, "POST", "/Consent", consent("carl", "OPTIN"))
    assert made.status_code == 201, made.text
    path = f"/Consent/{made.json()['id']}"
    assert (await world.ask(named, "DELETE", path)).status_code == 403
    keeper = await granted(world.dsn, "system/Consent.cruds")
    assert (await world.ask(keeper, "DELETE", path)).status_code == 204
    await world.revoke(id_)


async def test_who_may_change_what_they_may_not_see_does_not_see_it_so(world: World) -> None:
    """Neither by moving it out of the record, nor by asking what stands there."""
    id_ = await world.agreed(
        consent("bert", "OPTIN", type="deny", action=[concept("consentaction", "access")])
    )
    headers = {"Content-Type": "application/json-patch+json"}
    out = [{"op": "replace", "path": "/subject/reference", "value": "Patient/carl"}]
    guess = [{"op": "test", "path": "/status", "value": "final"}]
    seen = await world.ask(world.doctor, "GET", "/Observation/obs-bert")
    for change in (out, guess):
        answer = await world.ask(world.doctor, "PATCH", "/Observation/obs-bert", change, **headers)
        unknown = await world.ask(world.doctor, "PATCH", "/Observation/none", change, **headers)
        assert seen.status_code == answer.status_code == unknown.status_code == 404, answer.text
    await world.revoke(id_)


async def test_contained_resources_are_as_visible_as_what_contains_them(world: World) -> None:
    body = {
        **observation("x", "carl"),
        "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "inner"}}],
        "focus": [{"reference": "#m"}],
    }
    body.pop("id")
    assert (await world.ask(world.admin, "POST", "/Observation", body)).status_code == 201
    search = "/Medication?_contained=true"
    assert len(await world.ids(world.doctor, search)) == 1
    id_ = await world.agreed(consent("carl", "OPTOUT"))
    assert await world.ids(world.doctor, search) == set()
    await world.revoke(id_)
    assert len(await world.ids(world.doctor, search)) == 1


async def test_consents_are_written_by_who_keeps_them_and_whose_they_are(world: World) -> None:
    """A doctor whom a consent keeps from some of the data sees the Consent, and cannot end it."""
    observations = [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]
    deny = consent("bert", "OPTIN", **{"type": "deny", "class": observations})
    id_ = await world.agreed(deny)
    current = await world.ask(world.doctor, "GET", f"/Consent/{id_}")
    assert current.status_code == 200
    assert "obs-bert" not in await world.ids(world.doctor, "/Observation")
    ended = {**current.json(), "status": "inactive"}
    assert (await world.ask(world.doctor, "PUT", f"/Consent/{id_}", ended)).status_code == 403
    assert (await world.ask(world.doctor, "DELETE", f"/Consent/{id_}")).status_code == 403
    for made in (consent("bert", "OPTIN"), consent(None, "OPTIN")):
        assert (await world.ask(world.doctor, "POST", "/Consent", made)).status_code == 403
    draft = {**consent("bert", "OPTIN"), "status": "proposed"}
    assert (await world.ask(world.doctor, "POST", "/Consent", draft)).status_code == 201
    await world.revoke(id_)
    answer = await world.ask(world.patient, "POST", "/Consent", consent("anna", "OPTOUT"))
    assert answer.status_code == 201, answer.text
    assert "anna" not in await world.ids(world.doctor, "/Patient")
    mine = {**answer.json(), "status": "inactive"}
    assert (await world.ask(world.patient, "PUT", f"/Consent/{mine['id']}", mine)).status_code == 200
    assert "anna" in await world.ids(world.doctor, "/Patient")


async def test_what_is_not_enforced_is_said(world: World) -> None:
    vague = consent("bert", "OPTIN", provision=[{"actor": actor("Practitioner/d")}])
    answer = await world.ask(world.admin, "POST", "/Consent", vague, Prefer="return=OperationOutcome")
    warnings = [one for one in answer.json()["issue"] if one["severity"] == "warning"]
    assert [one["expression"] for one in warnings] == [["Consent.provision.provision[0]"]]
    setting = json.dumps({"unenforceable": "refuse"})
    async with serving(world.dsn, auth="smart", consent=setting, base_url=BASE) as http:
        answer = await http.post("/Consent", json=vague, headers=world.admin.headers)
        assert answer.status_code == 422
        answer = await http.post("/Consent", json=consent("bert", None), headers=world.admin.headers)
        assert answer.status_code == 422


async def test_a_revocation_is_in_effect_on_the_next_request(world: World) -> None:
    """100 revocations while others read: who asks after the answer to one sees what it opens and closes."""
    stop = asyncio.Event()

    async def reading() -> int:
        count = 0
        while not stop.is_set():
            found = await world.ids(world.other, "/Observation?patient=carl&_id=obs-carl")
            assert found <= {"obs-carl"}
            count += 1
        return count

    readers = [asyncio.create_task(reading()) for _ in range(3)]
    current = (await world.ask(world.admin, "POST", "/Consent", consent("carl", "OPTOUT"))).json()
    path = f"/Consent/{current['id']}"
    for number in range(100):
        status = "inactive" if number % 2 == 0 else "active"
        answer = await world.ask(world.admin, "PUT", path, {**current, "status": status})
        assert answer.status_code == 200, answer.text
        read, found = await asyncio.gather(
            world.ask(world.doctor, "GET", "/Observation/obs-carl"),
            world.ids(world.doctor, "/Observation?patient=carl&_id=obs-carl"),
        )
        right = (404, set()) if status == "active" else (200, {"obs-carl"})
        assert (read.status_code, found) == right, number
    stop.set()
    assert min(await asyncio.gather(*readers)) > 0
    await world.revoke(current["id"])
