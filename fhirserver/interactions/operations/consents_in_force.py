"""Patient/[id]/$active-consents and Consent/$expiring: searches of Consents by their rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE, Fragment, sql, table
from fhirserver.errors import NotFound
from fhirserver.fhir.dates import DATE_MAX, micros
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import SHAPING, Inputs
from fhirserver.interactions.search import search
from fhirserver.interactions.searching import allowed, limits_of
from fhirserver.policy.restriction import keeping
from fhirserver.store import read

DAYS: Final = 30
_DAY: Final = 86_400_000_000


async def active_consents(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset. Raises NotFound for a patient whom the caller does not see, unless they keep
    consents: those of who hides from them as well."""
    tenant, id_ = call.services.tenant, call.resource_id
    seen = allowed(replace(call, restriction=keeping(call.restriction)), "s")
    if await read.latest(connection, tenant, "Patient", id_, seen) is None:
        raise NotFound(f"Patient/{id_} is not known")
    whose = sql("k.patient = {}", call.services.keys.target("Patient", id_))
    return await _found(connection, call, whose, DATE_MAX)


async def expiring(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset."""
    days = inputs.one("days") or DAYS
    return await _found(connection, call, TRUE, micros(call.now) + days * _DAY)


async def _found(connection: Connection, call: Call, whose: Fragment, until: int) -> Answer:
    """Those in force now that the caller sees; of those that end before `until`, if that is a time.

    The link to the answer names what is found here: what is hidden must not be among it.
    """
    now = micros(call.now)
    call = replace(call, interaction="search", operation=None, type="Consent", id=None, path="Consent")
    text, args = sql(
        "SELECT r.id FROM consent_rule k JOIN {} r ON r.rid = k.rid WHERE k.node = 0 AND k.tenant = {}"
        " AND r.died IS NULL AND {} AND k.starts <= {} AND k.ends > {} AND k.ends <= {} AND {}"
        " ORDER BY k.ends, r.id LIMIT {}",
        *(table("Consent"), call.services.tenant, whose, now, now, until, allowed(call, "s")),
        limits_of(call.services).or_values_max,
    ).numbered()
    ids = [record[0] for record in await connection.fetch(text, *args)]
    shaping = [pair for pair in call.query if pair[0] in SHAPING]
    return await search(connection, replace(call, query=(("_id", ",".join(ids) or "-"), *shaping)))
