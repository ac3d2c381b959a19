"""Rows that refer to any of some resources by any of some parameters: what `_revinclude` looks for.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.params import reference
from fhirserver.params.condition import Condition, Driver, Patients, Rank, Scope, Tokens, has_keys
from fhirserver.params.facts import is_patient, may_be_canonical, targets
from fhirserver.params.registry import SearchParam

Url = tuple[str, str | None]
"""A canonical URL and the business version of the resource that has it."""


@dataclass(frozen=True, slots=True)
class Referred:
    """Resources by type: their keys (`keys.target`), and the canonical URLs of those that have one."""

    keys: Mapping[str, Sequence[int]]
    urls: Mapping[str, Sequence[Url]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Without repetitions: values of `ptk`, keys that decide, and keys of `tok` that lead to the rows."""

    patients: dict[int, None]
    keys: dict[int, None]
    tok: dict[int, None]


def referring(scope: Scope, params: Iterable[SearchParam], referred: Referred) -> Condition | None:
    """Rows under `scope` that refer to any of them; None when the parameters cannot."""
    wanted = _Wanted({}, {}, {})
    for param in params:
        _by_identity(scope, param, referred, wanted)
        if may_be_canonical(param, scope.resource_type):
            _by_url(scope, param, referred, wanted)
    tests: list[Fragment] = []
    drivers: list[Driver] = []
    if wanted.patients:
        tests.append(sql("{}.ptk = any({}::bigint[])", scope.alias, list(wanted.patients)))
        drivers.append(Patients(tuple(wanted.patients)))
    if wanted.keys:
        tests.append(has_keys(scope.alias, list(wanted.keys)))
        drivers.append(Tokens(tuple(wanted.tok)))
    if not tests:
        return None
    return Condition(or_(*tests), tuple(drivers), Rank.REFERENCE, wanted.tok.keys() == wanted.keys.keys())


def _by_identity(scope: Scope, param: SearchParam, referred: Referred, wanted: _Wanted) -> None:
    of = scope.resource_type
    possible, salt = targets(param, of), reference.salt_of(scope.keys, of, param.code)
    for type_, found in referred.keys.items():
        if possible and type_ not in possible:
            continue
        if type_ == "Patient" and is_patient(param, of):
            wanted.patients.update(dict.fromkeys(found))
        else:
            keys = dict.fromkeys(salt ^ target for target in found)
            wanted.keys.update(keys)
            wanted.tok.update(keys)


def _by_url(scope: Scope, param: SearchParam, referred: Referred, wanted: _Wanted) -> None:
    """A canonical leads to what has its URL and, if it names a version, that version."""
    keys, of, code = scope.keys, scope.resource_type, param.code
    possible = targets(param, of)
    for type_, found in referred.urls.items():
        if possible and type_ not in possible:
            continue
        for url, version in found:
            wanted.tok[reference.url_key(keys, of, code, url)] = None
            for form in {None, version}:
                wanted.keys[reference.written_key(keys, of, code, url, form)] = None
