"""Introspection and revocation: RFC 7662, RFC 7009,
https://hl7.org/fhir/smart-app-launch/STU2.2/token-introspection.html"""

import pytest

from tests.oauth.support import BASE, World, backend, ec_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs"


async def test_what_a_token_stands_for(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE, patient="anna")
    answer = await world.post("introspect", {"token": given["access_token"]}, **app.basic)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["active"] is True and found["scope"] == given["scope"] and found["client_id"] == app.id
    assert found["patient"] == "anna" and found["fhirUser"] == f"{BASE}/Practitioner/d"
    assert found["iss"] == BASE and found["sub"] and found["exp"] > 0
    found = (await world.post("introspect", {"token": given["refresh_token"]}, **app.basic)).json()
    assert found["active"] is True and found["client_id"] == app.id


async def test_a_resource_server_with_keys_may_ask_too(world: World) -> None:
    key = ec_key()
    service = await backend(world, key)
    token = (await service.ask()).json()["access_token"]
    app = await world.app()
    found = (await world.post("introspect", {"token": token}, **app.basic)).json()
    assert found["active"] is True and found["scope"] == "system/*.rs" and "sub" not in found


async def test_of_tokens_that_are_not_good_nothing_is_said(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE, patient="anna")
    await app.refresh(given["refresh_token"])
    other = (await app.token(doctor, SCOPE, patient="anna"))["access_token"]
    await world.post("revoke", {"token": other}, **app.basic)
    for token in ("x", given["access_token"] + "x", given["refresh_token"], other, "\0", "ä"):
        answer = await world.post("introspect", {"token": token}, **app.basic)
        assert answer.status_code in (200, 400), token
        if answer.status_code == 200:
            assert answer.json() == {"active": False}, token


async def test_only_who_proves_who_it_is_may_ask(world: World) -> None:
    doctor, public = await world.someone("doc", "Practitioner/d"), await world.app(public=True)
    given = await public.token(doctor, SCOPE, patient="anna")
    form = {"token": given["access_token"]}
    assert (await world.post("introspect", form)).status_code == 401
    assert (await world.post("introspect", {**form, "client_id": public.id})).status_code == 401
    app = await world.app()
    assert (await world.post("introspect", {}, **app.basic)).status_code == 400


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_what_is_revoked_is_over_at_the_next_request(world: World, which: str) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE, patient="anna")
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 200
    answer = await world.post("revoke", {"token": given[which]}, **app.basic)
    assert answer.status_code == 200 and not answer.content
    answer = await world.fhir("GET", "/Patient/anna", given["access_token"])
    assert answer.status_code == 401 and "invalid_token" in answer.headers["www-authenticate"]
    assert (await app.refresh(given["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await world.post("revoke", {"token": given[which]}, **app.basic)).status_code == 200


async def test_nobody_revokes_what_is_anothers(world: World) -> None:
    doctor, app, other = await world.someone("doc", "Practitioner/d"), await world.app(), await world.app()
    given = await app.token(doctor, SCOPE, patient="anna")
    for token in (given["access_token"], given["refresh_token"], "unknown"):
        assert (await world.post("revoke", {"token": token}, **other.basic)).status_code == 200
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 200
    assert (await world.post("revoke", {"token": given["access_token"]})).status_code == 401
    public = await world.app(public=True)
    mine = await public.token(doctor, SCOPE, patient="anna")
    await world.post("revoke", {"token": mine["access_token"], "client_id": public.id})
    assert (await world.fhir("GET", "/Patient/anna", mine["access_token"])).status_code == 401
