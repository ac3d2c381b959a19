"""The second step: codes of an authenticator app, each good once."""

import asyncio
import re
import time
from base64 import b32decode

import pytest

from fhirserver.people import attempts, totp
from tests.people.browser import Browser, Page
from tests.people.conftest import PASSWORD, House

pytestmark = pytest.mark.asyncio(loop_scope="module")

RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(59, "94287082"), (1111111109, "07081804"), (1234567890, "89005924"), (20000000000, "65353130")],
)
async def test_the_vectors_of_rfc_6238(moment: int, expected: str) -> None:
    assert totp.code(RFC_SECRET, moment // 30) == expected[2:]  # the RFC shows eight digits
    assert totp.step_of(RFC_SECRET, expected[2:5] + " " + expected[5:], moment) == moment // 30


def code(secret: bytes, ahead: int = 0) -> str:
    return totp.code(secret, int(time.time() // 30) + ahead)


async def turn_on(browser: Browser) -> bytes:
    """Turn the second step on with the code of the step before; the secret."""
    page = await browser.get("/auth/totp")
    shown = re.search(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", page.text)
    assert shown
    secret = b32decode(shown[0].replace(" ", ""))
    done = await browser.send(page, "/totp", code=code(secret, -1), password=PASSWORD)
    assert done.place == "/auth/account?done=on", done.text
    return secret


async def asked(house: House, login: str) -> tuple[Browser, Page]:
    """A browser that is asked for the code."""
    browser = house.browser()
    page = await browser.sign_in(login, PASSWORD)
    assert page.status == 200 and "Enter your code" in page.text
    assert browser.session is None
    return browser, page


async def test_after_the_password_a_code_is_needed(house: House) -> None:
    await house.account("second")
    secret = await turn_on(await house.signed_in("second"))
    browser, page = await asked(house, "second")
    assert (await browser.get("/auth/account")).status == 303
    wrong = await browser.send(page, "/sign-in/code", code="000000")
    assert wrong.status == 403 and "not right" in wrong.text
    done = await browser.send(wrong, "/sign-in/code", code=code(secret))
    assert (done.status, done.place) == (303, "/auth/account")
    assert "on" in (await browser.get("/auth/account")).text


async def test_a_code_is_good_once_even_at_the_same_time(house: House) -> None:
    await house.account("replayed")
    secret = await turn_on(await house.signed_in("replayed"))
    both = [await asked(house, "replayed") for _ in range(4)]
    now = code(secret)
    pages = await asyncio.gather(*(one.send(page, "/sign-in/code", code=now) for one, page in both))
    assert sorted(page.status for page in pages) == [303, 403, 403, 403]
    browser, page = await asked(house, "replayed")
    assert (await browser.send(page, "/sign-in/code", code=now)).status == 403
    assert (await browser.send(page, "/sign-in/code", code=code(secret, -1))).status == 403


async def test_codes_cannot_be_guessed(house: House) -> None:
    await house.account("codes")
    secret = await turn_on(await house.signed_in("codes"))
    browser, page = await asked(house, "codes")
    for number in range(attempts.FREE):
        assert (await browser.send(page, "/sign-in/code", code=f"{number:06}")).status == 403
    stopped = await browser.send(page, "/sign-in/code", code=code(secret))
    assert stopped.status == 429
    fresh, page = await asked(house, "codes")
    assert (await fresh.send(page, "/sign-in/code", code=code(secret))).status == 429


async def test_a_ticket_cannot_be_made_nor_used_after_the_password_changed(house: House) -> None:
    person = await house.account("tickets")
    secret = await turn_on(await house.signed_in("tickets"))
    browser, page = await asked(house, "tickets")
    form = page.form("/sign-in/code").fields
    for ticket in ("", "gAAAAA", form["ticket"][:-2] + "AA", form["csrf"]):
        refused = await browser.post("/auth/sign-in/code", form | {"ticket": ticket, "code": code(secret)})
        assert refused.status == 403 and "took too long" in refused.text
    # A ticket that still wants a code does not open the page that a proved one leads to.
    skipped = await browser.post("/auth/sign-in/choose", form | {"new": "x" * 20, "again": "x" * 20})
    assert skipped.status == 403 and browser.session is None
    await house.value("UPDATE auth.account SET password = password || ' ' WHERE person = $1", person)
    assert (await browser.post("/auth/sign-in/code", form | {"code": code(secret)})).status == 403


async def test_turning_it_off_or_on_takes_the_password(house: House) -> None:
    await house.account("off")
    browser = await house.signed_in("off")
    page = await browser.get("/auth/totp")
    refused = await browser.send(page, "/totp", code="000000", password=PASSWORD)
    assert refused.status == 422 and "That code is not right" in refused.text
    await turn_on(browser)
    page = await browser.get("/auth/totp")
    refused = await browser.send(page, "/totp", password="not the password")
    assert refused.status == 422
    assert (await browser.send(page, "/totp", password=PASSWORD)).place == "/auth/account?done=off"
    assert (await house.browser().sign_in("off", PASSWORD)).status == 303


async def test_the_key_rests_sealed_and_another_accounts_offer_is_refused(house: House) -> None:
    person = await house.account("sealed")
    secret = await turn_on(await house.signed_in("sealed"))
    stored = await house.value("SELECT totp FROM auth.account WHERE person = $1", person)
    assert totp.unsealed(house.services, stored) == secret
    assert secret.hex() not in stored
    await house.account("mallory")
    mallory, ada = await house.signed_in("mallory"), await house.account("ada-offered")
    offered = (await mallory.get("/auth/totp")).form("/totp").fields["secret"]
    victim = await house.signed_in("ada-offered")
    page = await victim.get("/auth/totp")
    refused = await victim.send(page, "/totp", secret=offered, code="123456", password=PASSWORD)
    assert refused.status == 422
    assert not await house.value("SELECT totp FROM auth.account WHERE person = $1", ada)
