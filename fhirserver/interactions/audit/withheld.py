"""Whether consents are why somebody was told that there is nothing: who looks after them wants to know.

It is asked of an unknown id as of one that is withheld, in the same statement; what differs is the event.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql, table
from fhirserver.errors import NotFound
from fhirserver.interactions.audit import events
from fhirserver.interactions.audit.whose import owners_of
from fhirserver.interactions.call import Call
from fhirserver.interactions.searching import context_of
from fhirserver.policy.access import ACTION
from fhirserver.policy.audit import Happening
from fhirserver.policy.consent.asking import DOES
from fhirserver.policy.restriction import Nothing, is_about_patients
from fhirserver.search.consent import decisions
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
    found = Version.of(row)
    keys = call.services.keys
    patients = {
        keys.target("Patient", one.partition("/")[2]): one
        for one in owners_of(found.type, found.id, found.content)
    }
    denying: dict[str | None, list[str]] = defaultdict(list)
    for id_, whose in zip(row["consents"], row["whose"], strict=True):
        path, patient = f"Consent/{id_}", patients.get(whose)
        if path not in denying[patient]:
            denying[patient].append(path)
    return events.withheld(call, found, denying)


def _statement(call: Call) -> Fragment | None:
    """What finds the row that the call may do its action on if no consent denies it, and those that do."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if asking is None or isinstance(restriction, Nothing) or call.type is None or call.id is None:
        return None
    if not is_about_patients(call.type):
        return None
    context = context_of(replace(call, restriction=replace(restriction, asking=None)))
    action = ACTION.get(call.interaction, "s")
    denying = sql(
        "FROM {} d JOIN {} c ON c.rid = d.version WHERE NOT d.decided AND c.died IS NULL ORDER BY c.id",
        decisions(context.scope(call.type), asking, DOES[action]),
        table("Consent"),
    )
    return sql(
        "SELECT {}, ARRAY(SELECT c.id {}) AS consents, ARRAY(SELECT d.whose {}) AS whose FROM {} r"
        " WHERE r.tenant = {} AND r.id = {} AND r.died IS NULL AND {}",
        *(COLUMNS, denying, denying, table(call.type), call.services.tenant, call.id),
        permitted(context, call.type, action=action),
    )
