"""Fixed values, patterns and bounds: https://hl7.org/fhir/R4/elementdefinition-definitions.html

JSON values as `fhir.json` reads them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

_TEXTUAL: Final = frozenset({"Date", "DateTime", "Instant", "Time"})


def fixed(value: Any, wanted: Any) -> bool:
    """Whether a value is exactly the wanted one: nothing more, nothing less, lists in the same order."""
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(fixed(value[key], item) for key, item in wanted.items())
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(fixed, value, wanted))
    return _equal(value, wanted)


def pattern(value: Any, wanted: Any) -> bool:
    """Whether a value has at least what is wanted; each item of a list must match some item."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            key in value and pattern(value[key], item) for key, item in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and all(any(pattern(item, one) for item in value) for one in wanted)
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(wanted, float):  # definitions that were read without exact numbers
        wanted = Decimal(str(wanted))
    return value == wanted


def compare(value: Any, type_: str, bound: Any) -> int | None:
    """-1, 0 or 1 as the value lies below, at or above a bound of a type; None where that cannot be told.

    Dates and times are compared as far as both are precise; quantities only in the same unit.
    """
    if type_ == "Quantity":
        if not isinstance(value, dict) or not isinstance(bound, dict):
            return None
        if (value.get("system"), value.get("code")) != (bound.get("system"), bound.get("code")):
            return None
        return compare(value.get("value"), "Decimal", bound.get("value"))
    if type_ in _TEXTUAL:
        if not isinstance(value, str) or not isinstance(bound, str):
            return None
        length = min(len(value), len(bound))
        return _sign(value[:length], bound[:length])
    if _is_number(value) and _is_number(bound):
        return _sign(Decimal(str(value)), Decimal(str(bound)))
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _sign(left: Any, right: Any) -> int:
    return (left > right) - (left < right)
