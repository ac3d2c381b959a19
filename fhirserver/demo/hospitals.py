"""Hospitals, wards and staff that all patients of one seed share."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from fhirserver.demo.chance import Chance
from fhirserver.demo.chart import Link, Resource
from fhirserver.demo.concepts import OWN, TERMINOLOGY, concept, snomed
from fhirserver.demo.names import CULTURES, Culture

SPECIALTIES = (
    ("394814009", "General practice"),
    ("394814009", "General practice"),
    ("394814009", "General practice"),
    ("394802001", "General medicine"),
    ("394579002", "Cardiology"),
    ("394583002", "Endocrinology"),
    ("418112009", "Pulmonary medicine"),
    ("773568002", "Emergency medicine"),
    ("394609007", "General surgery"),
)
_TITLES = ("Riverside", "Saint Brigid", "Northgate", "Lakeview", "Old Town", "Harbour")
_PLACES = (
    ("clinic", "Outpatient clinic", "OF", "Outpatient facility"),
    ("emergency", "Emergency department", "ER", "Emergency room"),
    ("ward", "Ward", "HU", "Hospital unit"),
)
_POSITIONS = {
    "US": (42.10, -72.59), "ES": (41.65, -0.89), "DE": (51.53, 9.93), "FR": (47.24, 6.02),
    "IT": (44.84, 11.62), "PL": (53.01, 18.60), "TR": (39.78, 30.52), "EG": (31.20, 29.92),
    "IN": (20.00, 73.78), "CN": (30.27, 120.16), "JP": (36.56, 136.66), "VN": (16.46, 107.59),
    "NG": (6.45, 7.50), "BR": (-27.60, -48.55), "SE": (58.41, 15.62), "UA": (49.59, 34.55),
}  # fmt: skip
"""Latitude and longitude, in degrees, of the first city of each culture."""


@dataclass(frozen=True, slots=True)
class Doctor:
    """A practitioner at one hospital in one role."""

    name: str
    specialty: str
    practitioner: Resource
    role: Resource


@dataclass(frozen=True, slots=True)
class Hospital:
    """An organization with its places (clinic, emergency, ward) and doctors."""

    name: str
    organization: Resource
    places: dict[str, Resource]
    doctors: tuple[Doctor, ...]

    def doctor(self, specialty: str) -> Doctor:
        """The first doctor of the specialty, else a general practitioner."""
        return next((doctor for doctor in self.doctors if doctor.specialty == specialty), self.doctors[0])


@lru_cache(maxsize=16)
def hospitals(seed: int, link: Link) -> tuple[Hospital, ...]:
    """The hospitals of a seed, with their references written by `link`."""
    chance = Chance(f"directory/{seed}")
    return tuple(_hospital(chance, link, seed, number, title) for number, title in enumerate(_TITLES))


def resources(seed: int, link: Link) -> list[Resource]:
    """All resources of the directory in an order in which each refers only to earlier ones."""
    return [
        resource
        for hospital in hospitals(seed, link)
        for resource in (
            hospital.organization,
            *hospital.places.values(),
            *(doctor.practitioner for doctor in hospital.doctors),
            *(doctor.role for doctor in hospital.doctors),
        )
    ]


def _hospital(chance: Chance, link: Link, seed: int, number: int, title: str) -> Hospital:
    culture = CULTURES[(number * 3 + seed) % len(CULTURES)]
    city, region = culture.cities[0]
    name = f"{title} Hospital, {city}"
    code = f"{seed}-{number}"
    address = {
        "use": "work",
        "line": [f"{1 + chance.below(200)} {chance.pick(culture.streets)}"],
        "city": city,
        "state": region,
        "postalCode": digits(chance, culture.postal),
        "country": culture.country,
    }
    phone = [{"system": "phone", "value": digits(chance, culture.phone), "use": "work"}]
    organization: Resource = {
        "resourceType": "Organization",
        "id": f"demo-{code}",
        "identifier": _identifier("organization", code),
        "active": True,
        "type": [concept(TERMINOLOGY + "organization-type", "prov", "Healthcare Provider")],
        "name": name,
        "telecom": phone,
        "address": [address],
    }
    places = {
        key: _place(chance, link, organization, key, display, (role, meaning))
        for key, display, role, meaning in _PLACES
    }
    doctors = tuple(
        _doctor(chance, link, culture, organization, places["clinic"], rank)
        for rank in range(len(SPECIALTIES))
    )
    return Hospital(name, organization, places, doctors)


def _identifier(kind: str, value: str) -> list[dict[str, str]]:
    return [{"use": "official", "system": f"{OWN}{kind}-number", "value": value}]


def _place(
    chance: Chance, link: Link, organization: Resource, key: str, display: str, role: tuple[str, str]
) -> Resource:
    code = f"{organization['identifier'][0]['value']}-{key}"
    latitude, longitude = _POSITIONS[organization["address"][0]["country"]]
    return {
        "resourceType": "Location",
        "id": f"demo-{code}",
        "identifier": _identifier("location", code),
        "status": "active",
        "name": f"{display}, {organization['name']}",
        "mode": "instance",
        "type": [concept(TERMINOLOGY + "v3-RoleCode", *role)],
        "telecom": organization["telecom"],
        "address": organization["address"][0],
        "position": {
            "longitude": _degrees(longitude + chance.between(-0.02, 0.02)),
            "latitude": _degrees(latitude + chance.between(-0.02, 0.02)),
        },
        "managingOrganization": {
            "reference": link("Organization", organization["id"]),
            "display": organization["name"],
        },
    }


def _degrees(value: float) -> Decimal:
    return Decimal(f"{value:.4f}")


def _doctor(
    chance: Chance, link: Link, culture: Culture, organization: Resource, clinic: Resource, rank: int
) -> Doctor:
    code = f"{organization['identifier'][0]['value']}-{rank}"
    gender, given = (
        ("female", chance.pick(culture.women)) if chance.hit(0.5) else ("male", chance.pick(culture.men))
    )
    family = chance.pick(culture.families)
    name = f"Dr. {given} {family}"
    specialty_code, specialty = SPECIALTIES[rank]
    practitioner: Resource = {
        "resourceType": "Practitioner",
        "id": f"demo-{code}",
        "identifier": _identifier("practitioner", code),
        "active": True,
        "name": [{"use": "official", "text": name, "family": family, "given": [given], "prefix": ["Dr."]}],
        "telecom": [{"system": "email", "value": f"doctor.{code}@demo.example.org", "use": "work"}],
        "address": organization["address"],
        "gender": gender,
        "qualification": [{"code": concept(TERMINOLOGY + "v2-0360", "MD", "Doctor of Medicine")}],
    }
    role: Resource = {
        "resourceType": "PractitionerRole",
        "id": f"demo-{code}",
        "identifier": _identifier("role", code),
        "active": True,
        "practitioner": {"reference": link("Practitioner", practitioner["id"]), "display": name},
        "organization": {
            "reference": link("Organization", organization["id"]),
            "display": organization["name"],
        },
        "code": [concept(TERMINOLOGY + "practitioner-role", "doctor", "Doctor")],
        "specialty": [snomed(specialty_code, specialty)],
        "location": [{"reference": link("Location", clinic["id"]), "display": clinic["name"]}],
        "telecom": organization["telecom"],
    }
    return Doctor(name, specialty, practitioner, role)


def digits(chance: Chance, pattern: str) -> str:
    """The pattern with every `#` replaced by a digit."""
    return "".join(str(chance.below(10)) if letter == "#" else letter for letter in pattern)
