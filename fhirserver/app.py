"""The application: the only module that knows all parts.

A request below `/fhir` goes straight to the FHIR pipeline; health, metrics and the API explorer are
ordinary routes beside it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.db.pool import Pool
from fhirserver.errors import FhirError, MethodNotAllowed, NotFound
from fhirserver.fhir.keys import Keys
from fhirserver.http import explorer, middleware, probes
from fhirserver.http.authenticate import Authenticate, by_token, everybody
from fhirserver.http.base import PATH
from fhirserver.http.pipeline import Pipeline, error_response
from fhirserver.http.remembered import Remembered
from fhirserver.interactions.call import Services
from fhirserver.jobs import janitor, rebuild
from fhirserver.observe import log
from fhirserver.params.registry import r4
from fhirserver.policy.roles import roles
from fhirserver.policy.token import Tokens
from fhirserver.settings import Settings
from fhirserver.store.coalesce import Creates, Reads
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy, require_format


def create_app() -> ASGIApp:
    """For uvicorn's factory: the settings come from the environment."""
    app = build_app(Settings.load())
    r4()
    # What start-up made lives as long as the process; and large Bundles make many objects at once, which
    # the default thresholds would look through again and again: a tenth of an import's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return app


def build_app(settings: Settings) -> ASGIApp:
    """The ASGI application; `settings.database_url` must name a migrated database."""
    log.configure(settings.log_level, settings.log_format)
    options = middleware.Options(
        body_bytes_max=settings.body_bytes_max,
        process_time=settings.process_time_header and not settings.sign_in,
        cors_origins=settings.cors_origins,
    )
    return middleware.wrap(Application(settings), options, error_response)


class Application:
    """Opens the database when the server starts and closes it when it stops; dispatches by path."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pipeline: ASGIApp | None = None
        self._beside = Starlette(lifespan=self._lifespan, exception_handlers={HTTPException: _routing_error})

        # A redirect would be made of the Host header, which anybody can write.
        self._beside.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._pipeline is not None:
            path: str = scope["path"]
            if path.startswith(PATH) and path[len(PATH) : len(PATH) + 1] in ("", "/"):
                await self._pipeline(scope, receive, send)
                return
        await self._beside(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        services = await open_services(self._settings)
        beside = [
            asyncio.create_task(janitor.run(services.pool, self._settings.index_retention_s)),
            asyncio.create_task(services.definitions.watch()),
            asyncio.create_task(rebuild.run(services.pool, services.definitions, self._settings.tenant)),
        ]
        app.router.routes.extend(probes.routes(services))
        app.router.routes.extend(explorer.routes(services))
        self._pipeline = Remembered(Pipeline(services, _authentication(services)), services)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await services.pool.close()


def _authentication(services: Services) -> Authenticate:
    """By tokens, or nobody's business where nobody has to sign in."""
    settings = services.settings
    if not settings.sign_in:
        return everybody
    return by_token(Tokens.of(services.token_secret, roles(settings.roles)))


async def open_services(settings: Settings) -> Services:
    """Connect, read what the processes of this database share, and make what interactions stand on."""
    dsn = settings.database_url
    assert dsn is not None, "serve starts the embedded PostgreSQL and sets DATABASE_URL"
    first = Pool(dsn, size_max=1, timeout_s=10, statement_timeout_s=settings.statement_timeout_s)
    try:
        async with first.acquire() as connection:
            connections: Any = await connection.fetchval("SHOW max_connections")
            secrets = {
                row["name"]: row["value"] for row in await connection.fetch("SELECT name, value FROM server")
            }
            await require_format(connection, settings)
    finally:
        await first.close()
    keys = Keys(secrets["key_secret"], settings.tenant)
    made, own_bases = MadeBy.of(settings), settings.fhir_bases
    pool = Pool(
        dsn,
        size_max=settings.pool_limit(int(connections)),
        timeout_s=settings.pool_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )
    return Services(
        settings=settings,
        pool=pool,
        reads=Reads(pool, settings.tenant),
        creates=Creates(pool, settings.tenant),
        definitions=await Definitions.open(pool, keys, made.registry, made.indexing(keys)),
        keys=keys,
        link_secret=secrets["link_secret"],
        token_secret=secrets["token_secret"],
        own_bases=own_bases,
        own_bases_bytes=tuple(base.encode() for base in own_bases),
    )


async def _routing_error(request: Request, error: Exception) -> Any:
    """What Starlette's router refuses, as an OperationOutcome."""
    assert isinstance(error, HTTPException)
    known: FhirError = (
        MethodNotAllowed("this path does not offer the method", headers=dict(error.headers or {}))
        if error.status_code == 405
        else NotFound(f"no such path; the FHIR base is {PATH}")
    )
    return error_response(known, request.scope)
