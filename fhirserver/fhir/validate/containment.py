"""Contained resources on the fast path: https://hl7.org/fhir/R4/references.html#contained

A schema cannot follow `#id`. Taken apart, a container and what it contains are plain resources again,
provided that each `#id` becomes the literal reference it stands for; if the parts are valid, so is the whole.
"""

from __future__ import annotations

from typing import Any

from fhirserver.fhir.validate.references import local_types


def parts(resource: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Copies of the container and its contained resources without `#` references.

    None when the containment itself is at fault: an id missing or shared, a second level, a dangling
    reference.
    """
    contained = resource["contained"]
    if not isinstance(contained, list) or not contained:
        return None
    if not all(isinstance(item, dict) and "id" in item and "contained" not in item for item in contained):
        return None
    local = local_types(resource)
    if local is None or len(local) != len(contained) + 1:
        return None
    container = {key: value for key, value in resource.items() if key != "contained"}
    try:
        return [_linked(item, local) for item in (container, *contained)]
    except KeyError:
        return None


def _linked(value: Any, local: dict[str, str]) -> Any:
    """A copy with `Type/id` for each `#id`. Raises KeyError for an id that is not contained."""
    if isinstance(value, dict):
        copy = {
            key: _linked(item, local) if type(item) in (dict, list) else item for key, item in value.items()
        }
        target = value.get("reference")
        if isinstance(target, str) and target.startswith("#"):
            copy["reference"] = f"{local[target[1:]]}/{target[1:] or 'container'}"
        return copy
    return [_linked(item, local) if type(item) in (dict, list) else item for item in value]
