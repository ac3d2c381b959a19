"""A TCP proxy in front of PostgreSQL that can be cut, silenced and restored, as networks are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

State = Literal["open", "cut", "silent"]


class Proxy:
    """Forwards bytes while `open`, drops connections, new ones too, while `cut`, swallows while `silent`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._state: State = "open"
        self._links: set[asyncio.Task[None]] = set()
        self.dsn = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        parts = urlsplit(self._dsn)
        user = parts.netloc.rpartition("@")[0]
        self.dsn = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable"))
        return server

    async def turn(self, state: State) -> None:
        """Change the state; `cut` drops what is connected at once."""
        self._state = state
        if state == "cut":
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        # To be dropped is the end of a link, not an error.
        with suppress(asyncio.CancelledError):
            await self._link(reader, writer)
        self._links.discard(task)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            if self._state == "cut":
                return
            there_reader, there = await self._connect()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, there))
                both.create_task(self._forward(there_reader, writer))
        finally:
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self._state == "open":
                    writer.write(data)
                    await writer.drain()
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._dsn)
        query = parse_qs(parts.query)
        host = query["host"][0] if "host" in query else parts.hostname or "localhost"
        port = int(query["port"][0]) if "port" in query else parts.port or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy before the database `dsn`; clients use `proxy.dsn`."""
    proxy = Proxy(dsn)
    server = await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.turn("cut")
        server.close()
