"""A value set as its definition says: what it includes and excludes, or the expansion it comes with.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from fhirserver.fhir.structure import Resource
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.system import Filter

_EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
_INCOMPLETE: Final = frozenset({f"{_EXTENSIONS}valueset-toocostly", f"{_EXTENSIONS}valueset-unclosed"})
"""Extensions by which a stored expansion says that it does not hold every code."""
_HEAD: Final = (
    "id",
    "url",
    "identifier",
    "version",
    "name",
    "title",
    "status",
    "experimental",
    "date",
    "publisher",
    "immutable",
    "copyright",
)
"""What an expansion repeats of the resource: https://hl7.org/fhir/R4/valueset.html#expansion"""

NO_SYSTEM: Final = ""
"""Stands for the system of codes that have none."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One include or exclude: what its system and each of its value sets have in common.

    `concepts` None stands for all codes of the system that the filters let through; those that are listed
    come with the texts of the value set's own.
    """

    system: str | None
    version: str | None
    concepts: Mapping[str, Concept] | None
    filters: tuple[Filter, ...]
    value_sets: tuple[str, ...]

    def element(self) -> dict[str, Any]:
        """ValueSet.compose.include as JSON."""
        found: dict[str, Any] = {}
        if self.system is not None:
            found["system"] = self.system
        if self.version is not None:
            found["version"] = self.version
        if self.concepts is not None:
            found["concept"] = [_listed(one) for one in self.concepts.values()]
        if self.filters:
            found["filter"] = [
                {"property": one.property, "op": one.op, "value": one.value} for one in self.filters
            ]
        if self.value_sets:
            found["valueSet"] = list(self.value_sets)
        return found


@dataclass(frozen=True, slots=True)
class Expansion:
    """Codes by system, in order, each with the part that brought it in; NO_SYSTEM for those without one."""

    codes: Mapping[str, Mapping[str, Part]]

    @property
    def total(self) -> int:
        return sum(map(len, self.codes.values()))

    def __and__(self, other: Expansion) -> Expansion:
        return Expansion(
            {
                system: {code: part for code, part in found.items() if code in other.of(system)}
                for system, found in self.codes.items()
            }
        )

    def __sub__(self, other: Expansion) -> Expansion:
        return Expansion(
            {
                system: {code: part for code, part in found.items() if code not in other.of(system)}
                for system, found in self.codes.items()
            }
        )

    def of(self, system: str) -> Mapping[str, Part]:
        return self.codes.get(system, {})


NOTHING: Final = Expansion({})


@dataclass(frozen=True, slots=True, eq=False)
class ValueSet:
    """`expansion` is the stored one, None where there is none that is complete; `inactive` says whether
    codes that are not in use belong to it. Without `includes` the expansion is all there is. `head` is what
    the resource says about itself."""

    url: str
    version: str | None
    includes: tuple[Part, ...]
    excludes: tuple[Part, ...]
    inactive: bool
    expansion: Expansion | None
    head: Resource = field(default_factory=dict)

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
            {name: resource[name] for name in _HEAD if name in resource},
        )

    @property
    def name(self) -> str:
        """For messages."""
        return self.url if self.version is None else f"{self.url}|{self.version}"

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.includes + self.excludes

    @property
    def listed(self) -> int:
        """How many codes the definition names one by one."""
        own = sum(len(part.concepts or ()) for part in self.parts)
        return own + (self.expansion.total if self.expansion else 0)

    def compose(self) -> dict[str, Any]:
        """ValueSet.compose as JSON."""
        found: dict[str, Any] = {} if self.inactive else {"inactive": False}
        found["include"] = [part.element() for part in self.includes]
        if self.excludes:
            found["exclude"] = [part.element() for part in self.excludes]
        return found

    def stored(self) -> Expansion:
        """The expansion that it comes with. Raises NotEnumerable."""
        if self.expansion is None:
            raise NotEnumerable(
                f"the value set '{self.name}' does not say what is in it: it has neither a definition"
                " nor a complete expansion"
            )
        return self.expansion


@lru_cache(maxsize=1_024)
def implicit(url: str, version: str | None) -> ValueSet | None:
    """A value set that no resource defines: all of a code system, or what a code of it subsumes. The same one
    each time, so that what is worked out of it can be kept.

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
    part = Part(system, None, None, filters, ())
    return ValueSet(url, None, (part,), (), True, None, {"url": url, "status": "active"})


def _part(include: Mapping[str, Any]) -> Part:
    concepts = include.get("concept")
    version = include.get("version")
    return Part(
        include.get("system"),
        None if version == "*" else version,
        None if concepts is None else {one["code"]: Concept.of(one) for one in concepts if "code" in one},
        tuple(
            Filter(one.get("property", ""), one.get("op", ""), one.get("value", ""))
            for one in include.get("filter", ())
        ),
        tuple(canonical for canonical in include.get("valueSet", ()) if canonical is not None),
    )


def _listed(concept: Concept) -> dict[str, Any]:
    found: dict[str, Any] = {"code": concept.code}
    if concept.display is not None:
        found["display"] = concept.display
    if concept.designations:
        found["designation"] = [one.element() for one in concept.designations]
    return found


def _expansion(stored: Mapping[str, Any] | None) -> Expansion | None:
    """None unless it says that it holds every code."""
    if stored is None:
        return None
    if any(extension.get("url") in _INCOMPLETE for extension in stored.get("extension", ())):
        return None
    found: dict[str, dict[str, Concept]] = {}
    total = 0
    for entry in _entries(stored.get("contains", ())):
        if "code" in entry:
            found.setdefault(entry.get("system", NO_SYSTEM), {})[entry["code"]] = Concept.of(entry)
            total += 1
    if stored.get("offset") or stored.get("total", total) > total:
        return None
    return Expansion(
        {
            system: dict.fromkeys(concepts, Part(system or None, None, concepts, (), ()))
            for system, concepts in found.items()
        }
    )


def _entries(contains: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """In order, those with others below them before these."""
    pending = [iter(contains)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        yield entry
        pending.append(iter(entry.get("contains", ())))
