"""Structural validation of every write: https://hl7.org/fhir/R4/validation.html

Most resources pass a compiled schema of the plain subset in microseconds. What does not pass it is judged by
the walker, which knows the whole of the rules and says where each defect stands.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fhirserver import errors
from fhirserver.fhir.schema import validator
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES
from fhirserver.fhir.validate import containment, narrative
from fhirserver.fhir.validate.walker import ISSUES_MAX, Enough, Walker

__all__ = ["issues", "passes", "validate"]


def validate(resource: Any, expected_type: str | None = None, *, entries: bool = True) -> None:
    """Accept a resource or raise errors.Structure with an issue for each defect.

    `expected_type` is the type of the URL. Without `entries`, the resources in a Bundle's entries and in
    Parameters are left unread, for an interaction that validates each where it handles it.
    """
    if passes(resource, expected_type, entries=entries):
        return
    found = issues(resource, expected_type, entries=entries)
    if found:
        raise errors.Structure(issues=found)


def issues(
    resource: Any, expected_type: str | None = None, *, entries: bool = True, issues_max: int = ISSUES_MAX
) -> list[errors.Issue]:
    """Each defect of structure, located by FHIRPath, up to a number. Empty when the resource is valid."""
    walker = Walker(entries=entries, issues_max=issues_max)
    with suppress(Enough):
        walker.resource(resource, None, expected_type)
    return walker.issues


def passes(resource: Any, expected_type: str | None = None, *, entries: bool = True) -> bool:
    """Whether the fast path takes the resource: True means valid, False means that the walker must judge."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(kind, str) or kind not in RESOURCE_TYPES or expected_type not in (None, kind):
        return False
    if "contained" in resource and "contained" in STRUCTURES[kind].elements:
        divided = containment.parts(resource)
        return divided is not None and all(map(passes, divided))
    if not validator(kind).is_valid(resource):
        return False
    text = resource.get("text")
    if text is not None and narrative.faults(text["div"]):
        return False
    if not entries:
        return True
    if kind == "Bundle":
        return all(passes(entry["resource"]) for entry in resource.get("entry", ()) if "resource" in entry)
    return kind != "Parameters" or all(map(_parameter_passes, resource.get("parameter", ())))


def _parameter_passes(parameter: dict[str, Any]) -> bool:
    if "resource" in parameter and not passes(parameter["resource"]):
        return False
    return all(map(_parameter_passes, parameter.get("part", ())))
