"""The application as tests meet it: in this process over ASGI, or as `fhirserver serve` in its own."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import psutil
from starlette.types import ASGIApp

from fhirserver.app import Application, build_app
from fhirserver.interactions.call import Services
from fhirserver.settings import Settings

BASE = "http://test/fhir"


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start an ASGI application and stop it, as a server does."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))

    async def step(kind: str) -> None:
        await to_app.put({"type": f"lifespan.{kind}"})
        answer = asyncio.create_task(from_app.get())
        await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
        message = answer.result() if answer.done() else {"type": "died", "message": repr(task.exception())}
        assert message["type"] == f"lifespan.{kind}.complete", message

    await step("startup")
    try:
        yield
    finally:
        await step("shutdown")
        await task


def services_of(app: ASGIApp) -> Services:
    """What the interactions of a running application stand on."""
    inner: Any = app
    while not isinstance(inner, Application):
        inner = inner.app
    return inner._beside.state.services


def settings_for(dsn: str, **settings: Any) -> Settings:
    """The settings that tests share, and those of one test.

    How often somebody may ask is counted by the clock, and tests ask as often as their machine can: none of
    them is refused for it unless it says so. Nor is anything recorded: tests count what they wrote.
    """
    common = {"log_level": "error", "rate_limits": "off", "audit": "off"}
    return Settings.load(**common | settings, database_url=dsn)


@asynccontextmanager
async def serving(dsn: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application on the database `dsn`; paths are relative to the FHIR base."""
    app = build_app(settings_for(dsn, **settings))
    async with lifespan(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=60) as client:
            yield client


class Process:
    """A running `fhirserver serve`; `url` is its FHIR base, `lines` what it has written so far."""

    def __init__(self, popen: subprocess.Popen[str], url: str, lines: list[str]) -> None:
        self.popen = popen
        self.url = url
        self.lines = lines

    def kill(self) -> None:
        """kill -9 of the server and its workers; its PostgreSQL, if embedded, stays as it is."""
        for child in psutil.Process(self.popen.pid).children():
            if child.name().startswith("python"):
                child.kill()
        self.popen.kill()
        self.popen.wait(10)


@contextmanager
def process(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """`fhirserver serve --port 0 ...`, once it answers; SIGTERM at the end."""
    popen = subprocess.Popen(
        [sys.executable, "-m", "fhirserver", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | (environment or {}),
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(popen.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
    reader.start()
    try:
        yield Process(popen, _ready(popen, lines), lines)
    finally:
        if popen.poll() is None:
            popen.terminate()
        try:
            popen.wait(30)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        reader.join(10)  # until PostgreSQL, which may outlive the server, has closed the pipe as well
        if popen.stdout is not None and not reader.is_alive():
            popen.stdout.close()


def _ready(popen: subprocess.Popen[str], lines: list[str]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = next((m[0] for line in lines if (m := re.search(r"http://[\d.]+:\d+/fhir", line))), None)
        if found:
            try:
                if httpx.get(found.removesuffix("/fhir") + "/readyz").status_code == 200:
                    return found
            except httpx.TransportError:
                pass
        assert popen.poll() is None, "".join(lines)
        time.sleep(0.05)
    raise AssertionError("the server did not become ready:\n" + "".join(lines))
