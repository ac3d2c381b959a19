"""What an expression asks beyond its resource: other resources, value sets, what subsumes what.

An evaluation cannot wait. What it lacks is noted, fetched as the caller may see it, and the evaluation is run
again: `resolve()` of what is hidden is as empty as of what does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError
from fhirserver.fhir import reference
from fhirserver.fhir.fhirpath import Node, TooCostly
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.validate import conforms
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Call
from fhirserver.interactions.searching import context_of
from fhirserver.interactions.stored import Stored
from fhirserver.interactions.terms import ViewTerms, current_view
from fhirserver.interactions.views import library
from fhirserver.search.restrict import permitted
from fhirserver.store import read
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.view import View

RESOURCES_MAX: Final = 200
VALUE_SETS_MAX: Final = 20
SUBSUMPTIONS_MAX: Final = 100
JUDGEMENTS_MAX: Final = 1_000

_Code = tuple[str, str]
"""System and code."""


@dataclass(slots=True)
class Known:
    """The answers so far, and what has been asked without one. `profiles` are judged as $validate does."""

    profiles: Library
    view: View
    now: datetime | None = None
    _resources: dict[str, Node | None] = field(default_factory=dict)
    _sets: dict[str, dict[str, frozenset[str]] | None] = field(default_factory=dict)
    _above: dict[_Code, frozenset[str] | None] = field(default_factory=dict)
    _lacking: dict[tuple[str, Any], None] = field(default_factory=dict)
    _judgements: int = 0

    @property
    def lacks(self) -> bool:
        return bool(self._lacking)

    # -- what the evaluation asks

    def resolve(self, node: Node, literal: str) -> Node | None:
        """The resource that a reference points at."""
        if literal in self._resources:
            return self._resources[literal]
        self._lacking["resource", literal] = None
        return None

    def member_of(self, node: Node, url: str) -> bool | None:
        """Whether one of the codes is in a value set; None where that is not known."""
        if url not in self._sets:
            self._lacking["set", url] = None
            return None
        codes = self._sets[url]
        if codes is None:
            return None
        return any(
            code in codes.get(system, ())
            if system is not None
            else any(code in held for held in codes.values())
            for system, code in _codes(node)
        )

    def subsumes(self, node: Node, other: Node) -> bool | None:
        """Whether a code is above one of the other's, in its system; None where that is not known."""
        found: bool | None = None
        for system, code in _codes(other):
            if system is None:
                continue
            if (system, code) not in self._above:
                self._lacking["above", (system, code)] = None
                continue
            above = self._above[system, code]
            if above is not None:
                mine = {known for of, known in _codes(node) if of == system}
                found = bool(found) or bool(mine & above)
        return found

    def conforms_to(self, whole: Node, node: Node, canonical: str) -> bool | None:
        """Whether a node of the resource `whole` conforms to a profile; None where that is not held."""
        self._judgements += 1
        _require_few(self._judgements, JUDGEMENTS_MAX, "judgements by profiles")
        terms = ViewTerms(self.view)
        found = conforms(node, whole, canonical, self.profiles, terms)
        if terms.lacked:
            self._lacking["terms", None] = None
        return found

    # -- between two runs

    async def fetch(self, connection: Connection, call: Call) -> None:
        """Fetch what was lacking. Raises TooCostly for too much of it."""
        lacking, self._lacking = self._lacking, {}
        self._judgements = 0
        for kind, what in lacking:
            match kind:
                case "resource":
                    self._resources[what] = await self._resource(connection, call, what)
                case "terms":
                    await self.view.learn(library(connection, context_of(call), call.services.terminology))
                case "set":
                    self._sets[what] = await self._set(connection, call, what)
                case _:
                    self._above[what] = await self._codes_above(connection, call, what)

    async def _resource(self, connection: Connection, call: Call, literal: str) -> Node | None:
        _require_few(len(self._resources), RESOURCES_MAX, "references")
        found = reference.parse(literal, call.services.own_bases)
        if not found.is_local or found.id is None or found.type not in ENDPOINT_TYPES:
            return None
        tenant = call.services.tenant
        seen = permitted(context_of(call), found.type, action="s")
        if found.version is not None:
            if not found.version.isdigit():
                return None
            version = await read.numbered(
                connection, tenant, found.type, found.id, int(found.version[:18]), seen
            )
        else:
            version = await read.latest(connection, tenant, found.type, found.id, seen)
        if version is None or version.deleted:
            return None
        return Node(version.resource(), version.type)

    async def _set(self, connection: Connection, call: Call, url: str) -> dict[str, frozenset[str]] | None:
        _require_few(len(self._sets), VALUE_SETS_MAX, "value sets")
        terminology = _terminology(connection, call)
        try:
            expansion = await terminology.codes_of(await terminology.value_set(url))
        except FhirError:
            return None
        return {system: frozenset(codes) for system, codes in expansion.codes.items()}

    async def _codes_above(self, connection: Connection, call: Call, code: _Code) -> frozenset[str] | None:
        _require_few(len(self._above), SUBSUMPTIONS_MAX, "codes")
        try:
            return await _terminology(connection, call).above(*code)
        except FhirError:
            return None


async def known_to(connection: Connection, call: Call) -> Known:
    """Nothing yet, with the definitions as they are now."""
    view = await current_view(connection, call)
    return Known(call.services.definitions.known.library, view)


def _require_few(count: int, maximum: int, what: str) -> None:
    if count >= maximum:
        raise TooCostly(f"the expression leads to more than {maximum} {what}")


def _terminology(connection: Connection, call: Call) -> Terminology:
    services = call.services
    stored = Stored(connection, context_of(call), services.terminology)
    return Terminology(WithBuiltIn(stored), services.terminology, services.settings.terminology_codes_max)


def _codes(node: Node) -> list[tuple[str | None, str]]:
    """System and code of a code, Coding or CodeableConcept; None where the element says no system."""
    value = node.value
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, dict):
        return []
    codings: Any = value.get("coding", ()) if node.type == "CodeableConcept" else (value,)
    return [
        (coding.get("system", ""), coding["code"])
        for coding in codings
        if isinstance(coding, dict) and isinstance(coding.get("code"), str)
    ]
