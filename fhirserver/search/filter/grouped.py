"""Names in `_filter` that stand for an element with several values: `relatesTo[code eq replaces].target`.

https://hl7.org/fhir/R4/search_filter.html#params. Both values are of the same element, which is what
R4's composite parameters say. Of the names in that table, two have search parameters in R4 at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid, NotSupported, TooCostly
from fhirserver.fhir.suggest import nearest
from fhirserver.params import kinds
from fhirserver.params import text as syntax
from fhirserver.params.kinds import CompositeValue, Plain
from fhirserver.params.registry import Component, SearchParam
from fhirserver.search.clauses import Reader, defined
from fhirserver.search.filter.operators import in_full
from fhirserver.search.filter.tree import (
    Comparison,
    Either,
    Every,
    Filter,
    Given,
    Negation,
    Step,
    located,
    malformed,
    message,
)
from fhirserver.search.query import Clause, Condition, Or

ALTERNATIVES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Group:
    """A composite parameter whose components have names of their own in a filter.

    `children`: the name -> the code of the component's parameter and the operator that it takes.
    """

    composite: str
    children: Mapping[str, tuple[str, str]]


_GROUPS: Final[Mapping[tuple[str, str], Group]] = {
    ("Group", "characteristic"): Group(
        "characteristic-value", {"code": ("characteristic", "eq"), "value": ("value", "eq")}
    ),
    ("DocumentReference", "relatesTo"): Group(
        "relationship", {"code": ("relation", "eq"), "target": ("relatesto", "re")}
    ),
}

_WITHOUT: Final[Mapping[tuple[str, str], str]] = {
    ("Observation", "related"): "related-target and related-type",
    ("ServiceRequest", "event"): "event-status and event-date",
    ("ServiceRequest", "item"): "item-status, item-code, bodysite and item-event",
    ("ServiceRequest", "item-event"): "item-past-status, item-date and actor",
}
"""Names whose search parameters R4 does not define any more."""

Values = dict[str, Given]
"""What is asked of one element: the code of a component's parameter -> its value."""


def group(resource_type: str, step: Step) -> Group | None:
    """What a step stands for, if it is one of these names with something below it.

    Raises NotSupported for the names that R4 gives without parameters.
    """
    missing = _WITHOUT.get((resource_type, step.name))
    if missing is not None:
        stands = f"'{step.name}' stands for the search parameters {missing}, which R4 does not define"
        raise NotSupported(message(step.at, stands))
    return _GROUPS.get((resource_type, step.name))


def resolve(
    reader: Reader, resource_type: str, of: Group, step: Step, rest: Sequence[Step], test: Comparison
) -> Condition:
    """What `name[filter].child operator value` demands: an element for which both hold. Raises Invalid."""
    if step.filter is None:
        raise malformed(step.at, f"'{step.name}' is written with a filter: {step.name}[...].{rest[0].name}")
    if len(rest) > 1 or rest[0].filter is not None or step.type is not None:
        raise malformed(rest[0].at, f"'{step.name}[...]' is followed by one of {', '.join(of.children)}")
    asked = list(_alternatives(of, step.filter))
    code = _child(of, rest[0], None if test.operator == "pr" else test)
    if test.operator != "pr":
        asked = [one for values in asked for one in _merged(values, {code: test.value}, test.at)]
    if len(asked) > ALTERNATIVES_MAX:
        raise TooCostly(message(step.at, f"the filter has more than {ALTERNATIVES_MAX} alternatives"))
    conditions = tuple(_condition(reader, resource_type, of, values) for values in asked)
    return conditions[0] if len(conditions) == 1 else Or(conditions)


def _alternatives(of: Group, tree: Filter) -> Iterator[Values]:
    """The filter as alternatives, each of which asks for one value of a component at most."""
    match tree:
        case Comparison((step,)) if step.filter is None and step.type is None:
            yield {_child(of, step, tree): tree.value}
        case Comparison(path):
            raise malformed(path[0].at, f"expected one of {', '.join(of.children)} alone")
        case Either(parts):
            for part in parts:
                yield from _alternatives(of, part)
        case Every(parts):
            found: list[Values] = [{}]
            for part in parts:
                added = list(_alternatives(of, part))
                if len(found) * len(added) > ALTERNATIVES_MAX:
                    raise TooCostly(f"a filter in brackets has at most {ALTERNATIVES_MAX} alternatives")
                found = [one for a in found for b in added for one in _merged(a, b, 0)]
            yield from found
        case Negation(_, at):
            raise malformed(
                at, "'not' is not defined within the brackets of an element; negate the whole test"
            )


def _merged(one: Values, other: Values, at: int) -> list[Values]:
    for code in one.keys() & other.keys():
        if one[code].text != other[code].text:
            raise malformed(
                max(one[code].at, other[code].at, at), f"'{code}' of one element is asked for twice"
            )
    return [one | other]


def _child(of: Group, step: Step, test: Comparison | None) -> str:
    """The code of the parameter that a name stands for; `test` compares with it, if anything does."""
    child = of.children.get(step.name)
    if child is None:
        alike = nearest(step.name, of.children) or list(of.children)
        raise malformed(step.at, f"expected one of {', '.join(alike)}, found '{step.name}'")
    code, operator = child
    if test is not None and test.operator != operator:
        raise malformed(test.at, f"'{test.operator}' is not defined for '{step.name}' here; {operator} is")
    return code


def _condition(reader: Reader, resource_type: str, of: Group, values: Values) -> Condition:
    param = defined(reader.registry, resource_type, of.composite)
    parts = [_plain(reader, component, values.get(component.code)) for component in param.components]
    if all(part is not None for part in parts):
        return Clause(param, None, (CompositeValue(tuple(part for part in parts if part is not None)),))
    for component, part in zip(param.components, parts, strict=True):
        if part is not None:
            return Clause(_own(reader, resource_type, component), None, (part,))
    raise Invalid(f"'{of.composite}' is asked for nothing")


def _own(reader: Reader, resource_type: str, component: Component) -> SearchParam:
    return defined(reader.registry, resource_type, component.code)


def _plain(reader: Reader, component: Component, value: Given | None) -> Plain | None:
    if value is None:
        return None
    text = value.text if component.type == "token" else syntax.escape(value.text)
    with located(value.at):
        return kinds.plain(
            component.type, component.targets, None, in_full(component.type, text), reader.reading
        )
