"""Whether what stands as the value of a parameter is of the shape that the parameter has.

Anything may be written anywhere, and what is refused is recorded as well: a name in the place of a date is
still a name. https://hl7.org/fhir/R4/search.html, https://hl7.org/fhir/R4/search.html#return
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC
from decimal import Decimal
from functools import lru_cache
from typing import Final, get_args

from fhirserver.errors import FhirError
from fhirserver.fhir import primitives, ucum
from fhirserver.fhir.elements import check_elements
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import date, number, quantity, token
from fhirserver.params import text as syntax
from fhirserver.params.facts import implied_systems, node_types
from fhirserver.params.quantity import QuantityValue
from fhirserver.params.registry import SearchParam, r4
from fhirserver.search import include
from fhirserver.search.query import Summary, Total

_CODED: Final = frozenset({"code", "Coding", "CodeableConcept", "boolean"})
_BOOLEANS: Final = frozenset({"true", "false"})
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_FORMAT: Final = re.compile(r"json|xml|(application|text)/(fhir[+ ])?(json|xml)([+ ]fhir)?")
_CODE: Final = re.compile(r"[^\s,|]{1,64}")
_SYSTEM: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s,|]+")
_FREE: Final = frozenset({"_tag"})
"""Codes of anybody's own making: https://hl7.org/fhir/R4/resource-definitions.html#Meta.tag"""


def is_result(type_: str | None, name: str, value: str) -> bool:
    """Whether the parameter says how an answer is given, and the value is one that it has."""
    check = _RESULTS.get(name)
    return check is not None and _passes(lambda: check(type_, name, value))


def is_criterion(type_: str | None, name: str, value: str) -> bool:
    """Whether the parameter, without modifier and chain, is of dates, numbers or codes, by R4's own
    definitions, and each of the values is one."""
    param = r4().for_type(type_ or "Resource").get(name)
    if param is None or name in _FREE:
        return False
    return _passes(lambda: all(_is_value(param, type_, one) for one in syntax.split(value, ",")))


def is_primitive(types: Iterable[str], value: str) -> bool:
    """Whether an operation that is called with values of one of these types may be called with this one."""
    return any(check(value) for type_ in types if (check := _PRIMITIVES.get(type_)) is not None)


HARMLESS: Final = frozenset({"date", "dateTime", "instant", "code", "integer", "positiveInt", "boolean"})
"""Types of what an operation is called with that can name nobody."""


def _passes(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except FhirError:
        return False


def _is_value(param: SearchParam, type_: str | None, text: str) -> bool:
    """Raises FhirError."""
    match param.type:
        case "date":
            return bool(date.parse(text, UTC))
        case "number":
            return bool(number.parse(text))
        case "quantity":
            return _is_unit(quantity.parse(text))
        case "token":
            types, codes = _tokens(param.code, type_ or "Resource")
            return bool(types) and types <= _CODED and _is_code(types, codes, text)
        case _:
            return False


@lru_cache(maxsize=4_096)
def _tokens(name: str, type_: str) -> tuple[frozenset[str], frozenset[str]]:
    """The types of the values, and the codes that they can have, where R4 says which."""
    param = r4().for_type(type_)[name]
    return frozenset(node_types(param, type_)), frozenset(implied_systems(param, type_))


def _is_unit(value: QuantityValue) -> bool:
    """Whether it has no unit, or one of UCUM without what anybody may write between braces."""
    if value.code is None:
        return True
    known = value.system in (None, ucum.SYSTEM) and ucum.canonical(Decimal(0), value.code) is not None
    return known and "{" not in value.code


def _is_code(types: frozenset[str], codes: frozenset[str], text: str) -> bool:
    value = token.parse(text)
    if value.system and not _SYSTEM.fullmatch(value.system):
        return False
    if value.code is None:
        return True
    if types == {"boolean"}:
        return value.code in _BOOLEANS
    if types == {"code"} and codes:
        return value.code in codes
    return _CODE.fullmatch(value.code) is not None


def _is_sort(type_: str | None, name: str, value: str) -> bool:
    known = r4().for_type(type_ or "Resource")
    return all(part.removeprefix("-") in known for part in value.split(","))


def _are_elements(type_: str | None, name: str, value: str) -> bool:
    check_elements(value.split(","), () if type_ is None else (type_,))
    return True


def _is_include(type_: str | None, name: str, value: str) -> bool:
    return bool(include.parse(r4(), name, value))


def _one_of(values: Iterable[str]) -> Callable[[str | None, str, str], bool]:
    known = frozenset(values)
    return lambda type_, name, value: known.issuperset(value.split(","))


def _matching(pattern: re.Pattern[str]) -> Callable[[str | None, str, str], bool]:
    return lambda type_, name, value: pattern.fullmatch(value) is not None


def _is_date(type_: str | None, name: str, value: str) -> bool:
    return bool(date.parse(value, UTC))


_RESULTS: Final[dict[str, Callable[[str | None, str, str], bool]]] = {
    "_type": _one_of(ENDPOINT_TYPES),
    "_sort": _is_sort,
    "_elements": _are_elements,
    **dict.fromkeys(("_include", "_include:iterate", "_revinclude", "_revinclude:iterate"), _is_include),
    "_summary": _one_of(get_args(Summary)),
    "_total": _one_of(get_args(Total)),
    "_count": _matching(_DIGITS),
    "_format": _matching(_FORMAT),
    "_pretty": _one_of(_BOOLEANS),
    "_since": _is_date,
    "_at": _is_date,
}

_PRIMITIVES: Final[dict[str, Callable[[str], bool]]] = {
    "code": lambda value: _CODE.fullmatch(value) is not None,
    "boolean": _BOOLEANS.__contains__,
    **dict.fromkeys(("integer", "positiveInt"), lambda value: _DIGITS.fullmatch(value) is not None),
    "date": lambda value: primitives.fault("date", value) is None,
    "dateTime": lambda value: primitives.fault("dateTime", value) is None,
    "instant": lambda value: primitives.fault("instant", value) is None,
}
