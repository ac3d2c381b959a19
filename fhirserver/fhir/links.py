"""The references and URIs that a resource holds, found and rewritten.

https://hl7.org/fhir/R4/references.html, https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import STRUCTURES, Resource

URI_TYPES = frozenset({"uri", "url", "oid", "uuid"})
"""What #trules names; elements of type canonical are not replaced."""

_LINK = re.compile(r"""(\b(?:href|src)\s*=\s*)(["'])(.*?)\2""", re.DOTALL)


def holders(value: Any) -> list[dict[str, Any]]:
    """Every object that has a text `reference`, contained resources included, in no order.

    Such an object is a Reference, or one of the three R4 elements of type uri with that name, which
    the rules for transactions treat the same. A loop, since every write passes here.
    """
    found: list[dict[str, Any]] = []
    stack: list[Any] = [value]
    while stack:
        current = stack.pop()
        if current.__class__ is list:
            children = current
        else:
            children = current.values()
            if current.get("reference").__class__ is str:
                found.append(current)
        for child in children:
            if child.__class__ is dict or child.__class__ is list:
                stack.append(child)
    return found


def localize(resource: Resource, own_bases: tuple[str, ...]) -> None:
    """Make absolute references to this server relative, in place, so that they survive a new base URL."""
    for holder in holders(resource):
        text: str = holder["reference"]
        if not text.startswith(own_bases):
            continue
        reference = parse(text, own_bases)
        if reference.is_local or reference.is_conditional:
            holder["reference"] = reference.literal()


def replace_uris(resource: Resource, replacements: Mapping[str, str]) -> Resource:
    """A copy in which every uri, url, oid or uuid element and every link of a narrative
    that equals a key of `replacements` has its value. Other texts, such as Identifier.value, stay."""

    def changed(type_name: str, text: str) -> str:
        if type_name != "xhtml":
            return replacements.get(text, text)
        return _LINK.sub(
            lambda link: f"{link[1]}{link[2]}{replacements.get(link[3], link[3])}{link[2]}", text
        )

    return _mapped(resource, resource["resourceType"], changed)


def _mapped(value: dict[str, Any], type_name: str, changed: Callable[[str, str], str]) -> dict[str, Any]:
    keys = STRUCTURES[type_name].keys
    mapped: dict[str, Any] = {}
    for name, child in value.items():
        found = keys.get(name)
        mapped[name] = _mapped_child(child, found[1], changed) if found else child
    return mapped


def _mapped_child(child: Any, type_name: str, changed: Callable[[str, str], str]) -> Any:
    if isinstance(child, list):
        return [_mapped_child(item, type_name, changed) for item in child]
    if isinstance(child, str):
        return changed(type_name, child) if type_name in URI_TYPES or type_name == "xhtml" else child
    if not isinstance(child, dict):
        return child
    inner = child.get("resourceType") if type_name == "Resource" else type_name
    return _mapped(child, inner, changed) if inner in STRUCTURES else child


def path_of(resource: Resource, holder: dict[str, Any]) -> str:
    """FHIRPath of the `reference` within `holder`, for error texts."""

    def search(value: Any, path: str) -> str | None:
        if value is holder:
            return f"{path}.reference"
        children: list[tuple[Any, str]] = []
        if isinstance(value, dict):
            children = [(child, f"{path}.{name}") for name, child in value.items()]
        elif isinstance(value, list):
            children = [(child, f"{path}[{index}]") for index, child in enumerate(value)]
        return next((hit for child, at in children if (hit := search(child, at))), None)

    # The resource of a batch's entry may not have been validated yet.
    kind = str(resource.get("resourceType", "Resource"))
    return search(resource, kind) or kind
