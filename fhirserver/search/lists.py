"""`_list`: what List resources refer to, and the current lists of a patient by their names.

https://hl7.org/fhir/R4/search.html#list, https://hl7.org/fhir/R4/lifecycle.html#lists

A List has to be visible to the caller like any other row; one that is not there has no items. Entries
that are flagged as deleted are no items either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.db.sql import FALSE, Fragment, and_, sql
from fhirserver.errors import Invalid, NotSupported
from fhirserver.fhir.suggest import nearest
from fhirserver.params import listing, plain, reference, special
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Rank, Scope, TokenOf, either
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.search import chain
from fhirserver.search.context import Context
from fhirserver.search.sources import sources

_LOINC: Final = "http://loinc.org"
_USE: Final = "http://terminology.hl7.org/CodeSystem/list-example-use-codes"


@dataclass(frozen=True, slots=True)
class Current:
    """A current list: `codes` say of a List that it is one; `category` narrows its allergies."""

    codes: tuple[TokenValue, ...]
    category: str | None = None


_ALLERGIES: Final = (
    TokenValue(_USE, "allergies"),
    TokenValue(_LOINC, "18716-1"),
    TokenValue(_LOINC, "52472-8"),
    TokenValue(_LOINC, "48765-2"),
)
CURRENT: Final[Mapping[str, Current]] = {
    "$current-problems": Current(
        (TokenValue(_USE, "problems"), TokenValue(_LOINC, "46105-3"), TokenValue(_LOINC, "11450-4"))
    ),
    "$current-medications": Current(
        (TokenValue(_USE, "medications"), TokenValue(_LOINC, "57828-6"), TokenValue(_LOINC, "10160-0"))
    ),
    "$current-allergies": Current(_ALLERGIES),
    "$current-drug-allergies": Current(_ALLERGIES, "medication"),
}
"""R4's names, with the codes that its table and its example value set for `List.code` give them, and for
problems the code of the problem list in documents."""


def parse(text: str, own_bases: tuple[str, ...]) -> str:
    """One value of `_list`: the id of a List, which may be given as List/id or as URL, or a name of CURRENT.

    Raises Invalid, NotSupported.
    """
    value = syntax.unescape(text)
    if value.startswith("$"):
        if value not in CURRENT:
            alike = ", ".join(nearest(value, CURRENT) or CURRENT)
            raise NotSupported(f"'{value}' is not a list that R4 names; these are: {alike}")
        return value
    found = reference.parse(text, ("List",), None, own_bases)
    if found.id is None or found.types != ("List",) or found.version is not None:
        raise Invalid(
            f"'{text}' in _list is not the id of a List, List/[id] or a name such as $current-problems"
        )
    return found.id


def compile(context: Context, scope: Scope, lists: Sequence[str], depth: int) -> Condition:
    """Rows that one of the lists has as item."""
    of = context.scope("List", depth + 1)
    ids = [name for name in lists if name not in CURRENT]
    found = [_current_one(context, scope, of, CURRENT[name]) for name in lists if name in CURRENT]
    if ids:
        kept = listing.kept(scope.keys, scope.alias, of.alias)
        inner = special.compile_ids(of, ids)
        found.append(chain.referred(context, scope, _param(context, "List", "item"), of, inner, kept))
    return either(found)


def _current_one(context: Context, scope: Scope, of: Scope, current: Current) -> Condition:
    item = _param(context, "List", "item")
    kept = listing.kept(scope.keys, scope.alias, of.alias)
    kept = and_(kept, _same_patient(scope.alias, of.alias))
    found = chain.referred(context, scope, item, of, _current(context, of, current), kept)
    if current.category is None:
        return found
    if scope.resource_type != "AllergyIntolerance":
        return Condition(FALSE)
    category = _param(context, scope.resource_type, "category")
    narrow = plain.compile(scope, category, None, [TokenValue(None, current.category)])
    return Condition(and_(found.filter, narrow.filter), found.drivers, found.rank)


def _same_patient(row: Fragment, list_: Fragment) -> Fragment:
    """A List that says whose it is holds nothing current of anybody else."""
    return sql("coalesce({}.ptk = {}.ptk, true)", list_, row)


def _current(context: Context, of: Scope, wanted: Current) -> Condition:
    """Lists in use that are kept up to date (`working`) and have one of the codes."""
    code = plain.compile(of, _param(context, "List", "code"), None, list(wanted.codes))
    status = plain.compile(of, _param(context, "List", "status"), None, [TokenValue(None, "current")])
    working = sql("{}.content->>'mode' = 'working'", of.alias)
    return Condition(and_(code.filter, status.filter, working), code.drivers, Rank.TOKEN)


def of_versions(context: Context, row: Fragment, name: str) -> Fragment:
    """Whether a version in a history, of whatever type, is one that a list refers to.

    https://hl7.org/fhir/R4/http.html#history: a reference without version means all versions.
    """
    of = context.scope("List", 1)
    current = CURRENT.get(name)
    if current is not None and current.category is not None:
        raise NotSupported(f"'{name}' narrows a search, not a history; use $current-allergies")
    chosen = special.compile_ids(of, [name]) if current is None else _current(context, of, current)
    meant = [listing.kept(of.keys, row, of.alias), listing.names_version(of.keys, row, of.alias)]
    if current is not None:
        meant.append(_same_patient(row, of.alias))
    salt = reference.salt_of(of.keys, "List", "item")
    link = TokenOf(sql("({}.idk # {})", row, salt))
    return chain.any_of(sources(context, of, [chosen, Condition(and_(*meant))], [link]))


def _param(context: Context, resource_type: str, code: str) -> SearchParam:
    param = context.registry.get(resource_type, code)
    assert param is not None
    return param
