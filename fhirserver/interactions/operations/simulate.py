"""Consent/$simulate: what would change, and for whom, if a Consent were in force.

Its rules are put beside those that are stored, and those that it would replace are taken away, in a
transaction that is rolled back: what decides about rows decides here. Only rows that the caller may see are
told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from fhirserver.db.pool import Connection
from fhirserver.db.sql import FALSE, TRUE, Fragment, join, or_, sql, table
from fhirserver.errors import Forbidden, Invalid, Unprocessable
from fhirserver.fhir import json
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.identity.moving import STAYING
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.draft import new_id
from fhirserver.interactions.operations.check_access import ACTIONS, Parts, enforced, identity_of
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.interactions.searching import context_of
from fhirserver.params import referenced
from fhirserver.params.condition import Ids, Patients, Scope, Tokens
from fhirserver.policy.consent import Asking, Compiled, Rule, compile_consent
from fhirserver.policy.consent.asking import default_of
from fhirserver.policy.consent.enforcement import code_of
from fhirserver.policy.consent.vocabulary import TREAT
from fhirserver.policy.restriction import REFERRING, Nothing, is_about_patients
from fhirserver.search.consent import permission
from fhirserver.search.context import Context
from fhirserver.search.restrict import permitted, within
from fhirserver.store import rules as store
from fhirserver.store.version import instant

ACTORS_MAX: Final = 10
SHOWN_MAX: Final = 100
"""Changes of an actor that are named; all of them are counted."""

Decisions = dict[tuple[str, str], Sequence[bool]]
"""Type and id of a row -> for each actor whether it is permitted."""
_TYPES: Final = tuple(sorted(type_ for type_ in ENDPOINT_TYPES if is_about_patients(type_)))
_ANYBODY: Final = "anybody else"

_ACTIVE: Final = '{"status": "active"}'
# As if it had been there for long: what a transaction writes opens nothing within it.
_STAND_IN: Final = (
    "INSERT INTO resource_consent"
    " (tenant, type, id, version, updated, method, idk, ord, compartments, keys, content, born)"
    " VALUES ($1, 'Consent', $2, 1, clock_timestamp(), 'PUT', 0, 0, '{}', '{}', $3, '3')"
    " RETURNING rid"
)
_REPLACED: Final = (
    "DELETE FROM consent_rule k USING resource_consent c WHERE c.rid = k.rid AND c.tenant = $1 AND c.id = $2"
    " AND k.patient IS NOT DISTINCT FROM $3::bigint"
)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The rules of a Consent, which has this id if it is to replace one, and the patient whose record is
    looked at."""

    rules: tuple[Rule, ...]
    id: str | None
    patient: str


