"""Nobody changes what says who they are and what they may do: somebody else has to.

One's own Person, the PractitionerRoles of one's Practitioner, the RelatedPerson that one is (and, for staff,
those of the own family), the care teams that one belongs to where these open records, and, where consents are
enforced, those of others: who keeps consents writes them, and whose they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.errors import Forbidden
from fhirserver.interactions.call import Call
from fhirserver.policy.principal import Principal
from fhirserver.policy.restriction import Nothing

_STAFF: Final = frozenset({"Practitioner"})


def _about(principal: Principal) -> dict[str, list[tuple[str, str]]]:
    """By type, the resources in whose compartments a row says what the caller may do."""
    assert principal.user is not None
    me = [principal.user]
    mine = [*me, *(("Patient", id_) for id_ in principal.own)]
    about = {
        "Person": mine,
        "PractitionerRole": me,
        "RelatedPerson": mine if principal.user[0] in _STAFF else me,
    }
    if any(role.care_team for role in principal.roles):
        about["CareTeam"] = me
    return about


async def require_others(connection: Connection, call: Call, written: Iterable[tuple[str, str]]) -> None:
    """Raise Forbidden if one of the rows is about what the caller may do."""
    for type_, _ in await own_identities(connection, call, written):
        raise refused(type_)


async def own_identities(
    connection: Connection, call: Call, written: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those of (type, id) that are about what the caller may do, as they were or became in this transaction:
    a statement for each type that can be."""
    principal = call.principal
    if principal.user is None:
        return set()
    about, written = _about(principal), list(written)
    ids: dict[str, list[str]] = defaultdict(list)
    for type_, id_ in written:
        if type_ in about:
            ids[type_].append(id_)
    own: set[tuple[str, str]] = set()
    for type_, found in ids.items():
        if type_ == principal.user[0] and principal.user[1] in found:
            own.add(principal.user)
        targets = [call.services.keys.target(*target) for target in about[type_]]
        text, args = sql(
            "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = any({}::text[])"
            " AND (r.died IS NULL OR r.died = pg_current_xact_id()) AND r.compartments && {}::bigint[]",
            table(type_),
            call.services.tenant,
            found,
            targets,
        ).numbered()
        own |= {(type_, record[0]) for record in await connection.fetch(text, *args)}
    return own | await _consents(connection, call, [id_ for type_, id_ in written if type_ == "Consent"])


async def _consents(connection: Connection, call: Call, ids: list[str]) -> set[tuple[str, str]]:
    """Consents in force that are neither the caller's own nor written by who keeps consents."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if asking is None or asking.administers or not ids:
        return set()
    text, args = sql(
        "SELECT r.id FROM {} r WHERE r.tenant = {} AND r.id = any({}::text[])"
        " AND (r.died IS NULL OR r.died = pg_current_xact_id())"
        " AND EXISTS (SELECT FROM consent_rule k WHERE k.rid = r.rid"
        " AND coalesce(k.patient <> ALL ({}::bigint[]), true))",
        table("Consent"),
        call.services.tenant,
        ids,
        [call.services.keys.target("Patient", id_) for id_ in asking.own],
    ).numbered()
    return {("Consent", record[0]) for record in await connection.fetch(text, *args)}


def refused(type_: str) -> Forbidden:
    return Forbidden(
        f"this {type_} says what you may do yourself: somebody else who administers it has to change it"
    )
