"""What a value of a search parameter says of one value in a resource, by the type of the parameter.

https://hl7.org/fhir/R4/search.html#ptypes; decisions where the text leaves room: docs/reference/search.md
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding
from tests.oracle.expressions import Node, children
from tests.oracle.ranges import (
    HIGHEST,
    LOWEST,
    Asked,
    Range,
    asked_date,
    date_holds,
    instant,
    number,
    number_holds,
    written,
)
from tests.oracle.ranges import period as period_range
from tests.oracle.units import unit

UCUM = "http://unitsofmeasure.org"
CURRENCIES = "urn:iso:std:iso:4217"


class Meaningless(Exception):
    """A value or a modifier that the type of a parameter has no meaning for."""


def split(text: str, separator: str) -> list[str]:
    """Parts between separators that no backslash escapes: https://hl7.org/fhir/R4/search.html#escaping"""
    parts, place = [""], 0
    while place < len(text):
        width = 2 if text[place] == "\\" else 1
        if text[place] == separator:
            parts.append("")
        else:
            parts[-1] += text[place : place + width]
        place += width
    return parts


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def escape(text: str) -> str:
    return re.sub(r"([\\,$|])", r"\\\1", text)


# -- number, date, quantity


def number_matches(node: Node, text: str) -> bool:
    if isinstance(node.value, bool | str | dict):
        return False
    point = (Fraction(str(node.value)), 0)
    return number_holds(_number(text), Range(point, point))


def _number(text: str, factor: Fraction = Fraction(1)) -> Asked:
    try:
        return number(text, factor)
    except ValueError:
        raise Meaningless(text) from None


def dates(node: Node) -> list[Range]:
    """https://hl7.org/fhir/R4/search.html#date"""
    match node.type:
        case "instant":
            return [instant(node.value)]
        case "date" | "dateTime":
            return [written(node.value)]
        case "Period":
            return [period_range(node.value.get("start"), node.value.get("end"))]
        case "Timing":
            return _outer_limits(node.value)
    return []


def _outer_limits(timing: dict[str, Any]) -> list[Range]:
    """ "The specified scheduling details are ignored and only the outer limits matter." """
    found = [written(event) for event in timing.get("event", ()) if event]
    bounds = timing.get("repeat", {}).get("boundsPeriod")
    if bounds is not None:
        found.append(period_range(bounds.get("start"), bounds.get("end")))
    return [Range(min(one.lo for one in found), max(one.hi for one in found))] if found else []


def date_matches(node: Node, text: str, now: Fraction) -> bool:
    try:
        asked = asked_date(text)
    except ValueError:
        raise Meaningless(text) from None
    return any(date_holds(asked, one, now) for one in dates(node))


def quantity_matches(node: Node, text: str) -> bool:
    """`number`, `number||unit` or `number|system|code`: https://hl7.org/fhir/R4/search.html#quantity"""
    literal, *rest = (unescape(part) for part in split(text, "|"))
    if not rest:
        return any(number_holds(_number(literal), one) for one, _ in quantities(node))
    if len(rest) != 2:
        raise Meaningless(text)
    system, code = rest
    for span, measure in quantities(node):
        if not system:
            found = code in (measure.get("code"), measure.get("unit")) and number_holds(
                _number(literal), span
            )
        else:
            found = _in_unit(literal, system, code, span, measure)
        if found:
            return True
    return False


def _in_unit(literal: str, system: str, code: str, span: Range, measure: dict[str, Any]) -> bool:
    if measure.get("system") != system:
        return False
    asked, target = unit(code), unit(measure.get("code", "")) if measure.get("code") else None
    if system != UCUM or asked is None or target is None:
        return measure.get("code") == code and number_holds(_number(literal), span)
    if asked.dimension != target.dimension:
        return False
    lo, hi = (
        (end[0] if end in (LOWEST, HIGHEST) else end[0] * target.factor + target.offset, end[1])
        for end in (span.lo, span.hi)
    )
    if asked.offset or target.offset:
        lo, hi = (
            (end[0] if end in (LOWEST, HIGHEST) else (end[0] - asked.offset) / asked.factor, end[1])
            for end in (lo, hi)
        )
        return number_holds(_number(literal), Range(lo, hi))
    return number_holds(_number(literal, asked.factor), Range(lo, hi))


def quantities(node: Node) -> list[tuple[Range, dict[str, Any]]]:
    """Ranges with what says their unit."""
    value = node.value
    if not isinstance(value, dict):
        return []
    if node.type == "Range":
        low, high = value.get("low", {}), value.get("high", {})
        if "value" not in low and "value" not in high:
            return []
        lo = (Fraction(str(low["value"])), 0) if "value" in low else LOWEST
        hi = (Fraction(str(high["value"])), 0) if "value" in high else HIGHEST
        return [(Range(lo, hi), low if "value" in low else high)]
    if node.type == "SampledData":
        return _samples(value)
    if "value" not in value:
        return []
    point = Fraction(str(value["value"]))
    if node.type == "Money":
        return [(Range((point, 0), (point, 0)), {"system": CURRENCIES, "code": value.get("currency")})]
    if not d.is_a(node.type, "Quantity"):
        return []
    match value.get("comparator"):
        case "<":
            span = Range(LOWEST, (point, -1))
        case "<=":
            span = Range(LOWEST, (point, 0))
        case ">":
            span = Range((point, 1), HIGHEST)
        case ">=":
            span = Range((point, 0), HIGHEST)
        case _:
            span = Range((point, 0), (point, 0))
    return [(span, value)]


