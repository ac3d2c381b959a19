"""Signing in and out, through the door, by people and by attackers."""

import asyncio
import time
from uuid import uuid4

import httpx
import pytest

from fhirserver.people import attempts
from tests.people.browser import Browser
from tests.people.conftest import PASSWORD, House, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

WRONG = "The name or the password is not right."


async def test_name_and_password_lead_to_the_account(house: House) -> None:
    await house.account("Ada@Example.org", roles=("nurse",))
    browser = house.browser()
    page = await browser.sign_in(" ada@example.ORG ", PASSWORD)
    assert (page.status, page.place) == (303, "/auth/account")
    account = await browser.get("/auth/account")
    assert account.status == 200
    assert "Signed in as ada@example.org" in account.text
    assert "nurse" in account.text
    assert "this is the first time" in account.text
    again = await house.signed_in("ada@example.org")
    assert "this is the first time" not in (await again.get("/auth/account")).text


async def test_the_cookie_is_for_this_server_alone(house: House) -> None:
    await house.account("cookie")
    page = await house.browser().sign_in("cookie", PASSWORD)
    (cookie,) = [
        value for value in page.answer.headers.get_list("set-cookie") if value.startswith("session=")
    ]
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie and "Max-Age" not in cookie and "expires" not in cookie


async def test_over_https_cookies_have_the_host_prefix(house: House) -> None:
    async with opened(house.dsn, base_url="https://ehr.example/r4/fhir") as other:
        browser = other.browser(base="https://ehr.example")
        page = await browser.get("/auth/sign-in")
        cookie = page.answer.headers["set-cookie"]
        assert cookie.startswith("__Host-form=") and "Secure" in cookie.split("; ")
        assert page.form("/sign-in").action == "/r4/auth/sign-in"
        await house.account("prefix")
        fields = page.form("/sign-in").fields | {"login": "prefix", "password": PASSWORD}
        done = await browser.post("/auth/sign-in", fields)
        assert done.place == "/r4/auth/account"
        assert "__Host-session=" in "".join(done.answer.headers.get_list("set-cookie"))


async def test_sign_out_ends_the_session_here_and_in_the_database(house: House) -> None:
    await house.account("leaver")
    browser = await house.signed_in("leaver")
    value = browser.session
    page = await browser.send(await browser.get("/auth/account"), "/sign-out")
    assert page.place == "/auth/sign-in"
    assert browser.session is None
    thief = house.browser()
    thief.client.cookies.set("session", value or "")
    assert (await thief.get("/auth/account")).place == "/auth/sign-in?next=/auth/account"


# -- enumeration


async def test_unknown_names_wrong_passwords_and_disabled_accounts_look_alike(house: House) -> None:
    await house.account("known")
    await house.account("nopassword", password=None)
    person = await house.account("gone")
    await house.value("UPDATE auth.account SET disabled = true WHERE person = $1", person)
    pages = {
        (login, password): await house.browser().sign_in(login, password)
        for login, password in (
            ("known", "not the password"),
            ("stranger", "not the password"),
            ("nopassword", "not the password"),
            ("gone", PASSWORD),
            ("st range\tr", "not the password"),
        )
    }
    texts = {page.text for page in pages.values()}
    assert len(texts) == 1 and WRONG in texts.pop()
    assert {page.status for page in pages.values()} == {403}
    kept = {tuple(sorted(set(page.answer.headers) - {"date"})) for page in pages.values()}
    assert len(kept) == 1


async def test_unknown_names_take_as_long_as_known_ones(house: House) -> None:
    await house.account("timed")
    durations: dict[str, list[float]] = {"timed": [], "untimed": []}
    for _ in range(4):
        for login, taken in durations.items():
            browser = house.browser()
            page = await browser.get("/auth/sign-in")
            begun = time.perf_counter()
            await browser.send(page, "/sign-in", login=login, password="not the password")
            taken.append(time.perf_counter() - begun)
    known, unknown = min(durations["timed"]), min(durations["untimed"])
    assert 0.4 < known / unknown < 2.5, durations


# -- guessing


