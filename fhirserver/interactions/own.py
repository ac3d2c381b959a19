"""Nobody changes what says who they are and what they may do: somebody else has to.

One's own Person, the PractitionerRoles of one's Practitioner, the RelatedPerson that one is (and, for staff,
those of the own family), and the care teams that one belongs to where these open records. Where consents are
enforced, those of others, which who keeps consents writes, and whose they are; what says by its references
which data they are about; and what one belongs to, as it may be named there: nobody joins or leaves a care
team, a group or a house by what they write themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql, table
from fhirserver.errors import Forbidden
from fhirserver.interactions.call import Call
from fhirserver.policy.consent import Asking
from fhirserver.policy.principal import Principal
from fhirserver.policy.restriction import Nothing
from fhirserver.search.consent import ALWAYS, AS_IT_IS, actors

_STAFF: Final = frozenset({"Practitioner"})
_BELONGING: Final = frozenset({"CareTeam", "Device", "Group", "Organization"})
"""Types that say who belongs to what, beside PractitionerRole: a provision names them as its actor."""
_MEMBERS: Final = frozenset({"Device", "Organization", "PractitionerRole"})
"""Types of what, beside the user, belongs to others."""
_NAMED_BY_US: Final = _BELONGING - {"Organization"}
"""Those among them whose ids nobody chooses: no Consent can name one that has just been made."""


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
    for refusal in (await own_identities(connection, call, written)).values():
        raise refusal


async def own_identities(
    connection: Connection, call: Call, written: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Forbidden]:
    """Those of (type, id) that are about what the caller may do, as they were or became in this transaction,
    and what refuses to write them."""
    written = list(written)
    asking = bound(call)
    own = set[tuple[str, str]]() if asking is None else await _belonging(connection, call, asking, written)
    if call.principal.user is not None:
        own |= await _described(connection, call, call.principal.user, written)
        if asking is not None:
            ids = [id_ for type_, id_ in written if type_ == "Consent"]
            own |= await _consents(connection, call, asking, ids)
    leading = set[tuple[str, str]]() if asking is None else await _leading(connection, call, asking, written)
    return {identity: _leads(identity[0]) for identity in leading} | {
        identity: _refused(identity[0]) for identity in own
    }


async def _described(
    connection: Connection, call: Call, user: tuple[str, str], written: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those that say who the user is: a statement for each type that can."""
    about = _about(call.principal)
    own = set[tuple[str, str]]()
    ids: dict[str, list[str]] = defaultdict(list)
    for type_, id_ in written:
        if type_ in about:
            ids[type_].append(id_)
    for type_, found in ids.items():
        if type_ == user[0] and user[1] in found:
            own.add(user)
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
    return own


def bound(call: Call) -> Asking | None:
    """Who asks, if consents bind them: None for who keeps consents."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    return None if asking is None or asking.administers else asking


async def _belonging(
    connection: Connection, call: Call, asking: Asking, written: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    """All that says who belongs to what, if by writing it the caller came to belong to something, or no
    longer does; but for what they made themselves."""
    found = {identity for identity in written if identity[0] in _BELONGING}
    if not found:
        return found
    keys = call.services.keys
    rows = [keys.target(*identity) for identity in sorted(found)]
    new = [keys.target(*identity) for identity in sorted(found) if identity[0] in _NAMED_BY_US]
    text, args = sql(
        "SELECT ARRAY(SELECT DISTINCT a FROM unnest(b.was) a ORDER BY 1) <> ARRAY(SELECT DISTINCT a"
        " FROM unnest(b.is_now) a WHERE a <> ALL (ARRAY(SELECT r.idk FROM resource r"
        " WHERE r.type = any({}::text[]) AND r.idk = any({}::bigint[]) AND r.died IS NULL AND r.version = 1"
        " AND r.born = pg_current_xact_id_if_assigned())) ORDER BY 1) OR {}"
        " FROM (SELECT {} AS was, {} AS is_now) b",
        *(sorted(_NAMED_BY_US), new, _on_other_terms(asking, rows)),
        *(actors(keys, asking, at=ALWAYS), actors(keys, asking, AS_IT_IS, ALWAYS)),
    ).numbered()
    return found if await connection.fetchval(text, *args) else set()


def _on_other_terms(asking: Asking, rows: list[int]) -> Fragment:
    """Whether somebody who belongs to one of the rows, now or at other times, does so on other terms than
    before: a period that ends or begins in a minute is a way to leave or to join as well."""
    return sql(
        "EXISTS (SELECT FROM resource o JOIN resource n"
        " ON n.type = o.type AND n.idk = o.idk AND n.died IS NULL, LATERAL (SELECT {}::text[] || ARRAY("
        "SELECT i.type || '/' || i.id FROM resource i"
        " WHERE i.type = any({}::text[]) AND i.idk = any(b.was) AND i.died IS NULL) AS names) w"
        " WHERE o.type = any({}::text[]) AND n.type = any({}::text[]) AND o.idk = any({}::bigint[])"
        " AND o.idk = any(b.was) AND o.died = pg_current_xact_id_if_assigned()"
        " AND o.born IS DISTINCT FROM o.died"
        " AND terms_of(o.content, w.names) IS DISTINCT FROM terms_of(n.content, w.names))",
        ["/".join(actor) for actor in asking.actors],
        *(sorted(_MEMBERS), sorted(_BELONGING), sorted(_BELONGING), rows),
    )


async def _consents(
    connection: Connection, call: Call, asking: Asking, ids: list[str]
) -> set[tuple[str, str]]:
    """Consents in force that are neither the caller's own nor written by who keeps consents."""
    if not ids:
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


async def _leading(
    connection: Connection, call: Call, asking: Asking, written: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    """What a Consent of somebody else, or a policy, names as that whose references say which data
    it is about: who adds one opens, and who removes one escapes. Consents count until they are over."""
    named = {f"related {type_}/{id_}": (type_, id_) for type_, id_ in written}
    text, args = sql(
        "SELECT DISTINCT d FROM consent_rule k, unnest(k.data) AS d"
        " WHERE k.tenant = {} AND k.data && {}::text[] AND d = any({}::text[])"
        " AND coalesce(k.patient <> ALL ({}::bigint[]), true)"
        " AND EXISTS (SELECT FROM resource_consent c WHERE c.rid = k.rid AND c.tenant = k.tenant"
        " AND (c.died IS NULL OR c.died = pg_current_xact_id_if_assigned()))"
        " AND NOT EXISTS (SELECT FROM consent_rule o WHERE o.rid = k.rid AND o.node = any(k.path)"
        " AND o.ends <= (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)",
        *(call.services.tenant, list(named), list(named)),
        [call.services.keys.target("Patient", id_) for id_ in asking.own],
    ).numbered()
    return {named[record[0]] for record in await connection.fetch(text, *args)}


def _leads(type_: str) -> Forbidden:
    return Forbidden(
        f"a Consent is about what this {type_} refers to (provision.data, related):"
        " only who keeps consents, or whose consent it is, changes it"
    )


def _refused(type_: str) -> Forbidden:
    return Forbidden(
        f"this {type_} says what you may do yourself: somebody else who administers it has to change it"
    )
