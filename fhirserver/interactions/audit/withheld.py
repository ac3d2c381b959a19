"""Whether consents are why somebody was told that there is nothing: who looks after them wants to know.

It is asked of an unknown id as of one that is withheld, so the answer takes no longer for either.
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.db.sql import sql, table
from fhirserver.errors import NotFound
from fhirserver.interactions.audit import events
from fhirserver.interactions.call import Call
from fhirserver.interactions.searching import context_of
from fhirserver.policy.access import ACTION
from fhirserver.policy.audit import Happening
from fhirserver.policy.consent.asking import DOES
from fhirserver.policy.restriction import Nothing, is_about_patients
from fhirserver.search.consent import decisions
from fhirserver.search.restrict import permitted
from fhirserver.store.version import COLUMNS, Version


async def by_consent(call: Call, error: Exception) -> list[Happening]:
    """The events of a refusal for which consents are the reason; none for any other."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if not isinstance(error, NotFound) or asking is None or call.type is None or call.id is None:
        return []
    if isinstance(restriction, Nothing) or not is_about_patients(call.type):
        return []
    context = context_of(replace(call, restriction=replace(restriction, asking=None)))
    action = ACTION.get(call.interaction, "s")
    denying = sql(
        "ARRAY(SELECT c.id FROM {} d JOIN {} c ON c.rid = d.version"
        " WHERE NOT d.decided AND c.died IS NULL ORDER BY c.id)",
        decisions(context.scope(call.type), asking, DOES[action]),
        table("Consent"),
    )
    text, args = sql(
        "SELECT {}, {} AS consents FROM {} r WHERE r.tenant = {} AND r.id = {} AND r.died IS NULL AND {}",
        *(COLUMNS, denying, table(call.type), call.services.tenant, call.id),
        permitted(context, call.type, action=action),
    ).numbered()
    async with call.services.pool.acquire() as connection:
        row = await connection.fetchrow(text, *args)
    if row is None:
        return []
    return events.withheld(call, Version.of(row), [f"Consent/{id_}" for id_ in row["consents"]])
