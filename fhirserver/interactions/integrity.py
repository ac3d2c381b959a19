"""Referential integrity, by setting: https://hl7.org/fhir/R4/http.html#integrity

With it on, every literal reference must name a resource that exists, and a resource that another one
refers to cannot be deleted. Writers hold share locks on what they refer to, so that neither can
happen behind the other's back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.errors import Conflict, Issue, Unprocessable
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.links import holders, path_of
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import ENDPOINT_TYPES, Resource
from fhirserver.interactions.call import Call
from fhirserver.store.version import Draft

NAMED_MAX = 5


def reference_keys(keys: Keys, own_bases: tuple[str, ...], resource: Resource) -> set[int]:
    """Index keys of all literal references of `resource`, whether or not a search parameter covers them."""
    found = set()
    for holder in holders(resource):
        reference = parse(holder["reference"], own_bases)
        if reference.is_local and reference.type and reference.id:
            found.add(keys.of("referenced") ^ keys.target(reference.type, reference.id))
    return found


async def verify_targets(connection: Connection, call: Call, drafts: Sequence[Draft]) -> None:
    """Raise Unprocessable naming each reference whose target does not exist."""
    if not call.services.settings.referential_integrity:
        return
    wanted: dict[str, set[str]] = defaultdict(set)
    named: list[tuple[str, str, str]] = []
    for draft in drafts:
        body = draft.stored(call.now).resource()
        for holder in holders(body):
            reference = parse(holder["reference"], call.services.own_bases)
            if reference.is_local and reference.type in ENDPOINT_TYPES and reference.id:
                wanted[reference.type].add(reference.id)
                named.append((reference.type, reference.id, path_of(body, holder)))
    there = {(draft.type, draft.id) for draft in drafts}
    for resource_type in sorted(wanted):
        there |= {(resource_type, id_) for id_ in await _existing(connection, call, resource_type, wanted)}
    issues = [
        Issue("error", "not-found", f"{type_}/{id_} does not exist on this server", path)
        for type_, id_, path in named
        if (type_, id_) not in there
    ]
    if issues:
        raise Unprocessable(issues=issues)


async def _existing(
    connection: Connection, call: Call, resource_type: str, wanted: dict[str, set[str]]
) -> list[str]:
    text, args = sql(
        "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = ANY ({}::text[]) AND r.died IS NULL"
        " ORDER BY r.id FOR SHARE",
        table(resource_type),
        call.services.tenant,
        sorted(wanted[resource_type]),
    ).numbered()
    records = await connection.fetch(text, *args)
    return [record[0] for record in records]


async def verify_unreferenced(connection: Connection, call: Call, deleted: Sequence[tuple[str, str]]) -> None:
    """Raise Conflict if a resource still refers to one of those deleted in this transaction."""
    if not call.services.settings.referential_integrity:
        return
    keys = call.services.keys
    for resource_type, id_ in deleted:
        records = await connection.fetch(
            "SELECT r.type, r.id FROM tok t JOIN resource r ON r.rid = t.rid AND r.died IS NULL"
            " WHERE t.key = $1 AND (r.type <> $2 OR r.id <> $3) LIMIT $4",
            keys.of("referenced") ^ keys.target(resource_type, id_),
            resource_type,
            id_,
            NAMED_MAX,
        )
        if records:
            others = ", ".join(f"{record[0]}/{record[1]}" for record in records)
            raise Conflict(f"{resource_type}/{id_} is referred to by {others}", resource_type)
