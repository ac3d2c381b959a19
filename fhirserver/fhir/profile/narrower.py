"""What a differential may say of an element: less than what it constrains allowed, never more.

https://hl7.org/fhir/R4/profiling.html#limitations
"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.fhirpath.types import is_a
from fhirserver.fhir.profile.definition import Row
from fhirserver.fhir.profile.tree import Misplaced

_UNBOUNDED: Final = 1 << 31


def bound(text: str) -> int | None:
    """ElementDefinition.max as a number, None when unbounded. Raises Misplaced for what is neither."""
    if text == "*":
        return None
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise Misplaced(f"the maximum '{text[:32]}' is neither a number nor *")


def require_narrower(known: Row, row: Row) -> None:
    """Raise Misplaced where `row` demands less than `known`, what there was before, or what cannot be met."""
    name = row.get("id") or row["path"]
    least, most = row.get("min", known["min"]), _most(row.get("max", known["max"]))
    if least < known["min"]:
        raise Misplaced(f"'{name}' has a minimum of {least}; in what it constrains it is {known['min']}")
    if most > _most(known["max"]):
        raise Misplaced(f"'{name}' has a maximum of {row['max']}; in what it constrains it is {known['max']}")
    if least > most:
        raise Misplaced(f"'{name}' cannot be there {least} times at least and {most} times at most")
    allowed = [one["code"] for one in known.get("type", ())]
    for code in (one["code"] for one in row.get("type", ()) if allowed):
        if not any(is_a(code, other) for other in allowed):
            raise Misplaced(f"'{name}' is no {code}: what it constrains is {' or '.join(allowed[:5])}")


def _most(text: str) -> int:
    found = bound(text)
    return _UNBOUNDED if found is None else found
