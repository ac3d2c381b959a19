"""The application: the only module that knows all parts.

A request below `/fhir` goes straight to the FHIR pipeline; health, metrics and the API explorer are
ordinary routes beside it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.db.pool import Pool, unavailable
from fhirserver.errors import FhirError, MethodNotAllowed, NotFound
from fhirserver.fhir.keys import Keys
from fhirserver.http import explorer, middleware, probes
from fhirserver.http.authenticate import Authenticate, by_token, everybody
from fhirserver.http.base import PATH
from fhirserver.http.pipeline import Pipeline, error_response
from fhirserver.http.remembered import Remembered
from fhirserver.http.tenants import TENANTS, Tenants, within
from fhirserver.interactions.audit import unfolding
from fhirserver.interactions.call import Services
from fhirserver.interactions.conformance import policy_of
from fhirserver.interactions.merging import background
from fhirserver.issuers.trust import Trust
from fhirserver.jobs import janitor, rebuild
from fhirserver.oauth import elsewhere
from fhirserver.oauth.context import Server
from fhirserver.oauth.foreign import Foreign
from fhirserver.oauth.origins import Origins
from fhirserver.oauth.routes import WELL_KNOWN
from fhirserver.oauth.routes import routes as authorization
from fhirserver.observe import log
from fhirserver.pages.refusal import shown_to_people
from fhirserver.params.registry import r4
from fhirserver.people import mail
from fhirserver.policy.consent.enforcement import enforcement_of
from fhirserver.policy.rates import UNLIMITED, Rates
from fhirserver.policy.roles import roles
from fhirserver.policy.token import Tokens
from fhirserver.settings import Settings
from fhirserver.signin import routes as signin
from fhirserver.store.coalesce import Creates, Reads
from fhirserver.store.definitions import Definitions
from fhirserver.store.index_state import MadeBy, WrongFormat, require_format
from fhirserver.store.tenants import number_of
from fhirserver.store.trail import prepare_months, trail_of


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
    rates = Rates.of(settings)
    app = Application(settings, rates)
    options = middleware.Options(
        body_bytes_max=settings.body_bytes_max,
        process_time=settings.process_time_header and not settings.sign_in,
        cors_origins=settings.cors_origins,
        rates=rates,
        trusted_proxies=settings.trusted_proxies,
        origin_allowed=app.origin_allowed if settings.sign_in else None,
    )
    refused = shown_to_people(settings, error_response) if settings.gives_tokens else error_response
    return middleware.wrap(app, options, refused)


class Application:
    """Opens the database when the server starts and closes it when it stops; dispatches by path."""

    def __init__(self, settings: Settings, rates: Rates) -> None:
        self._settings = settings
        self._rates = rates
        self._place: Place | None = None
        self._others: Tenants | None = None
        self._origins: middleware.OriginAllowed | None = None
        self._beside = _routes(lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._place is None or self._others is None:
            await self._beside(scope, receive, send)
        elif within(scope, TENANTS):
            await self._others(scope, receive, send)
        else:
            await self._place(scope, receive, send)

    async def origin_allowed(self, origin: str) -> bool:
        """Whether browser apps of this origin may call because a client of theirs is approved."""
        return self._origins is not None and await self._origins(origin)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        common = await connect(self._settings, self._rates)
        beside = Beside()
        try:
            services = await services_of(common, self._settings)
            await prepare_months(common.pool)
            beside.add(janitor.run(common.pool, self._settings.index_retention_s))
            beside.keep_up(common, services)
            app.router.routes.extend(probes.routes(services))
            app.router.routes.extend(explorer.routes(services))
            self._origins = Origins(common.pool)
            self._place = Place(services, app)
            self._others = Tenants(common.pool, self._settings.tenant, partial(_of_tenant, common, beside))
            yield
        finally:
            await beside.stop()
            await mail.sent()
            await common.pool.close()


class Beside:
    """What runs beside the requests until the server stops."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def keep_up(self, common: Common, services: Services) -> None:
        """With a tenant's definitions of search parameters, what has to be rebuilt, long merges, and what was
        recorded."""
        self.add(services.definitions.watch())
        self.add(rebuild.run(common.pool, services.definitions, services.tenant))
        self.add(background.run(services))
        self.add(unfolding.run(services))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _authentication(services: Services, server: Server, trust: Trust) -> Authenticate:
    """By tokens, or nobody's business where nobody has to sign in."""
    settings = services.settings
    if not settings.sign_in:
        return everybody
    own = Tokens.of(services.token_secret, roles(settings.roles)) if settings.gives_tokens else None
    foreign = Foreign(server, trust)
    return by_token(own, services.tenant, foreign.principal if foreign.is_used else None)


