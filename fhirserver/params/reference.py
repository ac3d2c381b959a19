"""Reference parameters: ids, types, URLs, canonicals, `:Type`, `:identifier`, `:below` of versions.

https://hl7.org/fhir/R4/search.html#reference, https://hl7.org/fhir/R4/search.html#versions

`:above` and `:below` in a hierarchy become plain ids before a search is compiled. A local reference has
the key `param ^ target`. Where one element alone says whose the resource is, the reference to that
Patient is `resource.ptk` and nothing else (see `facts.patient_path`).

A canonical has `param ^ turned(url)` or `param ^ turned(url|version)`, as it is written, which is what
a chain follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir import reference
from fhirserver.fhir.keys import Keys, turned
from fhirserver.fhir.reference import Reference
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params import spelling, token
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Driver, Patients, Rank, Scope, has_keys, under_keys
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.facts import is_patient, is_wide
from fhirserver.params.registry import SearchParam, compartment_params
from fhirserver.params.token import TokenValue

_RESOLVED_MAX: Final = 16_384
_VERSION_LENGTH_MAX: Final = 64
_URLS: Final = frozenset({"canonical", "uri", "url"})
"""Types of values that refer by canonical URL."""

MODIFIERS: Final = ("a resource type", "identifier", "above", "below", "missing")
_PAIR: Final = re.compile(r"([A-Za-z]+)/[^/]+(/_history/[^/]+)?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """Local: the `types` that the id may be of, perhaps a version. Elsewhere: `url`, perhaps a version.

    A URL below this server's base is both: what it stands for has that id, or that canonical URL.
    """

    types: tuple[str, ...] = ()
    id: str | None = None
    url: str | None = None
    version: str | None = None


def parse(
    text: str,
    targets: tuple[str, ...],
    type_modifier: str | None,
    own_bases: tuple[str, ...],
    by_url: bool = False,
) -> ReferenceValue:
    """A search value. `targets` are the types the parameter may point at, none for any; `by_url`: it
    may do so by canonical URL. Raises Invalid."""
    value = syntax.unescape(text)
    if reference.is_id(value):
        types = (type_modifier,) if type_modifier else targets or tuple(sorted(ENDPOINT_TYPES))
        return ReferenceValue(tuple(t for t in types if t in ENDPOINT_TYPES), value)
    found = reference.parse(value, own_bases)
    misspelt = spelling.of_reference(value) if found.type is None else None
    if misspelt is not None:
        raise Invalid(f"'{text}' is not an id, Type/id or URL{misspelt}")
    if found.is_conditional:
        raise Invalid(f"'{text}' is a search, not a reference")
    if found.type is not None and type_modifier not in (None, found.type):
        raise Invalid(f"'{text}' is not a reference to the type {type_modifier}")
    if found.is_local:
        assert found.type is not None
        url = value if by_url and found.version is None and ":" in value else None
        return ReferenceValue((found.type,), found.id, url, found.version)
    if not _SCHEME.match(value):
        raise _misspelt(text, value)
    if type_modifier is not None and found.type is None:
        raise Invalid(f"'{text}' does not say of what type it is: :{type_modifier} takes an id or Type/id")
    return ReferenceValue((), None, found.url, found.version)


def parse_node(text: str, targets: tuple[str, ...], own_bases: tuple[str, ...]) -> ReferenceValue:
    """A value of `:above` and `:below`: a resource in a hierarchy, whatever its version. Raises Invalid."""
    value = parse(text, targets, None, own_bases)
    if value.version is not None:
        raise Invalid(f"'{text}' is a version; :above and :below take the resource itself")
    return value


def _misspelt(text: str, value: str) -> Invalid:
    pair = _PAIR.fullmatch(value)
    names = nearest(pair[1], ENDPOINT_TYPES) if pair and pair[1] not in ENDPOINT_TYPES else []
    hint = f"; alike: {', '.join(f'{name}/[id]' for name in names)}" if names else ""
    return Invalid(f"'{text}' is not an id, Type/id or URL{hint}")


def parse_canonical(text: str, targets: tuple[str, ...]) -> ReferenceValue:
    """A search value for canonical elements: a URL, perhaps with a version, or where the resource is that
    has the URL, as an id or Type/id. Raises Invalid."""
    value = syntax.unescape(text)
    if _SCHEME.match(value):
        found = reference.parse_canonical(value)
        return ReferenceValue((), None, found.url, found.version)
    return parse(text, targets, None, ())


Resolve = Callable[[str], tuple[Reference, int]]
"""A literal reference parsed, with the key of its target; 0 where it is not local."""


def resolver(keys: Keys, own_bases: tuple[str, ...]) -> Resolve:
    """Remembers what it resolved: resources written together refer to the same ones."""

    @lru_cache(maxsize=_RESOLVED_MAX)
    def resolve(literal: str) -> tuple[Reference, int]:
        found = reference.parse(literal, own_bases)
        if found.type is None or found.id is None or not found.is_local:
            return found, 0
        return found, keys.target(found.type, found.id)

    return resolve


def literals(value: Any) -> Iterator[str]:
    """What a node points at: a Reference, a canonical or a URI. A resource in its place points nowhere."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        literal = value.get("reference")
        if isinstance(literal, str):
            yield literal


