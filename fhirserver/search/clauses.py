"""The parameters that say what must hold, among them chains and `_has`.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid, NotSupported, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params import date, kinds, modifiers, special
from fhirserver.params import text as syntax
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.facts import is_canonical, targets, unanswered
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.query import Chain, Clause, Condition, Has, Ids, Missing, Updated

CHAIN_TYPES_MAX: Final = 12
"""Types that a chain without `:Type` may spread to; beyond that the caller has to say which."""

DEFINED: Final = frozenset(
    {"_text", "_content", "_list", "_query", "_filter", "_contained", "_containedType"}
)
"""What R4 defines for all types and this server does not offer yet."""


CONTROLS: Final = frozenset(
    {"_count", "_elements", "_has", "_include", "_revinclude", "_sort", "_summary", "_total", "_type"}
)
"""What may be meant by a name that no SearchParameter has, besides these."""


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
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        param = self._param(resource_type, code)
        if dot:
            return self._chain(resource_type, param, modifier or None, rest, value, depth)
        if colon and not modifier:
            raise UnsupportedModifier(f"'{name}' ends in a colon without a modifier")
        return self._clause(resource_type, param, modifier or None, value)

    def _param(self, resource_type: str, code: str) -> SearchParam:
        return defined(self.registry, resource_type, code)

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
        if param.type != "reference":
            raise Invalid(f"'{param.code}' is no reference: '{param.code}.{rest}' leads nowhere")
        require_followed(param, resource_type)
        if modifier is not None and modifier not in ENDPOINT_TYPES:
            raise UnsupportedModifier(f"'{modifier}' is not a resource type: {param.code}:[type].{rest}")
        allowed = targets(param, resource_type) or tuple(sorted(ENDPOINT_TYPES))
        pointed = (modifier,) if modifier else tuple(t for t in allowed if t in ENDPOINT_TYPES)
        inner: list[tuple[str, Condition]] = []
        missed: UnknownParameter | None = None
        for target in pointed:
            try:
                inner.append((target, self.condition(target, rest, value, depth + 1)))
            except UnknownParameter as error:
                missed = missed or error
        if not inner:
            raise missed or UnknownParameter(f"'{param.code}' points at nothing that can be searched")
        if len(inner) > CHAIN_TYPES_MAX:
            raise TooCostly(
                f"'{param.code}.{rest}' spreads to {len(inner)} types; say which: {param.code}:[type].{rest}"
            )
        return Chain(param, tuple(inner))

    def _has(self, name: str, value: str, depth: int) -> Has:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts[1:]):
            raise Invalid(f"'{name}' is not _has:[type]:[reference parameter]:[parameter]")
        _, source, code, rest = parts
        if source not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{source}' in '{name}' is not a resource type{alike(source, ENDPOINT_TYPES)}"
            )
        param = self._param(source, code)
        if param.type != "reference":
            raise Invalid(f"'{code}' in '{name}' is not a reference parameter of {source}")
        require_followed(param, source)
        return Has(source, param, self.condition(source, rest, value, depth + 1))


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
    names = nearest(code, {*registry.for_type(resource_type), *CONTROLS})
    hint = f"; alike: {', '.join(names)}" if names else ""
    return UnknownParameter(f"{resource_type} has no search parameter '{code}'{hint}")