class Place:
    """What is served for one tenant: everything below its FHIR base, and the routes beside it."""

    def __init__(self, services: Services, beside: Starlette) -> None:
        settings, server, trust = services.settings, Server.of(services), Trust.of(services.settings)
        self._fhir = Remembered(Pipeline(services, _authentication(services, server, trust)), services)
        self._beside = beside
        beside.state.services, beside.state.trust = services, trust
        if settings.gives_tokens:
            beside.router.routes.extend(authorization(server))
            beside.router.routes.extend(signin.routes())
        elif settings.sign_in:
            beside.router.routes.extend(elsewhere.routes(trust))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        below = within(scope, PATH) and not scope["path"].startswith(WELL_KNOWN)
        await (self._fhir if below else self._beside)(scope, receive, send)


async def _of_tenant(common: Common, beside: Beside, number: int, name: str) -> ASGIApp:
    """What is served for another tenant, at the paths that `Tenants` leaves. Raises Unavailable."""
    try:
        services = await services_of(common, common.settings.of_tenant(number, name))
    except WrongFormat as fault:
        raise unavailable(str(fault)) from fault
    beside.keep_up(common, services)
    return Place(services, _routes())


def _routes(**options: Any) -> Starlette:
    """Routes that are added later, whose errors are outcomes."""
    routes = Starlette(exception_handlers={HTTPException: _routing_error}, **options)
    # A redirect would be made of the Host header, which anybody can write.
    routes.router.redirect_slashes = False
    return routes


@dataclass(frozen=True, slots=True)
class Common:
    """What all tenants share. `secrets` are those of the table `server`."""

    settings: Settings
    pool: Pool
    rates: Rates
    secrets: dict[str, bytes]


async def open_services(settings: Settings, tenant: str | None = None) -> Services:
    """The services of a tenant, or of that of the settings, for what is reached through no door.

    Raises WrongFormat, and ValueError for a tenant that there is not.
    """
    common = await connect(settings, UNLIMITED)
    try:
        if tenant is not None:
            async with common.pool.acquire() as connection:
                number = await number_of(connection, tenant)
            if number is None:
                raise ValueError(f"there is no tenant {tenant!r}; `fhirserver tenant list` shows all")
            settings = settings.of_tenant(number, tenant)
        return await services_of(common, settings)
    except BaseException:
        await common.pool.close()
        raise


async def connect(settings: Settings, rates: Rates) -> Common:
    """Connect, and read what the processes of this database share."""
    dsn = settings.database_url
    assert dsn is not None, "serve starts the embedded PostgreSQL and sets DATABASE_URL"
    first = Pool(dsn, size_max=1, timeout_s=10, statement_timeout_s=settings.statement_timeout_s)
    try:
        async with first.acquire() as connection:
            connections: Any = await connection.fetchval("SHOW max_connections")
            secrets = {
                row["name"]: row["value"] for row in await connection.fetch("SELECT name, value FROM server")
            }
    finally:
        await first.close()
    pool = Pool(
        dsn,
        size_max=settings.pool_limit(int(connections)),
        timeout_s=settings.pool_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )
    return Common(settings, pool, rates, secrets)


async def services_of(common: Common, settings: Settings) -> Services:
    """What the interactions of one tenant stand on. Raises WrongFormat for an index of another release."""
    keys, pool = Keys(common.secrets["key_secret"], settings.tenant), common.pool.of(settings.tenant)
    made, own_bases = MadeBy.of(settings), settings.fhir_bases
    async with pool.acquire() as connection:
        await require_format(connection, settings)
    definitions = await Definitions.open(pool, keys, made.registry, made.indexing(keys))
    return Services(
        settings=settings,
        pool=pool,
        reads=Reads(pool, settings.tenant),
        creates=Creates(pool, settings.tenant),
        definitions=definitions,
        keys=keys,
        link_secret=_own(common.secrets["link_secret"], settings.tenant),
        token_secret=common.secrets["token_secret"],
        own_bases=own_bases,
        own_bases_bytes=tuple(base.encode() for base in own_bases),
        rates=common.rates,
        validation=policy_of(settings.validation),
        consent=enforcement_of(settings.consent, settings.tenant),
        trail=trail_of(pool, settings, definitions),
    )


def _own(secret: bytes, tenant: int) -> bytes:
    """A secret of one tenant's, so that what it signs is worth nothing at another's."""
    return blake2b(str(tenant).encode(), key=secret, digest_size=32).digest()


async def _routing_error(request: Request, error: Exception) -> Any:
    """What Starlette's router refuses, as an OperationOutcome."""
    assert isinstance(error, HTTPException)
    known: FhirError = (
        MethodNotAllowed("this path does not offer the method", headers=dict(error.headers or {}))
        if error.status_code == 405
        else NotFound(f"no such path; the FHIR base is {PATH}")
    )
    return error_response(known, request.scope)
