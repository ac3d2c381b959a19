"""The authorization endpoint: what is answered by a page and what by a redirect.

RFC 6749 section 4.1.2.1, RFC 9207, RFC 9700 section 4.1; SMART's aud and PKCE
"""

from typing import Any

import asyncpg
import httpx
import pytest

from fhirserver.store import tenants
from tests.oauth.support import BASE, REDIRECT, World, query_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "launch/patient patient/Observation.rs"


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        "https://app.example/back/",
        "https://app.example/back?x=1",
        "https://app.example/back#f",
        "https://app.example/backdoor",
        "https://app.example/back/../evil",
        "https://app.example/%62ack",
        "https://APP.example/back",
        "https://app.example:443/back",
        "https://app.example@evil.example/back",
        "https://evil.example/https://app.example/back",
        "https://app.example.evil.example/back",
        "http://app.example/back",
        "//app.example/back",
        "/back",
        "javascript:alert(1)",
        "https://app.example/back ",
        "https://app.example\\@evil.example/back",
    ],
)
async def test_an_address_that_is_not_the_clients_gets_no_redirect(world: World, uri: str | None) -> None:
    app = await world.app()
    answer = await app.ask(None, SCOPE, redirect_uri=uri)
    assert answer.status_code == 400 and "location" not in answer.headers
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>The app asks for an answer at an unknown address</h1>" in answer.text
    assert "evil" not in answer.text


async def test_an_unknown_client_gets_no_redirect(world: World) -> None:
    app = await world.app()
    for client in (None, "", "unknown", "\0", "x" * 5_000):
        answer = await app.ask(None, SCOPE, client_id=client)
        assert answer.status_code == 400 and "location" not in answer.headers, client
    await world.sql("UPDATE auth.client SET status = 'pending' WHERE id = $1", app.id)
    answer = await app.ask(None, SCOPE)
    assert answer.status_code == 403 and "location" not in answer.headers


