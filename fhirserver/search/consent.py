"""Consents as SQL: whether those of the patients whose a row is, and the policies, let the caller have it.

Evaluated in the snapshot that the rows are read in, so what was revoked before is in effect. What somebody
writes in a transaction opens nothing to them within it. docs/explanation/consent.md
"""

from __future__ import annotations

from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, sql, table
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import presence, reference, token
from fhirserver.params.condition import Scope
from fhirserver.params.registry import Registry
from fhirserver.params.token import TokenValue
from fhirserver.policy.consent import Asking
from fhirserver.policy.consent.asking import DOES, MAY
from fhirserver.policy.restriction import OWNED, is_about_patients

_NOW: Final = sql("(SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)")
_NOBODYS: Final = sorted(type_ for type_ in ENDPOINT_TYPES if not is_about_patients(type_))


def consented(
    registry: Registry, scope: Scope, asking: Asking | None, action: str, of_any_type: bool = False
) -> Fragment:
    """Whether consents let the caller do `action` on the row. `of_any_type`: the row says of which type it is.

    TRUE where consents are not enforced, and where they are about nothing of the type.
    """
    if asking is None:
        return TRUE
    if of_any_type:
        nobodys = sql("{}.type = any({}::text[])", scope.alias, _NOBODYS)
        return sql(
            "CASE WHEN {} THEN true ELSE {} END", nobodys, _decided(registry, scope, asking, action, True)
        )
    if not is_about_patients(scope.resource_type):
        return TRUE
    if scope.resource_type == "Consent" and asking.administers:
        return TRUE
    return _decided(registry, scope, asking, action, False)


def _decided(registry: Registry, scope: Scope, asking: Asking, action: str, of_any_type: bool) -> Fragment:
    alias = scope.alias
    patients = _patients(scope, of_any_type)
    cases: list[Fragment] = []
    if asking.own:
        own = [scope.keys.target("Patient", id_) for id_ in asking.own]
        cases.append(
            sql(
                "WHEN {}.ptk = any({}::bigint[]) OR {}.idk = any({}::bigint[]) THEN true",
                alias,
                own,
                alias,
                own,
            )
        )
    if of_any_type and asking.administers:
        cases.append(sql("WHEN {}.type = 'Consent' THEN true", alias))
    if asking.default:
        cases.append(sql("WHEN {} THEN true", _unspoken(scope, patients)))
    else:
        cases.append(
            sql("WHEN {} = ARRAY[]::bigint[] THEN {}", patients, _names_nobody(registry, scope, of_any_type))
        )
    call = sql(
        "consented({}, {}, {}, {}::text[], {}, {}::text[], {}, {}, {}, {}.id, {}, {}.d_lo, {}.d_hi, {}.meta, {}.content)",
        *(scope.keys.tenant, asking.default, DOES[action], list(MAY.get(DOES[action], ()))),
        *(_actors(scope, asking), list(asking.purposes), asking.breaks_glass, _NOW),
        *(sql("{}.type", alias) if of_any_type else sql("{}::text", scope.resource_type), alias, patients),
        *(alias, alias, alias, alias),
    )
    found = call
    for case in reversed(cases):
        found = sql("CASE {} ELSE {} END", case, found)
    return found


def _patients(scope: Scope, of_any_type: bool) -> Fragment:
    """The keys of whoever's compartment the row is in; others than patients' are nobody's who consents."""
    alias = scope.alias
    own = sql("array_remove(ARRAY[{}.ptk], NULL)", alias)
    if of_any_type:
        owned = sql("{}.type = any({}::text[])", alias, sorted(OWNED))
        return sql("(CASE WHEN {} THEN {} ELSE {}.compartments END)", owned, own, alias)
    return own if scope.resource_type in OWNED else sql("{}.compartments", alias)


def _unspoken(scope: Scope, patients: Fragment) -> Fragment:
    """Whether no rule can be about the row: what most rows come to, and cheap."""
    return sql(
        "{} = ARRAY[]::bigint[] OR (NOT (SELECT EXISTS (SELECT FROM consent_rule k WHERE k.tenant = {} AND k.patient IS NULL))"
        " AND NOT EXISTS (SELECT FROM consent_rule k WHERE k.patient = any({}) OFFSET 0))",
        patients,
        scope.keys.tenant,
        patients,
    )


def _names_nobody(registry: Registry, scope: Scope, of_any_type: bool) -> Fragment:
    """Whether a row in no compartment names no patient either: by an identifier, or elsewhere, is somebody."""
    param = None if of_any_type else registry.get(scope.resource_type, "patient")
    return FALSE if param is None else presence.compile(scope, registry, param, True).filter


