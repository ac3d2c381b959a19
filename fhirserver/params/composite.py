"""Composite parameters: several values that hold for the same element.

https://hl7.org/fhir/R4/search.html#composite

How one is stored depends on its parts:
- one element that cannot repeat (`code-value-quantity`): the parts' own parameters say it, nothing is stored;
- tokens, references and URIs: a key for each pair of forms;
- a token and a quantity or number: a row of `qty` for each form of the token;
- a token and two numbers: a row of `qty` with the first in `lo` and the second in `hi`.
Other combinations repeat in no R4 parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import product
from typing import Final, Literal

from fhirserver.db.sql import Fragment, and_, or_, sql
from fhirserver.errors import NotSupported
from fhirserver.fhir.fhirpath.routes import routes
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.reference import Reference
from fhirserver.params import number, plain, quantity, reference, token
from fhirserver.params.condition import (
    Condition,
    Driver,
    Rank,
    Rids,
    Scope,
    Tokens,
    exists,
    has_keys,
    indexed,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries
from fhirserver.params.extract import Composite, Node
from fhirserver.params.facts import is_single, routes_of
from fhirserver.params.kinds import CompositeValue, Plain
from fhirserver.params.number import NumberValue
from fhirserver.params.quantity import QuantityValue
from fhirserver.params.reference import ReferenceValue, Resolve
from fhirserver.params.registry import Registry, SearchParam, r4
from fhirserver.params.token import TokenValue
from fhirserver.params.uri import UriValue

MODIFIERS: Final = ("missing",)

Shape = Literal["conjunction", "keys", "quantity", "numbers"]
Form = tuple[str, ...]
"""One way in which a part can be asked for, as parts of a key."""

_KEYED: Final = frozenset({"token", "reference", "uri"})


@lru_cache(maxsize=1_024)
def shape_of(param: SearchParam, resource_type: str) -> Shape | None:
    """How the parameter is stored; None when its combination of parts cannot be."""
    types = tuple(component.type for component in param.components)
    single = is_single(param, resource_type) and _single_parts(param, resource_type)
    if single and (not param.custom or _said_by_parts(param, resource_type)):
        return "conjunction"
    if set(types) <= _KEYED:
        return "keys"
    if types in (("token", "quantity"), ("token", "number")):
        return "quantity"
    return "numbers" if types == ("token", "number", "number") else None


def _single_parts(param: SearchParam, resource_type: str) -> bool:
    ways = routes_of(param, resource_type) or ()
    base = ways[0][-1].type if ways and ways[0] else resource_type
    parts = [routes(component.expression, base) for component in param.components]
    return all(ways and not any(hop.many for way in ways for hop in way) for ways in parts)


def _said_by_parts(param: SearchParam, resource_type: str) -> bool:
    """Whether R4's parameters that the components name find on the type what the components find."""
    bases = routes_of(param, resource_type) or ()
    if len(bases) != 1:
        return False
    base = bases[0]
    end = base[-1].type if base else resource_type
    for component in param.components:
        part = r4().get(resource_type, component.code)
        if part is None or part.url != component.url:
            return False
        ways = routes(component.expression, end)
        if ways is None or routes_of(part, resource_type) != tuple((*base, *way) for way in ways):
            return False
    return True


# -- writing


def indexer(
    keys: Keys,
    param: SearchParam,
    resource_type: str,
    systems: Sequence[Mapping[str, str]],
    resolve: Resolve,
) -> Callable[[Sequence[Composite], Entries], None] | None:
    """Writes what `compile` asks for; None where nothing is stored.

    `systems` are, for each component, the systems that its code elements imply.
    """
    writer = _Writer(keys, param, resource_type, systems, resolve)
    match shape_of(param, resource_type):
        case "keys":
            return writer.keyed
        case "quantity":
            return writer.measured
        case "numbers":
            return writer.numbered
        case _:
            return None


