"""Rows that refer to any of some resources by any of some parameters: what `_revinclude` looks for.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fhirserver.params import reference
from fhirserver.params.condition import Driver, Patients, Scope, Tokens
from fhirserver.params.facts import is_patient, may_be_canonical, targets
from fhirserver.params.registry import SearchParam

Url = tuple[str, str | None]
"""A canonical URL and the business version of the resource that has it."""


@dataclass(frozen=True, slots=True)
class Referred:
    """Resources by type: their keys (`keys.target`), and the canonical URLs of those that have one."""

    keys: Mapping[str, Sequence[int]]
    urls: Mapping[str, Sequence[Url]]


def referring(scope: Scope, params: Iterable[SearchParam], referred: Referred) -> list[Driver]:
    """The rows under `scope` that refer to any of them, and no others; no driver when none can."""
    patients: dict[int, None] = {}
    keys: dict[int, None] = {}
    for param in params:
        possible = targets(param, scope.resource_type)
        for type_, found in referred.keys.items():
            if type_ == "Patient" and is_patient(param, scope.resource_type):
                patients.update(dict.fromkeys(found))
            elif not possible or type_ in possible:
                salt = reference.salt_of(scope.keys, scope.resource_type, param.code)
                keys.update(dict.fromkeys(salt ^ target for target in found))
        if may_be_canonical(param, scope.resource_type):
            for type_, urls in referred.urls.items():
                if not possible or type_ in possible:
                    keys.update(dict.fromkeys(_url_keys(scope, param.code, urls)))
    drivers: list[Driver] = [Patients(tuple(patients))] if patients else []
    return [*drivers, Tokens(tuple(keys))] if keys else drivers


def _url_keys(scope: Scope, code: str, urls: Sequence[Url]) -> Iterator[int]:
    """A canonical leads to what has its URL and, if it names a version, that version."""
    for url, version in urls:
        for form in {None, version}:
            yield reference.url_key(scope.keys, scope.resource_type, code, url, form)
