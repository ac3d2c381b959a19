"""Where apps keep their state: https://hl7.org/fhir/smart-app-launch/STU2.2/app-state.html

Where people sign in, Basic is for this: small, about the same all its life, and written by nobody who has not
seen the version that is there.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final

from fhirserver.errors import PreconditionFailed, TooLarge
from fhirserver.fhir import json
from fhirserver.fhir.links import localize
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Call

BYTES_MAX: Final = 256 * 1024
_FIXED: Final = ("code", "subject")


def _is_state(call: Call) -> bool:
    return call.type == "Basic" and not call.principal.is_open


def require_named(call: Call, if_match: str | None) -> None:
    """Raise PreconditionFailed for a write to what exists that does not say which version it follows."""
    if _is_state(call) and (if_match is None or if_match.strip() == "*"):
        raise PreconditionFailed("a Basic is changed with If-Match and the version that it follows")


def require_small(call: Call, resource: Resource) -> None:
    """Raise TooLarge for more than the specification lets an app expect to keep."""
    if _is_state(call) and len(json.dumps(resource)) > BYTES_MAX:
        raise TooLarge(f"a Basic has at most {BYTES_MAX} bytes of JSON")


def require_same(call: Call, resource: Resource, current: Resource) -> None:
    """Raise PreconditionFailed where a new version would be about something else."""
    if not _is_state(call):
        return
    fixed = deepcopy({name: resource[name] for name in _FIXED if name in resource})
    localize(fixed, call.services.own_bases)
    for name in _FIXED:
        if fixed.get(name) != current.get(name):
            raise PreconditionFailed(f"Basic.{name} stays what it is; make another Basic instead")
