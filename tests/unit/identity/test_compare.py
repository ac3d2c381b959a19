"""Levels of agreement, and what becomes of whole pairs."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.identity.blocking import blocks
from fhirserver.identity.compare import (
    Birth,
    Level,
    births_alike,
    codes_alike,
    family_alike,
    given_alike,
)
from fhirserver.identity.record import Name, record_of
from fhirserver.identity.score import Grade, match
from fhirserver.identity.text import plain, skeleton, words
from fhirserver.identity.unique import System, Systems

ANNA = {
    "resourceType": "Patient",
    "name": [{"family": "Schröder", "given": ["Anna"]}],
    "gender": "female",
    "birthDate": "1984-03-07",
    "address": [{"line": ["12 Mill Road"], "city": "Leeds", "postalCode": "LS1 4AB"}],
    "telecom": [{"system": "phone", "value": "+44 113 496 0123"}],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Чайковский", ("chaikovskii",)),
        ("Γιώργος", ("giorgos",)),
        ("Müller-Lüdenscheidt", ("mueller", "luedenscheidt")),
        ("O'Brien", ("obrien",)),
        ("Łukasz  Ngọc", ("lukasz", "ngoc")),
        ("محمد", ("mhmd",)),
        ("", ()),
        ("- . ,", ()),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [("mohammed", "muhammad"), ("youssef", "yusuf"), ("tchaikovsky", "chaikovskii"), ("schmidt", "shmidt")],
)
def test_what_sounds_alike(one: str, other: str) -> None:
    assert skeleton(plain(one)) == skeleton(plain(other))


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        (("anna",), ("anna",), Level.SAME),
        (("anna", "maria"), ("annamaria",), Level.SAME),
        (("robert",), ("bob",), Level.ALIKE),
        (("jonathan",), ("jonathon",), Level.ALIKE),
        (("maria", "anna"), ("anna",), Level.ALIKE),
        (("j",), ("john",), Level.SIMILAR),
        (("j",), ("karl",), Level.DIFFERENT),
        (("anna",), ("peter",), Level.DIFFERENT),
        ((), ("anna",), Level.MISSING),
    ],
)
def test_given(one: tuple[str, ...], other: tuple[str, ...], level: Level) -> None:
    assert given_alike(one, other) is level
    assert given_alike(other, one) is level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("smith", "smith", Level.SAME),
        ("smith jones", "smith", Level.ALIKE),
        ("smith jones", "jones smith", Level.ALIKE),
        ("van den berg", "vandenberg", Level.SAME),
        ("da silva", "da costa", Level.DIFFERENT),
        ("smith", "smyth", Level.ALIKE),
        ("smith", "", Level.MISSING),
    ],
)
def test_family(one: str, other: str, level: Level) -> None:
    a, b = (Name((), tuple(text.split()), text.replace(" ", "")) for text in (one, other))
    assert family_alike(a, b) is level
    assert family_alike(b, a) is level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("1984-03-07", "1984-03-07", Birth.SAME),
        ("1984-03-07", "1984-07-03", Birth.NEAR),
        ("1984-03-07", "1948-03-07", Birth.NEAR),
        ("1984-03-07", "1984-03-08", Birth.NEAR),
        ("1984-03-07", "1984-03", Birth.PARTLY),
        ("1984-03-07", "1984", Birth.PLACEHOLDER),
        ("1984-01-01", "1984-01-01", Birth.PLACEHOLDER),
        ("1984-01-01", "1984-09-23", Birth.PLACEHOLDER),
        ("1984-01-01", "1985-01-01", Birth.DIFFERENT),
        ("1984-03-07", "1984-11-25", Birth.YEAR),
        ("1984-03-07", "1960-11-25", Birth.DIFFERENT),
    ],
)
def test_births(one: str, other: str, level: Birth) -> None:
    a, b = tuple(one.split("-")), tuple(other.split("-"))
    assert births_alike(a, b) is level
    assert births_alike(b, a) is level
    assert births_alike((), a) is Birth.MISSING


def test_codes() -> None:
    assert codes_alike("4011", "4011") is Level.SAME
    assert codes_alike("4011", "4101") is Level.ALIKE
    assert codes_alike("4011", "5022") is Level.DIFFERENT
    assert codes_alike("", "5022") is Level.MISSING


def graded(**changed: Any) -> Grade:
    other = {key: value for key, value in {**ANNA, **changed}.items() if value is not None}
    one, two = match(record_of(ANNA), record_of(other)), match(record_of(other), record_of(ANNA))
    assert one == two
    return one.grade


def named(given: str, family: str = "Schröder", **more: Any) -> list[dict[str, Any]]:
    return [{"family": family, "given": [given], **more}]


def test_whom_to_take_for_the_same() -> None:
    assert graded() is Grade.CERTAIN
    assert graded(name=named("ANNA", "Schroeder")) is Grade.CERTAIN
    assert graded(telecom=None, address=None) is Grade.CERTAIN
    assert graded(name=named("Schröder", "Anna")) is Grade.CERTAIN
    assert graded(birthDate="1984-07-03") is Grade.CERTAIN
    assert graded(name=named("Anna", "Schröder-Weber")) is Grade.CERTAIN
    assert graded(name=named("Anka")) is Grade.PROBABLE
    assert graded(name=named("Anna", "Weber")) is Grade.PROBABLE
    assert graded(birthDate=None) is not Grade.CERTAIN


def test_relatives() -> None:
    assert graded(name=named("Hanna")) is Grade.POSSIBLE
    assert graded(name=named("Peter"), gender="male") is Grade.POSSIBLE
    assert graded(birthDate="2010-11-25") is Grade.POSSIBLE
    assert graded(name=named("Peter"), gender="male", birthDate="1980-11-21") is Grade.CERTAINLY_NOT
    assert graded(gender="male") is Grade.PROBABLE
    first, second = ANNA | {"multipleBirthInteger": 1}, ANNA | {"multipleBirthInteger": 2}
    assert match(record_of(first), record_of(second)).grade is Grade.POSSIBLE


def test_identifiers() -> None:
    mine = [{"system": "urn:mrn", "value": "12345678"}]
    slip = [{"system": "urn:mrn", "value": "12345687"}]
    other = [{"system": "urn:mrn", "value": "99990000"}]
    found = {
        name: match(record_of(ANNA | {"identifier": mine}), record_of(ANNA | {"identifier": given})).bits
        for name, given in (("same", mine), ("slip", slip), ("other", other), ("none", []))
    }
    assert found["same"] > found["slip"] > found["none"] > found["other"]
    twin = ANNA | {"identifier": mine, "name": named("Peter")}
    assert match(record_of(ANNA | {"identifier": mine}), record_of(twin)).grade is Grade.PROBABLE


def test_an_identifier_that_is_another_ones_is_never_certain() -> None:
    """Of a system in which two people never have the same: a slip of the pen there is another person's."""
    known = Systems.of(System("Patient", name, "urn:mrn", True, None) for name in ("urn:mrn", "urn:oid:1.2"))

    def grade(mine: list[tuple[str, str]], theirs: list[tuple[str, str]], systems: Systems) -> Grade:
        one, other = (
            record_of(
                ANNA | {"identifier": [{"system": name, "value": value} for name, value in values]}, systems
            )
            for values in (mine, theirs)
        )
        assert match(one, other) == match(other, one)
        return match(one, other).grade

    for value in ("99990000", "12345687"):
        mine, theirs = [("urn:mrn", "12345678")], [("urn:oid:1.2", value)]
        assert grade(mine, theirs, known) is Grade.PROBABLE
        assert grade([*mine, ("urn:ssn", "1")], [*theirs, ("urn:ssn", "1")], known) is Grade.PROBABLE
        assert grade(mine, [*theirs, ("urn:oid:1.2", " 12345678")], known) is Grade.CERTAIN
        assert grade(mine, theirs, Systems()) is Grade.CERTAIN


