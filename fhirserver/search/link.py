"""How a reference parameter leads from rows to rows, in both directions.

https://hl7.org/fhir/R4/references.html#Reference, https://hl7.org/fhir/R4/references.html#canonical

A local reference is `tok.key = target.idk # salt`, or `ptk = target.idk` for the patient whose a
resource is. A canonical is compared as written, `url` or `url|version`, with the target's `url`, which
is indexed in both forms: the keys have that of the text in common, with its bits turned in the one that
refers, so that what leads from one to the other does not lead back. Without a version it leads to every
version of the resource.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fhirserver.db.sql import TRUE, Fragment, and_, sql
from fhirserver.fhir import keys as hashes
from fhirserver.params import reference
from fhirserver.params.condition import Driver, Identities, PatientOf, Scope, TokenOf, has_keys
from fhirserver.params.facts import is_patient, is_wide, may_be_canonical
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.context import Context


@dataclass(frozen=True, slots=True)
class Link:
    """One way in which rows under `source` refer to rows under `target`.

    From a row: `to_targets` drives over the targets of a source row, if that `may_lead` to any, and
    `to_sources` over the sources of a target row.
    From many: a SELECT `v` of `target_value` over targets is what `sources_of` takes, and one of
    `source_value` over sources what `targets_of` takes; both give a SELECT of rids.
    """

    context: Context
    source: Scope
    target: Scope
    to_targets: Driver
    may_lead: Fragment
    to_sources: Driver
    target_value: Fragment
    source_value: Fragment
    source_is: Fragment | None
    """Where a source row `o` has the value `f.v`; None: its key in `tok` is."""
    target_is: Fragment | None

    def sources_of(self, found: Fragment) -> Fragment:
        return _rids(self.context, self.source, self.source_is, found)

    def targets_of(self, found: Fragment) -> Fragment:
        return _rids(self.context, self.target, self.target_is, found)


def links(context: Context, param: SearchParam, source: Scope, target: Scope) -> list[Link]:
    """All ways in which a parameter of the source type may refer to the target type."""
    if _is_ptk(param, source) and target.resource_type == "Patient":
        return [_by_patient(context, source, target)]
    found = [_by_identity(context, param, source, target)]
    if may_be_canonical(param, source.resource_type) and has_url(context.registry, target.resource_type):
        found.append(_by_url(context, param, source, target))
    return found


def _is_ptk(param: SearchParam, source: Scope) -> bool:
    """Whether `ptk` holds the references to Patients; that of a row is not about what is within it."""
    return is_patient(param, source.resource_type) and not source.inline


def has_url(registry: Registry, resource_type: str) -> bool:
    """Whether resources of a type are referred to by canonical URL."""
    param = registry.get(resource_type, "url")
    return param is not None and param.type == "uri"


def _by_patient(context: Context, source: Scope, target: Scope) -> Link:
    return Link(
        context,
        source,
        target,
        to_targets=Identities(sql("= {}.ptk", source.alias)),
        may_lead=TRUE,
        to_sources=PatientOf(sql("{}.idk", target.alias)),
        target_value=sql("{}.idk", target.alias),
        source_value=sql("{}.ptk", source.alias),
        source_is=sql("o.ptk = f.v"),
        target_is=sql("o.idk = f.v"),
    )


def _by_identity(context: Context, param: SearchParam, source: Scope, target: Scope) -> Link:
    keys, of, code = source.keys, source.resource_type, param.code
    salt = reference.salt_of(keys, of, code)
    no_patient = sql("{}.ptk IS NULL", source.alias) if _is_ptk(param, source) else TRUE
    to_type = reference.type_key(keys, of, code, target.resource_type)
    return Link(
        context,
        source,
        target,
        to_targets=Identities(sql("= any({})", _keys_of(source, sql("u.k"), salt))),
        may_lead=and_(no_patient, has_keys(source.alias, [to_type]) if is_wide(param, of) else TRUE),
        to_sources=TokenOf(sql("({}.idk # {})", target.alias, salt)),
        target_value=sql("({}.idk # {})", target.alias, salt),
        source_value=sql("(unnest({}.keys) # {})", source.alias, salt),
        source_is=None,
        target_is=sql("o.idk = f.v"),
    )


def _by_url(context: Context, param: SearchParam, source: Scope, target: Scope) -> Link:
    own = reference.salt_of(target.keys, target.resource_type, "url")
    referring = reference.salt_of(source.keys, source.resource_type, param.code)
    key = sql("u.k")
    of_target = _keys_of(source, turned_back(key), hashes.turned_back(referring) ^ own)
    of_source = _keys_of(target, turned(key), referring ^ hashes.turned(own))
    return Link(
        context,
        source,
        target,
        to_targets=TokenOf(sql("any({})", of_target)),
        may_lead=TRUE,
        to_sources=TokenOf(sql("any({})", of_source)),
        target_value=sql("unnest({})", of_source),
        source_value=sql("unnest({})", of_target),
        source_is=None,
        target_is=None,
    )


def _keys_of(scope: Scope, key: Fragment, salt: int) -> Fragment:
    """What the row's keys `u.k`, or what is made of them, become with a salt: a few are keys of something."""
    return sql("ARRAY(SELECT {} # {} FROM unnest({}.keys) u(k))", key, salt, scope.alias)


def turned(key: Fragment) -> Fragment:
    """`keys.turned` of a bigint; the fragment stands there twice."""
    return sql("(({} << 1) | (({} >> 63) & 1))", key, key)


def turned_back(key: Fragment) -> Fragment:
    return sql("((({} >> 1) & 9223372036854775807) | ({} << 63))", key, key)


def _rids(context: Context, scope: Scope, is_found: Fragment | None, found: Fragment) -> Fragment:
    """The rids of the rows that `f`, whose column is `v`, leads to."""
    if is_found is None:
        return sql(
            "SELECT k.rid FROM ({}) f CROSS JOIN LATERAL"
            " (SELECT t.rid FROM tok t WHERE t.key = f.v OFFSET 0) k",
            found,
        )
    rows = scope.rows
    current = sql(
        "SELECT k.rid FROM ({}) f CROSS JOIN LATERAL"
        " (SELECT o.rid FROM {} o WHERE {} AND o.died IS NULL OFFSET 0) k",
        found,
        rows,
        is_found,
    )
    if context.snapshot is None:
        return current
    ended = context.ended(replace(scope, alias=sql("o")))
    return sql("{} UNION ALL SELECT o.rid FROM {} o WHERE {}", current, rows, ended)