def salt_of(keys: Keys, resource_type: str, code: str) -> int:
    """What a target's key is combined with: `tok.key = resource.idk # salt`."""
    return keys.param(resource_type, code)


def url_key(keys: Keys, resource_type: str, code: str, url: str, version: str | None = None) -> int:
    """The key of a reference to elsewhere or of a canonical, as it is written."""
    text = url if version is None else f"{url}|{version}"
    return salt_of(keys, resource_type, code) ^ turned(keys.uri(text))


def any_version_key(keys: Keys, resource_type: str, code: str, url: str) -> int:
    """The second key of one that names a version, by which it is found without."""
    return keys.param(resource_type, f"{code}|") ^ keys.uri(url)


def url_keys(
    keys: Keys, resource_type: str, code: str, url: str, version: str | None = None
) -> tuple[int, ...]:
    """The keys of those that name a URL: with that version, or with any and none."""
    own = url_key(keys, resource_type, code, url, version)
    return (own,) if version is not None else (own, any_version_key(keys, resource_type, code, url))


def type_key(keys: Keys, resource_type: str, code: str, target: str) -> int:
    """The key of a row that refers to a resource of a type, where that may be of nearly any type."""
    return keys.of("to", resource_type, code, target)


def versions_key(keys: Keys, resource_type: str, code: str, url: str, start: str) -> int:
    """The key of the versions of a canonical that begin with some parts, as 1.2 and 1.3 do with 1."""
    return keys.of("url/", resource_type, code, url, start)


def beginnings(version: str) -> Iterator[str]:
    """The version itself, and what of it ends where a part of it does: 1, 1.2 and 1.2-beta of 1.2-beta."""
    for end in range(1, min(len(version), _VERSION_LENGTH_MAX)):
        if version[end - 1].isalnum() and not version[end].isalnum():
            yield version[:end]
    yield version


def version_key(keys: Keys, resource_type: str, code: str, type_: str, id_: str, version: str) -> int:
    """The key of a reference to one version of a local resource, beside its ordinary key."""
    return keys.of("version", resource_type, code, type_, id_, version)


def identifier_code(code: str) -> str:
    """The name under which the identifiers of references have their token keys."""
    return f"{code}:identifier"


def indexer(
    keys: Keys, param: SearchParam, resource_type: str, resolve: Resolve, inside: bool = False
) -> Indexer:
    """Writes what `compile` asks for, and the compartments that this parameter puts the resource into.

    `inside`: of a resource within the one that the row holds, whose patient and compartments it has not.
    """
    code = param.code
    salt = salt_of(keys, resource_type, code)
    compartments = frozenset(
        name for name in COMPARTMENTS if code in compartment_params(name, resource_type) and not inside
    )
    by_patient = is_patient(param, resource_type) and not inside
    wide = is_wide(param, resource_type)

    def local(found: Reference, target: int, entries: Entries) -> None:
        if found.type in compartments:
            entries.compartments.append(target)
        if by_patient and found.type == "Patient":
            entries.ptk = target
        else:
            entries.keys.append(salt ^ target)
            entries.tok.append(salt ^ target)
            if wide and found.type is not None:
                entries.keys.append(type_key(keys, resource_type, code, found.type))
        if found.version is not None and found.type is not None and found.id is not None:
            entries.keys.append(version_key(keys, resource_type, code, found.type, found.id, found.version))

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for value, type_ in nodes:
            direct = type_ == "Reference" and "reference" in value
            for literal in (value["reference"],) if direct else literals(value):
                found, target = resolve(literal)
                if found.is_local:
                    local(found, target, entries)
                elif type_ not in _URLS and found.url:
                    _put_url(keys, resource_type, code, found.url, found.version, entries)
            if type_ in _URLS:  # even where it looks like a reference to a resource of this server
                _put_canonical(keys, resource_type, code, value, entries)
            elif type_ == "Reference" and "identifier" in value:
                one = value["identifier"]
                pairs = [(one.get("system"), one.get("value"))]
                token.put_exact(keys, resource_type, identifier_code(code), pairs, entries)

    return index


