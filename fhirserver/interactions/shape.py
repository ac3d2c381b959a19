"""`_summary` and `_elements`: how much of the resources an answer gives.

https://hl7.org/fhir/R4/search.html#summary, #elements. A request says so, each entry of a batch for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid
from fhirserver.fhir import elements, json
from fhirserver.fhir.elements import Summary
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Params

_SUMMARIES: Final[dict[str, Summary | None]] = {
    "true": "true",
    "text": "text",
    "data": "data",
    "count": None,  # a search answers it itself; anything else is whole
    "false": None,
}
_ANSWERED: Final = {"bundle": "Bundle", "capabilities": "CapabilityStatement"}
"""Interactions that are not answered with the type in the path."""
_DEPTH_MAX: Final = 1_024
"""Above every resource that is stored, with what is put around it."""
_OUTCOME: Final = b'{"resourceType":"OperationOutcome","issue":'
"""The beginning of an outcome about a request; one that is stored has an id there."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`elements` are the names of those that are wanted; without any all are."""

    summary: Summary | None = None
    elements: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.summary is None and not self.elements


WHOLE: Final = Shape()


def shape_of(query: Params) -> Shape:
    """What the parameters ask for, as far as they make sense; the last of each counts."""
    given = dict(query)
    names = (name.strip() for name in given.get("_elements", "").split(","))
    return Shape(_SUMMARIES.get(given.get("_summary", "")), tuple(filter(None, names)))


def verify(query: Params, interaction: str, resource_type: str | None) -> None:
    """Refuse before anything is done what could not be answered afterwards. Raises Invalid."""
    for name, value in query:
        if name == "_summary" and value and value not in _SUMMARIES:
            raise Invalid(f"_summary is one of {', '.join(_SUMMARIES)}, not {value[:40]!r}")
    wanted = shape_of(query).elements
    if wanted and interaction != "search":  # which types it is about says the search itself
        answered = _ANSWERED.get(interaction) or resource_type
        elements.check_elements(wanted, {answered} if answered else ())


def decoded(body: bytes, shape: Shape) -> Resource:
    """The resource in a JSON text, with the parts that are wanted; an outcome about the request is whole."""
    resource = json.loads(body, depth_max=_DEPTH_MAX)
    if body.startswith(_OUTCOME):
        return resource
    if shape.summary is not None:
        resource = elements.summarize(resource, shape.summary)
    return elements.select(resource, shape.elements) if shape.elements else resource


def shaped(body: bytes, shape: Shape) -> bytes:
    """A JSON text with the parts that are wanted."""
    return body if shape.is_whole else json.dumps(decoded(body, shape))
