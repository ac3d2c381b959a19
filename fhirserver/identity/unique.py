"""Identifier systems that a NamingSystem declares to be unique or to have check digits, and what they ask.

https://hl7.org/fhir/R4/namingsystem.html. All names of a system, its URI and its OID, are one system here.
"""

from __future__ import annotations

import re
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
    """A value that only one resource of a type may have. `key` stands for canonical system and value;
    `replaced_by` is the id of the resource that stands in the place of the one that claims it."""

    key: bytes
    system: str
    value: str
    path: str
    replaced_by: str | None = None


def key_of(canonical: str, value: str) -> bytes:
    """16 bytes; `identifier_key` in SQL gives the same."""
    return sha256(f"{canonical}{_SEPARATOR}{plain(value)}".encode()).digest()[:16]


_INVISIBLE: Final = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SPACE: Final = re.compile("[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")


def plain(value: str) -> str:
    """A value as values are compared: what nobody sees makes no other one."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", value)).strip(" ")


@dataclass(frozen=True, slots=True)
class Systems:
    """What a tenant's NamingSystems ask for, by (type, name of the system). `names` are all names of a
    system, by each of them, where it has several."""

    named: Mapping[tuple[str, str], System] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, systems: Iterable[System]) -> Systems:
        named = {(one.type, one.system): one for one in systems}
        group = joined((one.system, one.canonical) for one in named.values())
        together: dict[str, list[str]] = {}
        for name in sorted(group):
            together.setdefault(group[name], []).append(name)
        names = {name: tuple(all_) for all_ in together.values() if len(all_) > 1 for name in all_}
        return cls(named, names)

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
        """What the resource alone may have, but for those that replace it; None where nothing of its type can
        be unique."""
        if not self.named or resource["resourceType"] not in TYPES:
            return None
        other = replaced_by(resource)
        found = {
            key: Claim(key, system.system, value, path, other)
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


_PATIENT: Final = re.compile(r"(?:.*/)?Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[^/#]+)?(?:#.*)?")


def replaced_by(resource: Resource) -> str | None:
    """The id of the other Patient that stands in the place of this one, if one does; `replaced_by` in SQL
    gives the same. https://hl7.org/fhir/R4/patient.html#links"""
    links: list[dict[str, Any]] = resource.get("link", []) if resource["resourceType"] == "Patient" else []
    for link in links:
        found = _PATIENT.fullmatch(link.get("other", {}).get("reference", ""))
        if link.get("type") == "replaced-by" and found and found[1] != resource.get("id"):
            return found[1]
    return None


def end_of(id_: str, replaced: Mapping[str, str | None]) -> str:
    """Where links lead to from a resource, over those that are known: itself, if they lead nowhere. Of those
    that lead to each other, the first one."""
    way = [id_]
    while (other := replaced.get(way[-1])) is not None:
        if other in way:
            return min(way[way.index(other) :])
        way.append(other)
    return way[-1]


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One of each group of names that pairs join, by each name in it."""
    group: dict[str, str] = {}

    def first(name: str) -> str:
        while (other := group.setdefault(name, name)) != name:
            name = other
        return name

    for one, other in pairs:
        group[first(one)] = first(other)
    return {name: first(name) for name in list(group)}


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
