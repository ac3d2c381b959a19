"""`resolve()`: https://hl7.org/fhir/R4/fhirpath.html#functions

Contained resources and entries of the Bundle around are found here; for others the environment is asked.
Without one, a reference gives a node of the type and id that it states, of which nothing more is known.
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.fhir import reference
from fhirserver.fhir.fhirpath.functions.site import Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled, Root
from fhirserver.fhir.fhirpath.tree import Call, Expr, TypeTest
from fhirserver.fhir.fhirpath.types import Node, is_a, type_name


def _resolve(site: Site) -> Compiled:
    run_source = site.source.run
    if site.scope.indexed:
        return Compiled(lambda frame: _stated(run_source(frame), frame.root), None, identity=True)
    return site.gives(lambda frame: _found(run_source(frame), frame.root))


def _stated(nodes: list[Node], root: Root) -> list[Node]:
    targets = (target(node, root.resource.value) for node in nodes)
    return [node for node in targets if node is not None]


def _found(nodes: list[Node], root: Root) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        root.spend(1)
        one = _target(node, root)
        if one is not None:
            found.append(one)
    return found


def _target(node: Node, root: Root) -> Node | None:
    literal = node.value.get("reference") if isinstance(node.value, dict) else node.value
    whole = root.environment.root_resource or root.resource
    if isinstance(literal, str) and literal:
        if literal.startswith("#"):
            return _contained(root.resource.value, literal[1:]) or _contained(whole.value, literal[1:])
        inside = _entry(whole.value, literal)
        if inside is not None:
            return inside
        if root.environment.resolve is not None:
            return root.environment.resolve(node, literal)
    return target(node, root.resource.value) if root.environment.resolve is None else None


def _entry(resource: Any, literal: str) -> Node | None:
    """The resource of the entry of a Bundle that a reference points at by its fullUrl."""
    if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
        return None
    relative = "/" + literal if reference.parse(literal).type is not None and "://" not in literal else None
    for entry in resource.get("entry", ()):
        url, inner = entry.get("fullUrl", ""), entry.get("resource")
        if inner is not None and (url == literal or (relative is not None and url.endswith(relative))):
            return Node(inner, inner["resourceType"])
    return None


def target(node: Node, resource: Any) -> Node | None:
    """The target of a Reference, or of a uri, canonical or string that holds one, as it states itself.

    References of which the type cannot be told give None.
    """
    value = node.value
    if isinstance(value, dict):
        if node.type != "Reference":
            return None
        literal, stated = value.get("reference"), value.get("type")
    else:
        literal, stated = value, None
    if isinstance(literal, str):
        parsed = reference.parse(literal)
        if parsed.is_contained:
            return _contained(resource, parsed.fragment)
        if parsed.type is not None:
            return Node({"resourceType": parsed.type, "id": parsed.id}, parsed.type)
    if isinstance(stated, str) and reference.is_resource_type(stated):
        return Node({"resourceType": stated}, stated)
    return None


def _contained(resource: Any, fragment: str | None) -> Node | None:
    if not fragment:
        return Node(resource, resource["resourceType"])
    for inner in resource.get("contained", ()):
        if inner.get("id") == fragment:
            return Node(inner, inner["resourceType"])
    return None


def target_is(value: Any, wanted: str, resource: Any) -> bool:
    """`resolve() is wanted` of a Reference's JSON value."""
    found = target(Node(value, "Reference"), resource)
    return found is not None and is_a(found.type, wanted)


def resolves_to(criterion: Expr) -> str | None:
    """The type that a criterion `resolve() is Type` demands; None for any other criterion."""
    match criterion:
        case TypeTest("is", Call(None, "resolve", ()), specifier):
            return type_name(specifier)
        case _:
            return None


FUNCTIONS: Final[dict[str, Entry]] = {"resolve": (0, 0, _resolve)}
