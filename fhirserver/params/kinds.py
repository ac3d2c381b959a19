"""The values of each parameter type, and how a text becomes one.

https://hl7.org/fhir/R4/valueset-search-param-type.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from fhirserver.errors import Invalid, NotSupported
from fhirserver.params import date, number, quantity, reference, string, token, uri
from fhirserver.params import text as syntax
from fhirserver.params.date import DateValue
from fhirserver.params.facts import targets
from fhirserver.params.number import NumberValue
from fhirserver.params.quantity import QuantityValue
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.special import NearValue, parse_near
from fhirserver.params.string import StringValue
from fhirserver.params.token import TokenValue
from fhirserver.params.uri import UriValue


@dataclass(frozen=True, slots=True)
class CompositeValue:
    """One value for each component, all of which must hold for the same element."""

    parts: tuple[Plain, ...]


Plain = DateValue | NumberValue | QuantityValue | ReferenceValue | StringValue | TokenValue | UriValue
Value = Plain | CompositeValue | NearValue


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a value depends on: the zone of dates without one, and this server's own bases."""

    zone: tzinfo
    own_bases: tuple[str, ...]


def parse(param: SearchParam, resource_type: str, modifier: str | None, text: str, reading: Reading) -> Value:
    """One value of a parameter on a type. `modifier` may be a resource type. Raises Invalid, NotSupported."""
    if param.type == "composite":
        parts = syntax.split(text, "$")
        if len(parts) != len(param.components):
            wanted = "$".join(component.code for component in param.components)
            raise Invalid(
                f"'{text}' does not have the {len(param.components)} parts of {param.code}: {wanted}"
            )
        return CompositeValue(
            tuple(
                plain(component.type, component.targets, None, part, reading)
                for component, part in zip(param.components, parts, strict=True)
            )
        )
    if param.type == "special":
        return parse_near(param, text)
    pointed = targets(param, resource_type) if param.type == "reference" else ()
    return plain(param.type, pointed, modifier, text, reading)


def plain(type_: str, pointed: tuple[str, ...], modifier: str | None, text: str, reading: Reading) -> Plain:
    """One value of any type but composite and special. Raises Invalid, NotSupported."""
    match type_:
        case "date":
            return date.parse(text, reading.zone)
        case "number":
            return number.parse(text)
        case "quantity":
            return quantity.parse(text)
        case "reference" if modifier == "identifier":
            return token.parse(text)
        case "reference":
            return reference.parse(text, pointed, modifier, reading.own_bases)
        case "string":
            return string.parse(text)
        case "token" if modifier == "text":
            return string.parse(text)
        case "token":
            return token.parse(text)
        case "uri":
            return uri.parse(text)
        case _:
            raise NotSupported(f"search parameters of type {type_} are not supported")
