"""Code systems and value sets among the resources searched: https://hl7.org/fhir/R4/search.html#token

Hierarchies come from the concepts of a CodeSystem, https://hl7.org/fhir/R4/codesystem.html#hierarchy, and
what is in a value set from its compose: https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import values
from tests.oracle.expressions import Node
from tests.oracle.world import World

MIME_TYPES = "http://hl7.org/fhir/ValueSet/mimetypes"
Codes = dict[str, frozenset[str]]
"""By system."""


class Terms:
    """What one world knows of codes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._sets: dict[str, Codes | None] = {}

    def in_value_set(self, node: Node, uri: str) -> bool:
        """`:in`, by a literal reference, or by the URL of a value set."""
        if uri not in self._sets:
            self._sets[uri] = self._expand(uri)
        codes = self._sets[uri] or {}
        for systems, code, _ in values.tokens(node):
            for system in systems:
                if code is not None and code.casefold() in map(str.casefold, codes.get(system or "", ())):
                    return True
        return False

    def related(self, node: Node, text: str, below: bool) -> bool:
        """`:below` and `:above`, the code itself included; of MIME types those with parameters are below."""
        if node.binding == MIME_TYPES:
            pair = (values.unescape(text), node.value) if below else (node.value, values.unescape(text))
            return pair[0] == pair[1] or pair[1].partition(";")[0].strip() == pair[0]
        system, _, code = (values.unescape(part) for part in text.rpartition("|"))
        code = code.casefold()
        for systems, spelt, _ in values.tokens(node):
            found = spelt.casefold() if spelt is not None else None
            for one in systems & {system} if system else systems:
                parents = self._parents(one or "")
                upper, lower = (code, found) if below else (found, code)
                if upper == lower or (lower and upper in _ancestors(lower, parents)):
                    return True
        return False

    def _parents(self, system: str) -> dict[str, set[str]]:
        for subject in self.world.subjects("CodeSystem"):
            if subject.resource.get("url") == system:
                return {
                    code.casefold(): {one.casefold() for one in above}
                    for code, above in _hierarchy(subject.resource).items()
                }
        return {}

    def _resource(self, uri: str) -> dict[str, Any] | None:
        path = uri.removeprefix(self.world.base + "/")
        if path.startswith("ValueSet/"):
            found = self.world.get("ValueSet", path.partition("/")[2])
            return found.resource if found else None
        url, bar, version = uri.partition("|")
        for subject in self.world.subjects("ValueSet"):
            if subject.resource.get("url") == url and (not bar or subject.resource.get("version") == version):
                return subject.resource
        return None

    def _expand(self, uri: str) -> Codes | None:
        resource = self._resource(uri)
        if resource is None:
            published = d.VALUE_SETS.get(uri.partition("|")[0])
            return {system: frozenset(codes) for system, codes in published.items()} if published else None
        compose = resource.get("compose", {})
        found: Codes = {}
        for include in compose.get("include", ()):
            for system, codes in self._included(include).items():
                found[system] = found.get(system, frozenset()) | codes
        for exclude in compose.get("exclude", ()):
            for system, codes in self._included(exclude).items():
                found[system] = found.get(system, frozenset()) - codes
        return found

    def _included(self, include: dict[str, Any]) -> Codes:
        """ "Within a single include, everything has to be met": the system's part and each value set."""
        parts: list[Codes] = [self._expand(uri) or {} for uri in include.get("valueSet", ())]
        if "system" in include:
            parts.append({include["system"]: frozenset(self._of_system(include))})
        if not parts:
            return {}
        common = set.intersection(*(set(part) for part in parts))
        return {system: frozenset.intersection(*(part[system] for part in parts)) for system in common}

    def _of_system(self, include: dict[str, Any]) -> Iterator[str]:
        if "concept" in include:
            yield from (concept["code"] for concept in include["concept"])
            return
        for subject in self.world.subjects("CodeSystem"):
            if subject.resource.get("url") != include["system"]:
                continue
            parents = _hierarchy(subject.resource)
            for code in parents:
                if all(_filtered(code, one, parents) for one in include.get("filter", ())):
                    yield code


def _hierarchy(code_system: dict[str, Any]) -> dict[str, set[str]]:
    """Each code with those directly above it."""
    found: dict[str, set[str]] = {}

    def walk(concepts: list[dict[str, Any]], above: str | None) -> None:
        for concept in concepts:
            found.setdefault(concept["code"], set()).update({above} if above else ())
            walk(concept.get("concept", []), concept["code"])

    walk(code_system.get("concept", []), None)
    return found


def _ancestors(code: str, parents: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [code]
    while waiting:
        for above in parents.get(waiting.pop(), ()):
            if above not in found:
                found.add(above)
                waiting.append(above)
    return found


def _filtered(code: str, filter_: dict[str, Any], parents: dict[str, set[str]]) -> bool:
    match filter_["op"]:
        case "is-a":
            return code == filter_["value"] or filter_["value"] in _ancestors(code, parents)
        case "descendent-of":
            return filter_["value"] in _ancestors(code, parents)
    return False