@dataclass(frozen=True, slots=True)
class _Writer:
    keys: Keys
    param: SearchParam
    of: str
    systems: Sequence[Mapping[str, str]]
    resolve: Resolve

    def forms(self, node: Node, type_: str, implied: Mapping[str, str]) -> list[Form]:
        """Every way in which a part can be asked for."""
        if type_ == "token":
            pairs = token.pairs(node.value, node.type, implied)
            return [form for pair in pairs for form in _token_forms(pair)]
        if type_ == "reference":
            found = [self.resolve(literal)[0] for literal in reference.literals(node.value)]
            return [form for one in found for form in _reference_forms(one)]
        return [("uri", node.value)]

    def parts(self, composite: Composite) -> Iterator[list[Form]]:
        """The forms of each part that is no number."""
        for component, nodes, implied in zip(
            self.param.components, composite.components, self.systems, strict=True
        ):
            if component.type in _KEYED:
                yield [form for node in nodes for form in self.forms(node, component.type, implied)]

    def keyed(self, composites: Sequence[Composite], entries: Entries) -> None:
        for composite in composites:
            for combination in product(*self.parts(composite)):
                key = _key(self.keys, self.of, self.param.code, combination)
                entries.keys.append(key)
                if all(form[0] in _LEADING for form in combination):
                    entries.tok.append(key)

    def measured(self, composites: Sequence[Composite], entries: Entries) -> None:
        found: dict[tuple[str, ...], list[quantity.Measure]] = {}
        of_each = [next(self.parts(composite)) for composite in composites]
        shared = set.intersection(*({form for form in forms if form[0] == "within"} for forms in of_each))
        entries.keys.extend(_shared_key(self.keys, self.of, self.param.code, form) for form in sorted(shared))
        for composite, forms in zip(composites, of_each, strict=True):
            tokens = [form for form in forms if form not in shared]
            for form, (value, type_) in product(tokens, composite.components[1]):
                prefix = _prefix(self.of, self.param.code, form)
                if self.param.components[1].type == "number":
                    for lo, hi in number.spans(value):
                        entries.qty.extend(number.rows(self.keys, prefix, lo, hi))
                else:
                    for measure in quantity.measures(value, type_):
                        entries.qty.extend(quantity.rows(self.keys, prefix, measure))
                        found.setdefault(prefix, []).append(measure)
        for prefix, measures in found.items():
            quantity.put_labels(self.keys, prefix, measures, entries)

    def numbered(self, composites: Sequence[Composite], entries: Entries) -> None:
        for composite in composites:
            (tokens,) = self.parts(composite)
            first, second = composite.components[1:]
            for form, one, other in product(tokens, first, second):
                key = self.keys.of(*_prefix(self.of, self.param.code, form))
                entries.qty.append((key, Decimal(one.value), Decimal(other.value)))


def _prefix(resource_type: str, code: str, form: Form) -> tuple[str, ...]:
    """The parts of the key of `qty` rows for a form of the token."""
    return "cqty", resource_type, code, *form


def _token_forms(pair: token.Pair) -> list[Form]:
    """A code, a code of a system, anything of a system."""
    system, code = pair
    folded = code.casefold() if code else None
    forms: list[Form] = [("code", folded), ("system", system or "", folded)] if folded else []
    return [*forms, ("within", system)] if system else forms


def _reference_forms(found: Reference) -> list[Form]:
    """A resource and, where one is named, its version."""
    if found.is_local:
        form = _target_form(found.type, found.id, None)
    elif found.url is not None:
        form = _target_form(None, None, found.url)
    else:
        return []
    return [form] if found.version is None else [form, ("version", *form, found.version)]


def _target_form(type_: str | None, id_: str | None, url: str | None) -> Form:
    return ("url", url) if url is not None else ("target", type_ or "", id_ or "")


def _shared_key(keys: Keys, resource_type: str, code: str, form: Form) -> int:
    """The key that says that all elements are of a system: their numbers need no rows for it."""
    return keys.of("shared", resource_type, code, *form)


def _key(keys: Keys, resource_type: str, code: str, combination: Sequence[Form]) -> int:
    return keys.of("pair", resource_type, code, *(part for form in combination for part in ("$", *form)))


# -- asking


def compile(
    scope: Scope,
    registry: Registry,
    param: SearchParam,
    modifier: str | None,
    values: Sequence[CompositeValue],
) -> Condition:
    """The condition of one clause; its values are alternatives. Raises NotSupported."""
    if modifier is not None:
        raise unsupported_modifier(param.code, modifier, MODIFIERS)
    match shape_of(param, scope.resource_type):
        case "conjunction":
            parts = [_conjunction(scope, registry, param, value) for value in values]
        case "keys":
            parts = [_keyed(scope, registry, param, value) for value in values]
        case "quantity":
            parts = [_measured(scope, registry, param, value) for value in values]
        case "numbers":
            parts = [_numbered(scope, param, value) for value in values]
        case None:
            raise NotSupported(f"search parameter '{param.code}' is not supported")
    drivers = (
        tuple(driver for part in parts for driver in part.drivers) if all(p.drivers for p in parts) else ()
    )
    return Condition(or_(*(part.filter for part in parts)), drivers, max(part.rank for part in parts))


def _conjunction(scope: Scope, registry: Registry, param: SearchParam, value: CompositeValue) -> Condition:
    conditions: list[Condition] = []
    for component, part in zip(param.components, value.parts, strict=True):
        found = registry.get(scope.resource_type, component.code)
        if found is None:
            raise NotSupported(f"'{param.code}' needs the search parameter '{component.code}'")
        conditions.append(plain.compile(scope, found, None, [part]))
    code, second = value.parts[0], value.parts[1]
    paired: tuple[Driver, ...] = ()
    if isinstance(code, TokenValue) and isinstance(second, QuantityValue):
        paired = quantity.paired(scope, param.components[1].code, [code], [second])
    best = min(conditions, key=lambda condition: condition.rank)
    filter_ = and_(*(condition.filter for condition in conditions))
    return Condition(filter_, paired or best.drivers, Rank.COMPOSITE if paired else best.rank)


