"""What each operator of `_filter` means for a parameter of each type, as conditions.

https://hl7.org/fhir/R4/search_filter.html#ops; docs/reference/search.md has the table for users.
Pairs of type and operator that R4 leaves undefined are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fhirserver.params import date, kinds, modifiers, number, phonetic, quantity, special, string, token, uri
from fhirserver.params import text as syntax
from fhirserver.params.facts import INLINE, node_types
from fhirserver.params.kinds import Reading, Value
from fhirserver.params.registry import SearchParam
from fhirserver.search.clauses import UnknownParameter, inline_ids
from fhirserver.search.filter.tree import Given, located, malformed
from fhirserver.search.query import Clause, Condition, Ids, Missing, Updated

_ORDERED: Final = ("gt", "lt", "ge", "le")
DEFINED: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("eq", "ne", "co", "sw", "ew", *_ORDERED, "pr"),
    "number": ("eq", "ne", "co", *_ORDERED, "ap", "sa", "eb", "pr"),
    "date": ("eq", "ne", "co", *_ORDERED, "ap", "sa", "eb", "po", "pr"),
    "token": ("eq", "ne", "ss", "sb", "in", "pr"),
    "reference": ("re", "pr"),
    "quantity": ("eq", "ne", *_ORDERED, "ap", "sa", "eb", "pr"),
    "uri": ("eq", "ne", "pr"),
    "composite": ("eq", "pr"),
    "special": ("pr",),
}
"""The operators of a parameter type. R4's table has no column for uri and composite; equality is plain."""

_ONLY: Final[Mapping[str, tuple[str, ...]]] = {"_id": ("eq", "ne", "pr"), phonetic.CODE: ("eq", "pr")}
"""Parameters that have fewer operators than others of their type."""

_MODIFIERS: Final = {"in": "in", "ss": "below", "sb": "above"}
"""Operators that say what a modifier says: the value subsumes a concept, so the concept is below it."""

SYSTEMS: Final = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "ucum": "http://unitsofmeasure.org",
}
"""Names that a filter may give instead of the URI of a system."""


def compare(
    param: SearchParam, resource_type: str, operator: str, value: Given, reading: Reading
) -> Condition:
    """What `param operator value` demands. Raises UnknownParameter for an undefined pair, Invalid."""
    defined = _ONLY.get(param.code, DEFINED[param.type])
    if operator not in defined:
        raise UnknownParameter(
            f"'{operator}' is not defined for '{param.code}', a {param.type} parameter; it has"
            f" {', '.join(defined)}"
        )
    if operator == "pr":
        return Missing(param, not is_present(value))
    with located(value.at):
        return _compared(param, resource_type, operator, value.text, reading)


def is_present(value: Given) -> bool:
    """The value of `pr`. Raises Invalid."""
    if value.text not in ("true", "false"):
        raise malformed(value.at, f"'pr' takes true or false, not '{value.text}'")
    return value.text == "true"


def _compared(
    param: SearchParam, resource_type: str, operator: str, text: str, reading: Reading
) -> Condition:
    if param.code == "_id":
        return Ids((special.parse_id(syntax.escape(text)),), operator == "ne")
    if operator in _MODIFIERS:
        modifier = _MODIFIERS[operator]
        modifiers.check(param, resource_type, modifier)
        return Clause(
            param,
            modifier,
            (kinds.parse(param, resource_type, modifier, in_full(param.type, text), reading),),
        )
    match param.type:
        case "date" if param.code == "_lastUpdated":
            return Updated((_date(operator, text, reading),))
        case "date":
            return Clause(param, None, (_date(operator, text, reading),))
        case "number":
            return Clause(param, None, (_number(operator, text),))
        case "quantity":
            found = quantity.parse(operator + in_full("quantity", text))
            return Clause(param, None, (found,))
        case "string":
            return _string(param, operator, text)
        case "token":
            folded = operator == "eq" and not token.is_exact(node_types(param, resource_type))
            return Clause(param, None if folded else operator, (token.parse(in_full("token", text)),))
        case "reference" if (resource_type, param.code) in INLINE:
            return inline_ids(param, resource_type, None, [syntax.escape(text)], reading)
        case "uri":
            value = uri.parse(syntax.escape(text))
            return Clause(param, None if operator == "eq" else operator, (value,))
        case _:
            return Clause(param, None, (_plain(param, resource_type, text, reading),))


def _date(operator: str, text: str, reading: Reading) -> date.DateValue:
    if operator == "co" or operator == "po":
        return replace(date.parse("eq" + text, reading.zone), prefix=operator)
    return date.parse(operator + text, reading.zone)


def _number(operator: str, text: str) -> number.NumberValue:
    if operator == "co":
        return replace(number.parse("eq" + text), prefix=operator)
    return number.parse(operator + text)


def _string(param: SearchParam, operator: str, text: str) -> Condition:
    """In a string nothing has to be escaped but what JSON demands."""
    value = string.parse(syntax.escape(text))
    if param.code == phonetic.CODE:
        return Clause(param, None, (value,))
    return Clause(param, "contains" if operator == "co" else operator, (value,))


def _plain(param: SearchParam, resource_type: str, text: str, reading: Reading) -> Value:
    """References and composites, which are written as in other parameters."""
    if param.type == "composite":
        parts = syntax.split(text, "$")
        kinds_ = [component.type for component in param.components]
        if len(parts) == len(kinds_):
            text = "$".join(in_full(type_, part) for type_, part in zip(kinds_, parts, strict=True))
    else:
        text = syntax.escape(text)
    return kinds.parse(param, resource_type, None, text, reading)


def in_full(type_: str, text: str) -> str:
    """The text of a token or quantity with the URI of a system that is given by its short name."""
    place = {"token": 0, "quantity": 1}.get(type_)
    parts = syntax.split(text, "|")
    if place is None or len(parts) < 2 + place:
        return text
    parts[place] = SYSTEMS.get(parts[place], parts[place])
    return "|".join(parts)
