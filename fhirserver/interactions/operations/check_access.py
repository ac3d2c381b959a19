"""Consent/$check-access and [type]/[id]/$explain-access: what consents say of an access, by the very function
that decides about rows. They tell of what is hidden, too: so they are for who keeps consents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE, Fragment, sql, table
from fhirserver.errors import Forbidden, Invalid, NotFound, NotSupported
from fhirserver.fhir import json
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.audit.whose import owners_of
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.interactions.searching import context_of
from fhirserver.policy.consent import Asking, compile_consent
from fhirserver.policy.consent.asking import default_of
from fhirserver.policy.consent.enforcement import Enforcement, code_of
from fhirserver.policy.consent.vocabulary import TREAT
from fhirserver.policy.restriction import FOLLOWING, Nothing, is_about_patients
from fhirserver.search.consent import decisions, permission
from fhirserver.search.context import Context
from fhirserver.store.version import COLUMNS, Version, instant

ACTIONS: Final = frozenset({"access", "collect", "use", "disclose", "correct"})
Parts = list[tuple[str, str, Any]]


@dataclass(frozen=True, slots=True)
class Said:
    """What one consent says: its id, where in it, and whether it permits."""

    id: str
    place: str
    permits: bool

    def parts(self) -> Parts:
        return [
            ("consent", "Reference", {"reference": f"Consent/{self.id}"}),
            ("provision", "string", self.place),
        ]


async def check_access(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises Forbidden, and NotFound for a resource that is not there."""
    asking, action = _asked(call, inputs)
    resource = identity_of(call, inputs.one("resource"))
    if resource is not None:
        permitted, said, about = await _of_resource(connection, call, *resource, asking, action)
        return _answer(call, asking, permitted, said, about=about)
    type_, patient = inputs.one("type"), identity_of(call, inputs.one("patient"))
    if type_ not in ENDPOINT_TYPES or patient is None or patient[0] != "Patient":
        raise Invalid("$check-access needs a resource, or a patient and the type of data")
    rows = sql(
        "(SELECT {}::text AS type, ''::text AS id, ARRAY[{}::bigint] AS compartments, NULL::bigint AS d_lo,"
        " NULL::bigint AS d_hi, NULL::json AS meta, NULL::jsonb AS content, NULL::xid8 AS died,"
        " statement_timestamp() AS updated, ARRAY[-1]::bigint[] AS keys) r",
        type_,
        call.services.keys.target(*patient),
    )
    said = await _said(connection, call, rows, type_, asking, action)
    permitted = all(one.permits for one in said) and (bool(said) or asking.default)
    return _answer(call, asking, permitted or patient[1] in asking.own, said, about=["/".join(patient)])


