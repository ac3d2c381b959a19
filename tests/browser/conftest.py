"""A server on which people sign in, a SMART app on another origin, and a browser between them."""

import asyncio
import contextlib
import shutil
import tarfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from playwright.sync_api import Browser

from fhirserver.app import open_services
from fhirserver.people import first, passwords
from fhirserver.settings import Settings
from tests.browser.clinic import CLINIC, PASSWORD, PEOPLE
from tests.support import chromium, node
from tests.support.callers import granted
from tests.support.server import Process, process

HERE = Path(__file__).parent
T = TypeVar("T")


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also while Playwright has a loop of its own in this thread."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


@dataclass(frozen=True)
class Site:
    """A running server: its FHIR base, its database, and the token of one who may do everything."""

    base: str
    dsn: str
    headers: dict[str, str]
    server: Process

    @property
    def origin(self) -> str:
        return self.base.removesuffix("/fhir")

    def page(self, name: str) -> str:
        return f"{self.origin}/auth/{name}"

    def register(self, name: str, redirect: str, **more: Any) -> str:
        """An approved public app; its client_id."""
        given = {"client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none"}
        answer = httpx.post(self.page("register"), json=given | more)
        assert answer.status_code == 201, answer.text
        return answer.json()["client_id"]


@pytest.fixture(scope="module")
def site(database: str) -> Iterator[Site]:
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_AUTH": "smart",
        "FHIRSERVER_REGISTRATION": "open",
        "FHIRSERVER_SITE_NAME": "Riverside Clinic",
    }
    with process(environment=environment) as server:
        powers = wait(
            granted(database, "user/*.cruds", user=("Practitioner", "root"), roles=("administrator",))
        )
        for resource in CLINIC:
            place = f"{server.url}/{resource['resourceType']}/{resource['id']}"
            answer = httpx.put(place, json=resource, headers=powers.headers)
            assert answer.status_code in (200, 201), answer.text
        wait(_people(database))
        yield Site(server.url, database, powers.headers, server)


async def _people(dsn: str) -> None:
    services = await open_services(Settings.load(database_url=dsn, auth="smart", log_level="error"))
    stored = await passwords.hashed(PASSWORD)
    try:
        async with services.pool.acquire() as connection:
            for login, name, link in PEOPLE:
                await first.add(connection, services, login, name, stored, links=(link,))
    finally:
        await services.pool.close()


# -- the app


@pytest.fixture(scope="session")
def app_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app beside the library that it is built on, of the package whose hash is locked."""
    folder = tmp_path_factory.mktemp("app")
    with tarfile.open(node.packed(HERE / "fhirclient.json", folder)) as archive:
        library = archive.extractfile("package/build/fhir-client.js")
        assert library is not None
        (folder / "fhir-client.js").write_bytes(library.read())
    for file in (HERE / "app").iterdir():
        shutil.copy(file, folder)
    return folder


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def app_url(app_files: Path) -> Iterator[str]:
    """Where the app is, on an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(app_files))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join(10)


# -- the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as found:
        yield found


Open = Callable[..., chromium.Watched]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens a page in a browser of its own; at the end none of them may have complained, such as of its
    Content-Security-Policy."""
    with contextlib.ExitStack() as contexts:
        watched: list[chromium.Watched] = []

        def new(**options: Any) -> chromium.Watched:
            context = browser.new_context(**options)
            contexts.callback(context.close)
            context.set_default_timeout(chromium.WAIT_MS)
            watched.append(chromium.Watched(context.new_page()))
            return watched[-1]

        yield new
        assert [one.complaints for one in watched] == [[]] * len(watched)
