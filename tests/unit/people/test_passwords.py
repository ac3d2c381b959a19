"""Which passwords will do, and how they are kept."""

import asyncio

import pytest

from fhirserver.errors import Unavailable
from fhirserver.people import accounts, passwords

NAMES = ("john.smith@example.org", "John Smith")


@pytest.mark.parametrize(
    "password",
    [
        *("short", "elevenchars", "a" * 513),
        *("passwordpassword", "P@ssw0rd12345", "Welcome2024!!", "adminpassword1", "Hospital-2026-Doctor"),
        *(
            "qwertyuiop123",
            "1qaz2wsx3edc",
            "123456789012",
            "abcdefghijklmnop",
            "aaaaaaaaaaaaaa",
            "abcabcabcabc",
        ),
        *("correct horse battery staple", "monkeydragonfootball", "johnsmith1985!", "j0hn.sm1th.j0hn"),
    ],
)
def test_guessable_passwords_are_refused_with_a_reason(password: str) -> None:
    assert passwords.problem(password, *NAMES)


@pytest.mark.parametrize(
    "password",
    [
        *("lampshade wobbles north", "purple tiger guitar lucky", "k2Jd9-xPq7-zz1", "Tr0ub4dor&3xyz"),
        *("ἀνδρα μοι ἔννεπε", "雨が降る前に帰ります今日も", "x" * 4 + "jvqhzt" + "9wkp"),
    ],
)
def test_others_are_taken_whatever_they_are_made_of(password: str) -> None:
    assert passwords.problem(password, *NAMES) is None


def test_passwords_made_here_are_good_enough() -> None:
    assert all(passwords.problem(accounts.one_time_password(), *NAMES) is None for _ in range(20_000))


async def test_nobodys_hash_takes_as_long_as_any() -> None:
    """Its parameters are those of new hashes."""
    assert passwords._NOBODY.rsplit("$", 2)[0] == (await passwords.hashed("secret")).rsplit("$", 2)[0]
    assert not passwords._hasher.check_needs_rehash(passwords._NOBODY)


async def test_hashes_are_salted_and_as_strong_as_written() -> None:
    first, second = await passwords.hashed("secret"), await passwords.hashed("secret")
    assert first != second and first.startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    assert await passwords.matches(first, "secret")
    assert not await passwords.matches(first, "Secret")
    assert not passwords.is_dated(first)
    assert passwords.is_dated(first.replace("t=2", "t=1"))


async def test_the_same_letters_are_the_same_password() -> None:
    assert await passwords.matches(await passwords.hashed("Ame\u0301lie"), "Am\u00e9lie")


async def test_nobodys_password_matches_nothing() -> None:
    assert not await passwords.matches(None, "nobody's password")
    assert not await passwords.matches("$argon2id$broken", "x")
    assert not await passwords.matches("!", "x")


async def test_too_many_at_once_are_refused_instead_of_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "QUEUE_MAX", 3)
    done = await asyncio.gather(*(passwords.hashed("x") for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(one, Unavailable) for one in done) == 3
    assert await passwords.hashed("x")


def test_readable_hashes() -> None:
    assert passwords.is_readable("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub")
    assert passwords.is_readable("pbkdf2_sha256$600000$salt$aGFzaA==")
    assert not passwords.is_readable("$2b$12$abcdefghijklmnopqrstuv")
    assert not passwords.is_readable("plain text")


@pytest.mark.parametrize("login", ["", " ", "a b", "a\tb", "a\x00b", "x" * 201])
def test_what_is_no_name_to_sign_in_with(login: str) -> None:
    with pytest.raises(ValueError, match="sign-in name"):
        accounts.normal(login)


def test_names_are_folded() -> None:
    assert accounts.normal(" \uff21da@Example.ORG ") == "ada@example.org"
    assert accounts.normal("Stra\u00dfe") == "strasse"
