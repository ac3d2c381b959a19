"""Identifier systems that a NamingSystem declares to be unique or to have check digits, and what they ask.

https://hl7.org/fhir/R4/namingsystem.html. All names of a system, its URI and its OID, are one system here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.structure import Resource
from fhirserver.identity.checks import CHECKS

TYPE: Final = "NamingSystem"
TYPES: Final = ("Location", "Organization", "Patient", "Practitioner")
"""Those whose identifiers can be unique and checked."""
UNIQUE: Final = "urn:fhirserver:StructureDefinition:unique-identifier"
"""Extension of a NamingSystem, valueCode: a type of which only one resource may have a value. Repeats."""
CHECK: Final = "urn:fhirserver:StructureDefinition:identifier-check"
"""Extension of a NamingSystem, valueCode: the check digits that every value has."""

_URN: Final = {"oid": "urn:oid:", "uuid": "urn:uuid:", "uri": ""}
_SEPARATOR: Final = "\x1f"
"""Not in valid FHIR strings."""


class System(NamedTuple):
    """One name of an identifier system on a type. `canonical` is the name under which values are compared;
    `check` the name of its check digits."""

    type: str
    system: str
    canonical: str
    is_unique: bool
    check: str | None


class Claim(NamedTuple):
    """A value that only one resource of a type may have. `key` stands for canonical system and value."""

    key: bytes
    system: str
    value: str
    path: str


def key_of(canonical: str, value: str) -> bytes:
    """16 bytes; `identifier_key` in SQL gives the same."""
    return sha256(f"{canonical}{_SEPARATOR}{value}".encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Systems:
    """What a tenant's NamingSystems ask for, by (type, name of the system)."""

    named: Mapping[tuple[str, str], System] = field(default_factory=dict)

    @classmethod
    def of(cls, systems: Iterable[System]) -> Systems:
        return cls({(one.type, one.system): one for one in systems})

    def require_valid(self, resource: Resource) -> None:
        """Raise Unprocessable naming the identifiers whose check digits are wrong."""
        if not self.named or resource["resourceType"] not in TYPES:
            return
        issues = []
        for path, system, value in self._identifiers(resource):
            if system.check is not None and not CHECKS[system.check](value):
                text = f"{value[:100]!r} is no identifier of {system.system}: its {system.check} check fails"
                issues.append(Issue("error", "value", text, f"{path}.value"))
        if issues:
            raise Unprocessable(issues=issues)

    def claims(self, resource: Resource) -> tuple[Claim, ...] | None:
        """What the resource alone may have; None where nothing of its type can be unique.

        One that was merged into another claims nothing: uniqueness belongs to the record that survives.
        """
        if not self.named or resource["resourceType"] not in TYPES:
            return None
        if is_replaced(resource):
            return ()
        found = {
            key: Claim(key, system.system, value, path)
            for path, system, value in self._identifiers(resource)
            if system.is_unique
            for key in (key_of(system.canonical, value),)
        }
        return tuple(found[key] for key in sorted(found))

    def _identifiers(self, resource: Resource) -> Iterable[tuple[str, System, str]]:
        type_ = resource["resourceType"]
        identifiers: list[dict[str, Any]] = resource.get("identifier", [])
        for number, one in enumerate(identifiers):
            system, value = self.named.get((type_, one.get("system", ""))), one.get("value")
            if system is not None and value is not None:
                yield f"{type_}.identifier[{number}]", system, value


def is_replaced(resource: Resource) -> bool:
    """Whether another Patient replaces it: https://hl7.org/fhir/R4/patient.html#links"""
    links: list[dict[str, Any]] = resource.get("link", []) if resource["resourceType"] == "Patient" else []
    return any(link.get("type") == "replaced-by" for link in links)


def declared(resource: Resource) -> list[System]:
    """What a NamingSystem declares; nothing unless it is active. Raises Unprocessable, naming the element."""
    asked = [
        (number, one)
        for number, one in enumerate(resource.get("extension", []))
        if one.get("url") in (UNIQUE, CHECK)
    ]
    if not asked or resource.get("status") != "active":
        return []
    unique = {_code(number, one, TYPES) for number, one in asked if one["url"] == UNIQUE}
    checks = [_code(number, one, CHECKS) for number, one in asked if one["url"] == CHECK]
    if len(checks) > 1:
        raise _fault("identifiers have one kind of check digits", f"{TYPE}.extension")
    if resource.get("kind") != "identifier":
        raise _fault("only identifiers can be unique or have check digits", f"{TYPE}.kind")
    names = _names(resource)
    if not names:
        raise _fault("no URI, OID or UUID says which identifiers are meant", f"{TYPE}.uniqueId")
    check = checks[0] if checks else None
    types = TYPES if check is not None else sorted(unique)
    return [System(type_, name, names[0], type_ in unique, check) for type_ in types for name in names]


def _names(resource: Resource) -> list[str]:
    """What Identifier.system may be, the preferred name first."""
    ids = [one for one in resource.get("uniqueId", []) if one.get("type") in _URN]
    ids.sort(key=lambda one: one.get("preferred") is not True)
    return [_named(_URN[one["type"]], one["value"]) for one in ids]


def _named(urn: str, value: str) -> str:
    return value if value.startswith(urn) else urn + value


def _code(number: int, extension: dict[str, Any], known: Collection[str]) -> str:
    code: str = extension.get("valueCode", "")
    if code not in known:
        raise _fault(f"valueCode is one of {', '.join(known)}, not {code!r}", f"{TYPE}.extension[{number}]")
    return code


def _fault(text: str, path: str) -> Unprocessable:
    return Unprocessable(text, path)


def together(resources: Iterable[Resource]) -> dict[tuple[str, str], System]:
    """What all NamingSystems of a tenant declare, by (type, name). Raises Unprocessable where two say
    different things of one system."""
    found: dict[tuple[str, str], System] = {}
    for resource in resources:
        for one in declared(resource):
            other = found.setdefault((one.type, one.system), one)
            if other != one:
                raise _fault(f"another NamingSystem says something else of {one.system}", f"{TYPE}.uniqueId")
    return found
