"""What people let apps do, recorded as FHIR and ended by them: Consents, Devices, the page of apps."""

from base64 import b64decode
from typing import Any

import pytest

from tests.oauth.support import App, Page, Someone, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs"


async def consents(world: World, patient: str = "anna") -> list[dict[str, Any]]:
    found = (await world.fhir("GET", f"/Consent?patient={patient}&_sort=_lastUpdated")).json()
    return [one["resource"] for one in found.get("entry", ())]


async def latest(world: World) -> dict[str, Any]:
    return (await consents(world))[-1]


async def apps_of(app: App, who: Someone) -> Page:
    answer = await app.world.http.get("http://test/auth/apps", headers=who.headers)
    return Page(app, who, answer)


async def end(app: App, who: Someone) -> None:
    page = await apps_of(app, who)
    answer = await app.world.http.post(
        "http://test/auth/apps", data={"csrf": page.value("csrf"), "client": app.id}, headers=who.headers
    )
    assert answer.status_code == 303 and answer.headers["location"] == "/auth/apps"


async def alive(world: World, token: str) -> bool:
    return (await world.fhir("GET", "/Patient/anna", token)).status_code == 200


async def test_what_a_patient_grants_is_a_consent_whose_actor_is_the_apps_device(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app(client_name="Heart & Co")
    given = await app.token(anna, SCOPE)
    consent = await latest(world)
    assert consent["status"] == "active" and consent["patient"]["reference"] == "Patient/anna"
    assert consent["performer"][0]["reference"] == "Patient/anna"
    assert b64decode(consent["sourceAttachment"]["data"]).decode().split() == given["scope"].split()
    provision = consent["provision"]
    assert provision["type"] == "permit" and provision["period"]["end"] > provision["period"]["start"]
    assert {one["code"] for one in provision["class"]} == {"Patient", "Observation"}
    device = (await world.fhir("GET", f"/{provision['actor'][0]['reference']['reference']}")).json()
    assert device["identifier"][0]["value"] == app.id
    assert device["deviceName"][0]["name"] == "Heart & Co"
    await app.token(anna, SCOPE)
    again = (await latest(world))["provision"]["actor"][0]["reference"]["reference"]
    assert again == f"Device/{device['id']}"


async def test_what_a_doctor_grants_is_no_patients_consent(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    before = len(await consents(world))
    await app.token(doctor, SCOPE, patient="anna")
    assert len(await consents(world)) == before


async def test_a_relative_consents_for_the_patient(world: World) -> None:
    await world.put(
        {"resourceType": "RelatedPerson", "id": "mum-c", "patient": {"reference": "Patient/cora"}}
    )
    mum, app = await world.someone("mum-c", "RelatedPerson/mum-c"), await world.app()
    await app.token(mum, "patient/*.rs")
    (consent,) = await consents(world, "cora")
    assert consent["performer"][0]["reference"] == "RelatedPerson/mum-c"
    assert "class" not in consent["provision"]


async def test_people_see_their_apps_and_end_them(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app(client_name="To End")
    other = await world.app(client_name="To Keep")
    given, kept = await app.token(anna, SCOPE), await other.token(anna, SCOPE)
    page = await apps_of(app, anna)
    assert "To End" in page.text and "To Keep" in page.text and "In the record of Anna Example" in page.text
    assert "See measurements, laboratory results and other observations" in page.text
    await end(app, anna)
    assert not await alive(world, given["access_token"]) and await alive(world, kept["access_token"])
    assert (await app.refresh(given["refresh_token"])).json()["error"] == "invalid_grant"
    page = await apps_of(app, anna)
    assert "To End" not in page.text and "To Keep" in page.text
    ended = next(
        one
        for one in await consents(world)
        if one["provision"]["actor"][0]["reference"]["display"] == "To End"
    )
    assert ended["status"] == "inactive"


async def test_nobody_ends_somebody_elses_apps(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app()
    doctor = await world.someone("doc", "Practitioner/d")
    given = await app.token(anna, SCOPE)
    other = await world.app()
    await other.token(doctor, "user/Patient.rs offline_access")
    page = await apps_of(other, doctor)
    await world.http.post(
        "http://test/auth/apps", data={"csrf": page.value("csrf"), "client": app.id}, headers=doctor.headers
    )
    assert await alive(world, given["access_token"])
    answer = await world.http.post(
        "http://test/auth/apps", data={"csrf": "x", "client": app.id}, headers=anna.headers
    )
    assert answer.status_code == 403 and await alive(world, given["access_token"])


async def test_whoever_is_not_signed_in_sees_no_apps(world: World) -> None:
    answer = await world.http.get("http://test/auth/apps")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/auth/sign-in?next=%2Fauth%2Fapps"


@pytest.mark.parametrize("way", ["PUT", "DELETE", "PATCH", "transaction"])
async def test_a_consent_that_is_ended_by_fhir_ends_the_grant_for_good(world: World, way: str) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app()
    given = await app.token(anna, SCOPE)
    consent = await latest(world)
    path = f"/Consent/{consent['id']}"
    inactive = {**consent, "status": "inactive"}
    assert await alive(world, given["access_token"])
    match way:
        case "PUT":
            answer = await world.fhir("PUT", path, body=inactive)
        case "DELETE":
            answer = await world.fhir("DELETE", path)
        case "PATCH":
            answer = await world.http.patch(
                f"http://test/fhir{path}",
                json=[{"op": "replace", "path": "/status", "value": "rejected"}],
                headers={**world.admin.headers, "Content-Type": "application/json-patch+json"},
            )
        case _:
            entry = {"resource": inactive, "request": {"method": "PUT", "url": path[1:]}}
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
            answer = await world.fhir("POST", "", body=bundle)
    assert answer.status_code < 300, answer.text
    assert not await alive(world, given["access_token"])
    if way != "DELETE":
        await world.fhir("PUT", path, body=consent)
        assert not await alive(world, given["access_token"])
        assert (await app.refresh(given["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_consent_of_ones_own_making_opens_nothing(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app()
    given = await app.token(anna, "patient/Consent.rus patient/Observation.rs?category=vital-signs")
    consent = await latest(world)
    consent["provision"]["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": "Patient"}]
    answer = await world.fhir("PUT", f"/Consent/{consent['id']}", given["access_token"], consent)
    assert answer.status_code == 200, answer.text
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 403
    assert (await world.fhir("GET", "/Observation/lab-anna", given["access_token"])).status_code == 404
    assert (await world.fhir("GET", "/Observation/vital-anna", given["access_token"])).status_code == 200


async def test_reuse_ends_the_consent_too(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app()
    given = await app.token(anna, SCOPE)
    consent = await latest(world)
    await app.refresh(given["refresh_token"])
    await app.refresh(given["refresh_token"])
    stored = (await world.fhir("GET", f"/Consent/{consent['id']}")).json()
    assert stored["status"] == "inactive"


async def test_secrets_and_grants_are_no_resources(world: World) -> None:
    anna, app = await world.someone("anna", "Patient/anna"), await world.app()
    given = await app.token(anna, SCOPE)
    found = (await world.fhir("GET", "/_history?_count=1000")).text
    for secret in (app.secret, given["access_token"], given["refresh_token"], anna.cookie):
        assert secret and secret not in found
    rows = await world.sql(
        "SELECT r::text AS r FROM auth.refresh r UNION ALL SELECT c::text FROM auth.code c"
        " UNION ALL SELECT c::text FROM auth.client c UNION ALL SELECT g::text FROM auth.grant_ g"
    )
    stored = " ".join(row["r"] for row in rows)
    for secret in (app.secret, given["access_token"], given["refresh_token"]):
        assert secret not in stored