def test_nothing_known_is_no_match() -> None:
    nothing = record_of({"resourceType": "Patient"})
    assert match(nothing, nothing).grade is Grade.CERTAINLY_NOT
    assert blocks({"resourceType": "Patient"}) == []


def test_blocks() -> None:
    found = blocks(ANNA | {"identifier": [{"system": "urn:a|b", "value": "1,2"}]})
    assert (("identifier", "urn:a\\|b|1\\,2"),) in found
    assert (("birthdate", "1984-03-07"),) in found
    assert (("birthdate", "1984-07-03"),) in found
    assert (("phonetic", "Anna"), ("phonetic", "Schröder")) in found
    assert (("birthdate", "1980-01-01"),) not in blocks(ANNA | {"birthDate": "1980-01-01"})


TEXT = st.text(max_size=8)
PATIENTS = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "name": st.lists(
            st.fixed_dictionaries(
                {}, optional={"family": TEXT, "given": st.lists(TEXT, max_size=2), "text": TEXT}
            ),
            max_size=3,
        ),
        "birthDate": st.dates().map(str) | st.sampled_from(["1980", "1980-02"]),
        "gender": st.sampled_from(["male", "female", "other"]),
        "address": st.lists(
            st.fixed_dictionaries({}, optional={"line": st.lists(TEXT, max_size=2), "city": TEXT}), max_size=2
        ),
        "telecom": st.lists(st.fixed_dictionaries({}, optional={"value": TEXT}), max_size=2),
        "identifier": st.lists(
            st.fixed_dictionaries({}, optional={"system": TEXT, "value": TEXT}), max_size=2
        ),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(PATIENTS, PATIENTS)
def test_whatever_comes_is_compared_alike_both_ways(one: dict[str, Any], other: dict[str, Any]) -> None:
    a, b = record_of(one), record_of(other)
    assert match(a, b) == match(b, a)
    assert 0 <= match(a, b).score <= 1
    assert match(a, a).bits >= match(a, b).bits or match(a, b).grade <= Grade.PROBABLE
    assert isinstance(blocks(one), list)
