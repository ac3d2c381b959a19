"""Conversions between System types, and `iif`: http://hl7.org/fhirpath/N1/#conversion"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from fhirserver.fhir.fhirpath import quantity, temporal
from fhirserver.fhir.fhirpath.functions.filtering import merged
from fhirserver.fhir.fhirpath.functions.site import Builder, Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import (
    BOOLEAN,
    DATE,
    DATETIME,
    DECIMAL,
    INTEGER,
    INTEGER_MAX,
    INTEGER_MIN,
    KINDS,
    STRING,
    TIME,
    boolean,
    one,
    single,
    text_of,
    truth,
)

_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,32}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,32}(?:\.[0-9]{1,32})?")

Convert = Callable[[Node], Any | None]
"""The value as the wanted type; None where it cannot be converted."""


def _to_boolean(node: Node) -> bool | None:
    value = node.value
    match KINDS.get(node.type):
        case "Boolean":
            return value
        case "String":
            text = value.lower()
            return True if text in _TRUE else False if text in _FALSE else None
        case "Integer" | "Decimal":
            return {1: True, 0: False}.get(value)
        case _:
            return None


def _to_integer(node: Node) -> int | None:
    match KINDS.get(node.type):
        case "Integer" | "Boolean":
            return int(node.value)
        case "String" if _INTEGER.fullmatch(node.value):
            found = int(node.value)
            return found if INTEGER_MIN <= found <= INTEGER_MAX else None
        case _:
            return None


def _to_decimal(node: Node) -> Decimal | None:
    match KINDS.get(node.type):
        case "Integer" | "Decimal" | "Boolean":
            return Decimal(node.value)
        case "String" if _DECIMAL.fullmatch(node.value):
            return Decimal(node.value)
        case _:
            return None


def _to_string(node: Node) -> str | None:
    value = node.value
    match KINDS.get(node.type):
        case "Boolean":
            return "true" if value else "false"
        case "Integer" | "Decimal":
            return text_of(value)
        case "Quantity":
            found = quantity.of(node)
            return None if found is None else found.text
        case None:
            return None
        case _:
            return value


def _to_moment(kind: str, *sources: str) -> Convert:
    def convert(node: Node) -> str | None:
        found = KINDS.get(node.type)
        if found not in (STRING, *sources):
            return None
        moment = temporal.moment(node.value, found if found == DATETIME and kind == DATE else kind)
        if moment is None:
            return None
        return moment.text[:10] if kind == DATE else moment.text

    return convert


def _to_quantity(node: Node) -> quantity.Quantity | None:
    match KINDS.get(node.type):
        case "Integer" | "Decimal" | "Quantity":
            return quantity.of(node)
        case "Boolean":
            return quantity.Quantity(Decimal(int(node.value)), "1")
        case "String":
            return quantity.parsed(node.value)
        case _:
            return None


_CONVERSIONS: Final[dict[str, Convert]] = {
    BOOLEAN: _to_boolean,
    INTEGER: _to_integer,
    DECIMAL: _to_decimal,
    STRING: _to_string,
    DATE: _to_moment(DATE, DATE, DATETIME),
    DATETIME: _to_moment(DATETIME, DATE, DATETIME),
    TIME: _to_moment(TIME, TIME),
}


def _value(site: Site, convert: Convert, frame: Frame) -> tuple[Node | None, Any]:
    """The single item of the source, and what it is converted to."""
    node = single(site.source.run(frame), site.what, site.at)
    if node is None or node.value is None:
        return None, None
    if isinstance(node.value, str):
        frame.root.require_length(len(node.value))
    return node, convert(node)


def _to(kind: str) -> Builder:
    convert, type_ = _CONVERSIONS[kind], f"System.{kind}"

    def build(site: Site) -> Compiled:
        def run(frame: Frame) -> list[Node]:
            _, found = _value(site, convert, frame)
            return [] if found is None else [Node(found, type_)]

        return site.gives(run, type_)

    return build


def _converts(kind: str) -> Builder:
    convert = _CONVERSIONS[kind]

    def build(site: Site) -> Compiled:
        def run(frame: Frame) -> list[Node]:
            node, found = _value(site, convert, frame)
            return [] if node is None else boolean(found is not None)

        return site.gives(run, "System.Boolean")

    return build


def _quantities(site: Site) -> Callable[[Frame], tuple[Node | None, quantity.Quantity | None]]:
    """What gives the value and it as a Quantity, in the unit of the argument if there is one."""
    run_unit = site.argument(0).run if site.arguments else None

    def find(frame: Frame) -> tuple[Node | None, quantity.Quantity | None]:
        node, found = _value(site, _to_quantity, frame)
        if run_unit is not None:
            unit = one(run_unit(frame), STRING, site.what, site.at)
            found = None if found is None or unit is None else quantity.converted(found, unit)
        return node, found

    return find


def _to_quantity_call(site: Site) -> Compiled:
    find = _quantities(site)

    def run(frame: Frame) -> list[Node]:
        found = find(frame)[1]
        return [] if found is None else [quantity.node(found)]

    return site.gives(run, "System.Quantity")


def _converts_to_quantity(site: Site) -> Compiled:
    find = _quantities(site)

    def run(frame: Frame) -> list[Node]:
        node, found = find(frame)
        return [] if node is None else boolean(found is not None)

    return site.gives(run, "System.Boolean")


def _iif(site: Site) -> Compiled:
    """`iif(criterion, true-result, otherwise-result)`: only the branch that is taken is evaluated.

    Called on a value, that value is `$this` in its arguments.
    """
    this = site.scope.this if site.is_bare else site.source.types
    criterion, then = site.criterion(0, this), site.criterion(1, this)
    otherwise = site.criterion(2, this) if len(site.arguments) > 2 else None

    def run(frame: Frame) -> list[Node]:
        if not site.is_bare:
            node = single(site.source.run(frame), site.what, site.at)
            if node is not None:
                frame = frame.inner(node, frame.index)
        if truth(criterion.run(frame), site.at):
            return then.run(frame)
        return [] if otherwise is None else otherwise.run(frame)

    return merged(then, otherwise or Compiled(lambda frame: [], frozenset()), run)


FUNCTIONS: Final[dict[str, Entry]] = {
    **{f"to{kind}": (0, 0, _to(kind)) for kind in _CONVERSIONS},
    **{f"convertsTo{kind}": (0, 0, _converts(kind)) for kind in _CONVERSIONS},
    "toQuantity": (0, 1, _to_quantity_call),
    "convertsToQuantity": (0, 1, _converts_to_quantity),
    "iif": (2, 3, _iif),
}