# -- who asks


def _actors(scope: Scope, asking: Asking) -> Fragment:
    """The keys of who asks and of all that they belong to, made once for a statement, where it is needed."""
    keys = scope.keys
    user = [keys.target(*actor) for actor in asking.actors]
    names = ["/".join(actor) for actor in asking.actors]
    if not user and asking.app is None:
        return sql("ARRAY[]::bigint[]")
    practitioner = reference.salt_of(keys, "PractitionerRole", "practitioner")
    organization = reference.salt_of(keys, "PractitionerRole", "organization")
    inactive = [keys.of("tok", "PractitionerRole", "active", "false")]
    period = keys.param("PractitionerRole", "date")
    part_of = reference.salt_of(keys, "Organization", "partof")
    participant = reference.salt_of(keys, "CareTeam", "participant")
    active = [keys.of("tok", "CareTeam", "status", "active")]
    member = reference.salt_of(keys, "Group", "member")
    return sql(
        "ARRAY(WITH RECURSIVE base AS MATERIALIZED (SELECT k FROM unnest({}::bigint[]) k UNION ALL {}),"
        " role AS MATERIALIZED (SELECT p.idk, p.keys FROM {} p WHERE p.rid = any(ARRAY("
        "SELECT x.rid FROM base JOIN tok x ON x.key = {} # base.k)) AND {} AND NOT p.keys @> {}::bigint[]"
        " AND NOT EXISTS (SELECT FROM dat d WHERE d.rid = p.rid AND d.key = {} AND NOT (d.lo <= {} AND {} < d.hi))),"
        " house AS (SELECT o.idk, o.keys FROM {} o WHERE {} AND o.idk = any(ARRAY("
        "SELECT k # {} FROM role, unnest(role.keys) k))"
        " UNION SELECT o.idk, o.keys FROM house h, {} o WHERE {} AND o.idk IN (SELECT k # {} FROM unnest(h.keys) k)),"
        " one AS MATERIALIZED (SELECT k FROM base UNION SELECT idk FROM role UNION SELECT idk FROM house)"
        " SELECT k FROM one"
        " UNION SELECT t.idk FROM one JOIN tok x ON x.key = {} # one.k JOIN {} t ON t.rid = x.rid"
        " WHERE {} AND t.keys @> {}::bigint[]"
        " UNION SELECT g.idk FROM base JOIN tok x ON x.key = {} # base.k JOIN {} g ON g.rid = x.rid"
        " WHERE {} AND EXISTS (SELECT FROM jsonb_array_elements(g.content -> 'member') m"
        " WHERE m -> 'entity' ->> 'reference' = any({}::text[]) AND coalesce(m ->> 'inactive', 'false') = 'false'))",
        *(user, _devices(scope, asking)),
        *(table("PractitionerRole"), practitioner, _before(scope, "p"), inactive, period, _NOW, _NOW),
        *(
            table("Organization"),
            _before(scope, "o"),
            organization,
            table("Organization"),
            _before(scope, "o"),
        ),
        *(part_of, participant, table("CareTeam"), _before(scope, "t"), active),
        *(member, table("Group"), _before(scope, "g"), names),
    )


def _devices(scope: Scope, asking: Asking) -> Fragment:
    """The Devices that are the app."""
    if asking.app is None:
        return sql("SELECT NULL::bigint WHERE false")
    system, client = asking.app
    bare, full = (
        token.key_of(scope.keys, token.EXACT_SPACE, "Device", "identifier", TokenValue(of, client))
        for of in (None, system)
    )
    return sql(
        "SELECT e.idk FROM tok x JOIN {} e ON e.rid = x.rid WHERE x.key = {} AND {} AND e.keys @> {}::bigint[]",
        *(table("Device"), bare, _before(scope, "e"), [full]),
    )


_ALIASES: Final = {name: sql(name) for name in ("p", "o", "t", "g", "e")}


def _before(scope: Scope, alias: str) -> Fragment:
    """The row was current before this transaction: nobody lets themselves in by what they write."""
    name = _ALIASES[alias]
    return sql(
        "{}.tenant = {} AND ({}.died IS NULL OR {}.died = pg_current_xact_id_if_assigned())"
        " AND {}.born IS DISTINCT FROM pg_current_xact_id_if_assigned()",
        *(name, scope.keys.tenant, name, name, name),
    )
