"""What a search means that names codes and resources by what is stored: value sets, what is above and
below a code, hierarchies of resources, canonical URLs by the id of what has them.

Between reading a search and compiling it, such values give way to those that they stand for. Looked up
is what the caller may see, on later pages as it was on the first one.
https://hl7.org/fhir/R4/search.html#token, https://hl7.org/fhir/R4/search.html#recursive
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, TooCostly
from fhirserver.fhir import reference
from fhirserver.interactions.call import Services
from fhirserver.interactions.definitions import Stored
from fhirserver.params.facts import implied_systems, is_canonical, is_mime_type, node_types
from fhirserver.params.hierarchy import hierarchies
from fhirserver.params.kinds import Value
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import TokenValue, ValueSetValue
from fhirserver.params.uri import UriValue
from fhirserver.search import hierarchy
from fhirserver.search.context import Context
from fhirserver.search.query import Clause, SearchQuery
from fhirserver.search.rewrite import changed, clauses
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.errors import UnknownDefinition
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.valueset import NO_SYSTEM, Expansion, ValueSet

TYPES_MAX: Final = 12
"""Types in which the id of a canonical resource is looked up."""


async def understood(
    connection: Connection, services: Services, context: Context, query: SearchQuery
) -> SearchQuery:
    """The search with plain values only.

    Raises UnknownDefinition or NotEnumerable for code systems and value sets that do not answer, and
    TooCostly when they or a hierarchy stand for too much.
    """
    meanings = {(of, clause): None for of, clause in clauses(query) if _stands_for_others(of, clause)}
    if not meanings:
        return query
    meaning = _Meaning(connection, services, context)
    plain = {(of, clause): await meaning.of(of, clause) for of, clause in meanings}
    return changed(query, lambda of, clause: plain.get((of, clause), clause))


def _stands_for_others(resource_type: str, clause: Clause) -> bool:
    """Whether the clause has to be looked up."""
    param, modifier = clause.param, clause.modifier
    match param.type:
        case "token" if modifier in ("above", "below"):
            return not is_mime_type(param, resource_type)
        case "token":
            return modifier in ("in", "not-in")
        case "reference" if is_canonical(param, resource_type):
            return any(isinstance(one, ReferenceValue) and one.id is not None for one in clause.values)
        case "reference":
            return modifier in ("above", "below")
        case "uri" if param.code == "_profile" and modifier is None:
            return any(_relative(one) is not None for one in clause.values)
        case _:
            return False


def _relative(value: Value) -> tuple[str, str] | None:
    """Type and id where a URI is a place on this server: https://hl7.org/fhir/R4/search.html#tag"""
    if not isinstance(value, UriValue):
        return None
    found = reference.parse(value.uri)
    return (found.type, found.id) if found.is_local and found.type and found.id else None


