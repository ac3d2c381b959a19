"""Literal references: their form, the types they may point at, and contained resources they name.

https://hl7.org/fhir/R4/references.html#literal
"""

from __future__ import annotations

import re
from typing import Any, Final

from fhirserver.fhir.primitives import show
from fhirserver.fhir.structure import RESOURCE_TYPES
from fhirserver.fhir.validate import hints

_RELATIVE: Final = re.compile(
    r"(?P<type>[A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#\S*)?|\?\S+)"
)
_DEFINITIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_REST: Final = re.compile(
    r"https?://\S+/(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#\S*)?"
)


def local_types(resource: dict[str, Any]) -> dict[str, str] | None:
    """Id -> type of the contained resources; the empty id is the resource itself.

    The type is "" when several have the id, and a reference may mean any of them. None when one has no id:
    it may be what a reference means, and the missing id is defect enough.
    """
    found = {"": str(resource.get("resourceType", ""))}
    contained = resource.get("contained")
    for item in contained if isinstance(contained, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            return None
        key = item["id"]
        found[key] = "" if key in found else str(item.get("resourceType", ""))
    return found


def local_fault(text: str, targets: tuple[str, ...], local: dict[str, str] | None) -> str | None:
    """Why `#id` does not name a contained resource of an allowed type, or None."""
    if local is None:
        return None
    kind = local.get(text[1:])
    if kind is None:
        return f"no contained resource has the id of {show(text)}"
    return _target_fault(kind, targets) if kind in RESOURCE_TYPES else None  # reported where it stands


def fault(text: str, targets: tuple[str, ...]) -> str | None:
    """Why a reference other than `#id` is malformed or points at a type not allowed here, or None.

    An absolute URL counts as one to a resource type when it ends as a RESTful URL does.
    """
    relative = _RELATIVE.fullmatch(text)
    if relative is not None:
        if relative["type"] not in RESOURCE_TYPES:
            hint = hints.nearest(relative["type"], RESOURCE_TYPES)
            return f"{show(relative['type'])} in {show(text)} is not a resource type{hint}"
        return _target_fault(relative["type"], targets)
    if _ABSOLUTE.fullmatch(text) is None:
        example = f"{targets[0] if targets else 'Patient'}/123"
        return f"{show(text)} is not a reference: write {example}, an absolute URL, urn:uuid:… or #id"
    rest = _REST.fullmatch(text)
    if rest is not None and rest["type"] in RESOURCE_TYPES:
        return _target_fault(rest["type"], targets)
    return None


def type_fault(text: str, stated: str) -> str | None:
    """Why Reference.type contradicts a well-formed literal that tells the type of its target, or None.

    https://hl7.org/fhir/R4/references-definitions.html#Reference.type: a name of the specification's, or the
    URL of a definition, which is not compared unless it is one of the specification's too.
    """
    form = _RELATIVE.fullmatch(text) or _REST.fullmatch(text)
    name = stated.removeprefix(_DEFINITIONS)
    if form is None or not {form["type"], name} <= RESOURCE_TYPES or form["type"] == name:
        return None
    return f"the type is {name}, but {show(text)} refers to {form['type']}"


def _target_fault(kind: str, targets: tuple[str, ...]) -> str | None:
    if not targets or kind in targets:
        return None
    return f"refers to {kind}; allowed here: {', '.join(targets)}"
