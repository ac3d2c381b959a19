"""Signing in through a real OpenID Connect provider, and this server with all tokens from there."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio

from fhirserver.people import mail
from tests.issuers.support import SECRET, provider, through
from tests.issuers.test_tokens import person
from tests.oauth.support import BASE, Page, Someone, World, challenge_of, query_of, world_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACK = "http://test/auth/sign-in/back"
CLAIMS = {"dora": {}, "pat": {"patient": "anna"}, "forgetful": {}}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider(CLAIMS, BACK) as made:
        yield made


def settings_of(issuer: str, **more: Any) -> dict[str, Any]:
    named = {"issuer": issuer, "name": "Staff", "client_id": "fhir-server", "tokens": True}
    return {
        "issuers": json.dumps([named]),
        "issuer_secrets": json.dumps({issuer: SECRET}),
        "outbound_networks": "127.0.0.0/8",
        "development": True,
        **more,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str, issuer: str) -> AsyncIterator[World]:
    async with world_on(database, **settings_of(issuer)) as made:
        await made.put(
            person("dora", issuer, "dora", "Practitioner/d"), person("pat", issuer, "pat", "Patient/anna")
        )
        yield made


class Browser:
    """Keeps this server's cookies, `Secure` ones too; what is at the provider is another client's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.cookies: dict[str, str] = {}

    async def get(self, place: str, **more: Any) -> httpx.Response:
        return await self.send("GET", place, **more)

    async def send(self, method: str, place: str, **more: Any) -> httpx.Response:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        url = urljoin("http://test", place)
        answer = await self._world.http.request(method, url, headers=headers, **more)
        for cookie in answer.headers.get_list("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    async def go(self, issuer: str, login: str, place: str) -> httpx.Response:
        """From a link of the sign-in page to the provider, in there, and back."""
        away = await self.get(place)
        assert away.status_code == 303, away.text
        async with httpx.AsyncClient() as there:
            back = await through(there, away.headers["location"], login, BACK)
        return await self.get(back)


async def link_on(browser: Browser, query: str = "") -> str:
    page = await browser.get(f"/auth/sign-in{query}")
    start = page.text.index('<nav class="doors"')
    return page.text[start:].split('href="')[1].split('"')[0].replace("&amp;", "&")


async def test_somebody_signs_in_and_lets_an_app_in(world: World, issuer: str) -> None:
    app, browser = await world.app(), Browser(world)
    first = await browser.get(
        "/auth/authorize", params=app.request("openid fhirUser user/Observation.rs", prompt=None)
    )
    consent = await browser.get(first.headers["location"])
    place = consent.headers["location"]
    assert place.startswith("/auth/sign-in?next=")
    back = await browser.go(issuer, "dora", await link_on(browser, place.removeprefix("/auth/sign-in")))
    assert back.status_code == 303 and back.headers["location"].startswith("/auth/consent")
    someone = Someone("dora", "dora", 0, browser.cookies["__Host-session"])
    page = Page(app, someone, await browser.get(back.headers["location"]))
    code = query_of((await page.allow()).headers["location"])["code"]
    given = (await app.redeem(code)).json()
    assert (await world.fhir("GET", "/Observation/vital-anna", given["access_token"])).status_code == 200
    account = await browser.get("/auth/account")
    assert "Dora" in account.text


async def test_a_password_is_neither_there_nor_had_by_mail(world: World, issuer: str) -> None:
    browser = Browser(world)
    await browser.go(issuer, "dora", await link_on(browser))
    (row,) = await world.sql("SELECT login, password FROM auth.account WHERE person = 'dora'")
    assert row["password"] is None and row["login"].endswith("|dora")
    await world.put(
        person("dora", issuer, "dora", "Practitioner/d")
        | {"telecom": [{"system": "email", "value": "dora@example.org"}]}
    )
    page = await browser.get("/auth/forgot")
    token = page.text.split('name="csrf" value="')[1].split('"')[0]
    await browser.send("POST", "/auth/forgot", data={"csrf": token, "login": row["login"]})
    await mail.sent()
    assert await world.sql("SELECT * FROM auth.once WHERE kind = 'reset'") == []


async def test_whom_nobody_linked_is_told_so(world: World, issuer: str) -> None:
    browser = Browser(world)
    page = await browser.go(issuer, "stranger", await link_on(browser))
    assert page.status_code == 403 and "Staff knows you as stranger" in page.text
    assert "__Host-session" not in browser.cookies


async def test_an_answer_is_good_once_and_in_its_browser_alone(world: World, issuer: str) -> None:
    mine, others = Browser(world), Browser(world)
    away = await mine.get(await link_on(mine))
    async with httpx.AsyncClient() as there:
        back = await through(there, away.headers["location"], "dora", BACK)
    # Another browser is not signed in by this link: and what was tried once is over.
    await others.get(await link_on(others))
    assert (await others.get(back)).status_code == 403
    assert (await mine.get(back)).status_code == 403
    again = await mine.go(issuer, "dora", await link_on(mine))
    assert again.status_code == 303


async def test_the_sign_in_leads_nowhere_else(world: World, issuer: str) -> None:
    browser = Browser(world)
    back = await browser.go(issuer, "dora", "/auth/sign-in/with/0?next=https://evil.example/")
    assert back.headers["location"] == "/auth/account"
    assert (await browser.get("/auth/sign-in/with/1")).status_code == 404
    for query in ("", "?state=x", "?state=x&code=y", "?error=access_denied"):
        assert (await browser.get(f"/auth/sign-in/back{query}")).status_code == 403


async def test_who_says_no_there_is_not_in_here(world: World, issuer: str) -> None:
    browser = Browser(world)
    away = await browser.get(await link_on(browser))
    state = query_of(away.headers["location"])["state"]
    page = await browser.get(f"/auth/sign-in/back?error=access_denied&state={state}&iss={issuer}")
    assert page.status_code == 403 and "Staff did not say who you are" in page.text
    away = await browser.get(await link_on(browser))
    state = query_of(away.headers["location"])["state"]
    page = await browser.get(f"/auth/sign-in/back?code=x&state={state}&iss=https://evil.example")
    assert page.status_code == 403


# -- tokens of the provider


async def tokens_of(issuer: str, login: str, scope: str, **more: str) -> dict[str, str]:
    """The token response that an app gets there."""
    app = {"client_id": "app", "redirect_uri": "https://app.example/back"}
    verifier = "v" * 50
    asked = {
        "response_type": "code",
        "scope": scope,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    async with httpx.AsyncClient() as there:
        place = str(httpx.URL(f"{issuer}/auth", params=app | asked | more))
        back = await through(there, place, login, app["redirect_uri"])
        form = {"grant_type": "authorization_code", "code": query_of(back)["code"], "code_verifier": verifier}
        return (await there.post(f"{issuer}/token", data=app | form)).json()


async def token_of(issuer: str, login: str, scope: str) -> str:
    """An access token for the FHIR base."""
    return (await tokens_of(issuer, login, scope, resource=BASE))["access_token"]


async def test_its_tokens_are_taken(world: World, issuer: str) -> None:
    token = await token_of(issuer, "pat", "openid patient/Observation.rs")
    found = (await world.fhir("GET", "/Observation", token)).json()
    assert {one["resource"]["id"] for one in found["entry"]} == {"lab-anna", "vital-anna"}
    token = await token_of(issuer, "dora", "openid user/Observation.rs")
    assert len((await world.fhir("GET", "/Observation", token)).json()["entry"]) == 6
    token = await token_of(issuer, "dora", "openid patient/*.rs")
    assert (await world.fhir("GET", "/Observation", token)).status_code == 401
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    async with httpx.AsyncClient() as there:
        given = (await there.post(f"{issuer}/token", data=form, auth=("robot", SECRET))).json()
    assert (await world.fhir("GET", "/Observation/vital-cora", given["access_token"])).status_code == 200


async def test_the_person_ends_it_on_the_apps_page(world: World, issuer: str) -> None:
    token = await token_of(issuer, "pat", "openid patient/Observation.rs")
    assert (await world.fhir("GET", "/Observation/vital-anna", token)).status_code == 200
    browser = Browser(world)
    await browser.go(issuer, "pat", await link_on(browser))
    page = await browser.get("/auth/apps")
    assert "End access of Staff" in page.text
    csrf = page.text.split('name="csrf" value="')[1].split('"')[0]
    await browser.send("POST", "/auth/apps", data={"csrf": csrf, "client": issuer})
    assert (await world.fhir("GET", "/Observation/vital-anna", token)).status_code == 401


async def test_a_resource_server_alone(world: World, database: str, issuer: str) -> None:
    token = await token_of(issuer, "dora", "openid user/Observation.rs")
    async with world_on(database, prepare=False, **settings_of(issuer, auth="external")) as other:
        assert (await other.fhir("GET", "/Observation/vital-anna", token)).status_code == 200
        # This server's own tokens are not good here, nor are there pages to get them.
        assert (await other.fhir("GET", "/Observation/vital-anna")).status_code == 401
        for place in ("sign-in", "authorize", "apps", "jwks"):
            assert (await other.http.get(f"http://test/auth/{place}")).status_code == 404
        assert (await other.post("token", {})).status_code == 404
        found = (await other.http.get(f"{BASE}/.well-known/smart-configuration")).json()
        assert found["issuer"] == issuer and found["token_endpoint"] == f"{issuer}/token"
        assert found["code_challenge_methods_supported"] == ["S256"]
        security = (await other.http.get(f"{BASE}/metadata")).json()["rest"][0]["security"]
        assert "extension" not in security and security["service"]


async def test_an_id_token_is_no_access_token(world: World, issuer: str) -> None:
    given = await tokens_of(issuer, "dora", "openid")
    assert (await world.fhir("GET", "/Observation/vital-anna", given["id_token"])).status_code == 401
    assert (await world.fhir("GET", "/Observation/vital-anna", given["access_token"])).status_code == 401
