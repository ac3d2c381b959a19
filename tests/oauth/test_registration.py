"""Dynamic registration and its management: RFC 7591, RFC 7592."""

from typing import Any

import asyncpg
import pytest

from fhirserver.jobs import janitor
from tests.oauth.support import REDIRECT, App, World, ec_key, query_of, world_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = ec_key()


async def test_a_client_waits_for_approval(world: World) -> None:
    answer = await world.http.post(
        "http://test/auth/register",
        json={"client_name": "Heart", "redirect_uris": [REDIRECT], "ehr": True, "status": "approved"},
    )
    made = answer.json()
    assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
    assert made["client_secret"] and made["client_secret_expires_at"] == 0 and "ehr" not in made
    assert made["grant_types"] == ["authorization_code"] and made["response_types"] == ["code"]
    assert made["token_endpoint_auth_method"] == "client_secret_basic" and made["status"] == "pending"
    app = App(world, made["client_id"], made["client_secret"])
    assert (await app.ask(None, "patient/*.rs")).status_code == 403
    assert (await app.redeem("x")).json()["error"] == "invalid_client"
    await world.approve(app.id)
    assert (await app.ask(None, "patient/*.rs")).status_code == 303
    (row,) = await world.sql("SELECT secret, metadata::text AS m FROM auth.client WHERE id = $1", app.id)
    assert made["client_secret"] not in row["m"] and made["client_secret"].encode() != row["secret"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://app.example/back"}, "invalid_client_metadata"),
        ({"redirect_uris": [7]}, "invalid_client_metadata"),
        ({"redirect_uris": ["http://app.example/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/back#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://*.example/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://user@app.example/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https:///back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://[::1"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example:x/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["data:text/html,x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["heart:/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://app.example/{n}" for n in range(99)]}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"client_name": "a\nb"}, "invalid_client_metadata"),
        ({"client_name": " "}, "invalid_client_metadata"),
        ({"client_name": "\u202ekrowteN"}, "invalid_client_metadata"),
        ({"redirect_uris": ["https://app.example;sandbox/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example,evil/back"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example'none'/back"]}, "invalid_redirect_uri"),
        ({"client_name": "x" * 3_000}, "invalid_client_metadata"),
        ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"launch_uri": "http://app.example/launch"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"scope": "patient/Patient.sr"}, "invalid_scope"),
        ({"scope": "x" * 9_000}, "invalid_client_metadata"),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [KEY.as_dict(private=True)]}},
            "invalid_client_metadata",
        ),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}},
            "invalid_client_metadata",
        ),
        (
            {"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "file:///etc/passwd"},
            "invalid_client_metadata",
        ),
    ],
    ids=lambda value: str(value)[:70],
)
async def test_what_cannot_be_registered(world: World, wrong: dict[str, Any], error: str) -> None:
    given = {"client_name": "Heart", "redirect_uris": [REDIRECT], **wrong}
    answer = await world.http.post("http://test/auth/register", json=given)
    assert answer.status_code == 400 and answer.json()["error"] == error, answer.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"client_name": "\\u0000"}', b"\xff", b" " * 200_000])
async def test_what_is_no_registration(world: World, body: bytes) -> None:
    answer = await world.http.post("http://test/auth/register", content=body)
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize(
    "uri",
    [
        *("https://app.example/back", "https://app.example/back?x=1", "http://localhost:4567/redirect"),
        *(
            "http://127.0.0.1:8000/",
            "http://[::1]:9/x",
            "com.example.heart:/back",
            "com.example.heart://back",
        ),
    ],
)
async def test_addresses_that_can_be_registered(world: World, uri: str) -> None:
    made = await world.register(redirect_uris=[uri], token_endpoint_auth_method="none")
    assert made["redirect_uris"] == [uri] and "client_secret" not in made


