"""Who an account is: its Person, whom that links to, and which roles follow.

https://hl7.org/fhir/R4/person.html. Roles come from resources that the account's owner cannot write: the
codes of the Practitioner's active PractitionerRoles, a link to a Patient, a link to a RelatedPerson.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.people import resources
from fhirserver.policy.roles import roles

PATIENT_ROLE: Final = "patient"
RELATED_ROLE: Final = "related-person"
_LINKED: Final = ("Practitioner", "Patient", "RelatedPerson")
"""The first of these that the Person links to is the one who signs in: `fhirUser`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`user` is type and id of who is signed in; `own` the Patients whose record is theirs to see."""

    person: str
    name: str
    user: tuple[str, str]
    own: tuple[str, ...]
    roles: tuple[str, ...]


async def of_person(connection: Connection, services: Services, person_id: str) -> Identity | None:
    """The identity of a Person; None where there is none, or one who is not active.

    A link counts while what it leads to is there and active.
    """
    person = await resources.stored(connection, services, "Person", person_id)
    if person is None or person.get("active") is False:
        return None
    users: list[tuple[str, str]] = []
    own: list[str] = []
    held: list[str] = []
    for type_, ids in links_of(person).items():
        for id_ in ids:
            linked = await resources.stored(connection, services, type_, id_)
            if linked is None or not _is_current(linked):
                continue
            users.append((type_, id_))
            match type_:
                case "Practitioner":
                    held += await _practised(connection, services, f"{type_}/{id_}")
                case "Patient":
                    own.append(id_)
                    held.append(PATIENT_ROLE)
                case _:
                    own.append(linked["patient"].get("reference", "").removeprefix("Patient/"))
                    held.append(RELATED_ROLE)
    return Identity(
        person_id,
        name_of(person),
        users[0] if users else ("Person", person_id),
        tuple(dict.fromkeys(one for one in own if one and "/" not in one)),
        tuple(sorted(set(held))),
    )


def links_of(person: Resource) -> dict[str, list[str]]:
    """The ids that a Person links to, by type, in the order of `_LINKED`."""
    found: dict[str, list[str]] = {type_: [] for type_ in _LINKED}
    for link in person.get("link", ()):
        type_, _, id_ = link["target"].get("reference", "").partition("/")
        if type_ in found and id_ and "/" not in id_:
            found[type_].append(id_)
    return found


async def _practised(connection: Connection, services: Services, practitioner: str) -> list[str]:
    """The names of the roles that a Practitioner's PractitionerRoles carry as codes."""
    held = await resources.search(
        connection, services, "PractitionerRole", ("practitioner", practitioner), ("active", "true")
    )
    return [name for one in held if _is_current(one) for name in role_names(services, one)]


def role_names(services: Services, practised: Resource) -> list[str]:
    """The roles that the codes of a PractitionerRole mean, by the setting or by their names."""
    settings = services.settings
    names, known = _codes(settings.role_codes), _known(settings.roles)
    found: list[str] = []
    for coding in (coding for code in practised.get("code", ()) for coding in code.get("coding", ())):
        system, code = coding.get("system", ""), coding.get("code", "")
        name = names.get(f"{system}|{code}") or names.get(code) or code
        if name in known:
            found.append(name)
    return found


def configured(services: Services) -> frozenset[str]:
    """The names of all roles."""
    return _known(services.settings.roles)


@lru_cache(maxsize=8)
def _codes(text: str) -> Mapping[str, str]:
    return orjson.loads(text)


@lru_cache(maxsize=8)
def _known(text: str) -> frozenset[str]:
    return frozenset(roles(text))


def _is_current(resource: Resource) -> bool:
    """Whether it is active, and now lies within its period (whole days count to their end)."""
    now = datetime.now(UTC).isoformat()
    period = resource.get("period", {})
    start, end = period.get("start", ""), period.get("end")
    return (
        resource.get("active") is not False
        and start <= now[: len(start)]
        and (end is None or end >= now[: len(end)])
    )


def name_of(person: dict[str, Any]) -> str:
    """A name to greet somebody by."""
    name = next(iter(person.get("name", ())), {})
    return name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")]).strip() or "you"
