"""People as FHIR resources: a Person, whom it links to, and the roles that follow.

https://hl7.org/fhir/R4/person.html, https://hl7.org/fhir/R4/practitionerrole.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.people import resources
from fhirserver.people.identity import links_of, role_names

RECORDS: Final = ("Patient", "Practitioner", "RelatedPerson")
_REFERENCE: Final = re.compile(r"(Patient|Practitioner|RelatedPerson)/([A-Za-z0-9.-]{1,64})")
_NAME_PARTS: Final = ("family", "given", "prefix", "suffix", "text")


def human_name(text: str) -> dict[str, Any]:
    """HumanName of a name as it is spoken: the last word is the family name."""
    words = text.split()
    parts: dict[str, Any] = {"text": " ".join(words)}
    if words:
        parts["family"] = words[-1]
    if words[:-1]:
        parts["given"] = words[:-1]
    return parts


def e_mail(resource: Resource) -> str | None:
    """The first e-mail address of a resource that is in use."""
    return next(
        (
            point["value"]
            for point in resource.get("telecom", ())
            if point.get("system") == "email" and point.get("use") != "old" and point.get("value")
        ),
        None,
    )


async def record(connection: Connection, services: Services, reference: str) -> Resource:
    """The Patient, Practitioner or RelatedPerson. Raises ValueError, saying what is wrong."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ValueError(f"{reference[:80]!r} is not Patient/id, Practitioner/id or RelatedPerson/id")
    resource = await resources.stored(connection, services, found[1], found[2])
    if resource is None:
        raise ValueError(f"there is no {reference}")
    return resource


async def create(
    connection: Connection,
    services: Services,
    names: Sequence[dict[str, Any]],
    email: str | None = None,
    links: Sequence[str] = (),
) -> Resource:
    """A Person, linked to records that are there."""
    person: Resource = {"resourceType": "Person", "active": True}
    if names:
        person["name"] = list(names)
    if email is not None:
        person["telecom"] = [{"system": "email", "value": email}]
    if links:
        person["link"] = [{"target": {"reference": reference}} for reference in links]
    return await resources.create(connection, services, person)


async def of_record(connection: Connection, services: Services, reference: str) -> Resource | None:
    """The active Person that links to a record."""
    found = await resources.search(connection, services, "Person", ("link", reference))
    return next((person for person in found if person.get("active") is not False), None)


async def for_record(connection: Connection, services: Services, reference: str) -> Resource:
    """The Person that links to a record; made of it where there is none. Raises ValueError."""
    source = await record(connection, services, reference)
    found = await of_record(connection, services, reference)
    if found is not None:
        return found
    names = [{part: name[part] for part in _NAME_PARTS if part in name} for name in _names(source)[:1]]
    return await create(connection, services, names, e_mail(source), [reference])


def _names(resource: Resource) -> list[dict[str, Any]]:
    """The names in use, the official one first."""
    names = [name for name in resource.get("name", ()) if name.get("use") not in ("old", "maiden")]
    return sorted(names, key=lambda name: name.get("use") != "official")


async def set_active(connection: Connection, services: Services, person_id: str, active: bool) -> None:
    """A new version of the Person; the database ends what a Person that is not active may not have."""
    person = await _person(connection, services, person_id)
    await resources.update(connection, services, person | {"active": active})


async def by_identifier(
    connection: Connection, services: Services, system: str, value: str
) -> list[Resource]:
    """The Persons with exactly this identifier, active or not."""
    escaped = "|".join(re.sub(r"([\\,$|])", r"\\\1", part) for part in (system, value))
    found = await resources.search(connection, services, "Person", ("identifier", escaped))
    return [
        one
        for one in found
        if any((i.get("system"), i.get("value")) == (system, value) for i in one.get("identifier", ()))
    ]


async def identify(
    connection: Connection, services: Services, person_id: str, system: str, value: str
) -> None:
    """Give a Person an identifier. Raises ValueError where another one has it."""
    found = await by_identifier(connection, services, system, value)
    if any(one["id"] == person_id for one in found):
        return
    if found:
        raise ValueError(f"Person/{found[0]['id']} has that identifier already")
    person = await _person(connection, services, person_id)
    identifiers = [*person.get("identifier", ()), {"system": system, "value": value}]
    await resources.update(connection, services, person | {"identifier": identifiers})


async def _person(connection: Connection, services: Services, person_id: str) -> Resource:
    person = await resources.stored(connection, services, "Person", person_id)
    if person is None:
        raise ValueError(f"Person/{person_id} was deleted")
    return person


async def practitioner_of(connection: Connection, services: Services, person_id: str) -> str:
    """Reference to the Practitioner of a Person; made of it where there is none. Raises ValueError."""
    person = await _person(connection, services, person_id)
    if linked := links_of(person)["Practitioner"]:
        return f"Practitioner/{linked[0]}"
    made: Resource = {"resourceType": "Practitioner", "active": True}
    made |= {part: person[part] for part in ("name", "telecom") if part in person}
    reference = f"Practitioner/{(await resources.create(connection, services, made))['id']}"
    links = [*person.get("link", ()), {"target": {"reference": reference}}]
    await resources.update(connection, services, person | {"link": links})
    return reference


async def give_role(connection: Connection, services: Services, person_id: str, role: str) -> bool:
    """A PractitionerRole with the role as its code; False if there is one."""
    practitioner = await practitioner_of(connection, services, person_id)
    held = await _roles(connection, services, practitioner)
    if any(role in role_names(services, one) for one in held):
        return False
    made: Resource = {
        "resourceType": "PractitionerRole",
        "active": True,
        "practitioner": {"reference": practitioner},
        "code": [{"coding": [{"code": role}], "text": role}],
    }
    await resources.create(connection, services, made)
    return True


async def take_role(connection: Connection, services: Services, person_id: str, role: str) -> bool:
    """The PractitionerRoles that give the role are active no more; False if there was none."""
    person = await _person(connection, services, person_id)
    taken = False
    for id_ in links_of(person)["Practitioner"]:
        for one in await _roles(connection, services, f"Practitioner/{id_}"):
            if role in role_names(services, one):
                await resources.update(connection, services, one | {"active": False})
                taken = True
    return taken


async def _roles(connection: Connection, services: Services, practitioner: str) -> list[Resource]:
    return await resources.search(
        connection, services, "PractitionerRole", ("practitioner", practitioner), ("active", "true")
    )
