"""Who an account is: its Person, whom that links to, and which roles follow.

https://hl7.org/fhir/R4/person.html. Roles come from resources that the account's owner cannot write: the
codes of the Practitioner's active PractitionerRoles, a link to a Patient, a link to a RelatedPerson.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.people import resources
from fhirserver.policy.roles import roles as configured_roles

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
    """The identity of a Person; None where there is none, or one who is not active."""
    person = await resources.stored(connection, services, "Person", person_id)
    if person is None or person.get("active") is False:
        return None
    links = _links(person)
    user = next((links[type_][0] for type_ in _LINKED if links[type_]), ("Person", person_id))
    own = [id_ for _, id_ in links["Patient"]]
    roles = [PATIENT_ROLE] if own else []
    for _, id_ in links["RelatedPerson"]:
        related = await resources.stored(connection, services, "RelatedPerson", id_)
        if related is not None and related.get("active") is not False:
            own.append(related["patient"].get("reference", "").removeprefix("Patient/"))
            roles.append(RELATED_ROLE)
    for type_, id_ in links["Practitioner"]:
        roles += await _practised(connection, services, f"{type_}/{id_}")
    return Identity(
        person_id,
        _name(person),
        user,
        tuple(dict.fromkeys(one for one in own if one)),
        tuple(dict.fromkeys(roles)),
    )


def _links(person: Resource) -> dict[str, list[tuple[str, str]]]:
    """The ids that a Person links to, by type."""
    found: dict[str, list[tuple[str, str]]] = {type_: [] for type_ in _LINKED}
    for link in person.get("link", ()):
        type_, _, id_ = link["target"].get("reference", "").partition("/")
        if type_ in found and id_ and "/" not in id_:
            found[type_].append((type_, id_))
    return found


async def _practised(connection: Connection, services: Services, practitioner: str) -> list[str]:
    """The names of the roles that a Practitioner's active PractitionerRoles carry as codes."""
    held = await resources.search(
        connection, services, "PractitionerRole", ("practitioner", practitioner), ("active", "true")
    )
    known = configured_roles(services.settings.roles)
    names: dict[str, str] = orjson.loads(services.settings.role_codes)
    found: list[str] = []
    for one in held:
        for coding in (coding for code in one.get("code", ()) for coding in code.get("coding", ())):
            system, code = coding.get("system", ""), coding.get("code", "")
            name = names.get(f"{system}|{code}") or names.get(code) or code
            if name in known:
                found.append(name)
    return found


def _name(person: dict[str, Any]) -> str:
    name = next(iter(person.get("name", ())), {})
    return name.get("text") or " ".join([*name.get("given", ()), name.get("family", "")]).strip() or "you"
