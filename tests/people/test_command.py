"""`fhirserver user` as whoever looks after the server meets it."""

import asyncio
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from fhirserver.cli.app import app
from fhirserver.people import passwords
from tests.conftest import NewDatabase
from tests.people.conftest import PASSWORD, opened


@pytest.fixture(autouse=True)
def _plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(scope="module", autouse=True)
def _database(database: str) -> None:
    global DSN
    DSN = database


DSN = ""


def user(*arguments: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["user", *arguments], env={"DATABASE_URL": DSN} | environment)
    return done.exit_code, done.output


def one_time(text: str) -> str:
    found = re.search(r"one-time password (\S+)", text)
    assert found, text
    return found[1]


async def signs_in(login: str, password: str) -> str:
    """What the page says after name and password."""
    async with opened(DSN) as house:
        return (await house.browser().sign_in(login, password)).text or "in"


async def in_thread(*arguments: str, **environment: str) -> tuple[int, str]:
    """A command of its own event loop, from a test with another."""
    return await asyncio.to_thread(user, *arguments, **environment)


async def test_each_tenant_has_its_own_accounts(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        runner, environment = CliRunner(), {"DATABASE_URL": dsn}

        def said(*arguments: str) -> tuple[int, str]:
            done = runner.invoke(app, list(arguments), env=environment)
            return done.exit_code, done.output

        def all_said() -> list[tuple[int, str]]:
            return [
                said("tenant", "add", "north"),
                said("user", "--tenant", "north", "add", "grace@example.org", "--name", "Grace Hopper"),
                said("user", "--tenant", "north", "list"),
                said("user", "list"),
                said("client", "--tenant", "north", "add", "Heart", "--redirect", "https://app.example/back"),
                said("client", "--tenant", "north", "list"),
                said("client", "list"),
                said("user", "--tenant", "south", "list"),
            ]

        made, added, theirs, ours, client, their_clients, our_clients, none = await asyncio.to_thread(
            all_said
        )
    assert (made[0], added[0], client[0]) == (0, 0, 0), (made, added, client)
    assert "grace@example.org" in theirs[1] and "Heart" in their_clients[1]
    assert "grace@example.org" not in ours[1] and "Heart" not in our_clients[1]
    assert none[0] == 1 and "there is no tenant 'south'" in none[1]


async def test_from_adding_to_disabling() -> None:
    code, text = await in_thread(
        "add", "grace@example.org", "--name", "Grace Hopper", "--role", "nurse", "--role", "researcher"
    )
    assert code == 0, text
    assert "Choose a password" in await signs_in("grace@example.org", one_time(text))
    code, text = await in_thread("list")
    (line,) = [line for line in text.splitlines() if line.startswith("grace@example.org")]
    assert (
        "Grace Hopper" in line
        and "nurse" in line
        and "researcher" in line
        and "Practitioner/" in line
        and "new" in line
    )
    assert await in_thread("role", "grace@example.org", "remove", "nurse") == (
        0,
        "grace@example.org has not the role nurse now\n",
    )
    assert "nurse" not in (await in_thread("list"))[1]
    assert (await in_thread("disable", "grace@example.org"))[0] == 0
    assert "disabled" in (await in_thread("list"))[1]
    code, text = await in_thread("password", "grace@example.org")
    assert "not right" in await signs_in("grace@example.org", one_time(text))
    assert (await in_thread("enable", "grace@example.org"))[0] == 0
    assert "Choose a password" in await signs_in("grace@example.org", one_time(text))


async def test_links_and_invitations_work_where_they_are_opened() -> None:
    assert (await in_thread("add", "links", "--name", "Linda Links"))[0] == 0
    code, link = await in_thread(
        "password", "links", "--link", FHIRSERVER_BASE_URL="https://ehr.example/fhir"
    )
    assert code == 0 and link.startswith("https://ehr.example/auth/reset/")
    path = urlsplit(link.strip()).path
    async with opened(DSN) as house:
        browser = house.browser()
        page = await browser.get(path)
        assert (await browser.send(page, path, new=PASSWORD, again=PASSWORD)).status == 303
        assert (await browser.sign_in("links", PASSWORD)).status == 303
        person = await house.value("SELECT person FROM auth.account WHERE login = 'links'")
    code, text = await in_thread("invite", f"Person/{person}")
    assert code == 1 and "has an account already" in text
    assert (await in_thread("invite", "Patient/none"))[1].strip().endswith("there is no Patient/none")


async def test_hashes_of_another_system_are_taken() -> None:
    stored = await passwords.hashed(PASSWORD)
    assert (await in_thread("add", "imported", "--name", "I M", "--password-hash", stored))[0] == 0
    assert await signs_in("imported", PASSWORD) == "in"
    code, text = await in_thread("add", "other", "--name", "O", "--password-hash", "$2b$12$x")
    assert code == 1 and "neither argon2" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a b", "--name", "A"), "no spaces"),
        (("add", "x", "--name", "X", "--role", "nusre"), "did you mean nurse?"),
        (("add", "x", "--name", "X", "--link", "Patient/none"), "there is no Patient/none"),
        (("add", "x", "--name", "X", "--link", "Group/1"), "is not Patient/id"),
        (("disable", "nobody"), "there is no account 'nobody'"),
        (("role", "nobody", "add", "nurse"), "there is no account"),
        (("role", "nobody", "add", "king"), "there is no role 'king'"),
        (("invite", "nonsense"), "is not Patient/id"),
    ],
)
def test_errors_say_what_would_be_right(arguments: tuple[str, ...], said: str) -> None:
    code, text = user(*arguments)
    assert code == 1
    assert text.startswith("error ") and said in text


def test_a_failed_add_leaves_nothing_behind() -> None:
    assert user("add", "double", "--name", "D")[0] == 0
    code, text = user("add", "DOUBLE", "--name", "D", "--role", "nurse")
    assert code == 1 and "is taken" in text


def test_a_database_without_accounts(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        assert user("list", DATABASE_URL=dsn) == (0, "no accounts yet: fhirserver user add\n")
    code, text = user("list", DATABASE_URL="postgresql://me:secret@127.0.0.1:1/fhir")
    assert code == 1 and "cannot reach" in text and "secret" not in text
