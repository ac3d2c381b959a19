"""Search parameters, headers and the variables of paths as OpenAPI parameters.

https://hl7.org/fhir/R4/search.html, https://hl7.org/fhir/R4/http.html#Http-Headers
"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.operations.definition import Parameter as Input
from fhirserver.params import modifiers
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.params.text import PREFIXES

Parameter = dict[str, Any]

_ORDERED: Final = frozenset({"date", "number", "quantity"})
_PREFIXES: Final = tuple(sorted(PREFIXES, key=("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap").index))
_EXAMPLES: Final = {
    "composite": "code$value",
    "date": "ge2024-01-01",
    "number": "gt0.5",
    "quantity": "5.4|http://unitsofmeasure.org|mg",
    "reference": "Patient/example",
    "special": "",
    "string": "smith",
    "token": "http://loinc.org|8480-6",
    "uri": "http://example.org/definition",
}
_CONTROL_CHOICES: Final = {
    "_contained": ["false", "true", "both"],
    "_containedType": ["container", "contained"],
    "_pretty": ["true", "false"],
    "_summary": ["true", "text", "data", "count", "false"],
    "_total": ["none", "estimate", "accurate"],
    "_format": ["json", "xml"],
}
_CONTROL_TEXTS: Final = {
    "_asOf": "An instant with its zone: what was current then is wanted.",
    "_contained": "Whether resources that others contain are sought: not, they alone, or as well.",
    "_containedType": "What is given of them: what contains them, or they alone.",
    "_count": "Entries on a page; 0 gives only the total.",
    "_elements": "Only these elements, separated by commas.",
    "_filter": 'Tests joined by and, or, not and parentheses, such as: name co "pet" or birthdate ge 2010.',
    "_format": "Goes before Accept.",
    "_has": "Written _has:[type]:[reference parameter]:[parameter].",
    "_include": "Also what matches refer to: [type]:[parameter] or [type]:[parameter]:[target type].",
    "_list": "What these Lists refer to, by their ids or by names such as $current-problems.",
    "_pretty": "Indented for people.",
    "_revinclude": "Also what refers to matches: [type]:[parameter].",
    "_sort": "Parameters separated by commas; a minus before one reverses it.",
    "_summary": "A part of each resource, or only the count.",
    "_total": "Whether and how exactly matches are counted.",
    "_type": "The types to search, separated by commas.",
}
SHAPING: Final = ("_format", "_pretty", "_summary", "_elements")
"""Those that shape any answer, not only a search's."""


def search_types() -> dict[str, dict[str, Any]]:
    """How the values of each type of search parameter are written, for explorers."""
    return {
        name: {
            "modifiers": list(known),
            "prefixes": list(_PREFIXES) if name in _ORDERED else [],
            "example": _EXAMPLES[name],
        }
        for name, known in modifiers.BY_TYPE.items()
    }


def shared(registry: Registry) -> dict[str, Parameter]:
    """The components that every document has."""
    found: dict[str, Parameter] = {
        "id": _path("id", "The logical id.", {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}),
        "vid": _path("vid", "The version.", {"type": "string", "pattern": "^[1-9][0-9]{0,9}$"}),
        "criteria": {
            "name": "criteria",
            "in": "query",
            "description": "Any search parameters of the type.",
            "style": "form",
            "explode": True,
            "schema": {"$ref": "#/components/schemas/Criteria"},
        },
        "mode": _query("mode", "Which statement.", {"enum": ["full", "normative", "terminology"]}),
        "_since": _query("_since", "Versions from this instant on.", {"type": "string"}),
        "_at": _query("_at", "Versions that were current in this time.", {"type": "string"}),
    }
    found |= {name: _header(name, text) for name, text in HEADERS.items()}
    for name in searches.CONTROLS:
        schema = {"enum": _CONTROL_CHOICES[name]} if name in _CONTROL_CHOICES else {"type": "string"}
        found[name] = _query(name, _CONTROL_TEXTS[name], schema)
    for param in searches.common(registry):
        found[param.code] = _search(param)
    return found


def of_type(registry: Registry, resource_type: str) -> dict[str, Parameter]:
    """Component name -> parameter, for those that not every type has."""
    everywhere = {param.code for param in searches.common(registry)}
    return {
        f"{resource_type}.{param.code}": _search(param)
        for param in searches.announced(registry, resource_type)
        if param.code not in everywhere
    }


def for_search(registry: Registry, resource_type: str | None) -> list[str]:
    """The names of the components that are the parameters of a search; None is the search across types."""
    common = [param.code for param in searches.common(registry)]
    own = list(of_type(registry, resource_type)) if resource_type else []
    left_out = {"_type"} if resource_type else set()
    # A name in OpenAPI is fixed, so _has, whose name carries its arguments, has no place there.
    return [*own, *common, *(name for name in searches.CONTROLS if name not in left_out | {"_has"})]


def compartment_type(members: list[str]) -> Parameter:
    """The type in the path of a compartment search."""
    return _path("type", "The type to search in the compartment.", {"enum": members})


def of_input(known: Input) -> Parameter:
    """A primitive input of an operation."""
    found = _query(known.name, known.documentation, {"type": "string"})
    return found | {"required": known.min > 0}


PURPOSE: Final = "X-Purpose-Of-Use"

HEADERS: Final = {
    "If-Match": 'The version that the change is based on, as W/"3".',
    "If-None-Match": 'The version that the client has, as W/"3"; then 304.',
    "If-Modified-Since": "The instant of what the client has; then 304.",
    "If-None-Exist": "Search parameters: create only if nothing matches.",
    PURPOSE: "The purpose of use, a code of v3-ActReason, where consents are enforced; TREAT if not said.",
    "Prefer": "return=minimal, representation or OperationOutcome; handling=strict or lenient.",
}


def ref(name: str) -> dict[str, str]:
    """A reference to a parameter."""
    return {"$ref": f"#/components/parameters/{name}"}


def _search(param: SearchParam) -> Parameter:
    # No element answers for abstract types in `targets`: what may be anything has none here.
    targets = sorted(ENDPOINT_TYPES.intersection(param.targets))
    narrowed = 0 < len(targets) < len(ENDPOINT_TYPES)
    return {
        "name": param.code,
        "in": "query",
        "schema": {"type": "string"},
        "x-fhir-type": param.type,
        "x-fhir-definition": param.url,
        **({"x-fhir-targets": targets} if narrowed else {}),
        **({"x-fhir-parts": [part.code for part in param.components]} if param.components else {}),
    }


def _path(name: str, text: str, schema: dict[str, Any]) -> Parameter:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _query(name: str, text: str, schema: dict[str, Any]) -> Parameter:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _header(name: str, text: str) -> Parameter:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
