"""Tenants by path: `/t/<name>/fhir` is to a tenant what `/fhir` is to the first.

A path, and not only a token, says whose server it is: discovery and sign-in come before any token, and page
links and references are addresses below a base.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.db.pool import Pool
from fhirserver.errors import NotFound
from fhirserver.http.base import TENANTS, tenant_of
from fhirserver.store.tenants import number_of

Open = Callable[[int, str], Awaitable[ASGIApp]]
"""From a tenant's number and name to what is served for it."""


class Tenants:
    """Serves every tenant that the database knows but the one that has its place elsewhere.

    A name that is not known is asked for each time, so that a new tenant is there at once in every worker.
    """

    def __init__(self, pool: Pool, elsewhere: int, open_: Open) -> None:
        self._pool = pool
        self._elsewhere = elsewhere
        self._open = open_
        self._apps: dict[str, ASGIApp] = {}
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, path = tenant_of(scope["path"])
        app = self._apps.get(name) or await self._found(name)
        prefix = f"{TENANTS}/{name}"
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if app is None or not raw.startswith(prefix.encode()):
            raise NotFound("no such path")
        inner = {
            **scope,
            "path": path,
            "raw_path": raw[len(prefix) :],
            "root_path": scope.get("root_path", "") + prefix,
        }
        await app(inner, receive, send)

    async def _found(self, name: str) -> ASGIApp | None:
        if not name:
            return None
        async with self._pool.acquire() as connection:
            number = await number_of(connection, name)
        if number is None or number == self._elsewhere:
            return None
        async with self._opening:
            if name not in self._apps:
                self._apps[name] = await self._open(number, name)
        return self._apps[name]


def within(scope: Scope, path: str) -> bool:
    """Whether the request is to the path or below it."""
    asked: str = scope["path"]
    return asked.startswith(path) and asked[len(path) : len(path) + 1] in ("", "/")
