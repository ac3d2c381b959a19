"""What somebody who signs in may see, searched as every search is: under their restriction."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden
from fhirserver.fhir.reference import is_id
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Call
from fhirserver.interactions.permission import under_consent
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.oauth.context import Server
from fhirserver.people.identity import Identity
from fhirserver.policy.access import decide
from fhirserver.policy.principal import Principal
from fhirserver.policy.scopes import parse_all
from fhirserver.search.compile import versions_statement
from fhirserver.search.parse import parse
from fhirserver.store.version import COLUMNS, Version

_DATE: Final = re.compile(r"\d{4}-\d{2}(?:-\d{2})?")
WORDS_MAX: Final = 8


def principal_of(server: Server, who: Identity) -> Principal:
    """A person as a caller who was granted to look for patients and their visits."""
    return Principal(
        id=f"{server.tenant}|{who.person}",
        scopes=parse_all(("user/Patient.rs", "user/Encounter.rs")),
        user=who.user,
        own=who.own,
        roles=tuple(server.roles[name] for name in who.roles if name in server.roles),
    )


async def found(
    connection: Connection,
    server: Server,
    who: Identity,
    resource_type: str,
    *params: tuple[str, str],
    count: int,
) -> list[Resource]:
    """Up to `count` resources that match and that the person may see, in the type's own order."""
    services = server.services
    call = Call(services, "search", server.base, datetime.now(UTC), type=resource_type)
    try:
        call.principal = principal_of(server, who)
        call.restriction = under_consent(call, decide(call.principal, resource_type, "s"))
    except Forbidden:
        return []
    query = parse(services.registry, limits_of(services), resource_type, params)
    text, args = versions_statement(query, context_of(call), COLUMNS, count).numbered()
    return [Version.of(record).resource() for record in await connection.fetch(text, *args)]


async def patient(connection: Connection, server: Server, who: Identity, id_: str) -> Resource | None:
    """The patient of this id, whom the person may see. `_id` as such takes several, and none if empty."""
    if not is_id(id_):
        return None
    seen = await found(connection, server, who, "Patient", ("_id", id_), count=1)
    return seen[0] if seen else None


async def is_visit_of(
    connection: Connection, server: Server, who: Identity, encounter_id: str, patient_id: str
) -> bool:
    """Whether an encounter that the person may see is one of the patient's."""
    params = ("_id", encounter_id), ("subject", f"Patient/{patient_id}")
    return bool(await found(connection, server, who, "Encounter", *params, count=1))


async def patients(
    connection: Connection, server: Server, who: Identity, words: str, count: int
) -> list[Resource]:
    """Patients by words of their names, a birth date (YYYY-MM-DD), or an identifier."""
    params: list[tuple[str, str]] = []
    for word in words.split()[:WORDS_MAX]:
        if _DATE.fullmatch(word):
            params.append(("birthdate", word))
        elif any(char.isdigit() for char in word):
            params.append(("identifier", _escaped(word)))
        else:
            params.append(("name", _escaped(word)))
    return await found(connection, server, who, "Patient", *params, count=count)


async def encounters(
    connection: Connection, server: Server, who: Identity, patient_id: str, count: int
) -> list[Resource]:
    """The visits of a patient, the latest first."""
    return await found(
        connection, server, who, "Encounter", ("subject", f"Patient/{patient_id}"), count=count
    )


def _escaped(word: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return re.sub(r"([\\,$|])", r"\\\1", word)


def name_of(resource: Resource) -> str:
    """A person's name as one says it."""
    names = resource.get("name") or [{}]
    name = next((one for one in names if one.get("use") in (None, "official", "usual")), names[0])
    given = " ".join(str(part) for part in name.get("given", ()) if part)
    return name.get("text") or f"{given} {name.get('family', '')}".strip() or "without a name"


def visit_of(encounter: Resource) -> str:
    """A visit in a few words: when, and what kind."""
    kinds = encounter.get("type") or [{}]
    codings = kinds[0].get("coding") or [{}]
    kind = kinds[0].get("text") or codings[0].get("display") or encounter["class"].get("display") or "visit"
    start = encounter.get("period", {}).get("start", "")[:10]
    return f"{start} {kind}".strip()
