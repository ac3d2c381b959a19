"""Resources at the edges, made from the structure tables by chance, the same ones for the same seed.

What must be there is there, what search parameters look at is there often, everything else never. `pick`
decides everything, so hypothesis may hand in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.oracle import datatypes
from tests.oracle import definitions as d
from tests.oracle.paths import wanted

DEPTH_MAX = 7
OFTEN, NESTED = 0.55, 0.8
_NEVER = frozenset(("id", "extension", "modifierExtension", "contained", "meta", "implicitRules", "text"))
_NEVER_INSIDE = frozenset(("id", "extension", "modifierExtension"))


def inert(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource, but no SearchParameter that is active: those would change what can be searched."""
    is_in_force = resource["resourceType"] == "SearchParameter" and resource.get("status") == "active"
    return resource | {"status": "retired"} if is_in_force else resource


class Maker:
    """Makes resources that refer to each other by the ids in `known`, and by canonical to those in `urls`."""

    def __init__(self, known: dict[str, list[str]], urls: dict[str, list[str]], base: str) -> None:
        self.known = known
        self.urls = urls
        self.base = base
        self._contained: list[dict[str, Any]] = []
        self._inside = False

    def resource(self, pick: Random, type_: str, id_: str) -> dict[str, Any]:
        """A resource that may stand on its own."""
        self._contained = []
        made: dict[str, Any] = {"resourceType": type_, "id": id_}
        if pick.random() < 0.6:
            made["meta"] = datatypes.meta(pick)
        if d.is_a(type_, "DomainResource") and pick.random() < 0.6:
            made["text"] = datatypes.narrative(pick)
        content = self._complex(pick, type_, 0, _NEVER)
        if self._contained:
            made["contained"] = self._contained
        made |= content
        if self.urls.get(type_):
            made["url"] = pick.choice(self.urls[type_])
        return inert(made)

    def _complex(self, pick: Random, type_: str, depth: int, never: frozenset[str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, row in d.STRUCTURES[type_]["elements"].items():
            needed = row.get("min", 0) > 0
            chance = OFTEN if row["types"][0] in d.STRUCTURES and depth == 0 else NESTED
            if not needed and (depth > DEPTH_MAX or (type_, name) not in wanted() or pick.random() > chance):
                continue
            if name in never:
                continue
            kind = pick.choice(row["types"])
            key = name + kind[0].upper() + kind[1:] if row.get("choice") else name
            count = pick.choice((1, 1, 2, 3)) if row.get("max") == "*" else 1
            values = [self.value(pick, kind, row, depth + 1) for _ in range(count)]
            if d.is_primitive(kind) and not needed and row.get("max") != "*" and pick.random() < 0.08:
                made[f"_{key}"] = datatypes.no_value(pick)
            else:
                made[key] = values if row.get("max") == "*" else values[0]
        return made

    def value(self, pick: Random, kind: str, row: dict[str, Any], depth: int) -> Any:
        """A value of a type, as the element's definition in `row` narrows it."""
        if kind in ("Reference", "canonical"):
            return self.reference(pick, row) if kind == "Reference" else self.canonical(pick, row)
        if kind in ("code", "Coding", "CodeableConcept") and row.get("binding"):
            return datatypes.bound(pick, kind, d.VALUE_SETS.get(row["binding"]))
        maker: Callable[[Random], Any] | None = datatypes.MAKERS.get(kind)
        if maker is not None:
            return maker(pick)
        if kind == "Resource":
            return {"resourceType": "Basic", "id": "inline", "code": {"text": "inline"}}
        made = self._complex(pick, kind, depth, _NEVER_INSIDE)
        return made or {"extension": [datatypes.EXTENSION]}

    def reference(self, pick: Random, row: dict[str, Any]) -> dict[str, Any]:
        """A reference of every form: https://hl7.org/fhir/R4/references.html"""
        targets = sorted(d.RESOURCE_TYPES & self.known.keys() & set(row.get("targets") or d.RESOURCE_TYPES))
        if not targets or "Resource" in row.get("targets", ()):
            targets = sorted(self.known)
        type_ = pick.choice(targets)
        path = f"{type_}/{pick.choice(self.known[type_])}"
        form = pick.randrange(16)
        made: dict[str, Any] = {"reference": path}
        match form:
            case 0:
                made = {"reference": f"{path}/_history/1"}
            case 1:
                made = {"reference": f"{self.base}/{path}"}
            case 2:
                made = {"reference": f"http://other.example/fhir/{path}"}
            case 3:
                made = {"identifier": datatypes.identifier(pick), "type": type_}
            case 4:
                made = {"display": "somebody"}
            case 5:
                made["identifier"] = datatypes.identifier(pick)
            case 6:
                made = {"reference": f"{type_}/nobody", "type": type_}
            case 7 if self._contains(pick, type_):
                made = {"reference": f"#c{len(self._contained)}"}
            case 8:
                made = {"reference": "urn:uuid:0b0b0b0b-1111-4222-8333-444455556666", "type": type_}
        return made

    def _contains(self, pick: Random, type_: str) -> bool:
        """Adds a contained resource; none contains another."""
        if self._inside or len(self._contained) > 1 or not d.is_a(type_, "DomainResource"):
            return False
        self._inside = True
        made = self._complex(pick, type_, DEPTH_MAX - 2, _NEVER)
        self._inside = False
        self._contained.append({"resourceType": type_, "id": f"c{len(self._contained) + 1}"} | made)
        return True

    def canonical(self, pick: Random, row: dict[str, Any]) -> str:
        """A canonical of a resource that there is, or is not, with its business version or without."""
        targets = [type_ for type_ in row.get("canonical") or self.urls if self.urls.get(type_)]
        urls = self.urls[pick.choice(sorted(targets))] if targets else []
        url = pick.choice([*urls, *urls, "http://canonical.example/nothing", "urn:oid:1.2.3.4"])
        return url + pick.choice(("", "", "|1.0", "|1.1", "|2", "#part"))
