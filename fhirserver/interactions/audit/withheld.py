"""Whether consents are why somebody was told that there is nothing: who looks after them wants to know.

It is asked of an unknown id as of one that is withheld, in the same statement; what differs is the event.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql, table
from fhirserver.errors import NotFound
from fhirserver.interactions.audit import events
from fhirserver.interactions.call import Call
from fhirserver.interactions.searching import context_of
from fhirserver.policy.access import ACTION
from fhirserver.policy.audit import Happening
from fhirserver.policy.consent.asking import DOES
from fhirserver.policy.restriction import FOLLOWING, Nothing, may_be_hidden
from fhirserver.search.consent import decisions
from fhirserver.search.context import ROW
from fhirserver.search.restrict import permitted
from fhirserver.store.version import COLUMNS, Version


async def by_consent(call: Call, error: Exception, connection: Connection | None = None) -> list[Happening]:
    """The events of a refusal for which consents are the reason; none for any other. Without a connection
    it takes one."""
    statement = _statement(call) if isinstance(error, NotFound) else None
    if statement is None:
        return []
    text, args = statement.numbered()
    if connection is not None:
        row = await connection.fetchrow(text, *args)
    else:
        async with call.services.pool.acquire() as own:
            row = await own.fetchrow(text, *args)
    if row is None:
        return []
    denying: dict[str | None, list[str]] = defaultdict(list)
    for id_, whose in zip(row["consents"], row["whose"], strict=True):
        path, patient = f"Consent/{id_}", None if whose is None else f"Patient/{whose}"
        if path not in denying[patient]:
            denying[patient].append(path)
    return events.withheld(call, Version.of(row), denying)


def _statement(call: Call) -> Fragment | None:
    """What finds the row that the call may do its action on if no consent denies it, and those that do, with
    the ids of whose they are; for one that follows another, that one."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if asking is None or isinstance(restriction, Nothing) or call.type is None or call.id is None:
        return None
    if not may_be_hidden(call.type):
        return None
    context = context_of(replace(call, restriction=replace(restriction, asking=None)))
    action, tenant, follows = ACTION.get(call.interaction, "s"), context.tenant, call.type in FOLLOWING
    scope = context.scope("Resource" if follows else call.type)
    denying = sql(
        "FROM {} d JOIN {} c ON c.rid = d.version WHERE NOT d.decided AND c.died IS NULL ORDER BY c.id",
        decisions(scope, asking, DOES[action], follows),
        table("Consent"),
    )
    whose = sql(
        "(SELECT p.id FROM {} p WHERE p.tenant = {} AND p.idk = d.whose LIMIT 1)", table("Patient"), tenant
    )
    row, rows = (_ASKED, _followed(call.type, tenant)) if follows else (ROW, sql("{} r", table(call.type)))
    return sql(
        "SELECT {}, ARRAY(SELECT c.id {}) AS consents, ARRAY(SELECT {} {}) AS whose FROM {}"
        " WHERE {}.tenant = {} AND {}.id = {} AND {}.died IS NULL AND {}",
        *(COLUMNS, denying, whose, denying, rows, row, tenant, row, call.id, row),
        permitted(context, call.type, row, action),
    )


_ASKED: Final = sql("asked")


def _followed(type_: str, tenant: int) -> Fragment:
    """Rows that follow another one, each with the one that decides about it."""
    return sql(
        "{} asked JOIN resource r ON r.idk = asked.compartments[1] AND r.tenant = {} AND r.died IS NULL"
        " AND r.type <> all({}::text[])",
        *(table(type_), tenant, sorted(FOLLOWING)),
    )