@pytest.mark.parametrize("login", ["guessed", "nobody-at-all"])
async def test_guessing_is_stopped_for_known_and_unknown_names_alike(house: House, login: str) -> None:
    if login == "guessed":
        await house.account(login)
    browser = house.browser()
    for _ in range(attempts.FREE):
        assert (await browser.sign_in(login, "not the password")).status == 403
    stopped = await browser.sign_in(login, PASSWORD)
    assert stopped.status == 429 and int(stopped.answer.headers["retry-after"]) > 0
    assert "Too many attempts" in stopped.text
    key = "UPDATE auth.attempt SET failed = failed - interval '1 hour'"
    await house.value(key)
    page = await browser.sign_in(login, PASSWORD)
    assert page.status == (303 if login == "guessed" else 403)


async def test_guesses_at_the_same_time_are_counted_one_by_one(house: House) -> None:
    await house.account("parallel")
    browsers = [house.browser() for _ in range(20)]
    pages = await asyncio.gather(*(one.sign_in("parallel", "not the password") for one in browsers))
    statuses = [page.status for page in pages]
    assert statuses.count(403) == attempts.FREE
    assert statuses.count(429) == len(browsers) - attempts.FREE


async def test_waiting_doubles(house: House) -> None:
    async with house.services.pool.acquire() as connection:
        for failures, wait_s in ((5, 5), (6, 10), (9, 80), (20, 900), (400, 900)):
            await connection.execute("DELETE FROM auth.attempt")
            await attempts.count(connection, house.services, "x", "y")
            for early_s, allowed in ((2, False), (-1, True)):
                await connection.execute(
                    "UPDATE auth.attempt SET failures = $1, failed = clock_timestamp()"
                    " - make_interval(secs => $2)",
                    failures,
                    float(wait_s - early_s),
                )
                try:
                    await attempts.count(connection, house.services, "x", "y")
                    assert allowed, (failures, wait_s)
                except attempts.TooMany:
                    assert not allowed, (failures, wait_s)


# -- fixation, forgery, redirection


async def test_a_session_brought_along_is_never_taken_over(house: House) -> None:
    await house.account("victim")
    browser = house.browser()
    browser.client.cookies.set("session", "chosen-by-somebody-else")
    page = await browser.get("/auth/sign-in")
    done = await browser.send(page, "/sign-in", login="victim", password=PASSWORD)
    assert done.status == 303
    values = [c.value for c in browser.client.cookies.jar if c.name == "session"]
    assert any(value != "chosen-by-somebody-else" for value in values)
    thief = house.browser()
    thief.client.cookies.set("session", "chosen-by-somebody-else")
    assert (await thief.get("/auth/account")).status == 303


async def test_signing_in_again_ends_the_session_before(house: House) -> None:
    await house.account("twice")
    browser = await house.signed_in("twice")
    before = browser.session or ""
    page = await browser.get("/auth/sign-in?again=1")
    assert page.status == 200 and page.form("/sign-in").fields["login"] == "twice"
    await browser.send(page, "/sign-in", login="twice", password=PASSWORD)
    assert browser.session not in (None, before)
    other = house.browser()
    other.client.cookies.set("session", before)
    assert (await other.get("/auth/account")).status == 303
    assert (await browser.get("/auth/sign-in")).place == "/auth/account"


FORMS = ("sign-in", "sign-out", "forgot", "account", "password", "totp", "join", "join/find", "sign-in/code")


@pytest.mark.parametrize("place", [*FORMS, "sign-in/choose", "reset/x", "join/x"])
async def test_no_form_is_taken_without_its_token(house: House, place: str) -> None:
    async with opened(house.dsn, development=True, join="identifiers") as other:
        await house.account(f"forged-{place}")
        browser = other.browser()
        assert (await browser.sign_in(f"forged-{place}", PASSWORD)).status == 303
        for fields in ({}, {"csrf": ""}, {"csrf": "A" * 64}, {"csrf": "%%%"}):
            page = await browser.post(f"/auth/{place}", fields | {"login": "a", "password": "b"})
            assert page.status == 403, (fields, page.text)
            assert "did not come from here" in page.text
        assert (await browser.get("/auth/account")).status == 200


