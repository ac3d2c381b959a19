"""The audit trail of one tenant: what is to be recorded is on disk before anybody is shown anything.

Reads that come together share a statement and its commit: one is under way at a time, and whoever comes
meanwhile goes with the next (see `coalesce.Gatherer`). What is written records itself in its own transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from fhirserver.db.pool import Connection, Pool, TenantPool, unavailable
from fhirserver.db.retry import ATTEMPTS_MAX, RETRIED, Outdated, retrying
from fhirserver.errors import FhirError
from fhirserver.observe import log
from fhirserver.policy.audit import Site
from fhirserver.settings import Settings
from fhirserver.store import along
from fhirserver.store.coalesce import Gatherer
from fhirserver.store.definitions import Definitions
from fhirserver.store.version import Draft

EVENTS_MAX = 100
"""Requests whose events one statement writes at most."""

Make = Callable[[], Sequence[Draft]]
"""Makes the drafts by the definitions that are in force at that moment."""

_logger: Any = log.get("audit")


async def prepare_months(pool: Pool) -> None:
    """Make sure that events of this month and the next two have a place."""
    async with pool.acquire() as connection:
        await connection.execute("SELECT audit_months()")


def trail_of(pool: TenantPool, settings: Settings, definitions: Definitions) -> Trail | None:
    """The trail that the settings want; None where nothing is recorded."""
    if not settings.audited:
        return None
    return Trail(
        pool,
        settings.tenant,
        definitions,
        Site(settings.fhir_base, settings.auth_url("client")),
        asynchronous=settings.audit_asynchronous,
        required=settings.audit_required,
    )


class Trail:
    """`asynchronous`: a commit does not wait for the disk. `required`: nobody is shown what could not be
    recorded; without it the log says that it was not. `site` is how the server names itself, `templates` are
    kept by who makes drafts."""

    def __init__(
        self,
        pool: TenantPool,
        tenant: int,
        definitions: Definitions,
        site: Site,
        *,
        asynchronous: bool,
        required: bool,
    ) -> None:
        self._pool = pool
        self._tenant = tenant
        self._definitions = definitions
        self.templates: dict[Any, Any] = {}
        self.site = site
        self._asynchronous = asynchronous
        self._required = required
        self._gatherer: Gatherer[Sequence[Draft], Exception | None] = Gatherer(
            self._serve, EVENTS_MAX, pool.timeout_s, under_way=1
        )

    async def record(self, make: Make) -> None:
        """Write the events of a request that changed nothing. Raises Unavailable where that cannot be."""

        async def once() -> None:
            error = await self._gatherer.ask(make())
            if error is not None:
                raise error

        try:
            await retrying(once, self._renew)
        except FhirError as error:
            if self._required:
                raise
            _logger.error("shown_unrecorded", reason=str(error))

    async def put(self, connection: Connection, make: Make) -> None:
        """The same on a connection, in its transaction if it is in one, whose commit waits for the disk."""
        asynchronous = self._asynchronous and not connection.is_in_transaction()
        for _ in range(ATTEMPTS_MAX):
            try:
                await along.put(connection, self._tenant, make(), asynchronous=asynchronous)
            except Outdated as error:  # nothing was written, and nothing else has failed
                await self._renew(error)
            else:
                return
        raise unavailable("the search parameters change too often at the moment; try again")

    async def _renew(self, error: BaseException) -> None:
        if isinstance(error, Outdated):
            await self._definitions.refresh(None)

    async def _serve(self, asked: Sequence[Sequence[Draft]]) -> Sequence[Exception | None]:
        """One statement for all that were made by the same definitions."""
        by_version: dict[int, list[Draft]] = defaultdict(list)
        for drafts in asked:
            by_version[drafts[0].known].extend(drafts)
        failed: dict[int, Exception] = {}
        async with self._pool.acquire() as connection:
            for known, drafts in by_version.items():
                try:
                    await along.put(connection, self._tenant, drafts, asynchronous=self._asynchronous)
                except RETRIED as error:
                    failed[known] = error
        return [failed.get(drafts[0].known) for drafts in asked]
