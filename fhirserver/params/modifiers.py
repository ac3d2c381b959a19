"""Which modifiers a parameter has here: https://hl7.org/fhir/R4/search.html#modifiers"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import (
    composite,
    date,
    number,
    phonetic,
    quantity,
    reference,
    string,
    token,
    uri,
    wording,
)
from fhirserver.params.condition import unsupported_modifier
from fhirserver.params.facts import INLINE, is_canonical, node_types, targets
from fhirserver.params.hierarchy import hierarchies
from fhirserver.params.registry import SearchParam

BY_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "composite": composite.MODIFIERS,
    "date": date.MODIFIERS,
    "number": number.MODIFIERS,
    "quantity": quantity.MODIFIERS,
    "reference": reference.MODIFIERS,
    "special": ("missing",),
    "string": string.MODIFIERS,
    "token": token.MODIFIERS,
    "uri": uri.MODIFIERS,
}
"""All that parameters of a type can have; which of them one has, `supported` says."""

_CODED: Final = frozenset({"CodeableConcept", "Coding", "code"})
"""The types whose values are of a code system, so that value sets and subsumption mean something."""
_OF_CODES: Final = frozenset({"in", "not-in", "above", "below"})


def supported(param: SearchParam, resource_type: str) -> tuple[str, ...]:
    """The modifiers that mean something for what the parameter's values are."""
    known = BY_TYPE[param.type]
    match param.type:
        case "string" if param.code == phonetic.CODE:
            return phonetic.MODIFIERS
        case "token":
            types = node_types(param, resource_type)
            worded = wording.is_worded(param, resource_type)
            return tuple(name for name in known if (worded if name == "text" else _fits(name, types)))
        case "reference" if (resource_type, param.code) in INLINE:
            return tuple(name for name in known if name not in ("identifier", "above", "below"))
        case "reference" if is_canonical(param, resource_type):
            # A canonical has no identifier, and :below is about its version, which has nothing above.
            return tuple(name for name in known if name not in ("identifier", "above"))
        case "reference" if not hierarchies(param, resource_type):
            return tuple(name for name in known if name not in ("above", "below"))
        case _:
            return known


def _fits(name: str, types: frozenset[str]) -> bool:
    """Whether a modifier of tokens fits values of these types; none are known of complex expressions."""
    if name in _OF_CODES:
        return not types or bool(types & _CODED)
    return name != "of-type" or "Identifier" in types


def check(param: SearchParam, resource_type: str, modifier: str | None) -> None:
    """Raises UnsupportedModifier for one that the parameter does not have, with what would be right."""
    known = supported(param, resource_type)
    if modifier is None or modifier in known:
        return
    if param.type != "reference":
        raise unsupported_modifier(param.code, modifier, known)
    pointed = targets(param, resource_type)
    if modifier not in ENDPOINT_TYPES or (pointed and modifier not in pointed):
        raise unsupported_modifier(param.code, modifier, known, pointed or tuple(sorted(ENDPOINT_TYPES)))
