"""Codes and refresh tokens: used once, by whom they were made for, and whoever tries again ends it all.

RFC 6749 sections 4.1.3, 6 and 10; RFC 7636 section 4.6; RFC 9700 sections 2.1.1 and 2.2.2
"""

import asyncio
import secrets

import httpx
import pytest

from tests.oauth.support import App, World, challenge_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "user/Patient.rs offline_access"


async def refused(answer: httpx.Response, error: str, status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"] == error and body["error_description"], body
    assert answer.headers["cache-control"] == "no-store"


async def alive(world: World, token: str) -> bool:
    return (await world.fhir("GET", "/Patient/anna", token)).status_code == 200


async def test_a_code_used_twice_ends_the_grant(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    code = await app.code(doctor, SCOPE)
    given = (await app.redeem(code)).json()
    assert await alive(world, given["access_token"])
    await refused(await app.redeem(code), "invalid_grant")
    answer = await world.fhir("GET", "/Patient/anna", given["access_token"])
    assert answer.status_code == 401 and "invalid_token" in answer.headers["www-authenticate"]
    await refused(await app.refresh(given["refresh_token"]), "invalid_grant")


async def test_of_many_who_redeem_a_code_at_once_none_keeps_anything(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    code = await app.code(doctor, SCOPE)
    answers = await asyncio.gather(*(app.redeem(code) for _ in range(12)))
    won = [one for one in answers if one.status_code == 200]
    assert len(won) <= 1
    for one in won:
        assert not await alive(world, one.json()["access_token"])
    assert await world.sql("SELECT FROM auth.code WHERE used IS NOT NULL")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code_verifier": secrets.token_urlsafe(48)}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": "ä" * 43}, "invalid_grant"),
        ({"redirect_uri": "https://app.example/back/"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
    ],
)
async def test_a_code_is_redeemed_with_all_that_belongs_to_it(
    world: World, form: dict[str, str], error: str
) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    await refused(await app.redeem(await app.code(doctor, SCOPE), **form), error)


async def test_the_challenge_is_no_verifier(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    code = await app.code(doctor, SCOPE)
    await refused(await app.redeem(code, code_verifier=challenge_of(app.verifier)), "invalid_grant")
    await refused(await app.redeem(code), "invalid_grant")


async def test_another_client_cannot_redeem_a_code(world: World) -> None:
    doctor, app, other = await world.someone("doc", "Practitioner/d"), await world.app(), await world.app()
    code = await app.code(doctor, SCOPE)
    other.verifier = app.verifier
    await refused(await other.redeem(code), "invalid_grant")


async def test_a_code_is_good_for_a_minute(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    code = await app.code(doctor, SCOPE)
    (row,) = await world.sql(
        "SELECT extract(epoch FROM max(expires) - clock_timestamp()) AS s FROM auth.code WHERE used IS NULL"
    )
    assert 0 < row["s"] <= 60
    await world.sql("UPDATE auth.code SET expires = clock_timestamp() WHERE used IS NULL")
    await refused(await app.redeem(code), "invalid_grant")


async def test_a_client_proves_who_it_is(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    public = await world.app(public=True)
    code = await app.code(doctor, SCOPE)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": app.redirect_uri,
        "code_verifier": app.verifier,
    }
    for wrong in (
        App(world, app.id, "wrong"),
        App(world, app.id, ""),
        App(world, "unknown", app.secret),
        App(world, "\0", app.secret),
        App(world, public.id, "secret"),
    ):
        answer = await world.post("token", form, **wrong.basic)
        await refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"].startswith("Basic")
    await refused(await world.post("token", form), "invalid_client", 401)
    await refused(await world.post("token", {**form, "client_id": app.id}), "invalid_client", 401)
    await refused(await world.post("token", form, Authorization="Basic %%%"), "invalid_client", 401)
    twice = {**form, "client_id": app.id, "client_secret": str(app.secret)}
    await refused(await world.post("token", twice, **app.basic), "invalid_request")
    assert (await world.post("token", twice)).status_code == 200


async def test_each_parameter_stands_once(world: World) -> None:
    app = await world.app()
    answer = await world.http.post(
        "http://test/auth/token",
        content="grant_type=authorization_code&code=1&code=2",
        headers={"Content-Type": "application/x-www-form-urlencoded", **app.basic},
    )
    await refused(answer, "invalid_request")
    await refused(await world.http.post("http://test/auth/token", json={"a": 1}), "invalid_request")
    assert (await world.http.get("http://test/auth/token")).status_code == 405


async def test_refresh_tokens_rotate_and_one_that_comes_again_ends_the_family(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    first = await app.token(doctor, SCOPE)
    second = (await app.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"] and second["scope"] == first["scope"]
    assert await alive(world, second["access_token"]) and await alive(world, first["access_token"])
    third = (await app.refresh(second["refresh_token"])).json()
    await refused(await app.refresh(first["refresh_token"]), "invalid_grant")
    await refused(await app.refresh(third["refresh_token"]), "invalid_grant")
    assert not await alive(world, third["access_token"])


async def test_of_many_who_refresh_at_once_one_wins_and_all_lose(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE)
    answers = await asyncio.gather(*(app.refresh(given["refresh_token"]) for _ in range(12)))
    won = [one.json() for one in answers if one.status_code == 200]
    assert len(won) <= 1
    for one in [given, *won]:
        assert not await alive(world, one["access_token"])
    for one in won:
        await refused(await app.refresh(one["refresh_token"]), "invalid_grant")


async def test_a_refresh_token_is_its_clients_alone(world: World) -> None:
    doctor, app, other = await world.someone("doc", "Practitioner/d"), await world.app(), await world.app()
    given = await app.token(doctor, SCOPE)
    await refused(await other.refresh(given["refresh_token"]), "invalid_grant")
    await refused(
        await world.post("token", {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}),
        "invalid_client",
        401,
    )
    assert (await app.refresh(given["refresh_token"])).status_code == 200


async def test_a_public_app_refreshes_with_its_token_alone(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app(public=True)
    given = await app.token(doctor, SCOPE)
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    answer = await world.post("token", form)
    assert answer.status_code == 200 and answer.json()["access_token"]


async def test_a_refresh_may_narrow_and_never_widen(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    given = await app.token(doctor, "user/Observation.rs user/Patient.rs offline_access")
    for wider in ("user/*.rs", "user/Observation.cruds", "patient/Observation.rs", "user/Observation.sr"):
        await refused(await app.refresh(given["refresh_token"], scope=wider), "invalid_scope")
    answer = await app.refresh(given["refresh_token"], scope="user/Observation.r")
    narrow = answer.json()
    assert narrow["scope"] == "user/Observation.r"
    assert not await alive(world, narrow["access_token"])
    assert (await app.refresh(narrow["refresh_token"])).json()["scope"] == given["scope"]


async def test_offline_access_lasts_for_months_and_others_for_an_hour(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    seconds = (
        "SELECT extract(epoch FROM expires - created)::int AS s FROM auth.grant_ ORDER BY id DESC LIMIT 1"
    )
    await app.token(doctor, SCOPE)
    assert (await world.sql(seconds))[0]["s"] >= 90 * 86_400
    given = await app.token(doctor, "user/Patient.rs")
    assert "refresh_token" not in given and (await world.sql(seconds))[0]["s"] <= 3_700


async def test_online_access_ends_with_the_session(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()
    offline = await app.token(doctor, SCOPE)
    given = await app.token(doctor, "user/Patient.rs online_access")
    renewed = (await app.refresh(given["refresh_token"])).json()
    assert await alive(world, renewed["access_token"])
    await world.sql("DELETE FROM auth.session WHERE account = $1", doctor.account)
    assert not await alive(world, renewed["access_token"])
    await refused(await app.refresh(renewed["refresh_token"]), "invalid_grant")
    assert await alive(world, offline["access_token"])


async def test_a_disabled_account_and_a_client_let_in_no_more_lose_all(world: World) -> None:
    doctor, app = await world.someone("gone", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE)
    await world.sql("UPDATE auth.client SET status = 'disabled' WHERE id = $1", app.id)
    assert not await alive(world, given["access_token"])
    await refused(await app.refresh(given["refresh_token"]), "invalid_client", 401)
    await world.approve(app.id)
    assert await alive(world, given["access_token"])
    await world.sql("UPDATE auth.account SET disabled = true WHERE id = $1", doctor.account)
    assert not await alive(world, given["access_token"])
    await refused(await app.refresh(given["refresh_token"]), "invalid_grant")


async def test_who_is_somebody_else_now_is_asked_again(world: World) -> None:
    doctor, app = await world.someone("mover", "Practitioner/d"), await world.app()
    given = await app.token(doctor, SCOPE)
    assert await alive(world, given["access_token"])
    await world.someone("mover")
    assert not await alive(world, given["access_token"])
    await refused(await app.refresh(given["refresh_token"]), "invalid_grant")
