"""How the client wants its answer: the negotiated form, and the parameters that shape any resource.

https://hl7.org/fhir/R4/http.html#mime-type and #parameters
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fhirserver.errors import NotAcceptable
from fhirserver.http import negotiate
from fhirserver.http.negotiate import Accepted
from fhirserver.interactions import shape
from fhirserver.interactions.call import Params
from fhirserver.interactions.shape import WHOLE, Shape, shape_of
from fhirserver.interactions.table import Target

BINARY: Final = "Binary"
_FORM: Final = frozenset({"_format", "_pretty"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """`refused` is set when neither JSON nor XML will do; a Binary may still be read as the content it is.

    `by_parameter`: `_format` was given, which goes before Accept.
    """

    accepted: Accepted
    refused: NotAcceptable | None = None
    by_parameter: bool = False
    pretty: bool = False
    shape: Shape = WHOLE
    head: bool = False


def wanted_of(accept: str | None, query: Params, method: str) -> Wanted:
    """What headers and parameters ask for, as far as they make sense: errors too are given in that form."""
    form_of = {name: value for name, value in query if name in _FORM}
    form, refused = form_of.get("_format"), None
    try:
        accepted = negotiate.negotiate(accept, form)
    except NotAcceptable as error:
        refused = error
        accepted = replace(_fallback(accept), ranges=negotiate.media_ranges(accept))
    return Wanted(
        accepted,
        refused,
        by_parameter=bool(form),
        pretty=form_of.get("_pretty") == "true",
        shape=shape_of(query),
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
    shape.verify(query, interaction.name, target.type)
