"""EHR launches: https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch"""

import asyncio
from typing import Any

import httpx
import pytest

from tests.oauth.support import BASE, App, Page, Someone, World, backend, ec_key, query_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "launch openid fhirUser patient/Patient.rs patient/Observation.rs"
KEY = ec_key()


async def ehr_token(world: World) -> str:
    """The token of an EHR's back end."""
    ehr = await backend(world, KEY, "launch system/Patient.r")
    await world.sql("UPDATE auth.client SET metadata = metadata || '{\"ehr\": true}' WHERE id = $1", ehr.id)
    answer = await ehr.ask("launch")
    assert answer.status_code == 200 and answer.json()["scope"] == "launch", answer.text
    return answer.json()["access_token"]


async def open_launch(world: World, token: str, **given: Any) -> httpx.Response:
    return await world.http.post(
        "http://test/auth/launch", json=given, headers={"Authorization": f"Bearer {token}"}
    )


async def launch_of(world: World, app: App, **given: Any) -> str:
    token = await ehr_token(world)
    answer = await open_launch(world, token, **{"client_id": app.id, "user": "Practitioner/d", **given})
    assert answer.status_code == 201, answer.text
    return answer.json()["launch"]


async def refused(page: Page, error: str) -> None:
    assert page.answer.status_code == 303, page.text
    given = query_of(page.answer.headers["location"])
    assert given["error"] == error and given["state"] == "s-1" and "code" not in given


async def doctor_of(world: World) -> Someone:
    return await world.someone("doc", "Practitioner/d")


async def test_the_app_gets_what_is_open_in_the_ehr(world: World) -> None:
    doctor = await doctor_of(world)
    app = await world.app(launch_uri="https://app.example/launch?x=1")
    context = [{"reference": "ImagingStudy/1", "role": "https://example.org/role"}]
    answer = await open_launch(
        world,
        await ehr_token(world),
        client_id=app.id,
        user="Practitioner/d",
        patient="anna",
        encounter="visit-anna",
        fhirContext=context,
        intent="reconcile-medications",
        need_patient_banner=False,
    )
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    opened = answer.json()
    where = httpx.URL(opened["launch_uri"])
    assert where.host == "app.example" and where.params["x"] == "1" and where.params["iss"] == BASE
    assert where.params["launch"] == opened["launch"] and opened["expires_in"] == 300
    page = await app.page(doctor, SCOPE, launch=opened["launch"])
    assert "Anna Example" in page.text and "Choose another" not in page.text
    given = (await app.redeem(query_of((await page.allow()).headers["location"])["code"])).json()
    assert (given["patient"], given["encounter"]) == ("anna", "visit-anna")
    assert given["fhirContext"] == context and given["intent"] == "reconcile-medications"
    assert given["need_patient_banner"] is False and given["smart_style_url"]
    assert "launch" in given["scope"].split()


async def test_a_launch_is_good_once_also_in_parallel(world: World) -> None:
    doctor, app = await doctor_of(world), await world.app()
    launch = await launch_of(world, app, patient="anna")
    pages = [await app.page(doctor, SCOPE, launch=launch) for _ in range(6)]
    answers = await asyncio.gather(*(page.allow() for page in pages))
    given = [query_of(answer.headers["location"]) for answer in answers]
    assert sum("code" in one for one in given) == 1
    assert all(one["error"] == "invalid_request" for one in given if "code" not in one)
    await refused(await app.page(doctor, SCOPE, launch=launch), "invalid_request")


async def test_a_launch_is_one_persons(world: World) -> None:
    await world.put({"resourceType": "Practitioner", "id": "e"})
    app, other = await world.app(), await world.someone("other", "Practitioner/e")
    launch = await launch_of(world, app, patient="anna")
    await refused(await app.page(other, SCOPE, launch=launch), "access_denied")
    assert (await app.page(await doctor_of(world), SCOPE, launch=launch)).answer.status_code == 200


async def test_a_launch_is_one_apps(world: World) -> None:
    doctor, app, other = await doctor_of(world), await world.app(), await world.app()
    launch = await launch_of(world, app, patient="anna")
    await refused(await other.page(doctor, SCOPE, launch=launch), "invalid_request")


