"""The values of each parameter type, and how a text becomes one.

https://hl7.org/fhir/R4/valueset-search-param-type.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from fhirserver.errors import Invalid, NotSupported
from fhirserver.params import date, near, number, quantity, reference, string, token, uri
from fhirserver.params import text as syntax
from fhirserver.params.date import DateValue
from fhirserver.params.facts import is_canonical, may_be_canonical, targets
from fhirserver.params.near import NearValue
from fhirserver.params.number import NumberValue
from fhirserver.params.quantity import QuantityValue
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.string import StringValue
from fhirserver.params.token import TokenValue, TypedValue, ValueSetValue
from fhirserver.params.uri import UriValue


@dataclass(frozen=True, slots=True)
class CompositeValue:
    """One value for each component, all of which must hold for the same element."""

    parts: tuple[Plain, ...]


Plain = DateValue | NumberValue | QuantityValue | ReferenceValue | StringValue | TokenValue | UriValue
Value = Plain | CompositeValue | NearValue | TypedValue | ValueSetValue


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
    match param.type, modifier:
        case "special", _:
            return near.parse(param, text)
        case "token", "in" | "not-in":
            return token.parse_value_set(text)
        case "token", "above" | "below":
            return token.parse_concept(text)
        case "token", "of-type":
            return token.parse_typed(text)
        case "uri", "above" | "below":
            return uri.parse_url(text, modifier)
        case "reference", _ if is_canonical(param, resource_type):
            return reference.parse_canonical(text, targets(param, resource_type))
        case "reference", "above" | "below":
            return reference.parse_node(text, targets(param, resource_type), reading.own_bases)
        case "reference", _:
            by_url = may_be_canonical(param, resource_type)
            return plain(param.type, targets(param, resource_type), modifier, text, reading, by_url)
        case _:
            return plain(param.type, (), modifier, text, reading)


def plain(
    type_: str,
    pointed: tuple[str, ...],
    modifier: str | None,
    text: str,
    reading: Reading,
    by_url: bool = False,
) -> Plain:
    """One value of any type but composite and special. Raises Invalid, NotSupported.

    `pointed`: the types that a reference may point at; `by_url`: perhaps by a canonical URL.
    """
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
            return reference.parse(text, pointed, modifier, reading.own_bases, by_url)
        case "string":
            return string.parse(text)
        case "token":
            return token.parse(text)
        case "uri":
            return uri.parse(text)
        case _:
            raise NotSupported(f"search parameters of type {type_} are not supported")
