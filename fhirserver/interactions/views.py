"""The terminology that validation goes by: that of the server, whoever writes; kept between requests.

What a caller may see decides what their searches and operations find. Whether a resource is valid must not
hang on who sends it, so a `View` knows all definitions of the tenant. It is made anew when any of them
changed, which is looked for every `LOOK_S`, and at once by those who ask for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.interactions.stored import Stored
from fhirserver.policy.restriction import EVERYTHING
from fhirserver.search.context import Context
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.view import View

Standing: TypeAlias = tuple[int, tuple[int, int]]
LOOK_S: Final = 1.0
"""How long a process goes by what it knows before it looks whether definitions changed."""


@dataclass(slots=True, eq=False)
class Views:
    """The view of one tenant in one process, and the state of the database that it stands for."""

    _view: View = field(default_factory=View)
    _state: tuple[int, int] | None = None
    _looked: datetime | None = None
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _next: asyncio.Future[Standing | None] | None = None

    @property
    def view(self) -> View:
        """The view as it was last looked for."""
        return self._view

    async def current(
        self, connection: Connection, tenant: int, now: datetime, *, exactly: bool = False
    ) -> View:
        """The view, a new one if any definition was written since it was made; `exactly` looks now."""
        if exactly or self._looked is None or now - self._looked > timedelta(seconds=LOOK_S):
            _, state = await self.standing(connection, tenant)
            self._looked = now
            return self.of(state)
        return self._view

    async def standing(self, connection: Connection, tenant: int) -> Standing:
        """`state_of` now. Those who ask while a look is under way share the one after it, which the first of
        them does on their own connection: it needs no other, of which there might be none left."""
        if self._next is not None:
            shared = await asyncio.shield(self._next)
            return await state_of(connection, tenant) if shared is None else shared
        mine = self._next = asyncio.get_running_loop().create_future()
        found: Standing | None = None
        try:
            async with self._looking:
                self._next = None  # who comes from here on might have written since
                found = await state_of(connection, tenant)
                return found
        finally:
            if self._next is mine:
                self._next = None
            mine.set_result(found)

    def of(self, state: tuple[int, int]) -> View:
        """The view of a state, a new one if that is another than before."""
        if state != self._state:
            self._view, self._state = View(), state
        return self._view


def library(connection: Connection, context: Context, cache: Cache) -> WithBuiltIn:
    """What a view learns from: all that is stored, whatever the caller of the context may see."""
    everything = Context(context.registry, context.keys, context.now, EVERYTHING, None, context.reading)
    return WithBuiltIn(Stored(connection, everything, cache))


async def state_of(connection: Connection, tenant: int) -> Standing:
    """The version of the definitions (`store.definitions`), and how many versions there are of both types of
    terminology: each write, also a deletion, adds one. The highest number of a row would not do, as rows are
    not committed in their order."""
    of_value_sets, of_systems = (
        sql("(SELECT count(*) FROM {} r WHERE r.tenant = {})", table(type_), tenant)
        for type_ in ("ValueSet", "CodeSystem")
    )
    version = sql("(SELECT s.version FROM index_state s WHERE s.tenant = {})", tenant)
    text, args = sql("SELECT {}, {}, {}", version, of_value_sets, of_systems).numbered()
    row: Any = await connection.fetchrow(text, *args)
    return row[0] or 0, (row[1], row[2])
