"""What a call is in the words of an audit event: kind, words of the search, whose records it names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode

from fhirserver.interactions.call import Answer, Call, Services
from fhirserver.policy.audit import Action, Asker, Deed, Outcome, Site, codes
from fhirserver.policy.consent.vocabulary import BREAK_GLASS
from fhirserver.policy.restriction import Nothing
from fhirserver.search.parse import CURSOR
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
}
"""By `table.Interaction.name`; search, history and operations depend on more."""

UNRECORDED: Final = frozenset({"capabilities"})
"""What is open to everybody and nobody's."""

_PATIENT: Final = re.compile(rb'"Patient(?:/|","id":")([A-Za-z0-9.\-]{1,64})')
_CODE: Final = re.compile(r"(?:.*\|)?([A-Z]{2,20})")
_PLAIN: Final = frozenset(
    {
        *("code", "category", "status", "type", "class", "intent", "date", "clinical-status", "_lastUpdated"),
        *(
            "_type",
            "_sort",
            "_elements",
            "_include",
            "_revinclude",
            "_summary",
            "_count",
            "_total",
            "_format",
        ),
        *("_profile", "_tag", "_security", "_pretty", CURSOR),
    }
)
"""Parameters whose alternatives name nobody."""
_OTHERS: Final = re.compile(r"_filter|_has|_list|_query|.*:not.*|.*:missing")
"""Parameters that may be about somebody else than whom they find."""


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


def patients_in(text: bytes | str | None) -> list[str]:
    """The Patients that JSON of this server's names, as references or because it holds them."""
    if text is None:
        return []
    found = _PATIENT.findall(text if isinstance(text, bytes) else text.encode())
    return [f"Patient/{id_.decode()}" for id_ in dict.fromkeys(found)]


def patients_of(type_: str, id_: str, content: str | None) -> list[str]:
    """Those of one resource: itself, if it is one, and those that it refers to."""
    own = [f"Patient/{id_}"] if type_ == "Patient" else []
    return list(dict.fromkeys([*own, *patients_in(content)]))


def patients_asked(call: Call) -> list[str]:
    """Those that the request itself is about: by its path, or by the search parameters that say whose."""
    found: list[str] = []
    if call.type == "Patient" and call.id is not None:
        found.append(f"Patient/{call.id}")
    if call.compartment is not None and call.compartment[0] == "Patient":
        found.append("/".join(call.compartment))
    for name, value in call.query:
        whose = name in ("patient", "subject", "patient:Patient", "subject:Patient")
        if whose or (call.type == "Patient" and name == "_id"):
            found += _references(value.split(","), name)
    return found


_ID: Final = re.compile(r"(Patient/)?([A-Za-z0-9.\-]{1,64})")


def _references(values: Iterable[str], name: str) -> list[str]:
    """What may be an id of a Patient; a subject without a type may be anybody."""
    found = [_ID.fullmatch(value) for value in values]
    return [f"Patient/{one[2]}" for one in found if one and (one[1] or not name.startswith("subject"))]


# -- the words of a search


def is_plain(call: Call) -> bool:
    """Whether all that a search says holds of whom it finds, so that they may read it: alternatives, and
    what is excluded, may name others."""
    return not any(
        _OTHERS.match(name) or ("," in value and name.partition(":")[0] not in _PLAIN)
        for name, value in call.query
    )


def query_of(call: Call, *, values: bool = True) -> str:
    """The request below the base; without `values` it tells what was asked by, not for what."""
    kept = [(name, value if values and name != CURSOR else "") for name, value in call.query]
    text = urlencode(kept, safe=":,/|$")
    return f"{call.path}?{text}" if text else call.path


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
    version: Any = f"/_history/{call.version}" if call.version else ""
    return f"{call.type}/{call.id}{version}"
