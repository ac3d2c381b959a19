"""$explain: how a search of a type is understood and answered.

It tells how many rows were read, also of those that do not match: so it is for who may see them all.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden, Invalid
from fhirserver.fhir import json
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.interactions.preparing import prepared
from fhirserver.interactions.searching import asked, context_of
from fhirserver.params.condition import Condition
from fhirserver.policy.restriction import RECORDED, Nothing, Permits, Restriction
from fhirserver.policy.roles import ADMINISTRATOR
from fhirserver.search.advice import advice, counting, gathering, shown, strategy, way
from fhirserver.search.compile import count_statement, statement
from fhirserver.search.conditions import compile_all, compile_one
from fhirserver.search.explain import Step, explained, read, steps
from fhirserver.search.page import link
from fhirserver.search.plan import Choice, choose
from fhirserver.search.query import SearchQuery
from fhirserver.search.sort_values import order_of
from fhirserver.store.version import COLUMNS

_MS: Final = Decimal("0.001")


async def explain(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters; see `definitions.EXPLAIN`. Raises Forbidden, and what a search raises."""
    require_all_seen(call)
    query = asked(call)
    if call.resource is not None:
        raise Invalid("the search to be explained stands in the URL or in a form")
    if query.cursor is not None:
        raise Invalid("a search is explained as a whole: leave out what leads to a page")
    query, snapshot = await prepared(connection, call, query)
    context = context_of(call, snapshot)
    made = count_statement(query, context) if query.counts_only else statement(query, context, COLUMNS)
    text, args = explained(made).numbered()
    _require_seen_by(call, text)
    answer: Any = await connection.fetchval(text, *args)
    done = steps(answer)
    conditions = query.conditions[call.resource_type]
    within = query.contained is not None
    scope = (context.contained if within else context.scope)(call.resource_type)
    compiled = [(one, compile_one(context, scope, one, 0)) for one in conditions]
    every = compile_all(context, scope, conditions)
    choice = None if within else choose(context, every, order_of(context, scope, query.sort))
    parts = [
        ("search", "uri", link(call.base, call.resource_type, query.applied)),
        *(("condition", "string", f"{shown(one)}: {way(found)}") for one, found in compiled),
        ("strategy", "string", _strategy(query, choice, every)),
        *_statement(*made.numbered()),
        *_plan(done),
        *(("advice", "string", one) for one in advice(query, compiled, choice, done)),
    ]
    return Answer(200, json.dumps(parameters(parts)))


def _strategy(query: SearchQuery, choice: Choice | None, conditions: list[Condition]) -> str:
    if query.counts_only:
        return counting(conditions)
    return gathering(conditions) if choice is None else strategy(choice)


def require_all_seen(call: Call) -> None:
    """Raise Forbidden unless nobody has to sign in, or an administrator asks who sees whatever is there."""
    restriction = call.restriction
    if not isinstance(restriction, Nothing) and restriction.asking is not None:
        raise Forbidden("how searches are answered is not shown where consents are enforced")
    if call.principal.is_open:
        return
    if not any(role.name == ADMINISTRATOR for role in call.principal.roles):
        raise Forbidden("how searches are answered is shown to administrators")
    if not all(_sees(restriction, type_) for type_ in ENDPOINT_TYPES - RECORDED):
        raise Forbidden("how searches are answered is shown to who may search everything: user/*.s")


def _sees(restriction: Restriction, type_: str) -> bool:
    """Whether all of a type may be searched."""
    return not isinstance(restriction, Permits) or any(
        not permit.is_narrow for permit in restriction.of(type_, "s")
    )


def _require_seen_by(call: Call, text: str) -> None:
    """Raise Forbidden where the statement looks at what is recorded and the caller may not: no `*` is about
    that."""
    for type_ in RECORDED:
        if not _sees(call.restriction, type_) and re.search(rf"\bresource(_{type_.lower()})?\s", text):
            raise Forbidden(f"this search looks at {type_}, of which you may not search all")


def _statement(text: str, args: list[object]) -> list[tuple[str, str, Any]]:
    return [("sql", "string", text), *(("argument", "string", repr(one)) for one in args)]


def _plan(done: list[Step]) -> list[tuple[str, str, Any]]:
    first = done[0]
    return [
        ("plan", "string", "\n".join(map(str, done))),
        ("rows", "integer", first.rows),
        ("read", "integer", read(done)),
        ("milliseconds", "decimal", Decimal(first.ms).quantize(_MS)),
    ]
