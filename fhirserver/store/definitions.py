"""Which search parameters and profiles there are right now: those of R4, and those defined at run time.

Each process keeps what it has loaded and the version that it had then. Every write compares the version in
the statement that it makes anyway (`queries.sql`), and is made again if it was another: so nothing is
ever indexed by definitions that are no longer in force once their change is committed and the writers of
before are gone. Reading goes by what is loaded; `is_current` tells afterwards whether that was right.

A parameter is written from the moment that it is defined, and searched once the entries of everything
that was stored before are there too (`jobs/rebuild`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from fhirserver.db.pool import UNREACHABLE, Connection, Pool, TenantPool, unavailable
from fhirserver.db.queries import Queries
from fhirserver.errors import FhirError
from fhirserver.fhir import json
from fhirserver.fhir.fhirpath import FHIRPathError, compile_expression
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.profile.library import R4, Library
from fhirserver.identity.moving import Moves
from fhirserver.identity.unique import Systems
from fhirserver.observe import log
from fhirserver.params.definition import restored
from fhirserver.params.index import FORMAT, Index
from fhirserver.params.registry import Registry, SearchParam, concrete_types
from fhirserver.store import claims, merges, packages
from fhirserver.store.packages import Announced
from fhirserver.store.shapes import Shapes

QUERIES = Queries(Path(__file__).with_name("definitions.sql"))
LOCK_CLASS: Final = 0x46484450
"""Advisory locks of those who change definitions, one for each tenant."""
LOOK_S: Final = 1.0
"""How often a process looks for a new version. It matters for what nobody asks the database for: the
CapabilityStatement."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_logger: Any = log.get("definitions")


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The definitions of one version. `index` writes for all of them, `registry` has those that can be
    searched, `codes` are those that are not R4's. `library` has the profiles, `systems` are those of
    identifiers that are unique or checked, `announced` is what is said of installed packages, `moves` are the
    resources that were merged into others."""

    version: int
    registry: Registry
    index: Index
    codes: frozenset[str] = frozenset()
    library: Library = R4
    systems: Systems = field(default_factory=Systems)
    announced: Announced = field(default_factory=Announced)
    moves: Moves = field(default_factory=Moves)

    def concern(self, params: Iterable[tuple[str, str]]) -> bool:
        """Whether a search by these names and values may use more than R4's own parameters.

        By the words in them, wherever they stand: chains, includes, sorts and filters name parameters too.
        """
        return bool(self.codes) and any(
            "*" in text or not self.codes.isdisjoint(_WORD.findall(text)) for pair in params for text in pair
        )


class Definitions:
    """What is known, for all of a process; `open` makes one."""

    def __init__(
        self, pool: Pool | TenantPool, keys: Keys, base: Registry, index: Callable[[Registry], Index]
    ) -> None:
        self.keys = keys
        self._pool = pool
        self._tenant = keys.tenant
        self._base = base
        self._make_index = index
        self._active: tuple[SearchParam, ...] = ()
        self._shapes = Shapes(keys.tenant)
        self._loading = asyncio.Lock()
        self.known = Known(0, base, index(base))
        self.rebuilding = asyncio.Event()
        """Set while something is to be rebuilt."""
        self.merging = asyncio.Event()
        """Set while a merge is under way."""
        self._looked_for = asyncio.Event()

    @classmethod
    async def open(
        cls, pool: Pool | TenantPool, keys: Keys, base: Registry, index: Callable[[Registry], Index]
    ) -> Definitions:
        """The definitions as they are now, beside those of `base`; `index` makes the function that writes for
        a registry."""
        made = cls(pool, keys, base, index)
        await made.refresh()
        return made

    async def refresh(self, connection: Connection | None = None) -> bool:
        """Load what is in force; whether it is another version than before.

        Raises Unavailable when another release has begun to rebuild the index in a format of its own.
        """
        before = self.known
        async with self._loading:
            if self.known is not before:  # somebody else loaded meanwhile, after this was asked for
                return True
            if connection is not None:
                return await self._load(connection)
            async with self._pool.acquire() as own:
                return await self._load(own)

    async def is_current(self, connection: Connection, known: Known) -> bool:
        """Whether `known` is in force still; if not, what is has been loaded."""
        version: Any = await connection.fetchrow(QUERIES["version"], self._tenant)
        if version is not None and version["version"] == known.version:
            return True
        await self.refresh(connection)
        return False

    def look(self) -> None:
        """Let `watch` look at once."""
        self._looked_for.set()

    async def watch(self) -> None:
        """Look for new versions for ever; a database that is away is asked again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._looked_for.wait()
            self._looked_for.clear()
            try:
                async with self._pool.acquire() as connection:
                    row = await connection.fetchrow(QUERIES["version"], self._tenant)
                    if row is not None:
                        self._signal(row)
                    if row is not None and row["version"] != self.known.version:
                        await self.refresh(connection)
            except (FhirError, asyncpg.PostgresError, *UNREACHABLE) as error:
                _logger.debug("not_looked", error=type(error).__name__)

    async def _load(self, connection: Connection) -> bool:
        rows = await connection.fetch(QUERIES["load"], self._tenant)
        announced, systems, moves = self.known.announced, self.known.systems, self.known.moves
        if rows and rows[0]["version"] != self.known.version:
            # Both may be newer than the rows before; then the next version, which is about to come, says so
            # again.
            await self._shapes.load(connection)
            announced = await packages.announced(connection, self._tenant)
            systems = await claims.systems(connection, self._tenant)
            moves = await merges.moves_since(connection, self._tenant, moves, self.known.version)
        return self._take(rows, announced, systems, moves)

    def _signal(self, row: Any) -> None:
        for event, wanted in ((self.rebuilding, row["rebuilding"]), (self.merging, row["merging"])):
            if wanted:
                event.set()
            else:
                event.clear()

    def _take(self, rows: Sequence[Any], announced: Announced, systems: Systems, moves: Moves) -> bool:
        """Make the rows of `load` what is known; False where that is the version there is."""
        if not rows:
            return False
        head = rows[0]
        self._signal(head)
        if head["writes"] != FORMAT:
            raise unavailable(
                f"another release rebuilds the index in format {head['writes']}; this one writes {FORMAT}"
            )
        if head["version"] == self.known.version:
            return False
        made = self._made(head["version"], [row for row in rows if row["id"] is not None])
        self.known = replace(made, announced=announced, systems=systems, moves=moves)
        _logger.info("definitions", version=self.known.version, own=len(self._active))
        return True

    def _made(self, version: int, rows: Sequence[Any]) -> Known:
        found = [(row["id"], row["state"], _param(row)) for row in rows]
        usable = [(id_, state, param) for id_, state, param in found if param is not None]
        active = tuple(param for _, _, param in usable)
        index = self.known.index
        if active != self._active:
            index = self._make_index(self._base.with_params(active) if active else self._base)
            self._active = active
        building = {
            (of, param.code): id_
            for id_, state, param in usable
            if state == "building"
            for of in sorted({*concrete_types(param), *param.base})
        }
        complete = [param for _, state, param in usable if state == "complete"]
        registry = self._base.with_params(complete, building) if usable else self._base
        codes = frozenset(param.code for param in active)
        return Known(version, registry, index, codes, self._shapes.library)


def _param(row: Any) -> SearchParam | None:
    """The parameter of a row; None for one that repeats R4's, and for one that this release cannot use."""
    param = restored(json.loads(row["definition"].encode()))
    try:
        for of in concrete_types(param):
            compile_expression(param.expression or "{}", of, indexed=True)
    except FHIRPathError as error:
        _logger.error("unusable", parameter=param.url, error=str(error))
        return None
    return param if param.base else None
