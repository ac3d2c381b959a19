"""A caller's restriction as SQL: the one place where policy meets rows.

Every statement over `resource` carries it, for the rows that are sought and for those that a chain,
`_has`, an include or a sort looks at on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, not_, or_, sql, table
from fhirserver.errors import FhirError
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import composite, date, kinds, owners, plain, presence, reference, special
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Driver, Ids, Patients, Rank, Scope, Tokens, exists
from fhirserver.params.facts import CLINICAL_DATES, UNIONS, is_patient
from fhirserver.params.registry import Registry, SearchParam, compartment_params
from fhirserver.policy.restriction import (
    FOLLOWING,
    OWNED,
    RECORDED,
    CareTeams,
    Compartment,
    Everything,
    Nothing,
    Permit,
    Permits,
    Place,
    Restriction,
    Unowned,
    sees_all,
)
from fhirserver.search.consent import consented
from fhirserver.search.context import ROW, Context

SEARCH = "s"
"""The action that every row has to permit unless it is read by its id."""

READING = frozenset("rs")
CREATE = "c"

_ALONE = OWNED | RECORDED
"""Types whose rows name others as well as whose they are: who asked, in an event."""


def visible(context: Context, scope: Scope, action: str = SEARCH) -> Fragment:
    """What every row must fulfil wherever it is looked at: tenant and restriction.

    A contained resource may be seen by whoever may see its container.
    """
    if scope.contained:
        return and_(
            sql("{}.type = {}", scope.alias, scope.resource_type),
            sql("{}.tenant = {}", scope.alias, context.tenant),
            _around(
                scope.alias, permitted(context, None, _CONTAINER, action), _asks_content(context.restriction)
            ),
        )
    return and_(
        sql("{}.tenant = {}", scope.alias, context.tenant),
        permitted(context, scope.resource_type, scope.alias, action),
    )


_CONTAINER = sql("v")


def _asks_content(restriction: Restriction) -> bool:
    return not isinstance(restriction, Nothing) and restriction.asking is not None


def _around(alias: Fragment, permission: Fragment, with_content: bool = False) -> Fragment:
    """Whether the permission holds for the container of the row: `contained` has what may be asked of it, but
    for its content."""
    if permission in (TRUE, FALSE):
        return permission
    container = sql(
        "SELECT {}.container_type AS type, {}.container_rid AS rid, {}.container_id AS id,"
        " {}.container_ptk AS ptk, {}.container_ord AS ord, {}.container_d_lo AS d_lo,"
        " {}.container_d_hi AS d_hi, {}.container_compartments AS compartments, {}.container_keys AS keys,"
        " {}.tenant, {}.updated, {}.version, {}.method, {}.born, {}.died",
        *([alias] * 15),
    )
    if with_content:
        within = sql("x.type = {}.container_type AND x.rid = {}.container_rid", alias, alias)
        container = sql(
            "{}, (SELECT x.meta FROM resource x WHERE {}) AS meta,"
            " (SELECT x.content FROM resource x WHERE {}) AS content",
            *(container, within, within),
        )
    return exists(sql("FROM ({}) v WHERE {}", container, permission))


def permitted(
    context: Context, resource_type: str | None, alias: Fragment = ROW, action: str = SEARCH
) -> Fragment:
    """Whether the caller may do `action` on the row under `alias`. `resource_type` None: of whatever type."""
    restriction = context.restriction
    match restriction:
        case Everything(None):
            return TRUE
        case Nothing():
            return FALSE
    if resource_type is None or resource_type in FOLLOWING:
        if alias is ROW and not _has_criteria(restriction):
            return _kept_any(context.registry, context.keys, restriction, resource_type, action)
        return _leading(context, restriction, resource_type, alias, action)
    permits = restriction.of(resource_type, action) if isinstance(restriction, Permits) else ()
    if alias is ROW and not any(permit.criteria for permit in permits):
        return _kept(context.registry, context.keys, restriction, resource_type, action)
    return _whole(context, restriction, resource_type, alias, action)


def _leading(
    context: Context,
    restriction: Everything | Permits,
    resource_type: str | None,
    alias: Fragment,
    action: str,
) -> Fragment:
    """For a row of whatever type, or of one of `FOLLOWING`."""
    followed = _followed(context, restriction, alias, action)
    if resource_type is not None:
        return and_(_whole(context, restriction, resource_type, alias, action), followed)
    others = sql("{}.type <> all({}::text[])", alias, sorted(FOLLOWING))
    return and_(_any_type(context, restriction, alias, action), or_(others, followed))


def _any_type(context: Context, restriction: Everything | Permits, alias: Fragment, action: str) -> Fragment:
    """For a row of whatever type, as if those of `FOLLOWING` followed nothing."""
    asked = consented(_scope(context, alias), restriction.asking, action, True)
    if isinstance(restriction, Everything):
        return asked
    return and_(_granted(restriction), _of_types(context, restriction, alias, action), asked)


def _followed(context: Context, restriction: Everything | Permits, alias: Fragment, action: str) -> Fragment:
    """Whether the caller may read what a row of `FOLLOWING` names, which is its one compartment, and consents
    let them do with that what they want to do with the row; to create one does not take reading. What names
    another such row, or what is not here, can only be deleted, but by who may read all; what names nothing is
    as free as its type.
    """
    if sees_all(restriction) or not _permits_any(restriction, FOLLOWING, action):
        return TRUE
    if action == CREATE and restriction.asking is None:
        return TRUE
    asked = consented(_scope(context, _LEADING), restriction.asking, action, True)
    seen = TRUE if action == CREATE else _any_type(context, restriction, _LEADING, "r")
    return or_(
        sql("{}.compartments = ARRAY[]::bigint[]", alias),
        _leads(context, alias, and_(seen, TRUE if action in READING else asked)),
        not_(_leads(context, alias, TRUE)) if action == "d" else FALSE,
    )


def _permits_any(restriction: Everything | Permits, types: frozenset[str], action: str) -> bool:
    return isinstance(restriction, Everything) or any(restriction.of(type_, action) for type_ in types)


def _leads(context: Context, alias: Fragment, test: Fragment) -> Fragment:
    """Whether the row names what is here, of no type of `FOLLOWING`, and passes the test. The row says of
    which type: to be ready to look into all would take most of the time of statements that have no such row.
    """
    type_ = sql(
        "(SELECT named.type FROM unnest({}::bigint[], {}::text[]) named(key, type)"
        " WHERE named.key = ANY ({}.keys))",
        *(_type_keys(context.keys), _LEADERS, alias),
    )
    return exists(
        sql("FROM led({}, {}.compartments[1], {}) led WHERE {}", context.tenant, alias, type_, test)
    )


@lru_cache(maxsize=64)
def _type_keys(keys: Keys) -> list[int]:
    """In the order of `_LEADERS`."""
    return [owners.leader_key(keys, type_) for type_ in _LEADERS]


_LEADERS = sorted(ENDPOINT_TYPES - FOLLOWING)
_LEADING = sql("led")


def _whole(
    context: Context, restriction: Everything | Permits, resource_type: str, alias: Fragment, action: str
) -> Fragment:
    asked = consented(_scope(context, alias, resource_type), restriction.asking, action)
    if isinstance(restriction, Everything):
        return asked
    return and_(_granted(restriction), _of_type(context, restriction, resource_type, alias, action), asked)


def _scope(context: Context, alias: Fragment, resource_type: str = "Resource") -> Scope:
    return Scope(context.keys, resource_type, alias, context.now)


@lru_cache(maxsize=4_096)
def _kept(
    registry: Registry, keys: Keys, restriction: Everything | Permits, resource_type: str, action: str
) -> Fragment:
    """What hangs on no value that is read, and on no clock, is made once: one and the same fragment tells
    `store.coalesce` which reads may go together."""
    return _whole(Context(registry, keys, 0, restriction), restriction, resource_type, ROW, action)


@lru_cache(maxsize=256)
def _kept_any(
    registry: Registry, keys: Keys, restriction: Everything | Permits, resource_type: str | None, action: str
) -> Fragment:
    """The same for what may be of any type, which is long."""
    return _leading(Context(registry, keys, 0, restriction), restriction, resource_type, ROW, action)


def _has_criteria(restriction: Everything | Permits) -> bool:
    return isinstance(restriction, Permits) and any(permit.criteria for permit in restriction.permits)


def _granted(restriction: Permits) -> Fragment:
    """Evaluated once per statement, in the snapshot that the rows are read in: a grant that was revoked
    before shows nothing."""
    if restriction.grant is None:
        return TRUE
    return sql("(SELECT granted({}))", restriction.grant)


def _of_type(
    context: Context, restriction: Permits, resource_type: str, alias: Fragment, action: str
) -> Fragment:
    scope = Scope(context.keys, resource_type, alias, context.now)
    tests = [_permit(context, scope, permit, action) for permit in restriction.of(resource_type, action)]
    return or_(*dict.fromkeys(tests)) if tests else FALSE


def _of_types(context: Context, restriction: Permits, alias: Fragment, action: str) -> Fragment:
    """Types under the same permits share their test, unless the permits look at parameters of the type."""
    groups: dict[tuple[Permit, ...], list[str]] = {}
    for type_ in sorted(ENDPOINT_TYPES):
        permits = restriction.of(type_, action)
        if permits:
            groups.setdefault(permits, []).append(type_)
    tests: list[Fragment] = []
    every: list[str] = []
    for permits, types in groups.items():
        alike = not any(permit.criteria for permit in permits) and not _ALONE.intersection(types)
        for some in [types] if alike else [[type_] for type_ in types]:
            rows = _of_type(context, restriction, some[0], alias, action)
            if rows is TRUE:
                every += some
            else:
                tests.append(and_(sql("{}.type = any({}::text[])", alias, some), rows))
    if every:
        tests.append(sql("{}.type = any({}::text[])", alias, sorted(every)))
    return or_(*tests) if tests else FALSE


def _permit(context: Context, scope: Scope, permit: Permit, action: str) -> Fragment:
    writes = action not in READING
    return and_(
        *(_place(context, scope, place) for place in permit.places),
        *(_whose(scope, place) for place in permit.places if writes),
        *(_criterion(context, scope, name, value) for name, value in permit.criteria),
    )


def _place(context: Context, scope: Scope, place: Place) -> Fragment:
    alias = scope.alias
    match place:
        case Unowned():
            return _names_no_patient(context, scope)
        case Compartment(type_, id_) if scope.resource_type in _ALONE:
            return sql("{}.ptk = {}", alias, scope.keys.target(type_, id_))
        case Compartment(type_, id_):
            return sql("{}.compartments @> {}::bigint[]", alias, [scope.keys.target(type_, id_)])
        case CareTeams(member):
            patients = _patients_of_teams(scope, member)
            if scope.resource_type in _ALONE:
                return sql("{}.ptk = any({})", alias, patients)
            return sql("{}.compartments && {}", alias, patients)


def _whose(scope: Scope, place: Place) -> Fragment:
    """Whether the row is of nobody else's record: what the place's patient reports on another lies in the
    compartments of both, to be read; it is written by those to whom the record of its subject is open."""
    alias = scope.alias
    match place:
        case Compartment("Patient", id_) if scope.resource_type == "Patient":
            return sql("{}.id = {}", alias, id_)
        case Compartment("Patient", id_):
            return sql("({}.ptk IS NULL OR {}.ptk = {})", alias, alias, scope.keys.target("Patient", id_))
        case CareTeams(member):
            patients = _patients_of_teams(scope, member)
            return sql("({}.ptk IS NULL OR {}.ptk = any({}))", alias, alias, patients)
        case _:
            return TRUE


def _names_no_patient(context: Context, scope: Scope) -> Fragment:
    """A patient who is named by an identifier, or is elsewhere, is somebody, though no row of this server."""
    param = context.registry.get(scope.resource_type, "patient")
    return FALSE if param is None else presence.compile(scope, context.registry, param, True).filter


def _patients_of_teams(scope: Scope, member: tuple[str, str]) -> Fragment:
    """The keys of the patients in whose active care teams the member takes part: an array, made once.

    As it was before the transaction, in which nobody can let themselves in by what they write.
    """
    key = reference.salt_of(scope.keys, "CareTeam", "participant") ^ scope.keys.target(*member)
    active = [scope.keys.of("tok", "CareTeam", "status", "active")]
    return sql(
        "ARRAY(SELECT c.ptk FROM tok x JOIN {} c ON c.rid = x.rid WHERE x.key = {}"
        " AND (c.died IS NULL OR c.died = pg_current_xact_id_if_assigned())"
        " AND c.born IS DISTINCT FROM pg_current_xact_id_if_assigned()"
        " AND c.tenant = {} AND c.ptk IS NOT NULL AND c.keys @> {}::bigint[] AND c.keys @> {}::bigint[])",
        table("CareTeam"),
        key,
        scope.keys.tenant,
        [key],
        active,
    )


def _criterion(context: Context, scope: Scope, name: str, value: str) -> Fragment:
    """A search parameter of a scope. What cannot be understood of a type permits nothing of it."""
    try:
        return criterion(context, scope, name, value).filter
    except FhirError:
        return FALSE


def criterion(context: Context, scope: Scope, name: str, value: str) -> Condition:
    """A plain parameter without modifier; its values are alternatives. Raises FhirError."""
    union = UNIONS.get((scope.resource_type, name))
    if union is not None:
        return Condition(or_(*(criterion(context, scope, part, value).filter for part in union)))
    param = context.registry.get(scope.resource_type, name)
    if param is None or param.custom:  # what anybody may see must not hang on what can be redefined
        raise FhirError(f"{scope.resource_type} has no search parameter '{name}' of R4's own")
    parts = [part for part in syntax.split(value, ",") if part]
    if name == "_id":
        return special.compile_ids(scope, [special.parse_id(part) for part in parts])
    if name == "_lastUpdated":
        moments = [date.parse(part, context.reading.zone) for part in parts]
        return special.compile_updated(scope, moments, scope.resource_type not in CLINICAL_DATES)
    values = [kinds.parse(param, scope.resource_type, None, part, context.reading) for part in parts]
    return _clause(context, scope, param, values)


def _clause(context: Context, scope: Scope, param: SearchParam, values: Sequence[kinds.Value]) -> Condition:
    if param.type == "composite":
        whole = [value for value in values if isinstance(value, kinds.CompositeValue)]
        return composite.compile(scope, context.registry, param, None, whole)
    return plain.compile(scope, param, None, values)


# -- the shortest way to what a caller may see


def narrowing(context: Context, scope: Scope) -> list[Condition]:
    """The driver that the restriction offers: where all is of one patient, only that one's rows are read."""
    restriction = context.restriction
    if scope.contained or not isinstance(restriction, Permits):
        return []
    places = {permit.places for permit in restriction.of(scope.resource_type, SEARCH)}
    if len(places) != 1:
        return []
    return [
        within(context, scope, place.type, place.id)
        for place in next(iter(places))
        if isinstance(place, Compartment) and scope.resource_type not in OWNED
    ][:1]


def within(context: Context, scope: Scope, compartment: str, id_: str) -> Condition:
    """https://hl7.org/fhir/R4/compartmentdefinition.html; the resource itself is in its compartment."""
    target = scope.keys.target(compartment, id_)
    filter_ = sql("{}.compartments @> {}::bigint[]", scope.alias, [target])
    drivers: list[Driver] = [Ids((id_,))] if compartment == scope.resource_type else []
    tokens: list[int] = []
    for code in compartment_params(compartment, scope.resource_type):
        param = context.registry.get(scope.resource_type, code)
        if param is None:
            continue
        if compartment == "Patient" and is_patient(param, scope.resource_type):
            drivers.append(Patients((target,)))
        else:
            tokens.append(reference.salt_of(scope.keys, scope.resource_type, code) ^ target)
    if tokens:
        drivers.append(Tokens(tuple(dict.fromkeys(tokens))))
    rank = Rank.PATIENT if compartment == "Patient" else Rank.COMPARTMENT
    return Condition(filter_, tuple(dict.fromkeys(drivers)), rank)
