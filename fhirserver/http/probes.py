"""What operators and orchestrators ask: is it alive, is it ready, what does it measure.

`/livez` answers as long as the process does, so that a database outage restarts nothing; `/readyz` says
whether requests would succeed now, and takes the process out of a load balancer when not.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fhirserver.db import migrate
from fhirserver.db.pool import UNREACHABLE, Connection, Pool
from fhirserver.errors import Unavailable
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Services
from fhirserver.observe import metrics
from fhirserver.settings import version

CHECK_TIMEOUT_S: Final = 3.0
_NO_STORE: Final = {"Cache-Control": "no-store"}

Check = dict[str, Any]
"""The state of one component: `ok`, and figures or the reason in a few words that tell nothing secret."""


def routes(services: Services) -> list[Route]:
    """The routes of this module; `services` are those of the running application."""
    known = migrate.revisions()
    metrics.build_info(version())

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(request: Request) -> Response:
        checks = await readiness(services, known)
        ready = all(check["ok"] for check in checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503, _NO_STORE)

    async def prometheus(request: Request) -> Response:
        publish_pool(services.pool.pool)
        text, media_type = metrics.render()
        return Response(text, headers=_NO_STORE | {"Content-Type": media_type})

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", prometheus, methods=["GET"]),
    ]


async def readiness(services: Services, known: tuple[str, ...]) -> dict[str, Check]:
    """Each component's state. `known` are the revisions of this release, oldest first."""
    database, migrations = await _database(services.pool.pool, known)
    return {
        "database": database,
        "migrations": migrations,
        "pool": pool(services.pool.pool),
        "definitions": definitions(services),
    }


async def _database(pool: Pool, known: tuple[str, ...]) -> tuple[Check, Check]:
    begun = perf_counter()
    unknown = {"ok": False, "reason": "not known without the database"}
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S), pool.acquire() as connection:
            at = await _revision(connection)
    except Unavailable as error:
        return {"ok": False, "reason": str(error)}, unknown
    except TimeoutError:
        return {"ok": False, "reason": f"no answer within {CHECK_TIMEOUT_S:g} s"}, unknown
    except (asyncpg.PostgresError, *UNREACHABLE):
        return {"ok": False, "reason": "the database cannot be used"}, unknown
    latency_ms = round((perf_counter() - begun) * 1000, 2)
    return {"ok": True, "latency_ms": latency_ms}, migrations(at, known)


async def _revision(connection: Connection) -> str | None:
    """The revision of the schema; None where it cannot be read.

    Only the role that migrates may read it, which is the one that logged in.
    """
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE NONE")
            return await connection.fetchval(f"SELECT version_num FROM {migrate.VERSION_TABLE}")  # noqa: S608 (a constant)
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return None


def migrations(at: str | None, known: tuple[str, ...]) -> Check:
    """Whether the schema is this release's."""
    if at == known[-1]:
        return {"ok": True, "revision": at}
    reason = "run: fhirserver migrate" if at is None or at in known else "a newer release has migrated it"
    return {"ok": False, "revision": at, "needed": known[-1], "reason": reason}


def pool(pool: Pool) -> Check:
    """Whether a request would get a connection without waiting behind more than the pool can serve."""
    state = {"size": pool.size, "idle": pool.idle, "max": pool.size_max, "waiting": pool.waiting}
    if pool.waiting > pool.size_max:
        return {"ok": False, "reason": "more requests wait for a connection than there are", **state}
    return {"ok": True, **state}


def definitions(services: Services) -> Check:
    """Whether the tables made from R4's definitions were read."""
    pairs = services.registry.pairs()
    return {"ok": bool(ENDPOINT_TYPES and pairs), "types": len(ENDPOINT_TYPES), "search_parameters": pairs}


def publish_pool(pool: Pool) -> None:
    """Set the gauges of this process's connections, just before they are read."""
    metrics.pool_state(size=pool.size, idle=pool.idle, size_max=pool.size_max, waiting=pool.waiting)
