"""A server on which people sign in, for each test module, and accounts as the command line makes them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from fhirserver.app import build_app, open_services
from fhirserver.interactions.call import Services
from fhirserver.people import first, passwords
from tests.people.browser import Browser
from tests.support.server import lifespan, settings_for

PASSWORD = "lampshade wobbles north"
_hashes: dict[str, str] = {}


@dataclass
class House:
    """A running application, what it stands on, and browsers to look at it."""

    app: Any
    services: Services
    dsn: str

    def browser(self, **more: Any) -> Browser:
        return Browser(self.app, **more)

    async def account(self, login: str, password: str | None = PASSWORD, **more: Any) -> str:
        """An account; the id of its Person."""
        if password and password not in _hashes:
            _hashes[password] = await passwords.hashed(password)
        stored = _hashes[password] if password else None
        async with self.services.pool.acquire() as connection:
            return await first.add(connection, self.services, login, f"{login} Example", stored, **more)

    async def signed_in(self, login: str, password: str = PASSWORD) -> Browser:
        browser = self.browser()
        page = await browser.sign_in(login, password)
        assert page.status == 303, page.text
        return browser

    async def value(self, query: str, *arguments: Any) -> Any:
        async with self.services.pool.acquire() as connection:
            return await connection.fetchval(query, *arguments)


@asynccontextmanager
async def opened(dsn: str, **more: Any) -> AsyncIterator[House]:
    settings = settings_for(dsn, **{"auth": "smart"} | more)
    app = build_app(settings)
    async with lifespan(app):
        services = await open_services(settings)
        try:
            yield House(app, services, dsn)
        finally:
            await services.pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(database: str) -> AsyncIterator[House]:
    """Modules that use it set `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    async with opened(database) as made:
        yield made
