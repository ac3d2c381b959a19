"""App state: https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html"""

from typing import Any

import httpx
import pytest

from tests.oauth.support import BASE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

CODE = "https://app.example|preferences"
SCOPE = f"patient/Basic.cuds?code={CODE}"


def state(value: str = "{}", subject: str | None = f"{BASE}/Patient/anna") -> dict[str, Any]:
    return {
        "resourceType": "Basic",
        **({"subject": {"reference": subject}} if subject else {}),
        "code": {"coding": [{"system": "https://app.example", "code": "preferences"}]},
        "extension": [{"url": "https://app.example/v1", "valueString": value}],
    }


async def send(
    world: World, token: str, method: str, path: str, body: Any = None, match: str | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-Match": match} if match else {})
    return await world.http.request(method, f"{BASE}/{path}", json=body, headers=headers)


async def token_of(world: World, scope: str = SCOPE) -> str:
    app = await world.app()
    return (await app.token(await world.someone("anna", "Patient/anna"), scope))["access_token"]


async def test_state_is_kept_changed_found_and_removed(world: World) -> None:
    token = await token_of(world)
    answer = await send(world, token, "POST", "Basic", state("1"))
    assert answer.status_code == 201, answer.text
    kept, etag = answer.json(), answer.headers["etag"]
    path = f"Basic/{kept['id']}"
    assert kept["meta"]["versionId"] and kept["extension"] == state("1")["extension"]
    changed = {**state("2"), "id": kept["id"]}
    assert (await send(world, token, "PUT", path, changed)).status_code == 412
    assert (await send(world, token, "PUT", path, changed, "*")).status_code == 412
    answer = await send(world, token, "PUT", path, changed, etag)
    assert answer.status_code == 200 and answer.headers["etag"] != etag
    assert (await send(world, token, "PUT", path, changed, etag)).status_code == 412
    found = (await send(world, token, "GET", f"Basic?code={CODE}&subject={BASE}/Patient/anna")).json()
    assert [one["resource"]["id"] for one in found["entry"]] == [kept["id"]]
    assert (await send(world, token, "DELETE", path)).status_code == 412
    assert (await send(world, token, "DELETE", path, match=etag)).status_code == 412
    now = answer.headers["etag"]
    assert (await send(world, token, "DELETE", path, match=now)).status_code == 204
    assert (await send(world, token, "PUT", path, changed, now)).status_code == 412


async def test_code_and_subject_stay(world: World) -> None:
    token = await token_of(world, "patient/Basic.cuds patient/Basic.r")
    answer = await send(world, token, "POST", "Basic", state())
    path, etag = f"Basic/{answer.json()['id']}", answer.headers["etag"]
    id_ = {"id": answer.json()["id"]}
    other = {"coding": [{"system": "https://app.example", "code": "other"}]}
    for changed in ({**state(), "code": other}, state(subject=None)):
        assert (await send(world, token, "PUT", path, changed | id_, etag)).status_code == 412
    patch = [{"op": "replace", "path": "/code", "value": other}]
    answer = await world.http.patch(
        f"{BASE}/{path}",
        json=patch,
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json-patch+json",
            "If-Match": etag,
        },
    )
    assert answer.status_code == 412
    entry = {
        "resource": {**state(), "code": other} | id_,
        "request": {"method": "PUT", "url": path, "ifMatch": etag},
    }
    for method in ("transaction", "batch"):
        bundle = {"resourceType": "Bundle", "type": method, "entry": [entry]}
        answer = await world.http.post(BASE, json=bundle, headers={"Authorization": f"Bearer {token}"})
        found = answer.json()
        assert "412" in (found["entry"][0]["response"]["status"] if method == "batch" else f"{answer}")


async def test_state_is_small(world: World) -> None:
    token = await token_of(world)
    assert (await send(world, token, "POST", "Basic", state("x" * 255 * 1024))).status_code == 201
    answer = await send(world, token, "POST", "Basic", state("x" * 257 * 1024))
    assert answer.status_code == 413


async def test_an_app_keeps_its_own_state_alone(world: World) -> None:
    token = await token_of(world)
    other = state()
    other["code"]["coding"][0]["code"] = "of-another-app"
    assert (await send(world, token, "POST", "Basic", other)).status_code == 403
    bert = state(subject="Patient/bert")
    assert (await send(world, token, "POST", "Basic", bert)).status_code == 403


async def test_a_doctors_preferences(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    token = (await app.token(doctor, f"user/Basic.cuds?code={CODE}"))["access_token"]
    answer = await send(world, token, "POST", "Basic", state(subject=f"{BASE}/Practitioner/d"))
    assert answer.status_code == 201, answer.text
    found = (await send(world, token, "GET", f"Basic?code={CODE}&subject=Practitioner/d")).json()
    assert len(found["entry"]) == 1
    assert (await send(world, token, "POST", "Basic", state(subject=None))).status_code == 201
    found = (await send(world, token, "GET", f"Basic?code={CODE}&subject:missing=true")).json()
    assert len(found["entry"]) == 1
