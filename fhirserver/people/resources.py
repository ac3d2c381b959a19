"""The FHIR resources that say who people are, read and written as the server itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Answer, Call, Services
from fhirserver.interactions.run import run
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.search.compile import versions_statement
from fhirserver.search.parse import parse
from fhirserver.store import read
from fhirserver.store.version import COLUMNS, Version


def _call(services: Services, interaction: str, type_: str, **more: Any) -> Call:
    return Call(services, interaction, services.settings.fhir_base, datetime.now(UTC), type=type_, **more)


async def stored(connection: Connection, services: Services, type_: str, id_: str) -> Resource | None:
    """The current version of a resource; None when there is none."""
    found = await read.latest(connection, services.tenant, type_, id_, TRUE)
    return None if found is None or found.deleted else found.resource()


async def search(
    connection: Connection, services: Services, type_: str, *params: tuple[str, str], count: int = 100
) -> list[Resource]:
    """Up to `count` resources that match, the newest first."""
    query = parse(services.registry, limits_of(services), type_, params)
    context = context_of(_call(services, "search", type_))
    text, args = versions_statement(query, context, COLUMNS, count).numbered()
    return [Version.of(record).resource() for record in await connection.fetch(text, *args)]


async def create(connection: Connection, services: Services, resource: Resource) -> Resource:
    """The resource as it was stored, with its id."""
    return _body(
        await run(connection, _call(services, "create", resource["resourceType"], resource=resource))
    )


async def update(connection: Connection, services: Services, resource: Resource) -> Resource:
    """A new version of a resource that was read here. Raises PreconditionFailed if it has changed since."""
    type_, id_ = resource["resourceType"], resource["id"]
    seen = f'W/"{resource["meta"]["versionId"]}"'
    call = _call(services, "update", type_, id=id_, resource=resource, if_match=seen)
    return _body(await run(connection, call))


def _body(answer: Answer) -> Resource:
    assert answer.body is not None
    return json.loads(answer.body)
