"""References and what searches for them: https://hl7.org/fhir/R4/search.html#reference, #versions"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.oracle import definitions as d
from tests.oracle.expressions import Node, children
from tests.oracle.values import token_matches, unescape
from tests.oracle.world import Subject, World

_LITERAL = re.compile(r"(?:(.*)/)?([A-Z]\w+)/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Link:
    """A reference by type and id, on this server (`base` is None) or elsewhere, or any other URI as it is."""

    base: str | None
    type: str | None
    id: str
    version: str | None = None


def link(text: str, own: str) -> Link:
    found = _LITERAL.fullmatch(text)
    if not found or found[2] not in d.RESOURCE_TYPES:
        return Link(None, None, text)
    base = None if found[1] in (None, own) else found[1]
    return Link(base, found[2], found[3], found[4])


def literal(node: Node) -> str | None:
    """The text of a Reference, canonical or uri; None where there is none, or it leads inside."""
    text = node.value.get("reference") if isinstance(node.value, dict) else node.value
    if node.type in d.RESOURCE_TYPES:
        text = f"{node.type}/{node.value['id']}" if "id" in node.value else None
    return text if isinstance(text, str) and not text.startswith("#") else None


def reference_matches(
    world: World, node: Node, parameter: d.Parameter | d.Part, text: str, modifier: str | None
) -> bool:
    """`[id]`, `[type]/[id]` or `[url]`; `modifier` is the name of a type, "identifier" or None."""
    if modifier == "identifier":
        held = children(node, "identifier") if node.type == "Reference" else []
        return any(token_matches(one, text) for one in held)
    found = literal(node)
    if found is None:
        return False
    asked = unescape(text)
    if _is_canonical(node):
        return not _ID.fullmatch(asked) and canonical_matches(found, asked)
    target = link(found, world.base)
    if _ID.fullmatch(asked):
        types = (modifier,) if modifier else parameter.targets
        return target.base is None and target.id == asked and (target.type in types if types else True)
    wanted = link(asked, world.base)
    if modifier and target.type != modifier:
        return False
    same = (wanted.base, wanted.type, wanted.id) == (target.base, target.type, target.id)
    return same and (wanted.version is None or wanted.version == target.version)


def _is_canonical(node: Node) -> bool:
    return node.type != "Reference" and node.type not in d.RESOURCE_TYPES


def canonical_matches(found: str, asked: str) -> bool:
    """A version is asked for after a bar; without one each is found. What a fragment names is a part."""
    url, _, version = found.partition("#")[0].partition("|")
    wanted, bar, wanted_version = asked.partition("|")
    return url == wanted and (not bar or version == wanted_version)


def canonical_below(found: str, asked: str) -> bool:
    """`url|1` finds 1, 1.0 and 1.1, and not 10: https://hl7.org/fhir/R4/search.html#versions"""
    url, _, version = found.partition("#")[0].partition("|")
    wanted, bar, beginning = asked.partition("|")
    if url != wanted or not version.startswith(beginning):
        return False
    rest = version.removeprefix(beginning)
    return not bar or not rest or not (beginning[-1:].isalnum() and rest[0].isalnum())


def followed(world: World, subject: Subject, parameter: d.Parameter) -> list[Subject]:
    """The stored resources that a reference parameter leads to."""
    found: list[Subject] = []
    for node in world.nodes(subject, parameter):
        text = literal(node)
        if text is None or node.type in d.RESOURCE_TYPES:
            continue
        target = link(text.partition("#")[0].partition("|")[0], world.base)
        if target.type and target.base is None:
            found += filter(None, [world.get(target.type, target.id)])
        elif _is_canonical(node):
            found += by_canonical(world, text, parameter.targets)
    return found


def inline(world: World, subject: Subject, parameter: d.Parameter) -> list[Subject]:
    """The resources directly nested in a resource that a parameter selects: #reference, last paragraph."""
    nodes = world.nodes(subject, parameter)
    return [
        Subject(one.type, one.value.get("id", ""), one.value) for one in nodes if one.type in d.RESOURCE_TYPES
    ]


def contained(world: World, subject: Subject, parameter: d.Parameter) -> list[Subject]:
    """The resources within a resource that a reference parameter leads to."""
    outside = subject.container or subject
    wanted = {
        node.value["reference"][1:]
        for node in world.nodes(subject, parameter)
        if node.type == "Reference" and node.value.get("reference", "").startswith("#")
    }
    return [
        Subject(one["resourceType"], one["id"], one, outside)
        for one in outside.resource.get("contained", ())
        if one.get("id") in wanted
    ]


def by_canonical(world: World, canonical: str, targets: tuple[str, ...]) -> list[Subject]:
    """The conformance resources with a URL and, if it is said, a business version."""
    url, bar, version = canonical.partition("#")[0].partition("|")
    return [
        one
        for type_ in d.CANONICAL
        if not targets or "Resource" in targets or type_ in targets
        for one in world.subjects(type_)
        if one.resource.get("url") == url and (not bar or one.resource.get("version") == version)
    ]
