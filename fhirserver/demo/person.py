"""Who the invented patient is: name, birth, home, and the Patient resource."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from html import escape
from typing import Any

from fhirserver.demo.chance import Chance
from fhirserver.demo.chart import LAST_DAY, Chart
from fhirserver.demo.concepts import OWN, TERMINOLOGY, concept
from fhirserver.demo.hospitals import Hospital, digits
from fhirserver.demo.names import CULTURES, Culture

_AGES = ((0, 6), (6, 18), (18, 40), (40, 60), (60, 75), (75, 95))
_AGE_WEIGHTS = (8, 12, 24, 24, 20, 12)
_MARITAL = {"M": "Married", "S": "Never Married", "D": "Divorced", "W": "Widowed"}


@dataclass(frozen=True, slots=True)
class Person:
    """The facts from which the Patient and the course of life follow."""

    gender: str
    given: tuple[str, ...]
    family: str
    culture: Culture
    born: date
    last_day: date
    died: datetime | None

    @property
    def name(self) -> str:
        """The name as it is displayed."""
        return " ".join((*self.given, self.family))

    def age(self, day: date) -> float:
        """Age in years on that day."""
        return (day - self.born).days / 365.25


def draw(chance: Chance) -> Person:
    """A person of any age; of those over sixty some have died."""
    culture = chance.pick(CULTURES)
    youngest, oldest = chance.weighted(_AGES, _AGE_WEIGHTS)
    age = chance.between(youngest, oldest)
    female = chance.hit(0.51)
    first = culture.women if female else culture.men
    given = (chance.pick(first),)
    if chance.hit(0.25):
        second = chance.pick(first)
        given = given if second in given else (*given, second)
    born = LAST_DAY - timedelta(days=30 + int(age * 365.25))
    died: datetime | None = None
    if age > 60 and chance.hit((age - 55) / 160):
        day = LAST_DAY - timedelta(days=chance.below(4 * 365))
        died = datetime.combine(day, time(chance.below(24), chance.below(60)), culture.zone)
    gender = "female" if female else "male"
    if chance.hit(0.01):
        gender = "other"
    family = chance.pick(culture.families)
    return Person(gender, given, family, culture, born, died.date() if died else LAST_DAY, died)


def register(chart: Chart, person: Person, hospital: Hospital, number: str) -> str:
    """Files the Patient and makes it the subject of all that follows; returns its id."""
    chance = chart.chance
    culture = person.culture
    city, region = chance.pick(culture.cities)
    address: dict[str, Any] = {
        "use": "home",
        "line": [f"{1 + chance.below(180)} {chance.pick(culture.streets)}"],
        "city": city,
        "state": region,
        "postalCode": digits(chance, culture.postal),
        "country": culture.country,
    }
    id_ = chart.add(
        "Patient",
        text=_narrative(person, number),
        identifier=_identifiers(chance, person, number, hospital, chart),
        active=True,
        name=_names(chance, person),
        telecom=_telecom(chance, person, number),
        gender=person.gender,
        birthDate=person.born.isoformat(),
        deceasedDateTime=person.died.isoformat() if person.died else None,
        address=[address],
        maritalStatus=_marital(chance, person),
        communication=[
            {
                "language": concept("urn:ietf:bcp:47", culture.language, culture.language_name),
                "preferred": True,
            }
        ],
        generalPractitioner=[chart.share(hospital.doctors[0].practitioner, hospital.doctors[0].name)],
        managingOrganization=chart.share(hospital.organization, hospital.name),
    )
    chart.subject = chart.refer("Patient", id_, person.name)
    return id_


def _narrative(person: Person, number: str) -> dict[str, str]:
    text = f"{person.name}, {person.gender}, born {person.born.isoformat()}, record {number}"
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text)}</p></div>',
    }


def _names(chance: Chance, person: Person) -> list[dict[str, Any]]:
    official = {
        "use": "official",
        "text": person.name,
        "family": person.family,
        "given": list(person.given),
    }
    if person.gender == "female" and person.age(person.last_day) > 25 and chance.hit(0.3):
        return [official, {"use": "maiden", "family": chance.pick(person.culture.families)}]
    return [official]


def _identifiers(
    chance: Chance, person: Person, number: str, hospital: Hospital, chart: Chart
) -> list[dict[str, Any]]:
    return [
        {
            "use": "usual",
            "type": concept(TERMINOLOGY + "v2-0203", "MR", "Medical record number"),
            "system": OWN + "mrn",
            "value": number,
            "assigner": chart.share(hospital.organization, hospital.name),
        },
        {
            "use": "official",
            "type": concept(TERMINOLOGY + "v2-0203", "NI", "National unique individual identifier"),
            "system": f"{OWN}national-id/{person.culture.country.lower()}",
            "value": f"{person.born:%y%m%d}-{chance.below(10**8):08d}",
        },
    ]


def _telecom(chance: Chance, person: Person, number: str) -> list[dict[str, Any]]:
    phone = {
        "system": "phone",
        "value": digits(chance, person.culture.phone),
        "use": "mobile",
        "rank": 1,
    }
    if person.age(person.last_day) < 14:
        return [phone]
    return [phone, {"system": "email", "value": f"{number.lower()}@demo.example.org", "use": "home"}]


def _marital(chance: Chance, person: Person) -> dict[str, Any] | None:
    age = person.age(person.last_day)
    if age < 18:
        return None
    weights = (5, 4, 1, 0) if age < 60 else (6, 1, 1.5, 2)
    code = chance.weighted(tuple(_MARITAL), weights)
    return concept(TERMINOLOGY + "v3-MaritalStatus", code, _MARITAL[code])