async def test_a_token_of_another_browser_is_no_token(house: House) -> None:
    await house.account("login-csrf")
    attacker, victim = house.browser(), house.browser()
    theirs = (await attacker.get("/auth/sign-in")).form("/sign-in").fields
    await victim.get("/auth/sign-in")
    page = await victim.post("/auth/sign-in", theirs | {"login": "login-csrf", "password": PASSWORD})
    assert page.status == 403
    assert victim.session is None


async def test_a_form_sent_by_another_site_is_refused_even_with_a_token(house: House) -> None:
    await house.account("cross")
    browser = house.browser()
    form = (await browser.get("/auth/sign-in")).form("/sign-in").fields
    fields = form | {"login": "cross", "password": PASSWORD}
    for site in ("cross-site", "same-site"):
        page = await browser.post("/auth/sign-in", fields, **{"Sec-Fetch-Site": site})
        assert page.status == 403
    assert (await browser.post("/auth/sign-in", fields, **{"Sec-Fetch-Site": "same-origin"})).status == 303


@pytest.mark.parametrize(
    "wanted",
    [
        *(
            "https://evil.example/",
            "//evil.example/auth/account",
            "/\\evil.example/auth/",
            "javascript:alert(1)",
        ),
        *(
            "/auth/../../evil",
            "/auth//evil.example",
            "/authx",
            "/fhir/Patient",
            "",
            "/auth/\r\nSet-Cookie: a=b",
        ),
        *(
            "/auth/account#@evil",
            "/auth/account\\@evil",
            " /auth/account",
            "http:/auth/account",
            "/auth/%2e%2e/",
        ),
        *("/auth/account?<b>", "/auth/" + "a" * 20_000),
    ],
)
async def test_next_leads_nowhere_else(house: House, wanted: str) -> None:
    login = f"onward-{uuid4().hex}"
    await house.account(login)
    browser = house.browser()
    page = await browser.get(str(httpx.URL("/auth/sign-in", params={"next": wanted[:6_000]})))
    form = page.form("/sign-in")
    assert len(wanted) > 6_000 or "next" not in form.fields or form.fields["next"] == "/auth/account"
    done = await browser.post(
        "/auth/sign-in", form.fields | {"login": login, "password": PASSWORD, "next": wanted}
    )
    assert done.status == 303
    assert done.place == "/auth/account"


async def test_next_leads_back_to_where_an_app_began(house: House) -> None:
    await house.account("guest")
    wanted = "/auth/authorize?ticket=gAAAA_-=&x=1"
    browser = house.browser()
    page = await browser.get(str(httpx.URL("/auth/sign-in", params={"next": wanted})))
    done = await browser.send(page, "/sign-in", login="guest", password=PASSWORD)
    assert done.place == wanted
    # Chromium applies form-action to redirects: where an app may be next, it must not stand in the way.
    assert "form-action" not in page.answer.headers["content-security-policy"]
    plain = await Browser(house.app).get("/auth/sign-in")
    assert plain.answer.headers["content-security-policy"].endswith("form-action 'self'")


# -- expiry


async def test_sessions_end_when_idle_and_when_old(house: House) -> None:
    person = await house.account("idler")
    account = await house.value("SELECT id FROM auth.account WHERE person = $1", person)
    for change in ("used = used - interval '61 minutes'", "expires = clock_timestamp()"):
        browser = await house.signed_in("idler")
        assert (await browser.get("/auth/account")).status == 200
        await house.value(f"UPDATE auth.session SET {change} WHERE account = $1", account)
        assert (await browser.get("/auth/account")).status == 303


async def test_what_is_stored_opens_nothing(house: House) -> None:
    person = await house.account("stored")
    browser = await house.signed_in("stored")
    row = await house.value(
        "SELECT s.hash FROM auth.session s JOIN auth.account a ON a.id = s.account WHERE a.person = $1",
        person,
    )
    assert (browser.session or "").encode() not in row
    password = await house.value("SELECT password FROM auth.account WHERE person = $1", person)
    assert password.startswith("$argon2id$v=19$")