async def test_who_registered_reads_changes_and_removes(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    made = await world.register(client_name="Heart", redirect_uris=[REDIRECT])
    await world.approve(made["client_id"])
    url, app = made["registration_client_uri"], App(world, made["client_id"], made["client_secret"])
    headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
    found = (await world.http.get(url, headers=headers)).json()
    assert found["client_name"] == "Heart" and found["status"] == "approved" and "client_secret" not in found
    given = await app.token(doctor, "user/Patient.rs offline_access")
    same = {"client_id": app.id, "client_name": "Heart", "redirect_uris": [REDIRECT]}
    assert (await world.http.put(url, json=same, headers=headers)).json()["status"] == "approved"
    other = {**same, "redirect_uris": ["https://evil.example/back"]}
    assert (await world.http.put(url, json=other, headers=headers)).json()["status"] == "pending"
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 401
    assert (
        await app.ask(None, "user/Patient.rs", redirect_uri="https://evil.example/back")
    ).status_code == 403
    wrong = await world.http.put(url, json={**same, "client_id": "other"}, headers=headers)
    assert wrong.json()["error"] == "invalid_client_metadata"
    assert (await world.http.delete(url, headers=headers)).status_code == 204
    assert (await world.http.get(url, headers=headers)).status_code == 401
    assert (await app.ask(None, "user/Patient.rs")).status_code == 400


async def test_nobody_else_does(world: World) -> None:
    made = await world.register(redirect_uris=[REDIRECT])
    other = await world.register(redirect_uris=[REDIRECT])
    for token in ("", "x", other["registration_access_token"], made["client_secret"]):
        for method in ("GET", "PUT", "DELETE"):
            answer = await world.http.request(
                method, made["registration_client_uri"], headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.status_code == 401 and answer.json()["error"] == "invalid_token"
    answer = await world.http.get("http://test/auth/register/%00")
    assert answer.status_code == 401


async def test_a_change_of_method_changes_what_is_needed(world: World) -> None:
    made = await world.register(redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
    headers = {"Authorization": f"Bearer {made['registration_access_token']}"}
    url, given = (
        made["registration_client_uri"],
        {"client_id": made["client_id"], "redirect_uris": [REDIRECT]},
    )
    changed = (await world.http.put(url, json=given, headers=headers)).json()
    await world.approve(made["client_id"])
    app = App(world, made["client_id"], changed["client_secret"])
    assert (await app.redeem("x")).json()["error"] == "invalid_grant"
    changed = (await world.http.put(url, json=given, headers=headers)).json()
    assert "client_secret" not in changed
    assert (await app.redeem("x")).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("setting", "given", "status"),
    [
        ("open", {"redirect_uris": [REDIRECT]}, "approved"),
        ("open", {"redirect_uris": [REDIRECT], "scope": "system/*.rs"}, "pending"),
        (
            "open",
            {
                "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": {"keys": [KEY.as_dict(private=False)]},
            },
            "pending",
        ),
    ],
)
async def test_registration_without_approval(
    database: str, setting: str, given: dict[str, Any], status: str
) -> None:
    async with world_on(database, registration=setting) as opened:
        made = await opened.register(**given)
        assert made["status"] == status


async def test_who_waits_too_long_is_forgotten(world: World) -> None:
    """Not who was let in, nor who asked anew not long ago."""
    names = ("old", "new", "changed", "used", "approved")
    made = {name: await world.register(redirect_uris=[REDIRECT]) for name in names}
    ids = {name: one["client_id"] for name, one in made.items()}
    await world.approve(ids["approved"])
    await world.sql(
        "UPDATE auth.client SET changed = clock_timestamp() - interval '31 days' WHERE id = any($1::text[])",
        [ids[name] for name in names if name != "new"],
    )
    await world.sql(
        "INSERT INTO auth.grant_ (tenant, client, scopes, expires)"
        " VALUES (1, $1, '{}', clock_timestamp() + interval '1 hour')",
        ids["used"],
    )
    url, token = made["changed"]["registration_client_uri"], made["changed"]["registration_access_token"]
    given = {"client_id": ids["changed"], "client_name": "Other", "redirect_uris": [REDIRECT]}
    answer = await world.http.put(url, json=given, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    connection = await asyncpg.connect(world.dsn)
    await janitor.sweep(connection, 3_600)
    await connection.close()
    left = {row["id"] for row in await world.sql("SELECT id FROM auth.client")}
    assert {name for name in names if ids[name] in left} == set(names) - {"old"}


async def test_registration_can_be_off(database: str) -> None:
    async with world_on(database, registration="off") as opened:
        answer = await opened.http.post("http://test/auth/register", json={"redirect_uris": [REDIRECT]})
        assert answer.status_code == 403 and answer.json()["error"] == "access_denied"
        assert query_of("x?a=1") == {"a": "1"}
