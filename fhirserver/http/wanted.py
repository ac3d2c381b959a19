"""How the client wants its answer: the negotiated form, and the parameters that shape any resource.

https://hl7.org/fhir/R4/http.html#mime-type and #parameters
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fhirserver.errors import Invalid, NotAcceptable
from fhirserver.fhir import elements
from fhirserver.fhir.elements import Summary
from fhirserver.http import negotiate
from fhirserver.http.negotiate import Accepted
from fhirserver.interactions.call import Params
from fhirserver.interactions.table import Target

BINARY: Final = "Binary"
_SHAPING: Final = frozenset({"_format", "_pretty", "_summary", "_elements"})
_SUMMARIES: Final[dict[str, Summary | None]] = {
    "true": "true",
    "text": "text",
    "data": "data",
    "count": None,  # a search answers it itself; anything else is whole
    "false": None,
}
_ANSWERED: Final = {"bundle": "Bundle", "capabilities": "CapabilityStatement"}
"""Interactions that are not answered with the type in the path."""
_LISTS: Final = frozenset({"search", "history"})
"""Interactions that know best which types their answers hold."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`refused` is set when neither JSON nor XML will do; a Binary may still be read as the content it is.

    `by_parameter`: `_format` was given, which goes before Accept.
    """

    accepted: Accepted
    refused: NotAcceptable | None = None
    by_parameter: bool = False
    pretty: bool = False
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    head: bool = False


def wanted_of(accept: str | None, query: Params, method: str) -> Wanted:
    """What headers and parameters ask for, as far as they make sense: errors too are given in that form."""
    shaping = {name: value for name, value in query if name in _SHAPING}
    form, refused = shaping.get("_format"), None
    try:
        accepted = negotiate.negotiate(accept, form)
    except NotAcceptable as error:
        refused = error
        accepted = replace(_fallback(accept), ranges=negotiate.media_ranges(accept))
    return Wanted(
        accepted,
        refused,
        by_parameter=bool(form),
        pretty=shaping.get("_pretty") == "true",
        summary=_SUMMARIES.get(shaping.get("_summary", "")),
        elements=tuple(filter(None, (name.strip() for name in shaping.get("_elements", "").split(",")))),
        head=method == "HEAD",
    )


def _fallback(accept: str | None) -> Accepted:
    """The form of the outcome that says that the form asked for cannot be had."""
    try:
        return negotiate.negotiate(accept)
    except NotAcceptable:
        return negotiate.negotiate(None)


def verify(wanted: Wanted, query: Params, target: Target) -> None:
    """Refuse before anything is done what could not be answered afterwards. Raises NotAcceptable, Invalid."""
    interaction = target.interaction
    may_be_raw = target.type == BINARY and interaction.method == "GET" and not wanted.by_parameter
    if wanted.refused is not None and not may_be_raw:
        raise wanted.refused
    for name, value in query:
        if name == "_summary" and value not in _SUMMARIES:
            raise Invalid(f"_summary is one of {', '.join(_SUMMARIES)}, not {value[:40]!r}")
    if wanted.elements and interaction.name not in _LISTS:
        answered = _ANSWERED.get(interaction.name) or target.type
        elements.check_elements(wanted.elements, {answered} if answered else ())
