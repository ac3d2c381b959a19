"""Which types of values a search parameter of each type can hold.

https://hl7.org/fhir/R4/search.html#ptypes. An extension's `value` may be of any type, so a parameter of
one's own takes from what its expression finds the values that fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fhirserver.fhir.fhirpath import Node, Program
from fhirserver.fhir.fhirpath.functions import resolves_to
from fhirserver.fhir.fhirpath.routes import Route
from fhirserver.fhir.fhirpath.tree import Binary, Expr, Literal, Member
from fhirserver.fhir.fhirpath.types import children

FITS: Final[Mapping[str, frozenset[str]]] = {
    "number": frozenset({"integer", "decimal", "positiveInt", "unsignedInt", "Range"}),
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "string": frozenset({"string", "markdown", "code", "id", "HumanName", "Address"}),
    "token": frozenset(
        {
            *("Coding", "CodeableConcept", "Identifier", "ContactPoint"),
            *("code", "boolean", "id", "string", "uri", "oid", "uuid"),
        }
    ),
    "reference": frozenset({"Reference", "canonical", "uri"}),
    "quantity": frozenset(
        {
            *("Quantity", "SimpleQuantity", "MoneyQuantity", "Age", "Count", "Distance", "Duration"),
            *("Money", "Range", "SampledData"),
        }
    ),
    "uri": frozenset({"uri", "url", "canonical", "oid", "uuid"}),
}
"""By the types that a parameter of one's own can have, composite apart."""

SYSTEM_NAMES: Final[Mapping[str, str]] = {
    "System.Boolean": "boolean",
    "System.String": "string",
    "System.Integer": "integer",
    "System.Decimal": "decimal",
    "System.Date": "date",
    "System.DateTime": "dateTime",
}
"""What a computed value counts as when it is indexed: `Patient.deceased` is a boolean either way."""


def program_types(program: Program) -> frozenset[str] | None:
    """The types of a program's values as they are indexed; None where only the data can tell."""
    if program.types is None:
        return None
    return frozenset(SYSTEM_NAMES.get(name, name) for name in program.types)


def fitting(type_: str, nodes: Iterable[Node]) -> list[Node]:
    """Those of the nodes that a parameter of a type can hold."""
    fits = FITS[type_]
    return [node for node in nodes if node.type in fits]


def fitting_routes(type_: str, ways: Iterable[Route]) -> tuple[Route, ...] | None:
    """Those of the routes that end in what a parameter of a type can hold.

    None where a criterion on the way may fail on some data: then a value that cannot be told is to be left
    out, and the resource to be stored all the same.
    """
    found = tuple(ways)
    if not all(_is_safe(criterion, hop.type) for way in found for hop in way for criterion in hop.criteria):
        return None
    fits = FITS.get(type_)
    return found if fits is None else tuple(way for way in found if way and way[-1].type in fits)


def _is_safe(criterion: Expr, type_: str) -> bool:
    """`where(url = 'x')` and `where(resolve() is Patient)`: nothing in a resource makes them fail."""
    match criterion:
        case Binary("=", Member(None, name), Literal(str(), "String")):
            return bool(children(type_, name))
        case _:
            return resolves_to(criterion) is not None
