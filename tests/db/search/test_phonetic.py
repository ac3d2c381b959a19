"""`phonetic`: https://hl7.org/fhir/R4/patient.html#search"""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from fhirserver.errors import FhirError, Invalid, NotSupported
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.entries import Entries, Node
from fhirserver.params.phonetic import sounds, together
from fhirserver.params.string import fold
from tests.db.search.harness import KEYS, Harness, harness, query

ALIKE = [
    ("smith", "smyth"),
    ("catherine", "kathryn"),
    ("stephen", "steven"),
    ("jon", "john"),
    ("philip", "filip"),
    ("schmidt", "schmitt"),
    ("wright", "rite"),
]
UNLIKE = [("smith", "jones"), ("anna", "bob"), ("日本", "中国"), ("123", "124"), ("мария", "марина")]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_sounds_alike(one: str, other: str) -> None:
    assert sounds(one) == sounds(other)


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_what_does_not(one: str, other: str) -> None:
    assert sounds(one) != sounds(other)


def person(type_: str, id_: str, *names: tuple[str, str]) -> dict[str, Any]:
    written = [{"family": family, "given": given.split(",")} for family, given in names]
    return {"resourceType": type_, "id": id_, "name": written}


RESOURCES: list[dict[str, Any]] = [
    person("Patient", "smith", ("Smith", "John,Philip")),
    person("Patient", "smyth", ("Smyth-O'Neill", "Catherine")),
    person("Patient", "two", ("Müller", "Steven"), ("Mueller", "Stephen")),
    person("Patient", "maria", ("Мария", "日本")),
    {"resourceType": "Patient", "id": "text", "name": [{"text": "Kathryn van der Meer"}]},
    {"resourceType": "Patient", "id": "nobody"},
    person("Practitioner", "wright", ("Wright", "Ann")),
    {"resourceType": "Organization", "id": "clinic", "name": "Smithe Clinic", "alias": ["Elsewhere"]},
    {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/smyth"}},
]
CASES = [
    ("Patient?phonetic=smith", {"smith", "smyth"}),
    ("Patient?phonetic=SMITHE", {"smith", "smyth"}),
    ("Patient?phonetic=jon", {"smith"}),
    ("Patient?phonetic=Jon%20Smyth", {"smith"}),
    ("Patient?phonetic=Smyth%20Jon", {"smith"}),
    ("Patient?phonetic=jon%20jones", set()),
    ("Patient?phonetic=jones,filip,muller", {"smith", "two"}),
    ("Patient?phonetic=kathryn", {"smyth", "text"}),
    ("Patient?phonetic=oneal%20smith", {"smyth"}),
    ("Patient?phonetic=vander", set()),
    ("Patient?phonetic=мария", {"maria"}),
    ("Patient?phonetic=日本", {"maria"}),
    ("Patient?phonetic:missing=true", {"nobody"}),
    ("Patient?phonetic=jon&phonetic=smyth", {"smith"}),
    ("Patient?phonetic=smith&phonetic=smyth", {"smith", "smyth"}),
    ("Patient?phonetic=jon,steven&phonetic=smyth", {"smith"}),
    ("Patient?phonetic=smith&given=john", {"smith"}),
    ("Practitioner?phonetic=rite", {"wright"}),
    ("Organization?phonetic=klinik%20smyth", {"clinic"}),
    ("Organization?phonetic=elsewhere", set()),
    ("Observation?subject:Patient.phonetic=smith", {"o"}),
    ("Observation?_filter=subject.phonetic%20eq%20smith", {"o"}),
    ("Patient?_filter=phonetic%20eq%20smith%20and%20not%20(given%20eq%20john)", {"smyth"}),
    ("Patient?_has:Observation:subject:_id=o&phonetic=katherine", {"smyth"}),
]


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


async def test_names_by_their_sound(db: Harness) -> None:
    for url, expected in CASES:
        assert set(await db.ids(url)) == expected, url
        assert await db.count(url) == len(expected)


async def test_two_names_or_a_name_and_a_year_lead_to_the_same_as_alone(db: Harness) -> None:
    """Also with more names than are taken two by two, none, several in one value, and every form of date."""
    pick = Random(7)
    words = ["Smith", "Smyth", "Jon", "Anna Maria", "Schmidt", "Steven", "Filip", "Мария", "Wright", "Müller"]
    odd = [f"{first}o{last}a" for first in "bdfgklmnprst" for last in "bdk"]
    births = [
        "1980",
        "1980-01",
        "1980-01-01",
        "1980-12-31",
        "1981-01-01",
        "1979-12-31",
        "0001-01-01",
        "9999",
        "",
    ]
    people = []
    for number in range(60):
        many = pick.sample(odd, 20) if number % 6 == 0 else []
        one = person("Patient", f"p{number}", (pick.choice(words), ",".join([*pick.sample(words, 2), *many])))
        people.append(one | ({"birthDate": birth} if (birth := pick.choice([*births, ""])) else {}))

    heard = {
        one["id"]: {
            sound
            for name in one["name"]
            for part in (name["family"], *name["given"])
            for sound in sounds(fold(part))
        }
        for one in people
    }

    def named(name: str) -> set[str]:
        return {id_ for id_, there in heard.items() if set(sounds(fold(name))) <= there}

    await db.clear()
    await db.put_all(people)
    for one in words:
        for other in (*words, odd[3]):
            ids = await db.ids(f"Patient?phonetic={one}&phonetic={other}&_count=100")
            assert set(ids) == named(one) & named(other), (one, other)
        for year in ("1980", "1979", "9999", "0001", "eq1981"):
            born = {p["id"] for p in people if p.get("birthDate", "-")[:4] == year.removeprefix("eq")}
            ids = await db.ids(f"Patient?birthdate={year}&phonetic={one}&_count=100")
            assert set(ids) == named(one) & born, (one, year)


def test_births_that_are_no_dates_are_found_with_every_year() -> None:
    """`birthdate` can be defined anew, by what has times or periods: elsewhere the day is another one."""
    add = together(KEYS, "Patient")
    for value, type_ in (("1980-01-01T00:30:00+14:00", "dateTime"), ({"start": "1979"}, "Period")):
        births = {"phonetic": [Node("Smith", "string")], "birthdate": [Node(value, type_)]}
        every, dated = Entries(), Entries()
        add(births, every)
        add({**births, "birthdate": [Node("1980", "date")]}, dated)
        assert len(every.tok) == len(dated.tok) == 1 and every.tok != dated.tok
    several = Entries()
    add({**births, "birthdate": [Node("1980-05", "date"), Node("1981-05-01", "date")]}, several)
    assert len(several.tok) == 2


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("Patient?phonetic:exact=x", UnsupportedModifier),
        ("Patient?phonetic:contains=x", UnsupportedModifier),
        ("Patient?_sort=phonetic", NotSupported),
        ("Patient?_filter=phonetic%20co%20x", NotSupported),
    ],
)
def test_refused(url: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        query(url)


async def test_what_has_no_word_is_refused(db: Harness) -> None:
    for value in ("%25", "-", "%20".join("abcdefghijklmnopqrstuvwxyz")):
        with pytest.raises(Invalid, match="words whose sound"):
            await db.ids(f"Patient?phonetic={value}")