@dataclass(frozen=True, slots=True)
class _Meaning:
    connection: Connection
    services: Services
    context: Context
    expanded: dict[tuple[ValueSetValue, ...], dict[str, set[str]]] = field(default_factory=dict)
    """What value sets have been found to hold; a chain to many types asks for the same ones of each."""

    @property
    def _stored(self) -> Stored:
        return Stored(self.connection, self.context, self.services.definitions)

    @property
    def _terminology(self) -> Terminology:
        limit = self.services.settings.terminology_codes_max
        return Terminology(WithBuiltIn(self._stored), self.services.definitions, limit)

    async def of(self, resource_type: str, clause: Clause) -> Clause:
        """The clause in plain values."""
        param, modifier = clause.param, clause.modifier
        values = cast(Any, clause.values)
        match param.type:
            case "token" if modifier in ("in", "not-in"):
                if (codes := self.expanded.get(values)) is None:
                    codes = self.expanded[values] = await self._codes(values)
                return Clause(
                    param, "not" if modifier == "not-in" else None, _tokens(param, resource_type, codes)
                )
            case "token":
                codes = await self._related(param, resource_type, modifier == "below", values)
                return Clause(param, None, _tokens(param, resource_type, codes))
            case "reference" if is_canonical(param, resource_type):
                return replace(clause, values=await self._canonicals(values))
            case "reference":
                found = await self._relatives(param, resource_type, modifier == "below", values)
                return Clause(param, None, found)
            case _:
                return replace(clause, values=await self._profiles(values))

    # -- codes

    async def _codes(self, values: Sequence[ValueSetValue]) -> dict[str, set[str]]:
        """The codes of all value sets."""
        terminology = self._terminology
        found: dict[str, set[str]] = {}
        for value in dict.fromkeys(values):
            expansion: Expansion = await terminology.codes_of(
                await self._value_set(terminology, value.reference)
            )
            for system, codes in expansion.codes.items():
                found.setdefault(system, set()).update(codes)
        terminology.require_few(sum(map(len, found.values())), "what the value sets")
        return found

    async def _value_set(self, terminology: Terminology, name: str) -> ValueSet:
        """By where it is, if there is one at that place, otherwise by its canonical URL."""
        literal = reference.parse(name, self.services.own_bases)
        if literal.is_local and literal.id is not None:
            if literal.type != "ValueSet" or literal.version is not None:
                raise Invalid(f"'{name}' is not ValueSet/[id] or the URL of a value set")
            found = await self._stored.value_set_at(literal.id)
            if found is not None:
                return found
            if name.startswith("ValueSet/"):
                raise UnknownDefinition(f"this server holds no '{name}'")
        return await terminology.value_set(name)

    async def _related(
        self, param: SearchParam, resource_type: str, below: bool, values: Sequence[TokenValue]
    ) -> dict[str, set[str]]:
        """The codes below or above those given."""
        terminology = self._terminology
        found: dict[str, set[str]] = {}
        for value in dict.fromkeys(values):
            assert value.code is not None
            system = value.system or _only_system(param, resource_type, value.code)
            codes = await (terminology.below if below else terminology.above)(system, value.code)
            found.setdefault(system, set()).update(codes)
        terminology.require_few(sum(map(len, found.values())), "all codes")
        return found

    # -- resources

    async def _relatives(
        self, param: SearchParam, resource_type: str, below: bool, values: Sequence[ReferenceValue]
    ) -> tuple[ReferenceValue, ...]:
        """The resources themselves, and those below or above them by the hierarchy of their type."""
        found = list(values)
        for of, code in hierarchies(param, resource_type).items():
            ids = [value.id for value in values if value.id is not None and of in value.types]
            urls = [value.url for value in values if value.url is not None] if below else []
            if not ids and not urls:
                continue
            limit = hierarchy.MEMBERS_MAX + 1
            if below:
                statement = hierarchy.below(self.context, of, code, ids, urls, limit)
            else:
                statement = hierarchy.above(self.context, of, code, ids, limit)
            text, args = statement.numbered()
            rows = await self.connection.fetch(text, *args)
            found.extend(ReferenceValue((of,), row["id"]) for row in rows)
        if len(found) > hierarchy.MEMBERS_MAX:
            raise TooCostly(
                f"'{param.code}' stands for more than {hierarchy.MEMBERS_MAX} resources of a hierarchy"
            )
        return tuple(dict.fromkeys(found))

    # -- canonical URLs

    async def _canonicals(self, values: Sequence[ReferenceValue]) -> tuple[ReferenceValue, ...]:
        """What is named by its id by its URLs as well: that of its place here, and the one that it has."""
        found: list[ReferenceValue] = []
        for value in values:
            found.append(value)
            if value.id is None:
                continue
            if len(value.types) > TYPES_MAX:
                raise Invalid(
                    f"'{value.id}' may be of {len(value.types)} types; say which: [type]/{value.id}"
                )
            urls = [url for of in value.types for url in await self._urls(of, value.id)]
            found.extend(ReferenceValue((), None, url) for url in urls)
        return tuple(dict.fromkeys(found))

    async def _profiles(self, values: Sequence[UriValue]) -> tuple[Value, ...]:
        found: list[UriValue] = []
        for value in values:
            found.append(value)
            place = _relative(value)
            if place is not None:
                found.extend(UriValue(url) for url in await self._urls(*place))
        return tuple(dict.fromkeys(found))

    async def _urls(self, resource_type: str, id_: str) -> list[str]:
        places = [f"{base}/{resource_type}/{id_}" for base in self.services.own_bases]
        return [*places, *await self._stored.canonical_urls(resource_type, id_)]


def _only_system(param: SearchParam, resource_type: str, code: str) -> str:
    """The system of a code that comes without one, where the elements leave no choice. Raises Invalid."""
    systems = set(implied_systems(param, resource_type).values())
    if len(systems) != 1:
        raise Invalid(
            f"'{code}' does not say of which code system it is: '{param.code}' takes system|code here"
        )
    return systems.pop()


def _tokens(param: SearchParam, resource_type: str, codes: dict[str, set[str]]) -> tuple[TokenValue, ...]:
    """Plain values, the same ones in the same order; elements whose system nobody knows go by the code."""
    bare = node_types(param, resource_type) == {"code"} and not implied_systems(param, resource_type)
    pairs: Iterable[tuple[str, str]] = sorted((system, code) for system in codes for code in codes[system])
    if bare:
        return tuple(TokenValue(None, code) for code in dict.fromkeys(code for _, code in pairs))
    return tuple(TokenValue("" if system == NO_SYSTEM else system, code) for system, code in pairs)