def _samples(value: dict[str, Any]) -> list[tuple[Range, dict[str, Any]]]:
    """From the lowest sample to the highest, in the unit of the origin."""
    numbers = [Fraction(one) for one in value.get("data", "").split() if one not in ("E", "U", "L")]
    if not numbers:
        return []
    base, factor = Fraction(str(value["origin"].get("value", 0))), Fraction(str(value.get("factor", 1)))
    found = sorted(base + factor * one for one in numbers)
    return [(Range((found[0], 0), (found[-1], 0)), value["origin"])]


# -- string


def texts(node: Node) -> list[tuple[str, bool]]:
    """The strings of a value, and whether each is a family name: #string, on HumanName and Address."""
    if isinstance(node.value, str):
        return [(node.value, False)]
    names = {
        "HumanName": ("text", "family", "given", "prefix", "suffix"),
        "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    }.get(node.type, ())
    return [(child.value, name == "family") for name in names for child in children(node, name)]


def string_matches(node: Node, text: str, modifier: str | None, family: bool) -> bool:
    asked = unescape(text)
    for target, in_family in texts(node):
        match modifier:
            case "exact":
                found = target == asked
            case "contains":
                found = folding.contains(asked, target)
            case folding.PHONETIC:
                found = folding.sounds(asked, target)
            case _:
                found = folding.starts(asked, target, family or in_family)
        if found:
            return True
    return False


# -- token


def tokens(node: Node) -> list[tuple[frozenset[str | None], str | None, bool]]:
    """Systems (None stands for no system), code, and whether case counts."""
    value = node.value
    match node.type:
        case "Coding":
            return [(frozenset({value.get("system")}), value.get("code"), False)]
        case "CodeableConcept":
            return [one for coding in children(node, "coding") for one in tokens(coding)]
        case "Identifier":
            return [(frozenset({value.get("system")}), value.get("value"), True)]
        case "ContactPoint":
            return [(frozenset({None}), value.get("value"), False)]
        case "code":
            return [(implicit_systems(value, node.binding), value, False)]
        case "boolean":
            return [(frozenset({None}), "true" if value else "false", False)]
        case "id" | "uri" | "canonical" | "oid" | "uuid" | "url":
            return [(frozenset({None}), value, True)]
        case "string":
            return [(frozenset({None}), value, False)]
    return []


def implicit_systems(code: str, binding: str | None) -> frozenset[str | None]:
    """ "The system is defined in the value set": those of the required one that have the code."""
    systems = d.VALUE_SETS.get(binding or "") or {}
    return frozenset({None, *(system for system, codes in systems.items() if code in codes)})


def same_code(asked: str, code: str | None, exact: bool) -> bool:
    if code is None:
        return False
    return asked == code if exact else asked.casefold() == code.casefold()


def token_matches(node: Node, text: str, *, cased: bool = True) -> bool:
    """`code`, `system|code`, `|code`, `system|`: https://hl7.org/fhir/R4/search.html#token

    Unless `cased`, case never counts.
    """
    parts = [unescape(part) for part in split(text, "|")]
    for systems, code, is_exact in tokens(node):
        exact = is_exact and cased
        if len(parts) == 1:
            found = same_code(parts[0], code, exact)
        elif len(parts) != 2:
            raise Meaningless(text)
        else:
            system, wanted = parts
            found = (system or None) in systems and (not wanted or same_code(wanted, code, exact))
        if found:
            return True
    return False


def of_type_matches(node: Node, text: str) -> bool:
    """`system|code|value` of an Identifier's type and value."""
    system, code, value = (unescape(part) for part in split(text, "|"))
    if node.type != "Identifier" or node.value.get("value") != value:
        return False
    return any(token_matches(kind, f"{escape(system)}|{escape(code)}") for kind in children(node, "type"))


def text_matches(node: Node, text: str) -> bool:
    """ "CodeableConcept.text, Coding.display, or Identifier.type.text", as a string search."""
    said: list[str] = []
    match node.type:
        case "Coding":
            said = [one.value for one in children(node, "display")]
        case "CodeableConcept":
            said = [one.value for one in children(node, "text")]
            said += [one.value for coding in children(node, "coding") for one in children(coding, "display")]
        case "Identifier":
            said = [one.value for kind in children(node, "type") for one in children(kind, "text")]
        case "string":
            said = [node.value]
    return any(folding.starts(unescape(text), one, False) for one in said)


# -- uri


def uri_matches(node: Node, text: str, resource: dict[str, Any]) -> bool:
    """Exact; a version after a bar asks for the business version: #uri, last paragraph."""
    asked = unescape(text)
    if node.value == asked:
        return True
    url, bar, version = asked.rpartition("|")
    if node.type == "canonical":
        return not bar and node.value.partition("|")[0] == asked
    return bool(bar) and node.value == url and resource.get("version") == version


def uri_below(node: Node, text: str) -> bool:
    """ "The search term left-matches the value": a matter of characters, for URLs, not URNs."""
    return any(_left_matches(unescape(text), form) for form in _forms(node))


def uri_above(node: Node, text: str) -> bool:
    """Vice versa."""
    return any(_left_matches(form, unescape(text)) for form in _forms(node))


def _forms(node: Node) -> list[str]:
    """A canonical with its version and without."""
    return [node.value, node.value.partition("|")[0]] if node.type == "canonical" else [node.value]


def _left_matches(one: str, other: str) -> bool:
    return other.startswith(one) and not one.startswith("urn:")
