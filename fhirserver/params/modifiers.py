"""Which modifiers each type of parameter has here: https://hl7.org/fhir/R4/search.html#modifiers"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import composite, date, number, quantity, reference, string, token, uri, wording
from fhirserver.params.condition import unsupported_modifier
from fhirserver.params.facts import is_canonical
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


def check(param: SearchParam, resource_type: str, modifier: str | None) -> None:
    """Raises UnsupportedModifier for one that the parameter's type does not have.

    A canonical has no identifier: https://hl7.org/fhir/R4/search.html#reference; a `code`, a boolean and
    the like have no text.
    """
    known = BY_TYPE[param.type]
    if is_canonical(param, resource_type):
        known = tuple(name for name in known if name != "identifier")
    if "text" in known and not wording.is_worded(param, resource_type):
        known = tuple(name for name in known if name != "text")
    if modifier is None or modifier in known or (param.type == "reference" and modifier in ENDPOINT_TYPES):
        return
    raise unsupported_modifier(param.code, modifier, known)
