"""A value on its way through the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.plan import ValuePlan

_PARTS_SHOWN_MAX = 4


class Item(NamedTuple):
    """One value of an element. `companion` is the object of a primitive's id and extensions; `plan` is that
    of the element's rule for the type."""

    value: Any
    companion: Any
    path: str
    type: str
    plan: ValuePlan


Conforms = Callable[[ValuePlan, Item, Place], bool]
"""Whether a value has no errors by a plan, without reporting any."""


def text_of(value: dict[str, Any], name: str) -> str | None:
    """A part that is a string; None where the structure is at fault."""
    part = value.get(name)
    return part if isinstance(part, str) else None


def shown(value: Any) -> str:
    """A value for a message, with the codes that matter."""
    if isinstance(value, dict):
        parts = [f"{key}={shown(item)}" for key, item in value.items() if key != "extension"]
        return f"{{{', '.join(parts[:_PARTS_SHOWN_MAX])}}}"
    if isinstance(value, list):
        return f"[{', '.join(shown(item) for item in value[:_PARTS_SHOWN_MAX])}]"
    return "nothing" if value is None else show(value)
