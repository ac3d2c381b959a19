"""Filters as trees: how one is written, and whether a resource passes it, by the specification's words.

https://hl7.org/fhir/R4/search_filter.html. Independent of the code under test: nothing here reads the
text of a filter, and values are compared by `oracle`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.db.search import oracle

START, END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
Resource = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """`path operator value`; a path is (name, inner filter or None) and so on to the last name."""

    path: tuple[tuple[str, Any], ...]
    operator: str
    value: str
    quoted: bool = False


@dataclass(frozen=True)
class Joined:
    """Filters joined by one word, from left to right."""

    word: str
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Negated:
    part: Any


def written(tree: Any, top: bool = True) -> str:
    """The text of a tree, with parentheses around all that is joined, but for the whole."""
    match tree:
        case Leaf(path, operator, value, quoted):
            steps = ".".join(name + (f"[{written(inner)}]" if inner else "") for name, inner in path)
            plain = re.fullmatch(r"[^\s)\]\"]+", value) is not None
            return f"{steps} {operator} {json.dumps(value) if quoted or not plain else value}"
        case Joined(word, parts):
            text = f" {word} ".join(written(part, False) for part in parts)
            return text if top else f"({text})"
        case Negated(part):
            return f"not ({written(part)})"
    raise AssertionError(tree)


def passes(tree: Any, resource: Resource, everything: list[Resource], now: datetime) -> bool:
    match tree:
        case Leaf(path, "pr", value):
            return bool(_items(resource, path, everything, now)) is (value == "true")
        case Leaf(path, operator, value):
            return any(_holds(operator, value, item, now) for item in _items(resource, path, everything, now))
        case Joined("and", parts):
            return all(passes(part, resource, everything, now) for part in parts)
        case Joined(_, parts):
            return any(passes(part, resource, everything, now) for part in parts)
        case Negated(part):
            return not passes(part, resource, everything, now)
    raise AssertionError(tree)


# -- the set of values that a path yields

Item = tuple[str, Any]
"""The type of the parameter and the value."""


def _items(resource: Resource, path: Any, everything: list[Resource], now: datetime) -> list[Item]:
    (name, inner), *rest = path
    values = PARAMS[resource["resourceType"]][name](resource)
    if not rest:
        return values
    targets = [
        other
        for _, reference in values
        for other in everything
        if reference["reference"] == f"{other['resourceType']}/{other['id']}"
        and rest[0][0] in PARAMS[other["resourceType"]]
        and (inner is None or passes(inner, other, everything, now))
    ]
    return [item for target in targets for item in _items(target, rest, everything, now)]


def _concepts(*values: Any) -> list[Item]:
    pairs = [[(c.get("system"), c.get("code")) for c in value.get("coding", ())] for value in values]
    return [("token", one) for one in pairs]


def _period(period: dict[str, str]) -> oracle.Range:
    lo = oracle.date_range(period["start"]).lo if "start" in period else START
    return oracle.Range(lo, oracle.date_range(period["end"]).hi if "end" in period else END, False)


def _effective(found: Resource) -> list[Item]:
    if "effectiveDateTime" in found:
        return [("date", oracle.date_range(found["effectiveDateTime"]))]
    return [("date", _period(found["effectivePeriod"]))] if "effectivePeriod" in found else []


def _names(family: bool, given: bool) -> Callable[[Resource], list[Item]]:
    def of(found: Resource) -> list[Item]:
        names = found.get("name", ())
        families = [name["family"] for name in names] if family else []
        givens = [one for name in names for one in name["given"]] if given else []
        return [("string", text) for text in [*families, *givens]]

    return of


def _components(found: Resource) -> list[Resource]:
    return found.get("component", [])


PARAMS: dict[str, dict[str, Callable[[Resource], list[Item]]]] = {
    "Patient": {
        "name": _names(True, True),
        "family": _names(True, False),
        "given": _names(False, True),
        "birthdate": lambda r: [("date", oracle.date_range(r["birthDate"]))] if "birthDate" in r else [],
        "identifier": lambda r: [
            ("token", [(one.get("system"), one["value"])]) for one in r.get("identifier", ())
        ],
        "organization": lambda r: (
            [("reference", r["managingOrganization"])] if "managingOrganization" in r else []
        ),
        "_profile": lambda r: [("uri", uri) for uri in r.get("meta", {}).get("profile", ())],
    },
    "Organization": {
        "name": lambda r: [("string", r["name"])],
        "identifier": lambda r: [("token", [(None, one["value"])]) for one in r["identifier"]],
    },
    "Observation": {
        "code": lambda r: _concepts(r["code"]),
        "category": lambda r: _concepts(*r.get("category", ())),
        "combo-code": lambda r: _concepts(r["code"], *(one["code"] for one in _components(r))),
        "date": _effective,
        "subject": lambda r: [("reference", r["subject"])] if "subject" in r else [],
        "value-quantity": lambda r: [("quantity", r["valueQuantity"])] if "valueQuantity" in r else [],
        "component-value-quantity": lambda r: [("quantity", one["valueQuantity"]) for one in _components(r)],
        "status": lambda r: [("token", [("http://hl7.org/fhir/observation-status", r["status"])])],
    },
    "RiskAssessment": {
        "probability": lambda r: [
            ("number", one["probabilityDecimal"]) for one in r["prediction"] if "probabilityDecimal" in one
        ],
    },
    "Encounter": {
        "location-period": lambda r: [
            ("date", _period(one["period"])) for one in r.get("location", ()) if "period" in one
        ],
    },
}


# -- the table of operators


def _holds(operator: str, value: str, item: Item, now: datetime) -> bool:
    kind, target = item
    match kind:
        case "string":
            return _string(operator, oracle.bare(value), oracle.bare(target))
        case "token":
            return any(oracle.token_holds(value, *pair, False) for pair in target) is (operator == "eq")
        case "number":
            return _number(operator, value, target)
        case "quantity":
            return _quantity(operator, value, target)
        case "date":
            return _date(operator, value, target, now)
        case "reference":
            return target["reference"] == value
        case "uri":
            return (target == value) is (operator == "eq")
    raise AssertionError(kind)


def _string(operator: str, value: str, target: str) -> bool:
    return {
        "eq": target == value,
        "ne": target != value,
        "co": value in target,
        "sw": target.startswith(value),
        "ew": target.endswith(value),
        "gt": [*map(ord, target)] > [*map(ord, value)],
        "lt": [*map(ord, target)] < [*map(ord, value)],
        "ge": [*map(ord, target)] >= [*map(ord, value)],
        "le": [*map(ord, target)] <= [*map(ord, value)],
    }[operator]


def _number(operator: str, value: str, target: Decimal) -> bool:
    exact = Fraction(target)
    if operator == "co":
        # What is stored keeps the digits after its point, and no exponent.
        implied = oracle.number_range(format(target, "f"))
        return implied.lo <= Fraction(value) < implied.hi
    return oracle.number_holds(operator, value, oracle.Range(exact, exact, True))


def _quantity(operator: str, value: str, target: Resource) -> bool:
    number, *unit = value.split("|")
    exact = Fraction(target["value"])
    tiny = Fraction(1, 10**12)
    lo, hi = {
        "<": (-oracle.INF, exact - tiny),
        "<=": (-oracle.INF, exact),
        ">": (exact + tiny, oracle.INF),
        ">=": (exact, oracle.INF),
    }.get(target.get("comparator", ""), (exact, exact))
    if unit and not unit[0] and unit[1] not in (target.get("code"), target.get("unit")):
        return False
    if not unit or not unit[0]:
        return oracle.number_holds(operator, number, oracle.Range(lo, hi, True))
    table = oracle.GRAM if unit[1] in oracle.GRAM else oracle.METRE
    if "system" not in target or target["code"] not in table:
        return False
    factor = table[target["code"]]
    return oracle.number_holds(operator, number, oracle.Range(lo * factor, hi * factor, True), table[unit[1]])


def _date(operator: str, value: str, target: oracle.Range, now: datetime) -> bool:
    asked = oracle.date_range(value)
    if operator == "co":
        return target.lo <= asked.lo and asked.hi <= target.hi
    if operator == "po":
        return target.lo < asked.hi and asked.lo < target.hi
    return oracle.date_holds(operator, value, target, now)
