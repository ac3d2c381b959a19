"""Referential integrity, by setting: https://hl7.org/fhir/R4/http.html#integrity

With it on, every literal reference must name a resource that exists, and a resource that another one
refers to cannot be deleted. Writers hold share locks on what they refer to, so that neither can
happen behind the other's back.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from fhirserver.db.pool import Connection
from fhirserver.db.sql import EMPTY, Fragment, sql, table
from fhirserver.errors import Conflict, Invalid, Issue, Unprocessable
from fhirserver.fhir.links import holders, path_of
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Call
from fhirserver.params import referenced
from fhirserver.store.version import Draft
from fhirserver.store.write import waiting

NAMED_MAX = 5
_SEARCH = re.compile(r'"reference":"[^"?]*\?')
"""What a reference with a query looks like in the text of a draft."""


def require_resolved(call: Call, draft: Draft) -> None:
    """Raise Invalid where a reference is still a search: those are for transactions, which resolve them.

    https://hl7.org/fhir/R4/http.html#trules
    """
    if not _SEARCH.search(draft.content):
        return
    body = draft.stored(call.now).resource()
    for holder in holders(body):
        if parse(holder["reference"], call.services.own_bases).is_conditional:
            raise Invalid(
                f"{holder['reference'][:200]!r} is a search; only a transaction can refer to what it finds",
                path_of(body, holder),
            )


async def verify_targets(connection: Connection, call: Call, drafts: Sequence[Draft]) -> None:
    """Raise Invalid or Unprocessable naming each reference that leads nowhere."""
    for draft in drafts:
        require_resolved(call, draft)
    issues = [issue for found in await missing_targets(connection, call, drafts) for issue in found]
    if issues:
        raise Unprocessable(issues=issues)


async def missing_targets(
    connection: Connection, call: Call, drafts: Sequence[Draft]
) -> list[tuple[Issue, ...]]:
    """For each draft an issue for each reference whose target does not exist; empty without the setting."""
    if not call.services.settings.referential_integrity:
        return []
    named = [_targets(call, draft) for draft in drafts]
    there = {(draft.type, draft.id) for draft in drafts}
    wanted: dict[str, set[str]] = defaultdict(set)
    for type_, id_, _ in chain.from_iterable(named):
        if (type_, id_) not in there:
            wanted[type_].add(id_)
    for resource_type in sorted(wanted):
        ids = await _held(connection, call, resource_type, wanted[resource_type])
        there |= {(resource_type, id_) for id_ in ids}
    return [
        tuple(
            Issue("error", "not-found", f"{type_}/{id_} does not exist on this server", path)
            for type_, id_, path in targets
            if (type_, id_) not in there
        )
        for targets in named
    ]


def _targets(call: Call, draft: Draft) -> list[tuple[str, str, str]]:
    """Type, id and FHIRPath of every literal reference to this server."""
    body = draft.stored(call.now).resource()
    references = ((parse(holder["reference"], call.services.own_bases), holder) for holder in holders(body))
    return [
        (reference.type, reference.id, path_of(body, holder))
        for reference, holder in references
        if reference.is_local and reference.type in ENDPOINT_TYPES and reference.id
    ]


async def _held(connection: Connection, call: Call, resource_type: str, ids: set[str]) -> set[str]:
    """Those of `ids` that exist; nobody can delete them until this transaction ends."""
    held: set[str] = set()
    missing = ids
    while missing:
        held |= await _current(connection, call, resource_type, missing, sql("FOR SHARE"))
        # A version that was replaced while its lock was waited for is left out, but its successor exists.
        missing = await _current(connection, call, resource_type, missing - held, EMPTY)
    return held


async def _current(
    connection: Connection, call: Call, resource_type: str, ids: set[str], lock: Fragment
) -> set[str]:
    if not ids:
        return set()
    text, args = sql(
        "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = ANY ({}::text[]) AND r.died IS NULL"
        " ORDER BY r.id {}",
        table(resource_type),
        call.services.tenant,
        sorted(ids),
        lock,
    ).numbered()
    with waiting():
        return {record[0] for record in await connection.fetch(text, *args)}


async def verify_unreferenced(connection: Connection, call: Call, deleted: Sequence[tuple[str, str]]) -> None:
    """Raise Conflict if a resource still refers to one of those deleted in this transaction."""
    if not call.services.settings.referential_integrity:
        return
    keys = call.services.keys
    for resource_type, id_ in deleted:
        records = await connection.fetch(
            "SELECT r.type, r.id FROM tok t JOIN resource r ON r.rid = t.rid AND r.died IS NULL"
            " WHERE t.key = $1 AND (r.type <> $2 OR r.id <> $3) LIMIT $4",
            referenced.key_of(keys, resource_type, id_),
            resource_type,
            id_,
            NAMED_MAX,
        )
        if records:
            others = ", ".join(f"{record[0]}/{record[1]}" for record in records)
            raise Conflict(f"{resource_type}/{id_} is referred to by {others}")
