"""Consents as SQL: whether those of the patients whose a row is, and the policies, let the caller have it.

Evaluated in the snapshot that the rows are read in, so what was revoked before is in effect. What somebody
writes in a transaction opens nothing to them within it. docs/explanation/consent.md
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, reduce
from operator import or_ as or_bits
from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, join, or_, sql, table
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.identity.moving import STAYING
from fhirserver.params import reference, token, word
from fhirserver.params.condition import Scope
from fhirserver.params.registry import r4
from fhirserver.params.token import TokenValue
from fhirserver.policy.consent import Asking
from fhirserver.policy.consent.asking import CHANGES, DOES, MAY
from fhirserver.policy.restriction import is_about_patients

_NOW: Final = sql("(extract(epoch FROM statement_timestamp()) * 1000000)::bigint")
_OWN: Final = sql("pg_current_xact_id_if_assigned()")
AS_IT_IS: Final = sql("NULL::xid8")
ALWAYS: Final = sql("NULL::bigint")
_NOBODYS: Final = sorted(type_ for type_ in ENDPOINT_TYPES if not is_about_patients(type_))
_PATIENTS: Final = sorted(type_ for type_ in ENDPOINT_TYPES if is_about_patients(type_))
_LEFT_BEHIND: Final = sorted(STAYING | {"Provenance"})
"""Types of which current rows may be about who was merged, but for the Patient itself."""
_LINKED: Final = word.present_bit("Patient", "link")


def consented(scope: Scope, asking: Asking | None, action: str, of_any_type: bool = False) -> Fragment:
    """Whether consents let the caller do `action` on the row. `of_any_type`: the row says its type.

    TRUE where consents are not enforced, and where they are about nothing of the type.
    """
    if asking is None:
        return TRUE
    if not of_any_type and not is_about_patients(scope.resource_type):
        return TRUE
    if not of_any_type and scope.resource_type == "Consent" and asking.administers:
        return TRUE
    does = DOES[action]
    # Who changes what they may not see would see it then, or let themselves see it.
    needed = ("access", does) if does in CHANGES else (does,)
    return and_(*(permission(scope, asking, one, of_any_type) for one in needed))


def permission(scope: Scope, asking: Asking, does: str, of_any_type: bool = False) -> Fragment:
    """The same for an action of `consentaction`, of rows that can be a patient's."""
    whens = [sql("WHEN {} THEN {}", *when) for when in _plain(scope, asking, of_any_type)]
    return sql("CASE {} ELSE {} END", join(" ", whens), _asked(scope, asking, does, of_any_type))


def _plain(scope: Scope, asking: Asking, of_any_type: bool) -> Iterator[tuple[Fragment, Fragment]]:
    """What needs no look at what the row says: conditions in turn, and what holds then."""
    alias = scope.alias
    if of_any_type:
        nobodys = [*_NOBODYS, "Consent"] if asking.administers else _NOBODYS
        yield sql("{}.type = any({}::text[])", alias, nobodys), TRUE
    if asking.own:
        yield _own(scope, asking, of_any_type), TRUE
    unspoken = _unspoken(scope, asking.default, of_any_type)
    if asking.default:
        yield unspoken, TRUE
    yield _nobodys(scope, of_any_type), TRUE
    if not asking.default:
        yield unspoken, FALSE


def _own(scope: Scope, asking: Asking, of_any_type: bool) -> Fragment:
    """Whether the row is of the caller's own record."""
    alias, ids = scope.alias, list(asking.own)
    itself = sql("{}.id = any({}::text[])", alias, ids)
    within = sql("{}.ptk = any({}::bigint[])", alias, [scope.keys.target("Patient", id_) for id_ in ids])
    if of_any_type:
        return or_(within, and_(sql("{}.type = 'Patient'", alias), itself))
    return itself if scope.resource_type == "Patient" else within


def _asked(scope: Scope, asking: Asking, does: str, of_any_type: bool) -> Fragment:
    """What the rules say."""
    return sql(
        "consented({}, {}, {})",
        *(scope.keys.tenant, asking.default, _arguments(scope, asking, does, of_any_type)),
    )


def decisions(scope: Scope, asking: Asking, does: str, of_any_type: bool = False) -> Fragment:
    """A table of what each consent says of the row: `version`, `whose`, `by_node` and `decided`."""
    arguments = _arguments(scope, asking, does, of_any_type)
    return sql("unnest(consent_said({}, {}))", scope.keys.tenant, arguments)


def _arguments(scope: Scope, asking: Asking, does: str, of_any_type: bool) -> Fragment:
    alias = scope.alias
    return sql(
        "{}, {}::text[], {}, {}::text[], {}, {}, {}, {}.id, {}, {}.d_lo, {}.d_hi, {}.meta, {}.content",
        *(does, list(MAY.get(does, ())), actors(scope.keys, asking), list(asking.purposes)),
        *(_breaks_glass(scope, asking, of_any_type), _NOW),
        sql("{}.type", alias) if of_any_type else sql("{}::text", scope.resource_type),
        *(alias, _patients(scope, of_any_type), alias, alias, alias, alias),
    )


def _breaks_glass(scope: Scope, asking: Asking, of_any_type: bool) -> Fragment:
    """Whether denials are lifted: where it is about everybody, or about whose the row is, as long as nobody
    else has a say in it. A row is in compartments of practitioners and encounters as well, who have none."""
    if not asking.breaks_glass or asking.glass is None:
        return TRUE if asking.breaks_glass else FALSE
    about = [scope.keys.target("Patient", id_) for id_ in asking.glass]
    patients = _patients(scope, of_any_type)
    return sql(
        "({} && {}::bigint[] AND NOT EXISTS (SELECT FROM consent_rule k WHERE k.patient = ANY ({})"
        " AND k.patient <> ALL ({}::bigint[])))",
        *(patients, about, patients, about),
    )