async def test_a_request_that_cannot_be_read_gets_no_redirect(world: World) -> None:
    app = await world.app()
    query = str(httpx.QueryParams(app.request(SCOPE)))
    for more in ("&state=2", "&redirect_uri=https://evil.example", "&x=%ff", "&x=%00"):
        answer = await world.http.get(f"http://test/auth/authorize?{query}{more}")
        assert answer.status_code == 400 and "location" not in answer.headers, more
    answer = await world.http.post("http://test/auth/authorize", json=app.request(SCOPE))
    assert answer.status_code == 400
    assert (await world.http.put("http://test/auth/authorize")).status_code == 405


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": "https://evil.example/fhir"}, "invalid_request"),
        ({"aud": "http://test/fhir/Patient"}, "invalid_request"),
        ({"aud": "http://test/fhir.evil.example"}, "invalid_request"),
        ({"aud": "http://test"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "x" * 44}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example/r"}, "request_uri_not_supported"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "²"}, "invalid_request"),
        ({"launch": "unknown", "scope": "launch patient/*.rs"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "patient/*.rs system/*.rs"}, "invalid_scope"),
        ({"scope": "unheard-of"}, "invalid_scope"),
        ({"scope": "launch"}, "invalid_scope"),
        ({"scope": "patient/Unknown.rs"}, "invalid_scope"),
        ({"scope": "patient/Patient.sr"}, "invalid_scope"),
        ({"scope": "patient/Patient.rr"}, "invalid_scope"),
        ({"scope": "patient/Patient."}, "invalid_scope"),
        ({"scope": "patient/Patient"}, "invalid_scope"),
        ({"scope": "patient/patient.rs"}, "invalid_scope"),
        ({"scope": "patient/%50atient.rs"}, "invalid_scope"),
        ({"scope": "patient/Observation%2f.rs"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category="}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category=,"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?unknown=1"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category:not=laboratory"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category:missing=true"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?patient.name=x"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?_has:Group:member:_id=1"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?_filter=code eq x"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?_filter=x"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?_include=Observation:subject"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?date=someday"}, "invalid_scope"),
        ({"scope": "patient/Observation.rs?category=%ff"}, "invalid_scope"),
        ({"scope": "patient/*.rs?category=laboratory"}, "invalid_scope"),
        ({"scope": "patient/Observation.read?category=laboratory"}, "invalid_scope"),
        ({"scope": "x" * 9_000}, "invalid_scope"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_other_errors_go_back_to_the_app(world: World, wrong: dict[str, Any], error: str) -> None:
    app = await world.app()
    answer = await app.ask(None, **{"scope": SCOPE, **wrong})
    assert answer.status_code == 303 and answer.headers["location"].startswith(f"{REDIRECT}?"), answer.text
    given = query_of(answer.headers["location"])
    assert given["error"] == error and given["iss"] == BASE and given["error_description"].isascii()
    assert given.get("state") == wrong.get("state", "s-1") and "code" not in given
    assert answer.headers["cache-control"] == "no-store"


async def test_the_query_of_a_registered_address_stays(world: World) -> None:
    app = await world.app(redirect_uris=["https://app.example/back?tenant=a%20b"])
    answer = await app.ask(None, SCOPE, aud="x")
    assert answer.headers["location"].startswith("https://app.example/back?tenant=a%20b&error=")


async def test_an_app_with_its_own_scheme(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app(public=True, redirect_uris=["com.example.heart:/back"])
    page = await app.page(doctor, SCOPE, patient="anna")
    assert "form-action 'self' com.example.heart:" in page.answer.headers["content-security-policy"]
    answer = await page.allow()
    assert answer.headers["location"].startswith("com.example.heart:/back?code=")


async def test_a_slash_after_the_audience_is_the_same_audience(world: World) -> None:
    app = await world.app()
    answer = await app.ask(None, SCOPE, aud=f"{BASE}/")
    assert answer.headers["location"].startswith("/auth/consent?ticket=")


async def test_only_registered_scopes_are_offered(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app("openid fhirUser launch/patient patient/*.rs")
    page = await app.page(
        doctor, "openid offline_access patient/Observation.rs user/*.rs patient/Patient.cruds", patient="anna"
    )
    assert set(page.offered) == {"openid", "patient/Observation.rs"}


async def test_a_scope_of_another_version_of_fhir_is_left_out(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "patient/NutritionIntake.rs patient/Patient.r fhircast", patient="anna")
    assert page.offered == ["patient/Patient.r"]


async def test_a_ticket_is_sealed_and_grows_old(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    ticket = query_of((await app.ask(None, SCOPE)).headers["location"])["ticket"]
    for wrong in ("", "x", ticket[:-6] + "AAAAAA", ticket + "x", "x" * 50_000, ticket.swapcase()):
        answer = await world.http.get(
            "http://test/auth/consent", params={"ticket": wrong}, headers=doctor.headers
        )
        assert answer.status_code == 400 and "This took too long" in answer.text


async def test_a_ticket_is_good_at_its_own_tenant(world: World) -> None:
    """A client of the same id there may have registered less."""
    app = await world.app()
    connection = await asyncpg.connect(world.dsn)
    try:
        north = (await tenants.add(connection, "north")).id
    finally:
        await connection.close()
    await world.sql(
        "INSERT INTO auth.client (tenant, id, status, secret, metadata)"
        " SELECT $1, id, status, secret, metadata FROM auth.client WHERE tenant = 1 AND id = $2",
        north,
        app.id,
    )
    ticket = query_of((await app.ask(None, SCOPE)).headers["location"])["ticket"]
    places = {
        f"http://test{tenant}/auth/consent": status for tenant, status in (("", 303), ("/t/north", 400))
    }
    for place, status in places.items():
        assert (await world.http.get(place, params={"ticket": ticket})).status_code == status


async def test_what_somebody_else_chose_is_not_mine(world: World) -> None:
    doctor, anna = await world.someone("doc", "Practitioner/d"), await world.someone("anna", "Patient/anna")
    app = await world.app()
    ticket = (await app.page(doctor, SCOPE, patient="bert")).value("ticket")
    answer = await world.http.get("http://test/auth/consent", params={"ticket": ticket}, headers=anna.headers)
    page = await app.arrive(anna, answer)
    assert "Anna Example" in page.text and "Bert" not in page.text


async def test_names_cannot_become_markup(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    await world.put({"resourceType": "Patient", "id": "x", "name": [{"text": "<script>alert(1)</script>"}]})
    app = await world.app(client_name='<img src=x onerror="alert(1)">')
    for page in (await app.page(doctor, SCOPE), await app.page(doctor, SCOPE, patient="x")):
        assert page.answer.status_code == 200
        assert "<script" not in page.text and "<img src=x" not in page.text


async def test_who_lost_the_account_gets_nothing(world: World) -> None:
    app = await world.app()
    who = await world.someone("leaver", "Practitioner/d")
    await world.sql("UPDATE auth.account SET disabled = true WHERE id = $1", who.account)
    page = await app.page(who, SCOPE)
    assert page.answer.request.url.path == "/auth/sign-in"
