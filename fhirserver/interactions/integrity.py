"""Referential integrity, by setting: https://hl7.org/fhir/R4/http.html#integrity

With it on, every literal reference must name a resource that exists, and a resource that another one
refers to cannot be deleted, unless that one only says what was: AuditEvent, Provenance. Writers hold
share locks on what they refer to, so that neither can happen behind the other's back.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import EMPTY, TRUE, Fragment, sql, table
from fhirserver.errors import Conflict, Invalid, Issue, Unprocessable
from fhirserver.fhir.links import holders, path_of
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Call
from fhirserver.interactions.permission import is_restricted
from fhirserver.interactions.searching import context_of
from fhirserver.params import referenced
from fhirserver.policy.restriction import RECORDED, keeping
from fhirserver.search.restrict import permitted
from fhirserver.store import merges
from fhirserver.store.version import Draft
from fhirserver.store.write import waiting

NAMED_MAX = 5
_TELLING: Final = sorted(RECORDED | {"Provenance"})
"""Types that say what was: they hold up no deletion."""
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
    wanted: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for draft, targets in zip(drafts, named, strict=True):
        for type_, id_, _ in targets:
            if (type_, id_) not in there:
                wanted[type_, draft.type == "Consent"].add(id_)
    for (resource_type, of_consents), ids in sorted(wanted.items()):
        # Who keeps consents has to name in them who is hidden from them.
        by = replace(call, restriction=keeping(call.restriction)) if of_consents else call
        there |= {(resource_type, id_) for id_ in await _held(connection, by, resource_type, ids)}
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
    """Those of `ids` that exist and that the caller may read: what is hidden is not there, either. Nobody can
    delete them until this transaction ends."""
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
        "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = ANY ({}::text[]) AND r.died IS NULL AND {}"
        " ORDER BY r.id {}",
        table(resource_type),
        call.services.tenant,
        sorted(ids),
        permitted(context_of(call), resource_type, action="r"),
        lock,
    ).numbered()
    with waiting():
        return {record[0] for record in await connection.fetch(text, *args)}


async def verify_unreferenced(connection: Connection, call: Call, deleted: Sequence[tuple[str, str]]) -> None:
    """Raise Conflict if a resource still refers to one of those deleted in this transaction, or if one of
    them stands for another."""
    await _require_kept(connection, call, deleted)
    if not call.services.settings.referential_integrity:
        return
    keys = call.services.keys
    for resource_type, id_ in deleted:
        key = referenced.key_of(keys, resource_type, id_)
        seen = await _referring(
            connection, (resource_type, id_), key, permitted(context_of(call), None, action="r")
        )
        if seen:
            raise Conflict(f"{resource_type}/{id_} is referred to by {', '.join(seen)}")
        if is_restricted(call) and await _referring(connection, (resource_type, id_), key, TRUE):
            raise Conflict(f"{resource_type}/{id_} is referred to by what is not yours to see")


async def _require_kept(connection: Connection, call: Call, deleted: Sequence[tuple[str, str]]) -> None:
    """Raise Conflict for a Patient into which another one was merged: it stands for that one."""
    patients = [id_ for type_, id_ in deleted if type_ == "Patient"]
    if patients and (found := await merges.standing(connection, call.services.tenant, "Patient", patients)):
        source, target = found
        raise Conflict(
            f"Patient/{target} stands for Patient/{source}, which was merged into it: undo the merge before"
        )


async def _referring(
    connection: Connection, target: tuple[str, str], key: int, restriction: Fragment
) -> list[str]:
    """Some of the current resources that refer to the target, as paths."""
    text, args = sql(
        "SELECT r.type, r.id FROM tok t JOIN resource r ON r.rid = t.rid AND r.died IS NULL"
        " WHERE t.key = {} AND (r.type <> {} OR r.id <> {}) AND r.type <> ALL ({}::text[]) AND {} LIMIT {}",
        key,
        *target,
        _TELLING,
        restriction,
        NAMED_MAX,
    ).numbered()
    return [f"{record[0]}/{record[1]}" for record in await connection.fetch(text, *args)]
