"""Invitations: codes with which somebody who is known here makes their own account.

A code belongs to a Person, or to a Patient or RelatedPerson whose Person is made when it is used. Where the
setting `join` allows it, a patient gets one by naming an identifier of their record: it is sent to the e-mail
address that stands there, so knowing or guessing identifiers opens nothing.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.people import accounts, attempts, mail, once, persons, resources
from fhirserver.people.identity import name_of
from fhirserver.people.places import address

KIND: Final = "invitation"
LIFETIME_S: Final = 7 * 86_400
SUBJECT: Final = "Your invitation"
TEXT: Final = (
    "You are invited to make an account with which you see the health record that is kept here about you.\n"
    "This link is good once and for a week. If you did not expect it, there is nothing to do."
)


class Taken(ValueError):
    """The record has an account already."""


async def invite(connection: Connection, services: Services, reference: str) -> str:
    """The code for a record (`Patient/1`) or a Person (`Person/1`); those before it are useless now.

    Raises Taken, ValueError.
    """
    type_, _, id_ = reference.partition("/")
    if type_ == "Person":
        person = await resources.stored(connection, services, "Person", id_)
        if person is None:
            raise ValueError(f"there is no {reference}")
    else:
        await persons.record(connection, services, reference)
        person = await persons.of_record(connection, services, reference)
    if person is not None and await accounts.of_person(connection, services, person["id"]):
        raise Taken(f"{reference} has an account already")
    value = {"for": reference}
    async with connection.transaction():
        await once.drop(connection, services, KIND, value)
        return await once.put(connection, services, KIND, value, LIFETIME_S)


def link(services: Services, code: str) -> str:
    return address(services, f"join/{code}")


async def subject(connection: Connection, services: Services, code: str) -> str | None:
    """The name of whom an unused code invites; None for any other code."""
    value = await once.look(connection, services, KIND, code)
    if value is None:
        return None
    type_, _, id_ = value["for"].partition("/")
    found = await resources.stored(connection, services, type_, id_)
    return name_of(found) if found is not None and found.get("active") is not False else None


async def accept(
    connection: Connection, services: Services, code: str, login: str, password: str
) -> int | None:
    """The number of the account that was made with a code, which is used up; None if it was, or is too old.

    `password` is a hash. Raises accounts.LoginTaken and ValueError, with the code as good as before.
    """
    async with connection.transaction():
        value = await once.take(connection, services, KIND, code)
        if value is None:
            return None
        reference: str = value["for"]
        if reference.startswith("Person/"):
            person_id = reference.removeprefix("Person/")
        else:
            person_id = (await persons.for_record(connection, services, reference))["id"]
        return await accounts.add(connection, services, login, person_id, password)


async def claim(services: Services, system: str, value: str, family: str, born: str) -> None:
    """Send an invitation to the patient of exactly these details, if there is one with an e-mail address and
    without an account. The caller learns nothing, nor does who asks again and again."""
    if services.settings.join != "identifiers" or system not in services.settings.join_systems:
        return
    if not value or len(value) > 200 or set("|,\\$") & set(value):
        return
    async with services.pool.acquire() as connection:
        found = await _patient(connection, services, f"{system}|{value}", family, born)
        to = persons.e_mail(found) if found is not None else None
        if found is None or to is None:
            return
        try:
            code = await invite(connection, services, f"Patient/{found['id']}")
        except Taken:
            return
    await mail.send(services, to, SUBJECT, TEXT, link(services, code))


async def _patient(
    connection: Connection, services: Services, identifier: str, family: str, born: str
) -> Resource | None:
    """The one active Patient with the identifier, if family name and birth date are right as well."""
    try:
        await attempts.count(connection, services, "claim", identifier)
    except attempts.TooMany:
        return None
    found = await resources.search(connection, services, "Patient", ("identifier", identifier))
    right = len(found) == 1 and found[0].get("active") is not False and _is_of(found[0], family, born)
    return found[0] if right else None


def _is_of(patient: Resource, family: str, born: str) -> bool:
    names: list[dict[str, Any]] = patient.get("name", [])
    families = {" ".join(name.get("family", "").split()).casefold() for name in names} - {""}
    wanted = " ".join(family.split()).casefold()
    return wanted in families and len(born) == 10 and patient.get("birthDate") == born
