"""SearchParameter and StructureDefinition resources that take effect, and interactions that go by what is in
force.

https://hl7.org/fhir/R4/searchparameter.html, https://hl7.org/fhir/R4/structuredefinition.html,
docs/adr/0009-search-parameters-at-run-time.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fhirserver.db.pool import Connection, unavailable
from fhirserver.db.retry import Outdated
from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir import json
from fhirserver.fhir.profile import definition as profiles
from fhirserver.fhir.structure import Resource
from fhirserver.identity import unique
from fhirserver.interactions import naming, shapes
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.headers import Handling
from fhirserver.interactions.terms import Lacking, learned
from fhirserver.params import definition
from fhirserver.params.registry import SearchParam, r4
from fhirserver.search.clauses import Incomplete, UnknownParameter
from fhirserver.store import rebuilds
from fhirserver.store.definitions import LOCK_CLASS, QUERIES, Known
from fhirserver.store.version import Draft

T = TypeVar("T")

TRIES_MAX: Final = 5


class Redefined(Exception):
    """What a search was compiled by is no longer in force; the interaction is to be run again."""


# -- going by what is in force


async def by_definitions(connection: Connection, call: Call, work: Callable[[], Awaitable[T]]) -> T:
    """Run an interaction, again if the definitions changed under it, or before it refused what is new.

    A search that may have used a parameter that is not R4's counts only if the definitions are the same
    afterwards: whatever was taken away has begun to go no earlier than they change.
    """
    definitions = call.services.definitions
    for _ in range(TRIES_MAX):
        known = definitions.known
        try:
            answer = await work()
        except Redefined:
            continue
        except (UnknownParameter, Incomplete) as error:
            if await definitions.refresh(connection):
                continue
            if isinstance(error, Incomplete):
                raise await _with_progress(connection, call.services, error) from None
            raise
        except Unprocessable:
            # What the validation policy refuses by definitions of before, it may take by those of now.
            if call.services.validation is None or await definitions.is_current(connection, known):
                raise
            continue
        if not _may_depend(call, known) or await definitions.is_current(connection, known):
            if is_definition(call.type):
                definitions.look()  # it may have been written
            return answer
    raise unavailable("the search parameters change too often at the moment; try again")


def _may_depend(call: Call, known: Known) -> bool:
    """Whether the answer may hang on definitions that others can change. A lenient search leaves out what
    it does not know, so it has to know everything."""
    if call.interaction != "search":
        return False
    return call.prefer.handling is Handling.LENIENT or known.concern(call.query)


async def require_current(connection: Connection, services: Services, known: Known | None) -> None:
    """Raise Redefined where what a search was read by, if it matters, is no longer in force."""
    if known is not None and not await services.definitions.is_current(connection, known):
        raise Redefined


async def renewed(connection: Connection | None, call: Call, error: BaseException) -> None:
    """Load the definitions where a write failed because they changed, or had not been read."""
    if isinstance(error, Outdated):
        await call.services.definitions.refresh(connection)
    elif isinstance(error, Lacking) and connection is not None:
        await learned(connection, call)


async def _with_progress(connection: Connection, services: Services, error: Incomplete) -> Incomplete:
    found = await rebuilds.standing(connection, services.tenant, error.id)
    return error if found is None else Incomplete.of(error.name, error.id, found.percentage)


# -- taking effect


def is_definition(resource_type: str | None) -> bool:
    """Whether resources of the type change what can be searched, or what others are judged by, or which
    identifiers only one may have; they are written in a transaction."""
    return resource_type in (definition.TYPE, profiles.TYPE, unique.TYPE)


async def define(connection: Connection, call: Call, drafts: Sequence[Draft]) -> None:
    """Let the definitions that were just written take effect with the transaction.

    Raises Unprocessable, naming the element, for an active SearchParameter that cannot be searched by, and
    for a StructureDefinition that contradicts what it constrains.
    """
    issues = [issue for found in await faults(connection, call, drafts) for issue in found]
    if issues:
        raise Unprocessable(issues=issues)


async def faults(connection: Connection, call: Call, drafts: Sequence[Draft]) -> list[tuple[Issue, ...]]:
    """The same for several at once: for each draft what is wrong with it."""
    written: dict[str, dict[str, Resource]] = {}
    for draft in drafts:
        if is_definition(draft.type):
            written.setdefault(draft.type, {})[draft.id] = draft.stored(call.now).resource()
    found: dict[tuple[str, str], tuple[Issue, ...]] = {}
    for type_, resources in written.items():
        wrong = await _CHANGES[type_](connection, call.services, resources)
        found |= {(type_, id_): issues for id_, issues in wrong.items()}
    return [found.get((draft.type, draft.id), ()) for draft in drafts]


async def undefine(connection: Connection, call: Call, deleted: Iterable[tuple[str, str]]) -> None:
    """Let the definitions that were just deleted cease to be searched and judged by."""
    gone = [one for one in deleted if is_definition(one[0])]
    params: dict[str, Resource | None] = {id_: None for type_, id_ in gone if type_ == definition.TYPE}
    if params:
        await _change(connection, call.services, params)
    if any(type_ == profiles.TYPE for type_, _ in gone):
        await shapes.change(connection, call.services, {})
    if any(type_ == unique.TYPE for type_, _ in gone):
        await naming.change(connection, call.services, {})


async def adopt(
    connection: Connection, services: Services, written: dict[str, Resource]
) -> dict[str, tuple[Issue, ...]]:
    """Let those of the SearchParameters, by their ids, take effect that can; what is wrong with the others.

    Packages bring some that no server can search by, and the same ones in two versions.
    """
    return await _change(connection, services, written, partly=True) if written else {}


@dataclass(slots=True)
class _Plan:
    """What becomes of the definitions: `types` are those whose entries change. `partly`: what is faulty ends,
    and the rest goes on."""

    active: dict[str, SearchParam]
    partly: bool
    put: dict[str, SearchParam] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    types: set[str] = field(default_factory=set)
    faults: dict[str, tuple[Issue, ...]] = field(default_factory=dict)

    def take(self, id_: str, resource: Resource | None) -> None:
        """A resource as it is now; None when it was deleted."""
        before = self.active.pop(id_, None)
        after: SearchParam | None = None
        if resource is not None and definition.is_active(resource):
            others = [param for param in self.active.values() if r4().by_url(param.url) is None]
            try:
                after = definition.read(resource, r4().with_params(others))
            except Unprocessable as error:
                self.faults[id_] = error.issues
                if not self.partly:
                    return
                after = None
            else:
                self.active[id_] = after
        if after == before:
            return
        for param in (before, after):
            self.types |= rebuilds.types_of(param) if param is not None else set()
        if after is not None:
            self.put[id_] = after
        else:
            self.dropped.append(id_)


async def _change(
    connection: Connection,
    services: Services,
    written: dict[str, Resource | None] | dict[str, Resource],
    *,
    partly: bool = False,
) -> dict[str, tuple[Issue, ...]]:
    """Change the definitions by what was written in this transaction; the faults by id, if any.

    Called when the resources are written and their rows locked: all who do this take their locks in that
    order.
    """
    tenant = services.tenant
    await connection.execute(QUERIES["lock"], LOCK_CLASS, tenant)
    rows: Any = await connection.fetch(QUERIES["all"], tenant)
    plan = _Plan(
        {
            row["id"]: definition.restored(json.loads(row["definition"].encode()))
            for row in rows
            if row["state"] != "dropping"
        },
        partly,
    )
    # Composites last: they may be made of others that come with them.
    for id_, resource in sorted(written.items(), key=lambda item: bool(item[1] and item[1].get("component"))):
        plan.take(id_, resource)
    if (plan.put or plan.dropped) and (partly or not plan.faults):
        await rebuilds.change(connection, tenant, plan.put, plan.dropped, plan.types)
    return plan.faults


_CHANGES: Final = {
    definition.TYPE: _change,
    profiles.TYPE: shapes.change,
    unique.TYPE: naming.change,
}
