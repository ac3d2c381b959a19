"""Required bindings to value sets that can be enumerated: https://hl7.org/fhir/R4/terminologies.html#required"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from fhirserver.fhir.primitives import show
from fhirserver.fhir.structure import value_set
from fhirserver.fhir.validate import hints

_SHOWN_MAX: Final = 16


@cache
def _codes(url: str) -> frozenset[str] | None:
    """The codes of a value set whatever their system, or None when it cannot be enumerated."""
    systems = value_set(url)
    return None if systems is None else frozenset[str]().union(*systems.values())


def code_fault(code: str, url: str) -> str | None:
    """Why an element of type code breaks its required binding, or None."""
    codes = _codes(url)
    if codes is None or code in codes:
        return None
    return f"{show(code)} is not a code of {url}{_offer(code, codes)}"


def concept_fault(type_name: str, value: dict[str, Any], url: str) -> str | None:
    """Why no coding of a CodeableConcept, or not this Coding, meets the required binding; or None."""
    systems = value_set(url)
    if systems is None or type_name not in ("CodeableConcept", "Coding", "Quantity"):
        return None
    codings = value.get("coding", []) if type_name == "CodeableConcept" else [value]
    if any(coding.get("code") in systems.get(coding.get("system", ""), ()) for coding in codings):
        return None
    allowed = "; ".join(f"{system}: {_listed(codes)}" for system, codes in sorted(systems.items())[:4])
    return f"needs a coding with system and code of {url} ({allowed})"


def _offer(code: str, codes: frozenset[str]) -> str:
    return f" ({_listed(codes)})" if len(codes) <= _SHOWN_MAX else hints.nearest(code, codes)


def _listed(codes: frozenset[str]) -> str:
    shown = sorted(codes)[:_SHOWN_MAX]
    return ", ".join(shown) + (", …" if len(codes) > _SHOWN_MAX else "")