def _put_url(
    keys: Keys, resource_type: str, code: str, url: str, version: str | None, entries: Entries
) -> None:
    own = [url_key(keys, resource_type, code, url, version)]
    if version is not None:
        own.append(any_version_key(keys, resource_type, code, url))
    entries.keys.extend(own)
    entries.tok.extend(own)


def _put_canonical(keys: Keys, resource_type: str, code: str, literal: str, entries: Entries) -> None:
    found = reference.parse_canonical(literal)
    if not found.url:
        return
    _put_url(keys, resource_type, code, found.url, found.version, entries)
    if found.version:
        starts = beginnings(found.version)
        entries.keys.extend(versions_key(keys, resource_type, code, found.url, start) for start in starts)


def compile(scope: Scope, code: str, values: Sequence[ReferenceValue], by_patient: bool) -> Condition:
    """The condition of one clause; its values are alternatives. `:Type` is in the values already.

    `by_patient`: `ptk` holds the references to Patients.
    """
    found = _Wanted([], [], [], [])
    for value in values:
        if value.url is not None:
            own = url_keys(scope.keys, scope.resource_type, code, value.url, value.version)
            found.keys.extend(own)
            found.driving.extend(own)
        if value.id is not None:
            _local(scope, code, value, by_patient, found)
    return _condition(scope, found)


def compile_versions(scope: Scope, code: str, values: Sequence[ReferenceValue]) -> Condition:
    """`:below` of canonicals: https://hl7.org/fhir/R4/search.html#versions

    Any version of a URL, or those that begin with the parts of a version that are given.
    """
    keys, of = scope.keys, scope.resource_type
    found = _Wanted([], [], [], [])
    for value in values:
        if value.url is None:
            _local(scope, code, value, False, found)
            continue
        own = url_keys(keys, of, code, value.url)
        found.driving.extend(own)
        found.keys.extend([versions_key(keys, of, code, value.url, value.version)] if value.version else own)
    return _condition(scope, found)


class _Wanted(NamedTuple):
    """Patients that decide, patients that only lead to rows, keys that decide, keys in `tok`."""

    patients: list[int]
    leads: list[int]
    keys: list[int]
    driving: list[int]


def _local(scope: Scope, code: str, value: ReferenceValue, by_patient: bool, found: _Wanted) -> None:
    assert value.id is not None
    keys, of = scope.keys, scope.resource_type
    for type_ in value.types:
        target = keys.target(type_, value.id)
        key = salt_of(keys, of, code) ^ target
        is_ptk = by_patient and type_ == "Patient"
        if value.version is not None:
            found.keys.append(version_key(keys, of, code, type_, value.id, value.version))
        elif is_ptk:
            found.patients.append(target)
        else:
            found.keys.append(key)
        if is_ptk:
            found.leads.append(target)
        else:
            found.driving.append(key)


def _condition(scope: Scope, found: _Wanted) -> Condition:
    tests: list[Fragment] = []
    drivers: list[Driver] = []
    if found.keys:
        tests.append(has_keys(scope.alias, found.keys))
    if found.patients:
        tests.append(sql("{}.ptk = any({}::bigint[])", scope.alias, found.patients))
    if found.leads:
        drivers.append(Patients(tuple(dict.fromkeys(found.leads))))
    if found.driving:
        drivers.append(under_keys(found.driving))
    return Condition(or_(*tests), tuple(drivers), Rank.PATIENT if found.leads else Rank.REFERENCE)


def compile_identifier(scope: Scope, code: str, values: Sequence[TokenValue]) -> Condition:
    """`:identifier`: the references that carry such an identifier instead of, or beside, a literal."""
    return token.compile(scope, identifier_code(code), None, values, frozenset({"Identifier"}))
