"""What a caller may write, looked at where it is written: by the predicate that restricts reading, too.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. A version must lie within what
the caller may write before it is changed and after: so nothing moves in or out of another's record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.errors import FhirError, Forbidden, Unauthorized
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Return
from fhirserver.interactions.own import require_others
from fhirserver.interactions.searching import context_of
from fhirserver.interactions.strangers import about_strangers
from fhirserver.policy.access import decide, operation_action, required_actions
from fhirserver.policy.consent.enforcement import Enforcement
from fhirserver.policy.principal import Principal
from fhirserver.policy.restriction import EVERYTHING, Everything, Nothing, Permits, Restriction, is_narrow
from fhirserver.search.restrict import permitted
from fhirserver.store import read

WRITTEN: Final = frozenset("cu")


def decided(call: Call) -> None:
    """Give the call its restriction. Raises Forbidden, and Unauthorized where nobody is signed in."""
    principal = call.principal
    if principal.is_open:
        call.restriction = under_consent(call, call.restriction)
        return
    if principal.tenant != call.services.tenant:
        raise Unauthorized("the access token was given by another tenant")
    conditional = call.if_none_exist is not None
    actions = (
        (call.operation.action or operation_action(call.operation.affects_state),)
        if call.operation is not None
        else required_actions(call.interaction, call.id is not None, conditional)
    )
    rights = call.type if call.operation is None else call.operation.rights or call.type
    for action in actions or (None,):
        call.restriction = decide(principal, rights, action, consents=call.services.consent is not None)
    call.restriction = under_consent(call, call.restriction)


def under_consent(call: Call, restriction: Restriction) -> Restriction:
    """The restriction, and what consents leave of it where the setting `consent` says that they are enforced.

    Raises Forbidden for a purpose of use that the caller may not claim.
    """
    enforcement = call.services.consent
    if enforcement is None or isinstance(restriction, Nothing):
        return restriction
    if call.principal.is_open and call.services.settings.sign_in:  # the server itself
        return restriction
    settings = call.services.settings
    where = settings.auth_url("client"), settings.time_zone
    return _asked(enforcement, restriction, call.principal, call.purpose, call.glass, *where)


@lru_cache(maxsize=4_096)
def _asked(
    enforcement: Enforcement,
    restriction: Everything | Permits,
    principal: Principal,
    purpose: str | None,
    glass: tuple[str, ...] | None,
    system: str,
    zone: str,
) -> Restriction:
    """Remembered, so that what is made of a restriction is found by its identity."""
    asking = enforcement.asking(principal, purpose, system, zone)
    return replace(restriction, asking=replace(asking, glass=glass) if asking.breaks_glass else asking)


def is_restricted(call: Call) -> bool:
    """Whether what the call writes has to be looked at again in its transaction."""
    return call.restriction != EVERYTHING


def may_choose_ids(call: Call) -> bool:
    """Whether a PUT to an unknown id creates: for who cannot see everything of a type, an unknown id and one
    that is hidden must be the same."""
    return call.services.settings.update_create and not is_narrow(call.restriction, call.resource_type)


async def permitted_rids(
    connection: Connection, call: Call, resource_type: str, rids: Iterable[int], action: str
) -> set[int]:
    """Those of the rows on which the caller may do `action`."""
    wanted = sorted(set(rids))
    if not is_restricted(call) or not wanted:
        return set(wanted)
    text, args = sql(
        "SELECT r.rid FROM {} r WHERE r.rid = any({}::bigint[]) AND r.tenant = {} AND {}",
        table(resource_type),
        wanted,
        call.services.tenant,
        permitted(context_of(call), resource_type, action=action),
    ).numbered()
    return {record[0] for record in await connection.fetch(text, *args)}


async def require_permitted(
    connection: Connection, call: Call, identities: Sequence[tuple[str, str]], action: str
) -> None:
    """Raise Forbidden unless the caller may do `action` on the current versions of all of them.

    Called before what exists is changed and after something was written, in the same transaction.
    """
    if is_restricted(call):
        await require_others(connection, call, identities)
    permitted_ones = await permitted_identities(connection, call, identities, action)
    for identity in identities:
        if identity not in permitted_ones:
            raise await outside(connection, call, identity[0])


async def require_read(connection: Connection, call: Call, identities: Sequence[tuple[str, str]]) -> None:
    """Raise Forbidden unless the caller may read what a patch is applied to that asks for values there."""
    restriction = call.restriction
    if not isinstance(restriction, Permits) or all(
        restriction.reads_what_it_writes(t) for t, _ in identities
    ):
        return
    readable = await permitted_identities(connection, call, identities, "r")
    for type_, id_ in identities:
        if (type_, id_) not in readable:
            await require_granted(connection, call)
            raise Forbidden(
                f"such a patch tells what is there: it takes reading the {type_}, not only changing it"
            )


async def permitted_identities(
    connection: Connection, call: Call, identities: Iterable[tuple[str, str]], action: str
) -> set[tuple[str, str]]:
    """Those of (type, id) on whose current version the caller may do `action`: a statement for each type."""
    if not is_restricted(call):
        return set(identities)
    ids: dict[str, set[str]] = defaultdict(set)
    for type_, id_ in identities:
        ids[type_].add(id_)
    found: set[tuple[str, str]] = set()
    for type_ in sorted(ids):
        text, args = sql(
            "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = any({}::text[]) AND r.died IS NULL AND {}",
            table(type_),
            call.services.tenant,
            sorted(ids[type_]),
            permitted(context_of(call), type_, action=action),
        ).numbered()
        found |= {(type_, record[0]) for record in await connection.fetch(text, *args)}
        if action in WRITTEN:
            found -= await about_strangers(connection, call, type_, ids[type_])
    return found


async def outside(connection: Connection, call: Call, resource_type: str) -> FhirError:
    """What says that something written may not be written. Raises Unauthorized if the grant is over."""
    await require_granted(connection, call)
    return Forbidden(f"the {resource_type} would lie, or lies, outside of what was granted to be written")


_CHANGES: Final = frozenset({"update", "update_conditional", "patch", "patch_conditional"})


async def shown(connection: Connection, call: Call, answer: Answer) -> Answer:
    """The answer to a write without the resource, unless the caller may read it: what was there before they
    changed a part of it, and the labels that stay, are not theirs to see."""
    version = answer.version
    if not is_restricted(call) or call.interaction not in _CHANGES:
        return answer
    if version is None or answer.body is None or call.prefer.returns is Return.OPERATION_OUTCOME:
        return answer
    if _reads_what_it_writes(call.restriction, version.type):
        return answer
    may_read = permitted(context_of(call), version.type, action="r")
    tenant = call.services.tenant
    if await read.numbered(connection, tenant, version.type, version.id, version.version, may_read):
        return answer
    return replace(answer, body=None)


def _reads_what_it_writes(restriction: Restriction, resource_type: str) -> bool:
    if isinstance(restriction, Permits) and not restriction.reads_what_it_writes(resource_type):
        return False
    return isinstance(restriction, Nothing) or restriction.asking is None


async def require_granted(connection: Connection, call: Call) -> None:
    """Raise Unauthorized if what the caller was granted is over: why a statement showed nothing."""
    grant = call.principal.grant
    if grant is not None and not await connection.fetchval("SELECT granted($1)", grant):
        raise Unauthorized("the access token was revoked or its grant is over; sign in again")


async def told_apart(connection: Connection, call: Call, error: FhirError) -> FhirError:
    """What kept the caller from an answer: the error, unless the grant is over."""
    try:
        await require_granted(connection, call)
    except Unauthorized as over:
        return over
    return error
