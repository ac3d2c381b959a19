"""References that put resources of one type above and below each other.

https://hl7.org/fhir/R4/search.html#recursive
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from fhirserver.params.facts import is_canonical, targets
from fhirserver.params.registry import SearchParam

HIERARCHIES: Final[Mapping[str, tuple[str, ...]]] = {
    "CarePlan": ("part-of", "based-on", "replaces"),
    "Communication": ("part-of",),
    "DeviceDefinition": ("parent",),
    "Encounter": ("part-of",),
    "Location": ("partof",),
    "Organization": ("partof",),
    "Procedure": ("part-of",),
    "ResearchStudy": ("partof",),
    "Specimen": ("parent",),
    "Task": ("part-of",),
}
"""The parameters of a type whose references to that type are a strict hierarchy; by the first of them go
the references that other types hold.

CarePlan, Encounter, Location and Organization are those that R4's definitions mark as such
(https://hl7.org/fhir/R4/extension-structuredefinition-hierarchy.html); the others are what their
definitions call a part of a larger one, or a parent.
"""


@lru_cache(maxsize=8_192)
def hierarchies(param: SearchParam, resource_type: str) -> Mapping[str, str]:
    """Type that the reference may point at -> code of the parameter of that type that `:above` and
    `:below` follow. Empty where they are not to be had."""
    if param.type != "reference" or is_canonical(param, resource_type):
        return {}
    allowed = targets(param, resource_type)
    found = {of: codes[0] for of, codes in HIERARCHIES.items() if not allowed or of in allowed}
    if param.code in HIERARCHIES.get(resource_type, ()):
        found[resource_type] = param.code
    return found
