"""The parameters that say what must hold, among them chains and `_has`.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid, NotSupported, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params import date, kinds, modifiers, reference, special
from fhirserver.params import text as syntax
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.facts import INLINE, is_canonical, targets, unanswered
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search import lists
from fhirserver.search.query import Chain, Clause, Condition, Has, Ids, Listed, Missing, Updated

CHAIN_TYPES_MAX: Final = 12
"""Types that a chain without `:Type` may spread to; beyond that the caller has to say which."""

DEFINED: Final = frozenset({"_text", "_content", "_query", "_contained", "_containedType"})
"""What R4 defines for all types and this server does not offer yet."""

SPECIAL: Final = frozenset({"_filter", "_list"})
"""What R4 defines for all types and no SearchParameter describes."""


class UnknownParameter(NotSupported):
    """The type has no such parameter, or this server none: ignored when the caller is lenient."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the parameters of a search on one type."""

    registry: Registry
    reading: Reading
    or_values_max: int
    chain_depth_max: int

    def condition(self, resource_type: str, name: str, value: str, depth: int = 0) -> Condition:
        """What `name=value` demands of a resource of a type, `depth` hops down a chain.

        Raises UnknownParameter, UnsupportedModifier, Invalid, TooCostly.
        """
        if depth > self.chain_depth_max:
            raise TooCostly(f"a chain has at most {self.chain_depth_max} links")
        if name == "_has" or name.startswith("_has:"):
            return self._has(name, value, depth)
        if name.partition(":")[0] == "_list":
            return self._listed(name, value)
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        param = self.param(resource_type, code)
        if dot:
            return self._chain(resource_type, param, modifier or None, rest, value, depth)
        if colon and not modifier:
            raise UnsupportedModifier(f"'{name}' ends in a colon without a modifier")
        return self._clause(resource_type, param, modifier or None, value)

    def param(self, resource_type: str, code: str) -> SearchParam:
        """The parameter of a type, one that leads into the resource included. Raises UnknownParameter."""
        if (resource_type, code) not in INLINE:
            return defined(self.registry, resource_type, code)
        found = self.registry.get(resource_type, code)
        if found is None:
            raise unknown(resource_type, code, self.registry)
        return found

    def _values(self, code: str, value: str) -> list[str]:
        parts = [part for part in syntax.split(value, ",") if part]
        if len(parts) > self.or_values_max:
            raise TooCostly(f"'{code}' has {len(parts)} values; {self.or_values_max} is the limit")
        return parts

    def _clause(self, resource_type: str, param: SearchParam, modifier: str | None, value: str) -> Condition:
        modifiers.check(param, resource_type, modifier)
        if modifier == "missing":
            if value not in ("true", "false"):
                raise Invalid(f"{param.code}:missing is true or false, not '{value}'")
            return Missing(param, value == "true")
        parts = self._values(param.code, value)
        if (resource_type, param.code) in INLINE:
            return inline_ids(param, resource_type, modifier, parts, self.reading)
        if param.code == "_id":
            return Ids(tuple(special.parse_id(part) for part in parts), modifier == "not")
        if param.code == "_lastUpdated":
            return Updated(tuple(date.parse(part, self.reading.zone) for part in parts))
        return Clause(
            param,
            modifier,
            tuple(kinds.parse(param, resource_type, modifier, part, self.reading) for part in parts),
        )

    def _chain(
        self, resource_type: str, param: SearchParam, modifier: str | None, rest: str, value: str, depth: int
    ) -> Chain:
        return self.chain(
            resource_type,
            param,
            modifier,
            rest,
            lambda target: self.condition(target, rest, value, depth + 1),
        )

    def chain(
        self,
        resource_type: str,
        param: SearchParam,
        modifier: str | None,
        rest: str,
        inner_of: Callable[[str], Condition],
    ) -> Chain:
        """What a reference must point at. `inner_of` says what is demanded of a type, or raises
        UnknownParameter where that cannot be asked of it; `rest` is how messages call it."""
        if param.type != "reference":
            raise Invalid(f"'{param.code}' is no reference: '{param.code}.{rest}' leads nowhere")
        nested = INLINE.get((resource_type, param.code))
        if nested is not None:
            return _inline(param, nested, modifier, inner_of)
        require_followed(param, resource_type)
        if modifier is not None and modifier not in ENDPOINT_TYPES:
            hint = alike(modifier, ENDPOINT_TYPES)
            raise UnsupportedModifier(
                f"'{modifier}' is not a resource type: {param.code}:[type].{rest}{hint}"
            )
        allowed = targets(param, resource_type) or tuple(sorted(ENDPOINT_TYPES))
        pointed = (modifier,) if modifier else tuple(t for t in allowed if t in ENDPOINT_TYPES)
        inner: list[tuple[str, Condition]] = []
        missed: UnknownParameter | None = None
        for target in pointed:
            try:
                inner.append((target, inner_of(target)))
            except UnknownParameter as error:
                missed = missed or error
        if not inner:
            raise missed or UnknownParameter(f"'{param.code}' points at nothing that can be searched")
        if len(inner) > CHAIN_TYPES_MAX:
            raise TooCostly(
                f"'{param.code}.{rest}' spreads to {len(inner)} types; say which: {param.code}:[type].{rest}"
            )
        return Chain(param, tuple(inner))

    def _listed(self, name: str, value: str) -> Listed:
        if name != "_list":
            raise UnsupportedModifier(f"'{name}' is not defined: _list takes no modifier")
        bases = self.reading.own_bases
        return Listed(tuple(lists.parse(part, bases) for part in self._values(name, value)))

    def _has(self, name: str, value: str, depth: int) -> Has:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts[1:]):
            raise Invalid(f"'{name}' is not _has:[type]:[reference parameter]:[parameter]")
        _, source, code, rest = parts
        if source not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{source}' in '{name}' is not a resource type{alike(source, ENDPOINT_TYPES)}"
            )
        param = defined(self.registry, source, code)
        if param.type != "reference":
            raise Invalid(f"'{code}' in '{name}' is not a reference parameter of {source}")
        require_followed(param, source)
        return Has(source, param, self.condition(source, rest, value, depth + 1))


