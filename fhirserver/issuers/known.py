"""Whom an issuer means: the Person who has `iss|sub` as identifier, and the account of that Person.

Nobody becomes known by a claim such as an e-mail address, which its owner may choose: those who look after
this server write the identifier.
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import urlsplit

from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.people import accounts, persons, resources
from fhirserver.people.accounts import Account, LoginTaken


async def person(connection: Connection, services: Services, issuer: str, subject: str) -> Resource | None:
    """The one active Person with the identifier. None where there is none, and where two claim it."""
    found = [
        one
        for one in await persons.by_identifier(connection, services, issuer, subject)
        if one.get("active") is not False
    ]
    return found[0] if len(found) == 1 else None


async def of_reference(connection: Connection, services: Services, reference: str) -> Resource | None:
    """The active Person that a fhirUser means: itself, or the one that links to it."""
    for base in services.own_bases:
        reference = reference.removeprefix(f"{base}/")
    type_, _, id_ = reference.partition("/")
    if type_ == "Person":
        found = await resources.stored(connection, services, "Person", id_)
        return found if found is not None and found.get("active") is not False else None
    if type_ not in persons.RECORDS or not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", id_):
        return None
    return await persons.of_record(connection, services, reference)


async def account(
    connection: Connection, services: Services, person_id: str, issuer: str, subject: str
) -> Account:
    """The account of the Person; without one, one that has no password and so opens by the issuer alone."""
    found = await accounts.of_person(connection, services, person_id)
    if found is not None:
        return found
    host = urlsplit(issuer).netloc
    plain = re.sub(r"\s", "", subject)[:80].replace("@", ".")
    marked = sha256(f"{issuer}|{subject}".encode()).hexdigest()[:24]
    for login in (f"{host}|{plain}", f"{host}|{marked}"):
        try:
            number = await accounts.add(connection, services, login, person_id, None)
        except LoginTaken:
            # Taken, or made for the same Person at this moment.
            made = await accounts.of_person(connection, services, person_id)
        else:
            made = await accounts.get(connection, services, number)
        if made is not None:
            return made
    raise LoginTaken(f"there is no name left for Person/{person_id}")
