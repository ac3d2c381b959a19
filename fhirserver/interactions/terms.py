"""Validation and terminology: verdicts as validation asks for them, and the reading of what they lack.

https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from fhirserver.db.pool import Connection
from fhirserver.db.retry import Again
from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import MEMBER, NOT_MEMBER, Verdict
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.conformance import require
from fhirserver.interactions.searching import context_of
from fhirserver.interactions.views import library
from fhirserver.terminology import verdict as terminology
from fhirserver.terminology.view import LACKING, View

T = TypeVar("T")

ROUNDS_MAX: Final = 8
"""How often what was lacking is read before the judgement stands as it is."""
_EVERYTHING: Final = "?fhir_vs"
"""Behind the URL of a code system: the value set of all its codes."""
WRITES: Final = frozenset({"bundle", "create", "update", "update_conditional", "patch", "patch_conditional"})
PAUSE_S: Final = 0.02
DEFINITIONS_MAX: Final = 200
"""Code systems and value sets that are read between two rounds."""
LEARNING_S: Final = 2.0
"""How long reading goes on; what has not been read then is unknown in this judgement."""


class Lacking(Again):
    """A resource was judged by definitions that have not been read yet; it is to be judged again."""


@dataclass(slots=True)
class ViewTerms:
    """What a view knows, in the words of validation, for one judgement; `lacked`: it could know more."""

    view: View
    lacked: bool = False

    def validate(
        self, value_set: str | None, system: str | None, code: str, display: str | None = None
    ) -> Verdict:
        if value_set is None:
            found = self.view.validate(f"{system}{_EVERYTHING}", system, code, display, abstract=True)
        else:
            found = self.view.validate(value_set, system, code, display)
        match found.membership:
            case terminology.Membership.MEMBER:
                return Verdict("member", found.display) if found.display_right is False else MEMBER
            case terminology.Membership.NOT_MEMBER:
                return NOT_MEMBER
            case _:
                self.lacked = self.lacked or found.reason is LACKING
                what = f"code system '{system}'" if value_set is None else f"value set '{value_set}'"
                return Verdict("unknown", reason=f"the {what} is not held here or cannot be worked out")


async def judged(connection: Connection, call: Call, judge: Callable[[ViewTerms], Awaitable[T]]) -> T:
    """What `judge` finds by the definitions as they are now, once all that it asks for has been read."""
    services = call.services
    view = await current_view(connection, call)
    known = library(connection, context_of(call), services.terminology)
    until = time.monotonic() + LEARNING_S
    for _ in range(ROUNDS_MAX):
        terms = ViewTerms(view)
        found = await judge(terms)
        if not terms.lacked or time.monotonic() > until:
            return found
        if not await view.learn(known, DEFINITIONS_MAX):
            await asyncio.sleep(PAUSE_S)  # another request reads it
    return await judge(ViewTerms(view))


async def current_view(connection: Connection, call: Call) -> View:
    """The terminology as it is now; the profiles of `services.definitions.known` are, too, after it."""
    services = call.services
    version, state = await services.views.standing(connection, services.tenant)
    if version != services.definitions.known.version:
        await services.definitions.refresh(connection)
    return services.views.of(state)


def conform(services: Services, resource: Resource, profiles: Library) -> tuple[Issue, ...]:
    """The warnings about a resource that may be stored. Raises Unprocessable for one that may not, Lacking
    for one that is to be judged again."""
    if services.validation is None:
        return ()
    terms = ViewTerms(services.views.view)
    try:
        found = require(services.validation, resource, profiles, terms)
    except Unprocessable:
        if not terms.lacked:
            raise
    else:
        if not terms.lacked:
            return found
    raise Lacking


async def learned(connection: Connection, call: Call) -> None:
    """Read what the judgement of a write lacked."""
    services = call.services
    view = await services.views.current(connection, services.tenant, call.now)
    if not await view.learn(library(connection, context_of(call), services.terminology)):
        await asyncio.sleep(PAUSE_S)


async def refreshed(connection: Connection, call: Call) -> None:
    """Where writes are judged, look now and then whether value sets or code systems have changed."""
    if call.services.validation is not None and call.interaction in WRITES:
        await call.services.views.current(connection, call.services.tenant, call.now)
