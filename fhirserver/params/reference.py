"""Reference parameters: ids, types, URLs, canonicals, `:Type` and `:identifier`.

https://hl7.org/fhir/R4/search.html#reference

A local reference has the key `param ^ target`. Where one element alone says whose the resource is,
the reference to that Patient is `resource.ptk` and nothing else (see `facts.patient_path`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir import reference
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.reference import Reference
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import spelling, token
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Driver, Patients, Rank, Scope, Tokens, has_keys
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.token import TokenValue

_RESOLVED_MAX: Final = 16_384
MODIFIERS: Final = ("a resource type", "identifier", "missing")


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """Local: the `types` that the id may be of, perhaps a version. Elsewhere: `url`, perhaps a version."""

    types: tuple[str, ...] = ()
    id: str | None = None
    url: str | None = None
    version: str | None = None


def parse(
    text: str, targets: tuple[str, ...], type_modifier: str | None, own_bases: tuple[str, ...]
) -> ReferenceValue:
    """A search value. `targets` are the types the parameter may point at, none for any. Raises Invalid."""
    value = syntax.unescape(text)
    if not value or value.startswith("#"):
        raise Invalid(f"'{text}' is not an id, Type/id or URL")
    if type_modifier is not None and type_modifier not in ENDPOINT_TYPES:
        raise Invalid(f"'{type_modifier}' is not a resource type")
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
        return ReferenceValue((found.type,), found.id, None, found.version)
    return ReferenceValue((), None, found.url, found.version)


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
    """The key of a reference to elsewhere, or of a canonical."""
    return keys.of("url", resource_type, code, url, *(() if version is None else (version,)))


def version_key(keys: Keys, resource_type: str, code: str, type_: str, id_: str, version: str) -> int:
    """The key of a reference to one version of a local resource, beside its ordinary key."""
    return keys.of("version", resource_type, code, type_, id_, version)


def identifier_code(code: str) -> str:
    """The name under which the identifiers of references have their token keys."""
    return f"{code}:identifier"


def indexer(
    keys: Keys,
    resource_type: str,
    code: str,
    resolve: Resolve,
    compartments: frozenset[str],
    is_patient: bool,
) -> Indexer:
    """Writes what `compile` asks for, and the compartments that this parameter puts the resource into."""
    salt = salt_of(keys, resource_type, code)

    def local(found: Reference, target: int, entries: Entries) -> None:
        if found.type in compartments:
            entries.compartments.append(target)
        if is_patient and found.type == "Patient":
            entries.ptk = target
        else:
            entries.keys.append(salt ^ target)
            entries.tok.append(salt ^ target)
        if found.version is not None and found.type is not None and found.id is not None:
            entries.keys.append(version_key(keys, resource_type, code, found.type, found.id, found.version))

    def elsewhere(found: Reference, entries: Entries) -> None:
        assert found.url is not None
        key = url_key(keys, resource_type, code, found.url)
        entries.keys.append(key)
        entries.tok.append(key)
        if found.version is not None:
            entries.keys.append(url_key(keys, resource_type, code, found.url, found.version))

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for value, type_ in nodes:
            direct = type_ == "Reference" and "reference" in value
            for literal in (value["reference"],) if direct else literals(value):
                found, target = resolve(literal)
                if found.is_local:
                    local(found, target, entries)
                elif found.url is not None:
                    elsewhere(found, entries)
            if type_ == "Reference" and "identifier" in value:
                one = value["identifier"]
                pairs = [(one.get("system"), one.get("value"))]
                token.put_exact(keys, resource_type, identifier_code(code), pairs, entries)

    return index


def compile(scope: Scope, code: str, values: Sequence[ReferenceValue], is_patient: bool) -> Condition:
    """The condition of one clause; its values are alternatives. `:Type` is in the values already."""
    found = _Wanted([], [], [], [])
    for value in values:
        if value.url is not None:
            found.keys.append(url_key(scope.keys, scope.resource_type, code, value.url, value.version))
            found.driving.append(url_key(scope.keys, scope.resource_type, code, value.url))
        else:
            _local(scope, code, value, is_patient, found)
    return _condition(scope, found)


class _Wanted(NamedTuple):
    """Patients that decide, patients that only lead to rows, keys that decide, keys in `tok`."""

    patients: list[int]
    leads: list[int]
    keys: list[int]
    driving: list[int]


def _local(scope: Scope, code: str, value: ReferenceValue, is_patient: bool, found: _Wanted) -> None:
    assert value.id is not None
    keys, of = scope.keys, scope.resource_type
    for type_ in value.types:
        target = keys.target(type_, value.id)
        key = salt_of(keys, of, code) ^ target
        by_patient = is_patient and type_ == "Patient"
        if value.version is not None:
            found.keys.append(version_key(keys, of, code, type_, value.id, value.version))
        elif by_patient:
            found.patients.append(target)
        else:
            found.keys.append(key)
        if by_patient:
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
        drivers.append(Tokens(tuple(dict.fromkeys(found.driving))))
    return Condition(or_(*tests), tuple(drivers), Rank.PATIENT if found.leads else Rank.REFERENCE)


def compile_identifier(scope: Scope, code: str, values: Sequence[TokenValue]) -> Condition:
    """`:identifier`: the references that carry such an identifier instead of, or beside, a literal."""
    return token.compile(scope, identifier_code(code), None, values, frozenset({"Identifier"}))
