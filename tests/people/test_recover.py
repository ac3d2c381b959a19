"""Forgotten and changed passwords."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from fhirserver.people import accounts, first, mail, reset
from tests.people.conftest import PASSWORD, House, opened
from tests.support.mailbox import Mailbox, mailbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "kettle drums beneath 9"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def posted(database: str, box: Mailbox) -> AsyncIterator[House]:
    """A server that sends mail."""
    async with opened(database, smtp_url=box.url) as made:
        yield made


async def link_of(house: House, box: Mailbox, login: str) -> str:
    """Ask for a link, and read it in the mail; its path."""
    browser = house.browser()
    page = await browser.get("/auth/forgot")
    assert (await browser.send(page, "/forgot", login=login)).status == 200
    await mail.sent()
    return urlsplit(box.link(login)).path


async def test_a_link_by_mail_leads_to_a_new_password(posted: House, box: Mailbox) -> None:
    await posted.account("eva@example.org", email="eva@example.org")
    elsewhere = await posted.signed_in("eva@example.org")
    path = await link_of(posted, box, "eva@example.org")
    browser = posted.browser()
    for _ in range(2):  # looking at the link does not use it up
        page = await browser.get(path)
        assert page.status == 200 and "eva@example.org" in page.text
    weak = await browser.send(page, path, new="password1234", again="password1234")
    assert weak.status == 422 and "guessed quickly" in weak.text
    other = await browser.send(page, path, new=NEW, again=NEW + "!")
    assert other.status == 422 and "not the same" in other.text
    assert (await browser.send(page, path, new=NEW, again=NEW)).place == "/auth/sign-in"
    assert browser.session is None
    assert (await elsewhere.get("/auth/account")).status == 303
    assert (await posted.browser().sign_in("eva@example.org", PASSWORD)).status == 403
    assert (await posted.browser().sign_in("eva@example.org", NEW)).status == 303
    again = await browser.get(path)
    assert again.status == 410 and "over" in again.text


async def test_a_link_is_used_once_even_at_the_same_time(posted: House, box: Mailbox) -> None:
    await posted.account("race@example.org", email="race@example.org")
    path = await link_of(posted, box, "race@example.org")
    browsers = [posted.browser() for _ in range(5)]
    pages = [await browser.get(path) for browser in browsers]
    words = ["anvil", "bucket", "candle", "dentist", "ember"]
    done = await asyncio.gather(
        *(
            browser.send(page, path, new=f"{word} {NEW}", again=f"{word} {NEW}")
            for browser, page, word in zip(browsers, pages, words, strict=True)
        )
    )
    assert sorted(page.status for page in done) == [303, 410, 410, 410, 410]


async def test_only_the_newest_link_is_good_and_for_an_hour(posted: House, box: Mailbox) -> None:
    await posted.account("old@example.org", email="old@example.org")
    before = await link_of(posted, box, "old@example.org")
    newest = await link_of(posted, box, "old@example.org")
    assert before != newest
    browser = posted.browser()
    assert (await browser.get(before)).status == 410
    assert (await browser.get(newest)).status == 200
    await posted.value("UPDATE auth.once SET expires = clock_timestamp() WHERE kind = 'reset'")
    assert (await browser.get(newest)).status == 410


async def test_asking_tells_nothing_and_floods_nobody(posted: House, box: Mailbox) -> None:
    await posted.account("flood@example.org", email="flood@example.org")
    await posted.account("nomail")
    before = len(box.messages)
    texts = set()
    for login in ("flood@example.org", "nobody@example.org", "nomail", "", "x" * 5000):
        browser = posted.browser()
        answer = await browser.send(await browser.get("/auth/forgot"), "/forgot", login=login)
        texts.add((answer.status, answer.text))
    assert len(texts) == 1
    for _ in range(10):
        browser = posted.browser()
        await browser.send(await browser.get("/auth/forgot"), "/forgot", login="flood@example.org")
    await mail.sent()
    assert len(box.messages) - before <= 6


async def test_links_end_what_apps_were_given_and_keep_the_second_step(posted: House, box: Mailbox) -> None:
    person = await posted.account("apps@example.org", email="apps@example.org")
    await posted.value("UPDATE auth.account SET totp = 'x' WHERE person = $1", person)
    await posted.value("INSERT INTO auth.client (tenant, id, metadata) VALUES (1, 'app', '{}')")
    grant = await posted.value(
        "INSERT INTO auth.grant_ (tenant, client, account, scopes, expires) SELECT 1, 'app', id, '{}',"
        " clock_timestamp() + interval '1 day' FROM auth.account WHERE person = $1 RETURNING id",
        person,
    )
    path = await link_of(posted, box, "apps@example.org")
    browser = posted.browser()
    await browser.send(await browser.get(path), path, new=NEW, again=NEW)
    assert await posted.value("SELECT revoked IS NOT NULL FROM auth.grant_ WHERE id = $1", grant)
    assert "Enter your code" in (await browser.sign_in("apps@example.org", NEW)).text


async def test_without_a_mail_server_nothing_is_promised(house: House) -> None:
    page = await house.browser().get("/auth/forgot")
    assert page.status == 404 and "sends no mail" in page.text
    assert "forgot" not in "".join(form.action for form in (await house.browser().get("/auth/sign-in")).forms)


async def test_in_development_links_go_to_the_log(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    await house.account("dev@example.org", email="dev@example.org")
    async with opened(house.dsn, development=True, log_level="info", log_format="json") as other:
        browser = other.browser()
        await browser.send(await browser.get("/auth/forgot"), "/forgot", login="dev@example.org")
        await mail.sent()
    logged = capsys.readouterr().err
    found = re.search(r'"link":"http://127.0.0.1:8080(/auth/reset/[\w-]+)"', logged)
    assert found, logged
    assert (await house.browser().get(found[1])).status == 200
    assert "dev@example.org" not in logged


async def test_changing_the_password_takes_the_one_before(house: House) -> None:
    await house.account("changer")
    browser, elsewhere = await house.signed_in("changer"), await house.signed_in("changer")
    page = await browser.get("/auth/password")
    refused = await browser.send(page, "/password", password="not the password", new=NEW, again=NEW)
    assert refused.status == 422 and "until now is not right" in refused.text
    own = await browser.send(
        page, "/password", password=PASSWORD, new="changer-changer", again="changer-changer"
    )
    assert own.status == 422
    before = browser.session
    done = await browser.send(page, "/password", password=PASSWORD, new=NEW, again=NEW)
    assert done.place == "/auth/account?done=password"
    assert browser.session != before
    assert (await browser.get("/auth/account")).status == 200
    assert (await elsewhere.get("/auth/account")).status == 303


async def test_a_password_for_one_use_has_to_be_changed_first(house: House) -> None:
    person = await house.account("newcomer", must_change=True)
    browser = house.browser()
    page = await browser.sign_in("newcomer", PASSWORD, "?next=/auth/apps")
    assert page.status == 200 and "Choose a password" in page.text
    assert browser.session is None
    same = await browser.send(page, "/sign-in/choose", new=PASSWORD, again=PASSWORD)
    assert same.status == 422 and "another one" in same.text
    done = await browser.send(page, "/sign-in/choose", new=NEW, again=NEW)
    assert (done.status, done.place) == (303, "/auth/apps")
    assert (await browser.get("/auth/account")).status == 200
    again = await browser.send(page, "/sign-in/choose", new=NEW + "x", again=NEW + "x")
    assert again.status == 403
    assert not await house.value("SELECT must_change FROM auth.account WHERE person = $1", person)


async def test_the_first_administrator_is_made_once(new_database: Any) -> None:
    with new_database() as dsn:
        async with opened(dsn) as house:

            async def make() -> first.First | None:
                async with house.services.pool.acquire() as connection:
                    return await first.administrator(connection, house.services)

            made = [one for one in await asyncio.gather(*(make() for _ in range(4))) if one]
            assert len(made) == 1
            assert re.fullmatch(r"(?:[a-z2-9]{4}-){3}[a-z2-9]{4}", made[0].password)
            browser = house.browser()
            page = await browser.sign_in("admin", made[0].password)
            assert (await browser.send(page, "/sign-in/choose", new=NEW, again=NEW)).status == 303
            assert "administrator" in (await browser.get("/auth/account")).text
            assert await make() is None


async def test_hashes_from_elsewhere_are_replaced_at_the_first_sign_in(house: House) -> None:
    import hashlib
    from base64 import b64encode

    made = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), b"salt", 1000)
    person = await house.account("imported", password=None)
    await house.value(
        "UPDATE auth.account SET password = $2 WHERE person = $1",
        person,
        f"pbkdf2_sha256$1000$salt${b64encode(made).decode()}",
    )
    assert (await house.browser().sign_in("imported", "not the password")).status == 403
    assert (await house.browser().sign_in("imported", PASSWORD)).status == 303
    stored = await house.value("SELECT password FROM auth.account WHERE person = $1", person)
    assert stored.startswith("$argon2id$")
    assert (await house.browser().sign_in("imported", PASSWORD)).status == 303


async def test_a_link_made_by_hand_works_without_mail(house: House) -> None:
    await house.account("byhand")
    async with house.services.pool.acquire() as connection:
        account = await accounts.find(connection, house.services, "byhand")
        assert account is not None
        place = await reset.link(connection, house.services, account)
    path = urlsplit(place).path
    browser = house.browser()
    assert (await browser.send(await browser.get(path), path, new=NEW, again=NEW)).status == 303