async def test_a_launch_is_of_this_server_and_soon_over(world: World) -> None:
    doctor, app = await doctor_of(world), await world.app()
    launch = await launch_of(world, app, patient="anna")
    await world.sql("""UPDATE auth.once SET value = value || '{"iss": "http://other/fhir"}'""")
    await refused(await app.page(doctor, SCOPE, launch=launch), "invalid_request")
    launch = await launch_of(world, app, patient="anna")
    await world.sql("UPDATE auth.once SET expires = clock_timestamp()")
    await refused(await app.page(doctor, SCOPE, launch=launch), "invalid_request")


async def test_a_launch_opens_no_record_that_the_person_may_not_see(world: World) -> None:
    app, anna = await world.app(), await world.someone("anna", "Patient/anna")
    launch = await launch_of(world, app, user="Patient/anna", patient="bert")
    await refused(await app.page(anna, SCOPE, launch=launch), "access_denied")
    launch = await launch_of(world, app, user="Patient/anna", patient="unknown")
    await refused(await app.page(anna, SCOPE, launch=launch), "access_denied")


async def test_a_launch_without_a_patient_asks_for_one(world: World) -> None:
    doctor, app = await doctor_of(world), await world.app()
    page = await app.page(doctor, SCOPE, launch=await launch_of(world, app), patient="bert")
    given = (await app.redeem(query_of((await page.allow()).headers["location"])["code"])).json()
    assert given["patient"] == "bert"


async def test_a_launch_whose_scope_was_not_asked_for_gives_no_context(world: World) -> None:
    doctor, app = await doctor_of(world), await world.app()
    launch = await launch_of(world, app, patient="anna", encounter="visit-anna")
    given = await app.token(doctor, "user/Patient.rs", launch=launch)
    assert "patient" not in given and "encounter" not in given


async def test_an_ehr_with_people_opens_launches_of_them_alone(world: World) -> None:
    doctor, app, ehr = await doctor_of(world), await world.app(), await world.app()
    own = await launch_of(world, ehr)
    token = (await ehr.token(doctor, "launch user/Patient.rs", launch=own))["access_token"]
    assert (await open_launch(world, token, client_id=app.id)).status_code == 403
    await world.sql("UPDATE auth.client SET metadata = metadata || '{\"ehr\": true}' WHERE id = $1", ehr.id)
    answer = await open_launch(world, token, client_id=app.id, patient="anna")
    page = await app.page(doctor, SCOPE, launch=answer.json()["launch"])
    assert "Anna Example" in page.text
    answer = await open_launch(world, token, client_id=app.id, user="Practitioner/other")
    assert answer.status_code == 403 and answer.json()["error"] == "access_denied"


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "unknown"},
        {"client_id": None},
        {"user": None},
        {"user": "d"},
        {"user": "Organization/1"},
        {"user": 7},
        {"patient": "../x"},
        {"patient": 7},
        {"fhirContext": {}},
        {"fhirContext": ["ImagingStudy/1"]},
        {"fhirContext": [{"reference": "http://evil.example/ImagingStudy/1"}]},
        {"fhirContext": [{}]},
        {"need_patient_banner": "yes"},
        {"other": 1},
    ],
    ids=str,
)
async def test_what_is_no_launch_is_refused(world: World, wrong: dict[str, Any]) -> None:
    app = await world.app()
    given = {"client_id": app.id, "user": "Practitioner/d", **wrong}
    answer = await open_launch(world, await ehr_token(world), **given)
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_request", answer.text


async def test_who_may_open_launches(world: World) -> None:
    app = await world.app()
    plain = await backend(world, KEY, "launch system/Patient.r")
    token = (await plain.ask("launch system/Patient.r")).json()["access_token"]
    answer = await open_launch(world, token, client_id=app.id, user="Practitioner/d")
    assert answer.status_code == 403 and answer.json()["error"] == "insufficient_scope"
    for wrong in ("", "x", world.admin.token + "x"):
        answer = await open_launch(world, wrong, client_id=app.id, user="Practitioner/d")
        assert answer.status_code == 401 and answer.json()["error"] == "invalid_token"
    answer = await world.http.post("http://test/auth/launch", content=b"[]")
    assert answer.status_code == 400


@pytest.mark.parametrize("encounter", ["visit-anna", "nowhere"])
async def test_an_encounter_of_somebody_else_is_no_context(world: World, encounter: str) -> None:
    doctor = await doctor_of(world)
    app = await world.app()
    launch = await launch_of(world, app, patient="bert", encounter=encounter)
    await refused(await app.page(doctor, SCOPE, launch=launch), "access_denied")
