"""The parameters that say what must hold, among them chains and `_has`.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhirserver.errors import Invalid, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import date, kinds, modifiers, special
from fhirserver.params import text as syntax
from fhirserver.params.condition import UnknownParameter, UnsupportedModifier
from fhirserver.params.facts import unanswered
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search import hops
from fhirserver.search.hops import alike
from fhirserver.search.query import Clause, Condition, Has, Ids, Missing, Updated

DEFINED: Final = frozenset(
    {"_text", "_content", "_list", "_query", "_filter", "_contained", "_containedType"}
)
"""What R4 defines for all types and this server does not offer yet."""


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
            return self._has(name, resource_type, value, depth)
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        param = self._param(resource_type, code)
        if dot:
            return hops.chain(
                self.registry,
                resource_type,
                param,
                modifier or None,
                rest,
                lambda of: self.condition(of, rest, value, depth + 1),
            )
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

    def _has(self, name: str, resource_type: str, value: str, depth: int) -> Has:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts[1:]):
            raise Invalid(f"'{name}' is not _has:[type]:[reference parameter]:[parameter]")
        _, source, code, rest = parts
        if source not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{source}' in '{name}' is not a resource type{alike(source, ENDPOINT_TYPES)}"
            )
        param = self._param(source, code)
        return hops.has(
            self.registry,
            resource_type,
            param,
            source,
            lambda of: self.condition(of, rest, value, depth + 1),
        )


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


def unknown(resource_type: str, code: str, registry: Registry) -> UnknownParameter:
    """The error for a name that is no parameter of the type."""
    names = registry.nearest(resource_type, code)
    hint = f"; alike: {', '.join(names)}" if names else ""
    return UnknownParameter(f"{resource_type} has no search parameter '{code}'{hint}")