async def explain_access(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises Forbidden, and NotFound for a resource that is not there."""
    asking, action = _asked(call, inputs)
    identity = (call.resource_type, call.resource_id)
    permitted, said, about = await _of_resource(connection, call, *identity, asking, action)
    each: Parts = [("said", "part", [*one.parts(), ("decision", "code", _word(one.permits))]) for one in said]
    return _answer(call, asking, permitted, said, each, about=about)


def _asked(call: Call, inputs: Inputs) -> tuple[Asking, str]:
    """For whom and what is asked."""
    enforcement = enforced(call)
    restriction = call.restriction
    own = None if isinstance(restriction, Nothing) else restriction.asking
    if own is None or not own.administers:
        raise Forbidden("what consents say to others is shown to who keeps consents")
    actor = identity_of(call, inputs.one("actor"))
    if actor is None:
        raise Invalid("'actor' is a resource of this server: Practitioner/[id]")
    action = inputs.one("action") or "access"
    if action not in ACTIONS:
        raise Invalid(f"'action' is one of {', '.join(sorted(ACTIONS))}")
    purpose = code_of(inputs.one("purpose") or TREAT)
    default = default_of(purpose, enforcement.defaults)
    mine = (actor[1],) if actor[0] == "Patient" else ()
    zone = call.services.settings.time_zone
    return Asking((actor,), None, mine, purpose, default, glass=None, zone=zone), action


def enforced(call: Call) -> Enforcement:
    """Raises NotSupported where consents are not enforced."""
    if call.services.consent is None:
        raise NotSupported("consents are not enforced here: the setting consent is off")
    return call.services.consent


def identity_of(call: Call, value: Any) -> tuple[str, str] | None:
    text = value.get("reference") if isinstance(value, dict) else value
    found = None if text is None else parse(text, call.services.own_bases)
    if found is None or not found.is_local or found.type not in ENDPOINT_TYPES or found.id is None:
        return None
    return found.type, found.id


async def _of_resource(
    connection: Connection, call: Call, type_: str, id_: str, asking: Asking, action: str
) -> tuple[bool, list[Said], list[str]]:
    """Whether it is permitted, what is said of it, and whose record it is."""
    context = context_of(call)
    if type_ in FOLLOWING:
        named = await _followed(connection, context, type_, id_)
        return (
            (True, [], []) if named is None else await _of_resource(connection, call, *named, asking, action)
        )
    whole = is_about_patients(type_)
    scope = context.scope(type_)
    text, args = sql(
        "SELECT {}, {} FROM {} r WHERE r.tenant = {} AND r.id = {} AND r.died IS NULL",
        COLUMNS,
        permission(scope, asking, action) if whole else TRUE,
        *(table(type_), context.tenant, id_),
    ).numbered()
    row = await connection.fetchrow(text, *args)
    if row is None:
        raise NotFound(f"{type_}/{id_} is not known")
    rows = sql(
        "(SELECT * FROM {} WHERE tenant = {} AND id = {} AND died IS NULL) r",
        table(type_),
        context.tenant,
        id_,
    )
    about = owners_of(type_, id_, Version.of(row).content)
    if not whole:
        return True, [], about
    said = await _said(connection, call, rows, type_, asking, action)
    return bool(row[-1]), said, about


async def _followed(connection: Connection, context: Context, type_: str, id_: str) -> tuple[str, str] | None:
    """What decides about a row that follows another one; None where it names nothing. Raises NotFound where
    either is not there."""
    text, args = sql(
        "SELECT r.compartments, l.type, l.id FROM {} r LEFT JOIN resource l ON l.idk = r.compartments[1]"
        " AND l.died IS NULL AND l.tenant = r.tenant AND l.type <> all({}::text[])"
        " WHERE r.tenant = {} AND r.id = {} AND r.died IS NULL",
        *(table(type_), sorted(FOLLOWING), context.tenant, id_),
    ).numbered()
    row = await connection.fetchrow(text, *args)
    if row is None:
        raise NotFound(f"{type_}/{id_} is not known")
    if not row["compartments"]:
        return None
    if row["type"] is None:
        raise NotFound(f"what {type_}/{id_} follows is not known: nobody sees it")
    return row["type"], row["id"]


async def _said(
    connection: Connection, call: Call, rows: Fragment, type_: str, asking: Asking, action: str
) -> list[Said]:
    """What each consent that says something says of the row; denials first."""
    context, zone = context_of(call), ZoneInfo(call.services.settings.time_zone)
    text, args = sql(
        "SELECT c.id, c.content::text AS content, d.by_node, d.decided FROM {} CROSS JOIN LATERAL {} d"
        " JOIN {} c ON c.rid = d.version AND c.died IS NULL ORDER BY d.decided, c.id",
        *(rows, decisions(context.scope(type_), asking, action), table("Consent")),
    ).numbered()
    found: list[Said] = []
    for row in await connection.fetch(text, *args):
        consent = {"resourceType": "Consent", **json.loads(row["content"].encode())}
        made = compile_consent(consent, call.services.keys.target, zone, call.services.own_bases)
        found.append(Said(row["id"], made.places[row["by_node"]], row["decided"]))
    return found


def _answer(
    call: Call,
    asking: Asking,
    permitted: bool,
    said: Sequence[Said],
    more: Parts | None = None,
    *,
    about: Sequence[str],
) -> Answer:
    decision = "no-consent" if not said else _word(permitted)
    deciding = [one for one in said if one.permits == permitted][:1]
    parts: Parts = [
        ("decision", "code", decision),
        ("default", "code", _word(asking.default)),
        *(part for one in deciding for part in one.parts()),
        ("evaluatedAt", "instant", instant(call.now)),
        *(more or []),
    ]
    headers = {"Cache-Control": "no-store"}
    return Answer(200, json.dumps(parameters(parts)), headers, about=tuple(about))


def _word(permits: bool) -> str:
    return "permit" if permits else "deny"