def inline_ids(
    param: SearchParam, resource_type: str, modifier: str | None, texts: list[str], reading: Reading
) -> Chain:
    """A resource within the one that is searched, by the id that it has there. Raises Invalid."""
    nested = INLINE[resource_type, param.code]
    ids: list[str] = []
    for text in texts:
        found = reference.parse(text, (nested,), modifier, reading.own_bases)
        if found.id is None or found.types != (nested,) or found.version is not None:
            raise Invalid(
                f"'{text}' is not an id or {nested}/[id]; {param.code}.[parameter] searches contents"
            )
        ids.append(found.id)
    return Chain(param, ((nested, Ids(tuple(ids))),))


def _inline(
    param: SearchParam, nested: str, modifier: str | None, inner_of: Callable[[str], Condition]
) -> Chain:
    """A chain into a resource within the one that is searched; nothing else knows of that resource."""
    if modifier not in (None, nested):
        raise UnsupportedModifier(f"'{param.code}' is a {nested}, not a {modifier}")
    inner = inner_of(nested)
    if isinstance(inner, Has | Listed):
        raise Invalid(f"nothing refers to a resource within another: no _has or _list after '{param.code}.'")
    return Chain(param, ((nested, inner),))


def defined(registry: Registry, resource_type: str, code: str) -> SearchParam:
    """The parameter of a type by its code. Raises UnknownParameter for none, and for one without answers."""
    param = registry.get(resource_type, code)
    reason = "is not supported by this server" if code in DEFINED else None
    if param is not None:
        reason = reason or unanswered(param, resource_type)
    if reason is not None:
        raise UnknownParameter(f"search parameter '{code}' {reason}")
    if param is None:
        raise unknown(resource_type, code, registry)
    return param


def require_followed(param: SearchParam, resource_type: str) -> None:
    """Raises UnknownParameter for a reference that leads by URL, where keys of ids are needed."""
    if is_canonical(param, resource_type):
        raise UnknownParameter(
            f"'{param.code}' of {resource_type} refers by canonical URL: no chain or include follows it"
        )


def alike(name: str, known: frozenset[str]) -> str:
    """The end of a message that says what else it may have been."""
    names = nearest(name, known)
    return f"; alike: {', '.join(names)}" if names else ""


def unknown(resource_type: str, code: str, registry: Registry) -> UnknownParameter:
    """The error for a name that is no parameter of the type."""
    names = registry.nearest(resource_type, code)
    hint = f"; alike: {', '.join(names)}" if names else ""
    return UnknownParameter(f"{resource_type} has no search parameter '{code}'{hint}")
