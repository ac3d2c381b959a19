"""A value set as its definition says: what it includes and excludes, or the expansion it comes with.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.terminology.errors import NotEnumerable

_EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
_INCOMPLETE: Final = frozenset({f"{_EXTENSIONS}valueset-toocostly", f"{_EXTENSIONS}valueset-unclosed"})
"""Extensions by which a stored expansion says that it does not hold every code."""

NO_SYSTEM: Final = ""
"""Stands for the system of codes that have none."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """Codes by system; NO_SYSTEM for those without one."""

    codes: Mapping[str, frozenset[str]]

    @property
    def total(self) -> int:
        return sum(map(len, self.codes.values()))

    def __and__(self, other: Expansion) -> Expansion:
        return Expansion({system: self.of(system) & other.of(system) for system in self.codes})

    def __sub__(self, other: Expansion) -> Expansion:
        return Expansion({system: self.of(system) - other.of(system) for system in self.codes})

    def of(self, system: str) -> frozenset[str]:
        return self.codes.get(system, frozenset())


NOTHING: Final = Expansion({})


@dataclass(frozen=True, slots=True)
class Filter:
    """https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.compose.include.filter"""

    property: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """One include or exclude: what its system and each of its value sets have in common.

    `concepts` None stands for all codes of the system that the filters let through.
    """

    system: str | None
    version: str | None
    concepts: tuple[str, ...] | None
    filters: tuple[Filter, ...]
    value_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueSet:
    """`expansion` is the stored one, None where there is none that is complete; `inactive` says whether
    codes that are not in use belong to it. Without `includes` the expansion is all there is."""

    url: str
    version: str | None
    includes: tuple[Part, ...]
    excludes: tuple[Part, ...]
    inactive: bool
    expansion: Expansion | None

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> ValueSet:
        """From a valid ValueSet."""
        compose = resource.get("compose", {})
        return cls(
            resource.get("url", f"ValueSet/{resource.get('id')}"),
            resource.get("version"),
            tuple(map(_part, compose.get("include", ()))),
            tuple(map(_part, compose.get("exclude", ()))),
            compose.get("inactive") is not False,
            _expansion(resource.get("expansion")),
        )

    @property
    def name(self) -> str:
        """For messages."""
        return self.url if self.version is None else f"{self.url}|{self.version}"

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.includes + self.excludes

    def stored(self) -> Expansion:
        """The expansion that it comes with. Raises NotEnumerable."""
        if self.expansion is None:
            raise NotEnumerable(
                f"the value set '{self.name}' does not say what is in it: it has neither a definition"
                " nor a complete expansion"
            )
        return self.expansion


def implicit(url: str, version: str | None) -> ValueSet | None:
    """A value set that no resource defines: all of a code system, or what a code of it subsumes.

    https://hl7.org/fhir/R4/snomedct.html#implicit
    """
    system, mark, rest = url.partition("?fhir_vs")
    if not mark or not system or version is not None:
        return None
    if rest == "":
        filters: tuple[Filter, ...] = ()
    elif rest.startswith("=isa/") and len(rest) > len("=isa/"):
        filters = (Filter("concept", "is-a", rest.removeprefix("=isa/")),)
    else:
        return None
    return ValueSet(url, None, (Part(system, None, None, filters, ()),), (), True, None)


def _part(include: Mapping[str, Any]) -> Part:
    concepts = include.get("concept")
    version = include.get("version")
    return Part(
        include.get("system"),
        None if version == "*" else version,
        None if concepts is None else tuple(one["code"] for one in concepts if "code" in one),
        tuple(
            Filter(one.get("property", ""), one.get("op", ""), one.get("value", ""))
            for one in include.get("filter", ())
        ),
        tuple(canonical for canonical in include.get("valueSet", ()) if canonical is not None),
    )


def _expansion(stored: Mapping[str, Any] | None) -> Expansion | None:
    """None unless it says that it holds every code."""
    if stored is None:
        return None
    if any(extension.get("url") in _INCOMPLETE for extension in stored.get("extension", ())):
        return None
    found: dict[str, set[str]] = {}
    total = 0
    for entry in _entries(stored.get("contains", ())):
        if "code" in entry:
            found.setdefault(entry.get("system", NO_SYSTEM), set()).add(entry["code"])
            total += 1
    if stored.get("offset") or stored.get("total", total) > total:
        return None
    return Expansion({system: frozenset(codes) for system, codes in found.items()})


def _entries(contains: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    pending = list(contains)
    while pending:
        entry = pending.pop()
        yield entry
        pending.extend(entry.get("contains", ()))
