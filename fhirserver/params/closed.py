"""Elements that hold one code of a few: what such a code is not says what it is.

`Task?status:not=completed` asks for few of many. Where an element has to be there, cannot repeat and is bound
to its codes, the others can be looked up. A row without any of the codes (the element may be there with an
extension in place of its value) has a key of its own in `tok`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fhirserver.db.sql import sql
from fhirserver.fhir.keys import Keys
from fhirserver.params import hot
from fhirserver.params.condition import Condition, Rank, Rids, Scope
from fhirserver.params.entries import Node
from fhirserver.params.facts import implied_systems, is_required, is_single, node_types
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import FOLDED_SPACE, TokenValue, key_of

CODES_MAX: Final = 24
"""Longer lists are no states of anything."""


@lru_cache(maxsize=2_048)
def closed_codes(param: SearchParam, resource_type: str) -> Mapping[str, str]:
    """Code -> system of all that the element can hold; empty for a parameter that is not like that."""
    if param.type != "token" or node_types(param, resource_type) != {"code"}:
        return {}
    if not is_single(param, resource_type) or not is_required(param, resource_type):
        return {}
    codes = implied_systems(param, resource_type)
    return codes if len(codes) <= CODES_MAX else {}


def other_key(keys: Keys, resource_type: str, code: str) -> int:
    """The key of a row that has none of the codes."""
    return keys.of("tok:other", resource_type, code)


@dataclass(frozen=True, slots=True)
class Closed:
    """What writing has to know of such a parameter."""

    code: str
    codes: Mapping[str, str]
    key: int

    def lacks(self, found: Mapping[str, Sequence[Node]]) -> bool:
        """Whether a resource has none of the codes; `found` are the nodes of its parameters."""
        return not any(node.value in self.codes for node in found.get(self.code, ()))


def closed_params(keys: Keys, resource_type: str, params: Mapping[str, SearchParam]) -> list[Closed]:
    """Those of a type's parameters."""
    return [
        Closed(code, codes, other_key(keys, resource_type, code))
        for code, param in params.items()
        if (codes := closed_codes(param, resource_type))
    ]


def driven(scope: Scope, param: SearchParam, values: Sequence[TokenValue], negated: Condition) -> Condition:
    """The condition of `:not` with a way to its rows, if all codes that are left are looked up by index."""
    codes = {} if scope.inline else closed_codes(param, scope.resource_type)
    left = [code for code, system in codes.items() if not _covered(code, system, values)]
    if not codes or not hot.hot_codes(scope.resource_type, param.code).isdisjoint(left):
        return negated
    wanted = [
        other_key(scope.keys, scope.resource_type, param.code),
        *(
            key_of(
                scope.keys, FOLDED_SPACE, scope.resource_type, param.code, TokenValue(None, code.casefold())
            )
            for code in left
        ),
    ]
    select = sql("SELECT x.rid FROM tok x WHERE x.key = any({}::bigint[])", wanted)
    return replace(negated, drivers=(Rids(select),), rank=Rank.NEGATED)


def _covered(code: str, system: str, values: Sequence[TokenValue]) -> bool:
    """Whether a row with the code cannot pass."""
    return any(
        value.system in (None, system) and (value.code is None or value.code.casefold() == code.casefold())
        for value in values
    )