async def simulate(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises Forbidden, and Unprocessable for what would not be enforced."""
    consent: dict[str, Any] = {**(inputs.one("consent") or {}), "status": "active"}
    compiled = _compiled(call, consent)
    patient = _patient(call, consent, inputs)
    _require_right(call, patient, is_policy=compiled.rules[0].patient is None)
    action = inputs.one("action") or "access"
    if action not in ACTIONS:
        raise Invalid(f"'action' is one of {', '.join(sorted(ACTIONS))}")
    actors = _actors(call, consent, inputs)
    purpose = code_of(inputs.one("purpose") or TREAT)
    default = default_of(purpose, enforced(call).defaults)
    asking = [_asking(call, actor, purpose, default) for actor in actors]
    wanted = Simulated(compiled.rules, consent.get("id"), patient)
    before, after = await _both(connection, call, wanted, asking, action)
    changes = (("change", "part", _change(actor, n, before, after)) for n, actor in enumerate(actors))
    parts: Parts = [
        ("evaluatedAt", "instant", instant(call.now)),
        *(("warning", "string", f"{fault.path}: {fault.text}") for fault in compiled.faults),
        *changes,
    ]
    headers = {"Cache-Control": "no-store"}
    return Answer(200, json.dumps(parameters(parts)), headers, about=(f"Patient/{patient}",))


def _compiled(call: Call, consent: Mapping[str, Any]) -> Compiled:
    zone = ZoneInfo(call.services.settings.time_zone)
    compiled = compile_consent(consent, call.services.keys.target, zone, call.services.own_bases)
    if not compiled.rules:
        why = "; ".join(f"{fault.path} {fault.text}" for fault in compiled.faults)
        raise Unprocessable(f"such a Consent is not enforced: {why or 'its scope is not one that decides'}")
    return compiled


def _patient(call: Call, consent: Mapping[str, Any], inputs: Inputs) -> str:
    """The id of whose record is looked at: that of the Consent or, for a policy, of the one that is named."""
    found = identity_of(call, consent.get("patient") or inputs.one("patient"))
    if found is None or found[0] != "Patient":
        raise Invalid("a policy is about everybody: 'patient' says whose record is to be looked at")
    return found[1]


def _require_right(call: Call, patient: str, *, is_policy: bool) -> None:
    """What others may see is told to who keeps consents, and patients of their own record."""
    enforced(call)
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    if asking is None or not (asking.administers or (patient in asking.own and not is_policy)):
        raise Forbidden("what consents would do is shown to who keeps them, and to whom they are about")


def _actors(call: Call, consent: Mapping[str, Any], inputs: Inputs) -> list[tuple[str, str] | None]:
    """Those who are asked for, or else who the Consent names, and None for anybody whom it does not."""
    said = inputs.all("actor")
    found = [identity_of(call, one) for one in (said or list(_named(consent.get("provision", {}))))]
    if said and None in found:
        raise Invalid("'actor' is a resource of this server: Practitioner/[id]")
    actors = list(dict.fromkeys(one for one in found if one is not None))
    if len(actors) > ACTORS_MAX:
        raise Invalid(f"these are more than {ACTORS_MAX} actors; name some of them as 'actor'")
    return [*actors] if said else [*actors, None]


def _named(provision: Mapping[str, Any]) -> Iterator[Any]:
    for actor in provision.get("actor", ()):
        yield actor.get("reference")
    for nested in provision.get("provision", ()):
        yield from _named(nested)


def _asking(call: Call, actor: tuple[str, str] | None, purpose: str, default: bool) -> Asking:
    own = (actor[1],) if actor is not None and actor[0] == "Patient" else ()
    actors = () if actor is None else (actor,)
    zone = call.services.settings.time_zone
    return Asking(actors, None, own, purpose, default, glass=None, zone=zone)


async def _both(
    connection: Connection, call: Call, wanted: Simulated, asking: list[Asking], action: str
) -> tuple[Decisions, Decisions]:
    """What is decided without the Consent and with it. Nothing stays of it."""
    tenant = call.services.tenant
    transaction = connection.transaction()
    await transaction.start()
    try:
        before = await _decisions(connection, call, wanted.patient, asking, action, seen=True)
        if wanted.id is not None:
            await connection.execute(_REPLACED, tenant, wanted.id, wanted.rules[0].patient)
        rid: Any = await connection.fetchval(_STAND_IN, tenant, new_id(), _ACTIVE)
        await store.put(connection, tenant, [(rid, rule.row()) for rule in wanted.rules])
        after = await _decisions(connection, call, wanted.patient, asking, action, seen=False)
        return before, after
    finally:
        await transaction.rollback()


async def _decisions(
    connection: Connection, call: Call, patient: str, asking: list[Asking], action: str, *, seen: bool
) -> Decisions:
    """Of the current rows of the patient's record, `seen`: that the caller may see."""
    context = context_of(call)
    found: Decisions = {}
    for type_ in _TYPES:
        scope = context.scope(type_)
        mine = permitted(context, type_) if seen else TRUE
        if mine is FALSE:
            continue
        each = join(", ", [permission(scope, one, action) for one in asking])
        text, args = sql(
            "SELECT r.id, ARRAY[{}] AS may FROM {} r WHERE r.tenant = {} AND r.died IS NULL AND {} AND {}",
            *(each, table(type_), context.tenant, _of(context, scope, patient), mine),
        ).numbered()
        for record in await connection.fetch(text, *args):
            found[type_, record["id"]] = record["may"]
    return found


def _of(context: Context, scope: Scope, patient: str) -> Fragment:
    """Whether a row is of the patient's record, so that an index leads to it, but for the few types that have
    none."""
    key = scope.keys.target("Patient", patient)
    if scope.resource_type in REFERRING & STAYING:
        return sql("r.compartments @> {}::bigint[]", [key])
    ways = [sql("r.ptk = {}", key)]
    if scope.resource_type in REFERRING:
        ways.append(_under(referenced.moving_keys(scope.keys, scope.resource_type, key)))
    for driver in within(context, scope, "Patient", patient).drivers:
        match driver:
            case Tokens(keys):
                ways.append(_under(keys))
            case Ids(ids):
                ways.append(sql("r.id = any({}::text[])", list(ids)))
            case _:  # by `ptk`, as above
                assert isinstance(driver, Patients)
    return or_(*ways)


def _under(keys: Sequence[int]) -> Fragment:
    return sql("r.rid = any(ARRAY(SELECT t.rid FROM tok t WHERE t.key = any({}::bigint[])))", list(keys))


def _change(actor: tuple[str, str] | None, number: int, before: Decisions, after: Decisions) -> Parts:
    """For whom, how many rows would be hidden and shown, by type, and which."""
    who = ("anybody", "string", _ANYBODY) if actor is None else ("actor", "Reference", _reference(actor))
    both = before.keys() & after.keys()  # of rows that somebody deletes meanwhile nothing is told
    moved = {one: after[one][number] for one in sorted(both) if before[one][number] != after[one][number]}
    parts: Parts = [who]
    for name, becomes in (("hidden", False), ("shown", True)):
        ones = [identity for identity, permits in moved.items() if permits is becomes]
        parts.append((name, "integer", len(ones)))
        parts += [(f"{name}Resource", "Reference", _reference(one)) for one in ones[:SHOWN_MAX]]
    return parts


def _reference(identity: tuple[str, str]) -> dict[str, str]:
    return {"reference": "/".join(identity)}
