"""The terminology that validation goes by: that of the server, whoever writes; kept between requests.

What a caller may see decides what their searches and operations find. Whether a resource is valid must not
hang on who sends it, so a `View` knows all definitions of the tenant. It is made anew when any of them
changed, which is looked for every `LOOK_S`, and at once by those who ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql, table
from fhirserver.interactions.stored import Stored
from fhirserver.policy.restriction import EVERYTHING
from fhirserver.search.context import Context
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.view import View

LOOK_S: Final = 1.0
"""How long a process goes by what it knows before it looks whether definitions changed."""


@dataclass(slots=True, eq=False)
class Views:
    """The view of one tenant in one process, and the state of the database that it stands for."""

    _view: View = field(default_factory=View)
    _state: tuple[int, int] | None = None
    _looked: datetime | None = None

    @property
    def view(self) -> View:
        """The view as it was last looked for."""
        return self._view

    async def current(
        self, connection: Connection, tenant: int, now: datetime, *, exactly: bool = False
    ) -> View:
        """The view, a new one if any definition was written since it was made; `exactly` looks now."""
        if exactly or self._looked is None or now - self._looked > timedelta(seconds=LOOK_S):
            _, state = await state_of(connection, tenant)
            self._looked = now
            return self.of(state)
        return self._view

    def of(self, state: tuple[int, int]) -> View:
        """The view of a state, a new one if that is another than before."""
        if state != self._state:
            self._view, self._state = View(), state
        return self._view


def library(connection: Connection, context: Context, cache: Cache) -> WithBuiltIn:
    """What a view learns from: all that is stored, whatever the caller of the context may see."""
    everything = Context(context.registry, context.keys, context.now, EVERYTHING, None, context.reading)
    return WithBuiltIn(Stored(connection, everything, cache))


async def state_of(connection: Connection, tenant: int) -> tuple[int, tuple[int, int]]:
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