def _patients(scope: Scope, of_any_type: bool) -> Fragment:
    """The keys of those whose consents are about the row: in whose compartment it is, or whom it is about,
    and who is the same person by a merge. Others than patients' are nobody's who consents.

    A merge moves what refers to who was merged. So it is looked for where something stays behind only: in
    what is no longer current, in types that stay, in the Patient itself, which then has a link; and in all
    as long as somebody may write by what held before a merge.
    """
    alias = scope.alias
    past = sql("{}.died IS NOT NULL", alias)
    unsettled = sql(
        "(SELECT EXISTS (SELECT FROM merge WHERE tenant = {} AND writers IS NOT NULL))", scope.keys.tenant
    )
    return sql(
        "CASE WHEN {} THEN consent_persons({}.compartments, {}.updated, {}) ELSE {}.compartments END",
        *(or_(past, _left_behind(scope, of_any_type), unsettled), alias, alias, past, alias),
    )


def _left_behind(scope: Scope, of_any_type: bool) -> Fragment:
    """Whether a current row is of what a merge leaves where it is."""
    linked = sql("{} & {}::bigint <> 0", word.of_row(scope.alias), _LINKED)
    if of_any_type:
        staying = sql("{}.type = any({}::text[])", scope.alias, _LEFT_BEHIND)
        return or_(staying, and_(sql("{}.type = 'Patient'", scope.alias), linked))
    if scope.resource_type == "Patient":
        return linked
    return TRUE if scope.resource_type in _LEFT_BEHIND else FALSE


def _unspoken(scope: Scope, default: bool, of_any_type: bool) -> Fragment:
    """Whether no rule can change the default, which takes one that says otherwise: what most rows come to,
    by a look into an index."""
    otherwise = not default
    return sql(
        "NOT (SELECT EXISTS (SELECT FROM consent_rule k WHERE k.tenant = {} AND k.patient IS NULL"
        " AND k.permit = {})) AND NOT EXISTS (SELECT FROM consent_rule k WHERE k.patient = ANY ({})"
        " AND k.permit = {})",
        *(scope.keys.tenant, otherwise, _patients(scope, of_any_type), otherwise),
    )


def _nobodys(scope: Scope, of_any_type: bool) -> Fragment:
    """Whether a row names no patient, be it by an identifier, nor a subject of which nobody knows what it is,
    and is in nobody's compartment."""
    named, patients = word.of_row(scope.alias), _patients(scope, of_any_type)
    bits = sql("{}::bigint", _naming_bits(scope.resource_type))
    if of_any_type:
        every = [_naming_bits(type_) for type_ in _PATIENTS]
        bits = sql("({}::bigint[])[array_position({}::text[], {}.type)]", every, _PATIENTS, scope.alias)
    return sql(
        "({} <> 0 AND {} & {} = 0 AND NOT EXISTS (SELECT FROM consent_rule k WHERE k.patient = ANY ({}))"
        " AND NOT EXISTS (SELECT FROM {} whose WHERE whose.tenant = {} AND whose.idk = ANY ({})"
        " AND whose.died IS NULL) AND NOT is_of_somebody({}.content))",
        *(named, named, bits, patients, table("Patient"), scope.keys.tenant, patients, scope.alias),
    )


@lru_cache(maxsize=256)
def _naming_bits(resource_type: str) -> int:
    """The bits of a row's word of which one is set where it may name a patient: that of `patient`, or else of
    what puts it into the compartment."""
    if resource_type == "Patient":
        return -1
    own = ("patient",) if "patient" in r4().for_type(resource_type) else ()
    codes = own or COMPARTMENTS["Patient"].get(resource_type, ())
    return reduce(or_bits, (word.present_bit(resource_type, code) for code in codes), 0)


def actors(keys: Keys, asking: Asking, own: Fragment = _OWN, at: Fragment = _NOW) -> Fragment:
    """The keys of who asks and of all that they belong to, made once for a statement, where it is needed: as
    it was before the transaction that asks, or with `AS_IT_IS` for `own` with what that has written. With
    `ALWAYS` for `at` as if no period were over or had to begin."""
    user = [keys.target(*actor) for actor in asking.actors]
    if not user and asking.app is None:
        return sql("ARRAY[]::bigint[]")
    params = [
        *(reference.salt_of(keys, *param) for param in _REFERENCES),
        keys.of("tok", "PractitionerRole", "active", "false"),
        keys.of("tok", "CareTeam", "status", "active"),
    ]
    return sql(
        "(SELECT consent_actors({}, {}::bigint[], {}::text[], {}::bigint, {}::bigint, {}::bigint[],"
        " {}, {}, {}))",
        *(keys.tenant, user, ["/".join(actor) for actor in asking.actors]),
        *(*_app(keys, asking), params, at, asking.zone, own),
    )


_REFERENCES: Final = (
    ("PractitionerRole", "practitioner"),
    ("PractitionerRole", "organization"),
    ("Organization", "partof"),
    ("CareTeam", "participant"),
    ("Group", "member"),
)


def _app(keys: Keys, asking: Asking) -> tuple[int | None, int | None]:
    """The keys of the Device that is the app: by its identifier, and by this with its system."""
    if asking.app is None:
        return None, None
    system, client = asking.app
    values = TokenValue(None, client), TokenValue(system, client)
    bare, full = (token.key_of(keys, token.EXACT_SPACE, "Device", "identifier", one) for one in values)
    return bare, full
