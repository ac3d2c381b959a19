"""Sends invented patients the way files are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from rich.console import Console

from fhirserver import demo
from fhirserver.cli.loading.files import Source
from fhirserver.cli.loading.progress import meter
from fhirserver.cli.loading.run import REQUEST_TIMEOUT_S, Loading, Report, check
from fhirserver.cli.loading.units import JSON, Unit
from fhirserver.fhir.json import dumps


async def store(
    count: int,
    url: str,
    seed: int = 1,
    concurrency: int = 4,
    progress: bool = True,
    *,
    headers: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> tuple[Report, dict[str, Any]]:
    """Stores the directory and `count` patients under their ids; returns the Patient with the longest record.

    Raises Unreachable.
    """
    star = _Star()
    begun = monotonic()
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(
        headers=headers, transport=transport, limits=limits, timeout=REQUEST_TIMEOUT_S
    ) as client:
        await check(client, url)
        with meter(Console(stderr=True), float(count + 1), "Inventing", shown=progress) as shown:
            loading = Loading(client, url.rstrip("/"), concurrency, shown)
            await loading.run(iter([_unit("the directory", demo.directory(seed))]))
            await loading.run(star.watched(demo.patients_with_ids(count, seed)))
            await loading.run_again()
    loading.report.seconds = monotonic() - begun
    return loading.report, star.patient


class _Star:
    """Remembers the patient with the longest record while the Bundles pass by."""

    def __init__(self) -> None:
        self.patient: dict[str, Any] = {}
        self._entries = 0

    def watched(self, bundles: Iterator[dict[str, Any]]) -> Iterator[Unit]:
        """The requests for the Bundles."""
        for bundle in bundles:
            patient = bundle["entry"][0]["resource"]
            if len(bundle["entry"]) > self._entries:
                self.patient, self._entries = patient, len(bundle["entry"])
            yield _unit(patient["name"][0]["text"], bundle)


def _unit(name: str, bundle: dict[str, Any]) -> Unit:
    return Unit(Source(Path(name), "json", 0, 1), "POST", "", dumps(bundle), JSON, 1.0)
