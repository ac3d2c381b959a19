"""`phonetic`: https://hl7.org/fhir/R4/patient.html#search"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fhirserver.errors import FhirError, Invalid, NotSupported
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.phonetic import sounds
from tests.db.search.harness import Harness, harness, query

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
