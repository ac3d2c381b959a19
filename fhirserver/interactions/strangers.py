"""Patients who are not here, named by what somebody writes where consents are enforced.

Who may not see a patient may write nothing about them either. That must not tell them from somebody who never
was: so nobody but who keeps consents writes about whom the server does not know. docs/explanation/consent.md
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.interactions.call import Call
from fhirserver.interactions.own import bound
from fhirserver.policy.restriction import is_about_patients

_WITHIN: Final = frozenset({"Bundle"})
"""Types whose references are about what they hold: documents and messages come from elsewhere."""


async def about_strangers(
    connection: Connection, call: Call, resource_type: str, ids: Iterable[str]
) -> set[tuple[str, str]]:
    """Those of the rows written in this transaction that have come to be about a Patient who is not here."""
    wanted = sorted(ids)
    if not wanted or bound(call) is None or resource_type in _WITHIN or not is_about_patients(resource_type):
        return set()
    tenant, rows, target = call.services.tenant, table(resource_type), call.services.keys.target
    before = sql("SELECT o.compartments FROM {} o WHERE o.tenant = {} AND o.id = r.id", rows, tenant)
    there = sql("SELECT FROM {} p WHERE p.tenant = {} AND p.died IS NULL", table("Patient"), tenant)
    text, args = sql(
        "SELECT r.id, r.compartments, ({} AND o.version = r.version - 1) AS before, m.ids FROM {} r"
        " CROSS JOIN LATERAL (SELECT array_agg(n.id) AS ids FROM ({}) n"
        " WHERE NOT EXISTS ({} AND p.id = n.id)) m"
        " WHERE r.tenant = {} AND r.id = any({}::text[]) AND r.died IS NULL AND m.ids IS NOT NULL"
        " AND r.born = pg_current_xact_id_if_assigned()",
        *(before, rows, _NAMED, there, tenant, wanted),
    ).numbered()
    return {
        (resource_type, row["id"])
        for row in await connection.fetch(text, *args)
        if {target("Patient", id_) for id_ in row["ids"]} & {*row["compartments"]} - {*(row["before"] or ())}
    }


_NAMED: Final = sql(
    "SELECT split_part(l #>> ARRAY[]::text[], '/', 2) AS id FROM"
    " jsonb_path_query(r.content, 'strict $.**.reference ? (@ starts with \"Patient/\")') l"
)
