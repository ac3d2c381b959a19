"""Runs a load: a reader ahead of several senders, and another round for what came too early."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from time import monotonic
from typing import Final

import httpx
from rich.console import Console

from fhirserver.cli.loading import files
from fhirserver.cli.loading.files import Source
from fhirserver.cli.loading.progress import Meter, meter
from fhirserver.cli.loading.send import Deferred, Failure, send
from fhirserver.cli.loading.units import Unit, units

DEFERRED_BYTES_MAX: Final = 256 * 1024 * 1024
REQUEST_TIMEOUT_S: Final = 300.0
_UNREADABLE: Final = (OSError, EOFError, ValueError, zlib.error)


class Unreachable(Exception):
    """Nothing answers at the address, so that no file was tried."""


@dataclass(slots=True)
class Report:
    """What came of it: resources stored, failures in the order they were final, and the time taken."""

    resources: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Resources a second."""
        return self.resources / self.seconds if self.seconds else 0.0


async def load(
    paths: Iterable[Path],
    url: str,
    concurrency: int = 4,
    progress: bool = True,
    *,
    headers: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Report:
    """Loads files (.json, .ndjson, .xml, each also .gz) and folders into the server at the FHIR base `url`.

    What is refused because something else is missing yet is tried again after everything else, as long
    as that helps. Raises Unreachable, and ValueError or FileNotFoundError for a path that cannot be
    loaded; whatever fails later is in the Report.
    """
    sources = files.find(paths)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    console = Console(stderr=True)
    total = float(sum(source.size_bytes for source in sources))
    begun = monotonic()
    async with httpx.AsyncClient(
        headers=headers, transport=transport, limits=limits, timeout=REQUEST_TIMEOUT_S
    ) as client:
        await check(client, url)
        with meter(console, total, "Loading", shown=progress) as shown:
            loading = Loading(client, url.rstrip("/"), concurrency, shown)
            for _, phase in groupby(sources, key=lambda source: source.phase):
                await loading.run(loading.read(phase))
            await loading.run_again()
    loading.report.seconds = monotonic() - begun
    return loading.report


async def check(client: httpx.AsyncClient, url: str) -> None:
    """Asks for the CapabilityStatement. Raises Unreachable."""
    try:
        response = await client.get(
            f"{url.rstrip('/')}/metadata", headers={"Accept": "application/fhir+json"}
        )
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unreachable(f"nothing answers at {url}: {error or type(error).__name__}") from error
    if response.status_code == 404:
        raise Unreachable(f"{url} is no FHIR base: {url.rstrip('/')}/metadata was not found")


class Loading:
    """One run: a reader ahead of `concurrency` senders."""

    def __init__(self, client: httpx.AsyncClient, base: str, concurrency: int, shown: Meter) -> None:
        self.report = Report()
        self._client, self._base, self._shown = client, base, shown
        self._concurrency = concurrency
        self._deferred: list[Deferred] = []
        self._deferred_bytes = 0

    def read(self, sources: Iterable[Source]) -> Iterator[Unit]:
        """The requests of the files; a file that cannot be read becomes a failure."""
        for source in sources:
            try:
                for unit in units(source):
                    if isinstance(unit, Unit):
                        yield unit
                    else:
                        self._fail([Failure(source.path, unit.label, 0, unit.text)])
            except _UNREADABLE as error:
                self._fail([Failure(source.path, None, 0, str(error))])

    async def run(self, requests: Iterator[Unit]) -> None:
        """Sends all, reading no further ahead than the senders can follow."""
        queue: asyncio.Queue[Unit | None] = asyncio.Queue(maxsize=self._concurrency)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._send(queue))
            while (unit := await asyncio.to_thread(next, requests, None)) is not None:
                await queue.put(unit)
            for _ in range(self._concurrency):
                await queue.put(None)

    async def run_again(self) -> None:
        """Repeats what was deferred until a round stores nothing more."""
        while self._deferred:
            waiting, self._deferred, self._deferred_bytes = self._deferred, [], 0
            before = self.report.resources
            await self.run(deferred.unit for deferred in waiting)
            if self.report.resources == before:
                break
        for deferred in self._deferred:
            self._fail(deferred.failures)
        self._deferred = []

    async def _send(self, queue: asyncio.Queue[Unit | None]) -> None:
        while (unit := await queue.get()) is not None:
            result = await send(self._client, self._base, unit)
            self.report.resources += result.stored
            self._fail(result.failures)
            self._shown.advance(unit.share * unit.source.size_bytes, result.stored, 0)
            if result.again:
                self._defer(result.again)

    def _defer(self, deferred: Deferred) -> None:
        """Keeps it for later, unless what is kept has grown too large for the memory."""
        self._deferred_bytes += len(deferred.unit.body)
        if self._deferred_bytes > DEFERRED_BYTES_MAX:
            self._fail(deferred.failures)
        else:
            self._deferred.append(deferred)

    def _fail(self, failures: Sequence[Failure]) -> None:
        self.report.failures.extend(failures)
        self._shown.advance(0.0, 0, len(failures))
