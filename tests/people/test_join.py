"""Accounts that people make themselves: by invitation, and by asking for one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from fhirserver.people import invitations, mail, resources
from tests.people.browser import Page
from tests.people.conftest import PASSWORD, House, opened
from tests.support.mailbox import Mailbox, mailbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

MRN = "urn:mrn"
RIGHT = {"system": MRN, "identifier": "4711", "family": "o'neill ", "born": "1980-02-03"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def finding(database: str, box: Mailbox) -> AsyncIterator[House]:
    """A server on which patients may ask for an invitation."""
    async with opened(database, smtp_url=box.url, join="identifiers", join_systems=MRN) as made:
        yield made


async def patient(house: House, **more: Any) -> str:
    body = {"resourceType": "Patient", "name": [{"family": "O'Neill", "given": ["Una"]}], **more}
    async with house.services.pool.acquire() as connection:
        return (await resources.create(connection, house.services, body))["id"]


async def invited(house: House, reference: str) -> str:
    async with house.services.pool.acquire() as connection:
        return await invitations.invite(connection, house.services, reference)


async def accept(house: House, code: str, login: str, password: str = PASSWORD) -> Page:
    browser = house.browser()
    path = f"/auth/join/{code}"
    page = await browser.get(path)
    if page.status != 200:
        return page
    return await browser.send(page, path, login=login, new=password, again=password)


async def test_an_invitation_makes_an_account_of_the_record(house: House) -> None:
    una = await patient(house)
    code = await invited(house, f"Patient/{una}")
    browser = house.browser()
    page = await browser.get("/auth/join")
    assert "No invitation?" not in page.text
    wrong = await browser.send(page, "/join", code="guess")
    assert wrong.status == 422
    welcome = await browser.get((await browser.send(page, "/join", code=f" {code} ")).place)
    assert "Welcome, Una O'Neill" in welcome.text
    path = f"/auth/join/{code}"
    weak = await browser.send(welcome, path, login="una", new="Una-ONeill-1980", again="Una-ONeill-1980")
    assert weak.status == 422
    done = await browser.send(welcome, path, login="una", new=PASSWORD, again=PASSWORD)
    assert done.place == "/auth/account"
    account = await browser.get("/auth/account")
    assert "Una O'Neill" in account.text and "patient" in account.text
    links = await house.value("SELECT links FROM auth.account WHERE login = 'una'")
    assert links == [f"Patient/{una}"]
    assert (await browser.get(path)).status == 410
    with pytest.raises(invitations.Taken):
        await invited(house, f"Patient/{una}")


async def test_an_invitation_is_used_once_even_at_the_same_time(house: House) -> None:
    code = await invited(house, f"Patient/{await patient(house)}")
    pages = await asyncio.gather(*(accept(house, code, f"race{number}") for number in range(4)))
    assert sorted(page.status for page in pages) == [303, 410, 410, 410]
    assert await house.value("SELECT count(*) FROM auth.account WHERE login LIKE 'race%'") == 1


async def test_a_taken_name_leaves_the_invitation_good(house: House) -> None:
    await house.account("taken")
    code = await invited(house, f"Patient/{await patient(house)}")
    for login, said in (("TAKEN", "taken"), ("", "1 to 200 characters"), ("a b", "no spaces")):
        page = await accept(house, code, login)
        assert page.status == 422 and said in page.text
    people = "SELECT count(*) FROM resource_person WHERE died IS NULL"
    before = await house.value(people)
    assert (await accept(house, code, "taken")).status == 422
    assert await house.value(people) == before
    assert (await accept(house, code, "not-taken")).status == 303


async def test_only_the_newest_invitation_is_good(house: House) -> None:
    reference = f"Patient/{await patient(house)}"
    before, newest = await invited(house, reference), await invited(house, reference)
    assert (await accept(house, before, "older")).status == 410
    assert (await accept(house, newest, "newer")).status == 303


async def test_nobody_joins_where_that_is_off(house: House) -> None:
    code = await invited(house, f"Patient/{await patient(house)}")
    async with opened(house.dsn, join="off") as closed:
        browser = closed.browser()
        for path in ("/auth/join", f"/auth/join/{code}"):
            assert (await browser.get(path)).status == 404
        assert "/auth/join" not in (await browser.get("/auth/sign-in")).answer.text


async def asked(house: House, **details: str) -> Page:
    browser = house.browser()
    page = await browser.send(await browser.get("/auth/join"), "/join/find", **details)
    await mail.sent()
    return page


async def test_an_invitation_goes_to_the_address_in_the_record(finding: House, box: Mailbox) -> None:
    await patient(
        finding,
        identifier=[{"system": MRN, "value": "4711"}],
        birthDate="1980-02-03",
        telecom=[{"system": "email", "value": "una@example.org"}],
    )
    texts = set()
    wrong = (
        {"family": "Neill"},
        {"born": "1980-02-04"},
        {"born": "1980"},
        {"identifier": "4712"},
        {"identifier": "47"},
        {"identifier": "4711,4712"},
        {"identifier": "4711|"},
        {"identifier": ""},
        {"system": "urn:other"},
        {"system": ""},
    )
    for change in wrong:
        page = await asked(finding, **(RIGHT | change))
        texts.add((page.status, page.text))
    assert box.messages == []
    page = await asked(finding, **RIGHT)
    texts.add((page.status, page.text))
    assert len(texts) == 1
    done = await accept(finding, urlsplit(box.link("una@example.org")).path.rpartition("/")[2], "found")
    assert done.status == 303
    count = len(box.messages)
    await asked(finding, **RIGHT)  # there is an account now
    assert len(box.messages) == count


async def test_details_cannot_be_guessed(finding: House, box: Mailbox) -> None:
    await patient(
        finding,
        identifier=[{"system": MRN, "value": "99"}],
        birthDate="1980-02-03",
        telecom=[{"system": "email", "value": "guessed@example.org"}],
    )
    for day in range(10, 16):
        await asked(finding, system=MRN, identifier="99", family="O'Neill", born=f"1980-02-{day}")
    await asked(finding, system=MRN, identifier="99", family="O'Neill", born="1980-02-03")
    assert "guessed@example.org" not in [message["To"] for message in box.messages]


async def test_two_records_with_the_identifier_are_nobodys(finding: House, box: Mailbox) -> None:
    for _ in range(2):
        await patient(
            finding,
            identifier=[{"system": MRN, "value": "7"}],
            birthDate="1980-02-03",
            telecom=[{"system": "email", "value": "two@example.org"}],
        )
    await asked(finding, **(RIGHT | {"identifier": "7"}))
    assert "two@example.org" not in [message["To"] for message in box.messages]
