"""What a call is in the words of an audit event: its kind, who asks, whose records it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from fhirserver.fhir.reference import parse
from fhirserver.interactions.audit.words import WHOSE, referred
from fhirserver.interactions.call import Answer, Call, Services
from fhirserver.policy.audit import Action, Asker, Deed, Outcome, Site, codes
from fhirserver.policy.consent.vocabulary import BREAK_GLASS
from fhirserver.policy.restriction import Nothing
from fhirserver.settings import Settings

_KINDS: Final[dict[str, tuple[Action, str]]] = {
    "read": ("R", "read"),
    "vread": ("R", "vread"),
    "create": ("C", "create"),
    "update": ("U", "update"),
    "update_conditional": ("U", "update"),
    "patch": ("U", "patch"),
    "patch_conditional": ("U", "patch"),
    "delete": ("D", "delete"),
    "delete_conditional": ("D", "delete"),
    "bundle": ("E", "batch"),
    "operation": ("E", "operation"),
}
"""By `table.Interaction.name`; search, history and known operations depend on more."""

UNRECORDED: Final = frozenset({"capabilities"})
"""What is open to everybody and nobody's."""

_CODE: Final = re.compile(r"(?:.*\|)?([A-Z]{2,20})")


@lru_cache(maxsize=1_024)
def deed(interaction: str, of_type: bool, of_instance: bool, operation: str | None) -> Deed:
    """The kind of event that an interaction is."""
    if operation is not None:
        named = codes.Coding(codes.OPERATION, operation)
        return Deed("E", (codes.interaction("operation"), named))
    if interaction == "search":
        return Deed("E", (codes.interaction("search-type" if of_type else "search-system"),))
    if interaction == "history":
        if of_instance:
            return Deed("R", (codes.interaction("history-instance"),))
        return Deed("E", (codes.interaction("history-type" if of_type else "history-system"),))
    action, code = _KINDS[interaction]
    return Deed(action, (codes.interaction(code),))


def deed_of(call: Call) -> Deed:
    """The kind of event that a call is, and that it breaks the glass."""
    operation = None if call.operation is None else call.operation.code
    of_type = call.type is not None or call.compartment is not None
    found = deed(call.interaction, of_type, call.id is not None, operation)
    if call.interaction == "bundle":
        kind = call.resource.get("type") if isinstance(call.resource, dict) else None
        found = Deed("E", (codes.interaction("transaction" if kind == "transaction" else "batch"),))
    if _purpose(call) == BREAK_GLASS:
        return Deed(found.action, (*found.subtypes, codes.EMERGENCY))
    return found


def asker_of(call: Call) -> Asker:
    """Who asks, and for what."""
    return Asker(call.principal, None if call.origin is None else call.origin.address, _purpose(call))


def _purpose(call: Call) -> str | None:
    """The purpose by which consents decide, or else the one that is claimed, if it is a code."""
    restriction = call.restriction
    if not isinstance(restriction, Nothing) and restriction.asking is not None:
        return restriction.asking.purpose
    found = _CODE.fullmatch(call.purpose.strip()) if call.purpose else None
    return found[1] if found else None


def site_of(services: Services) -> Site:
    """This server."""
    trail = services.trail
    return site(services.settings) if trail is None else trail.site


def site(settings: Settings) -> Site:
    """The server of these settings."""
    return Site(settings.fhir_base, settings.auth_url("client"))


# -- whose record

_ABOUT: Final = frozenset(
    {"patient", "subject", "resource", "source-patient", "target-patient", "source", "target"}
)
"""What operations are called with that says whose record they are about."""


def patients_asked(call: Call) -> list[str]:
    """Those that the request itself is about: by its path, by the search parameters that say whose, or by
    what an operation is called with."""
    found: list[str | None] = []
    if call.type == "Patient" and call.id is not None:
        found.append(f"Patient/{call.id}")
    if call.compartment is not None and call.compartment[0] == "Patient":
        found.append("/".join(call.compartment))
    for name, value in call.query:
        if name in WHOSE or (call.type == "Patient" and name == "_id"):
            found += [referred(name, one, call.type) for one in value.split(",")]
    if call.operation is not None:
        found += _called_with(call)
    return [one for one in dict.fromkeys(found) if one is not None]


def _called_with(call: Call) -> Iterator[str]:
    """The Patients in the body of an operation, of which nobody knows yet whether it is right."""
    body: Any = call.resource
    parts: Any = body.get("parameter") if isinstance(body, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict) or part.get("name") not in _ABOUT:
            continue
        value = part.get("valueReference") or part.get("valueString")
        text = value.get("reference") if isinstance(value, dict) else value
        found = parse(text, call.services.own_bases) if isinstance(text, str) else None
        if found is not None and found.is_local and found.type == "Patient":
            yield f"Patient/{found.id}"


# -- the request


def outcome_of(status: int, phrase: str) -> Outcome:
    """What the status of a refusal says."""
    return Outcome("4" if status < 500 else "8", f"{status} {phrase}")


def path_of(call: Call, answer: Answer | None = None) -> str | None:
    """The resource that a call is about: the version that was shown, or as much as the request says."""
    if answer is not None and answer.version is not None:
        return answer.version.versioned_path
    if call.type is None:
        return None
    if call.id is None:
        return call.type
    # What is no number is what somebody has typed, and could be anything.
    version = f"/_history/{call.version}" if call.version and call.version.isdecimal() else ""
    return f"{call.type}/{call.id}{version}"
