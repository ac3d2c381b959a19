"""The parameters that say what must hold, among them chains and `_has`.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params import date, fulltext, kinds, modifiers, reference, special, textquery
from fhirserver.params import text as syntax
from fhirserver.params.condition import UnknownParameter, UnsupportedModifier
from fhirserver.params.facts import INLINE, unanswered
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search import hops, lists
from fhirserver.search.hops import alike
from fhirserver.search.query import Chain, Clause, Condition, Has, Ids, Listed, Missing, Updated, Words

DEFINED: Final = frozenset({"_query"})
"""What R4 defines for all types and this server does not offer yet."""

SPECIAL: Final = frozenset({"_filter", "_list"})
"""What R4 defines for all types and no SearchParameter describes."""


CONTROLS: Final = frozenset(
    {"_count", "_elements", "_has", "_include", "_revinclude", "_sort", "_summary", "_total", "_type"}
)
"""What may be meant by a name that no SearchParameter has, besides these."""


class Incomplete(FhirError):
    """A parameter whose index entries are not complete yet (409): what it found would be a part of what
    there is, so it is refused whatever the handling. `name` is its code, `id` that of its SearchParameter."""

    status = 409
    code = "transient"
    name = ""
    id = ""

    @classmethod
    def of(cls, name: str, id_: str, percentage: int | None = None) -> Incomplete:
        """The error that says how much is done, where that is known."""
        done = "" if percentage is None else f", {percentage}% are done"
        error = cls(
            f"search parameter '{name}' is being built{done}; it can be used when it is complete:"
            f" SearchParameter/{id_}/$status"
        )
        error.name, error.id = name, id_
        return error


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the parameters of a search on one type, or, `across`, on several."""

    registry: Registry
    reading: Reading
    or_values_max: int
    chain_depth_max: int
    across: bool = False

    def condition(self, resource_type: str, name: str, value: str, depth: int = 0) -> Condition:
        """What `name=value` demands of a resource of a type, `depth` hops down a chain.

        Raises UnknownParameter, UnsupportedModifier, Invalid, TooCostly.
        """
        if depth > self.chain_depth_max:
            raise TooCostly(f"a chain has at most {self.chain_depth_max} links")
        if name == "_has" or name.startswith("_has:"):
            return self._has(name, resource_type, value, depth)
        if name.partition(":")[0] == "_list":
            return self._listed(name, value)
        head, dot, rest = name.partition(".")
        code, colon, modifier = head.partition(":")
        if code in fulltext.CODES:
            return self._full_text(resource_type, code, name, value)
        param = self.param(resource_type, code)
        if dot:
            return self.chain(
                resource_type,
                param,
                modifier or None,
                rest,
                lambda of: self.condition(of, rest, value, depth + 1),
            )
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

    def _full_text(self, resource_type: str, code: str, name: str, value: str) -> Words:
        """`_text` and `_content`. Across types, those that have no narrative are not found by `_text`."""
        param = self.registry.get("DomainResource", code)
        if param is None or (not self.across and self.registry.get(resource_type, code) is None):
            raise unknown(resource_type, code, self.registry)
        if name != code:
            raise UnsupportedModifier(f"'{code}' has no modifiers and leads nowhere: '{name}'")
        return Words(code, tuple(textquery.parse(part) for part in self._values(code, value)))

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

    def chain(
        self,
        resource_type: str,
        param: SearchParam,
        modifier: str | None,
        rest: str,
        inner_of: Callable[[str], Condition],
    ) -> Chain:
        """What a reference must point at. `inner_of` says what is demanded of a type, or raises an error
        where that cannot be asked of it; `rest` is how messages call it."""
        nested = INLINE.get((resource_type, param.code))
        if nested is not None:
            return _inline(param, nested, modifier, rest, inner_of)
        return hops.chain(self.registry, resource_type, param, modifier, rest, inner_of)

    def _listed(self, name: str, value: str) -> Listed:
        if name != "_list":
            raise UnsupportedModifier(f"'{name}' is not defined: _list takes no modifier")
        bases = self.reading.own_bases
        return Listed(tuple(lists.parse(part, bases) for part in self._values(name, value)))

    def _has(self, name: str, resource_type: str, value: str, depth: int) -> Has:
        parts = name.split(":", 3)
        if len(parts) < 4 or not all(parts[1:]):
            raise Invalid(f"'{name}' is not _has:[type]:[reference parameter]:[parameter]")
        _, source, code, rest = parts
        if source not in ENDPOINT_TYPES:
            raise UnknownParameter(
                f"'{source}' in '{name}' is not a resource type{alike(source, ENDPOINT_TYPES)}"
            )
        param = defined(self.registry, source, code)
        return hops.has(
            self.registry,
            resource_type,
            param,
            source,
            lambda of: self.condition(of, rest, value, depth + 1),
        )


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
    param: SearchParam, nested: str, modifier: str | None, rest: str, inner_of: Callable[[str], Condition]
) -> Chain:
    """A chain into a resource within the one that is searched; nothing else knows of that resource."""
    if modifier not in (None, nested):
        raise UnsupportedModifier(f"'{param.code}' is a {nested}, not a {modifier}")
    code = rest.partition(":")[0]
    if code in ("_has", "_list"):
        raise Invalid(f"nothing refers to a resource within another: no _has or _list after '{param.code}.'")
    if code in fulltext.CODES:
        raise Invalid(f"a resource within another has no words of its own: no {code} after '{param.code}.'")
    return Chain(param, ((nested, inner_of(nested)),))


def defined(registry: Registry, resource_type: str, code: str) -> SearchParam:
    """The parameter of a type by its code. Raises UnknownParameter for none, and for one without answers,
    Incomplete for one that has not all of its answers yet."""
    require_complete(registry, resource_type, code)
    param = registry.get(resource_type, code)
    reason = "is not supported by this server" if code in DEFINED else None
    if param is not None:
        reason = reason or unanswered(param, resource_type)
    if reason is not None:
        raise UnknownParameter(f"search parameter '{code}' {reason}")
    if param is None:
        raise unknown(resource_type, code, registry)
    return param


def require_complete(registry: Registry, resource_type: str, code: str) -> None:
    """Raises Incomplete for a parameter of the type (`Resource`: of all types) that is being built."""
    id_ = registry.building.get((resource_type, code))
    if id_ is not None:
        raise Incomplete.of(code, id_)


def unknown(resource_type: str, code: str, registry: Registry) -> UnknownParameter:
    """The error for a name that is no parameter of the type."""
    if code in fulltext.CODES and registry.get("DomainResource", code) is None:
        return UnknownParameter(
            f"'{code}' is off on this server: the setting full_text offers it, and `fhirserver reindex` then"
            " fills it for what is stored already"
        )
    if code == "_type":
        return UnknownParameter("'_type' names types where several are searched: [base]?_type=...")
    known = {*registry.for_type(resource_type), *CONTROLS, *SPECIAL}
    names = [] if code in known else nearest(code, known)
    hint = f"; alike: {', '.join(names)}" if names else ""
    return UnknownParameter(f"{resource_type} has no search parameter '{code}'{hint}")
