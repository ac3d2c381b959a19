"""The Task of a merge that is done in the background, as it is stored."""

from __future__ import annotations

from collections.abc import Callable

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.interactions.draft import draft_of_move
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.merges import Merge
from fhirserver.store.version import Version

Change = Callable[[Resource], Resource]


async def change_task(connection: Connection, services: Services, merge: Merge, change: Change) -> None:
    """Write the next version of the Task of a merge; none where there is none, or somebody has deleted it."""
    if merge.task is None:
        return
    version = None
    while version is None:
        current = await _task(connection, services, merge.task)
        if current is None:
            return
        made = draft_of_move(services, change(current.resource()), current)
        version = await store.replace(connection, services.tenant, made)


async def _task(connection: Connection, services: Services, id_: str) -> Version | None:
    found = await read.latest(connection, services.tenant, "Task", id_, TRUE)
    return None if found is None or found.deleted else found