_LEADING: Final = frozenset({"code", "target", "url", "uri"})
"""The forms under which `tok` holds what only has tokens, references and URIs."""


def _bare(part: Plain) -> list[Form]:
    """The forms that lead to the rows: a token without its system, a reference without its version."""
    match part:
        case TokenValue(_, code) if code is not None:
            return [("code", code.casefold())]
        case ReferenceValue(types, id_, url, _):
            return _asked(ReferenceValue(types, id_, url))
        case _:
            return _asked(part)


def _asked(part: Plain) -> list[Form]:
    """The forms that decide."""
    match part:
        case TokenValue(None, str(code)):
            return [("code", code.casefold())]
        case TokenValue(str(system), str(code)):
            return [("system", system, code.casefold())]
        case TokenValue(str(system), None):
            return [("within", system)]
        case ReferenceValue(types, id_, url, version):
            forms = [_target_form(type_, id_, None) for type_ in types] if url is None else [("url", url)]
            return forms if version is None else [("version", *form, version) for form in forms]
        case UriValue(text):
            return [("uri", text)]
        case _:
            raise AssertionError(part)


def _keyed(scope: Scope, registry: Registry, param: SearchParam, value: CompositeValue) -> Condition:
    def all_keys(forms: Sequence[list[Form]]) -> list[int]:
        return [
            _key(scope.keys, scope.resource_type, param.code, combination) for combination in product(*forms)
        ]

    filter_ = has_keys(scope.alias, all_keys([_asked(part) for part in value.parts]))
    leading = [_bare(part) for part in value.parts]
    if any(form[0] not in _LEADING for forms in leading for form in forms):
        part = _best_part(scope, registry, param, value)
        return Condition(filter_, part.drivers, part.rank)
    return Condition(filter_, (Tokens(tuple(dict.fromkeys(all_keys(leading)))),), Rank.COMPOSITE)


def _best_part(scope: Scope, registry: Registry, param: SearchParam, value: CompositeValue) -> Condition:
    """The condition on one part by itself that is likely to leave the fewest rows: it leads to them all."""
    parts = [
        plain.compile(scope, found, None, [part])
        for component, part in zip(param.components, value.parts, strict=True)
        if (found := registry.get(scope.resource_type, component.code)) is not None
    ]
    return min(parts, key=lambda part: part.rank if part.drivers else Rank.NONE)


def _measured(scope: Scope, registry: Registry, param: SearchParam, value: CompositeValue) -> Condition:
    (form,) = _asked(value.parts[0])
    own = registry.get(scope.resource_type, param.components[1].code)
    if form[0] == "within" and own is not None:
        return _of_system(scope, param, form, value.parts[1], own)
    return _amount(scope, param, form, value.parts[1])


def _amount(scope: Scope, param: SearchParam, form: Form, part: Plain) -> Condition:
    """The rows under a form of the token."""
    prefix = _prefix(scope.resource_type, param.code, form)
    match part:
        case QuantityValue() as amount:
            return quantity.one(scope, prefix, amount)
        case NumberValue() as amount:
            return number.condition(scope, [(prefix, amount)])
        case _:
            raise NotSupported(f"search parameter '{param.code}' is not supported")


def _of_system(scope: Scope, param: SearchParam, form: Form, part: Plain, own: SearchParam) -> Condition:
    """Where all elements are of the system the second part's own parameter says it, else the rows do."""
    any_ = plain.compile(scope, own, None, [part])
    rows = _amount(scope, param, form, part)
    shared = has_keys(scope.alias, [_shared_key(scope.keys, scope.resource_type, param.code, form)])
    filter_ = or_(and_(shared, any_.filter), rows.filter)
    return Condition(filter_, (*any_.drivers, *rows.drivers), max(any_.rank, rows.rank))


def _numbered(scope: Scope, param: SearchParam, value: CompositeValue) -> Condition:
    (form,) = _asked(value.parts[0])
    first, second = value.parts[1], value.parts[2]
    assert isinstance(first, NumberValue)
    assert isinstance(second, NumberValue)
    key = scope.keys.of(*_prefix(scope.resource_type, param.code, form))
    lo, hi = sql("x.lo"), sql("x.hi")
    test: Fragment = and_(number.test(first, lo, lo), number.test(second, hi, hi))
    return indexed(
        scope.alias,
        lambda rid: exists(
            sql("FROM qty x WHERE x.rid = {} AND x.key IS NOT DISTINCT FROM {} AND {}", rid, key, test)
        ),
        (Rids(sql("SELECT x.rid FROM qty x WHERE x.key = {} AND {}", key, test)),),
        Rank.RANGE,
    )
