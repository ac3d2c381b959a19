"""Millions of resources from a few Synthea patients: each copy has people, ids and dates of its own.

The copies are written by the server's own code for writing (validated, indexed, one transaction per
thousand resources) but without HTTP, in several processes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import Progress

from fhirserver.demo.names import CULTURES

SOURCE = Path(__file__).parents[2] / "shared" / "data" / "synthea-r4"
MRN = "https://github.com/synthetichealth/synthea"
TRANSACTION = 1_000
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_URN = re.compile(r'"(urn:uuid:[0-9a-f-]{36})"')
_DATE = re.compile(r'"(\d{4}-\d{2}-\d{2})(?=[T"])')
_SHARED = ("Practitioner", "Organization")
"""Kept as they are: many patients have the same."""


@dataclass(frozen=True, slots=True)
class Template:
    """The resources of the Synthea files as JSON texts, what is shared and what is copied."""

    shared: tuple[str, ...]
    copied: tuple[str, ...]

    @property
    def size(self) -> int:
        """Resources in a copy."""
        return len(self.copied)


def template(folder: Path = SOURCE) -> Template:
    """Reads the files. References between resources become `Type/id`. Raises FileNotFoundError."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no Synthea Bundles in {folder}")
    shared: dict[str, str] = {}
    copied: list[str] = []
    for file in files:
        entries = json.loads(file.read_bytes())["entry"]
        paths = {e["fullUrl"]: f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries}
        for entry in entries:
            resource = entry["resource"]
            text = _named(json.dumps(resource), paths)
            if resource["resourceType"] in _SHARED:
                shared[paths[entry["fullUrl"]]] = text
            else:
                copied.append(text)
    return Template(tuple(shared.values()), tuple(copied))


def _named(text: str, paths: dict[str, str]) -> str:
    """The text with `Type/id` for each URN of the Bundle."""
    return _URN.sub(lambda found: f'"{paths.get(found[1], found[1])}"', text)


def copy(source: Template, number: int, seed: int) -> Iterator[dict[str, Any]]:
    """A copy of all that is not shared: the same in every run for the same number and seed."""
    chance = Random(f"{seed}/{number}")
    shift = timedelta(days=chance.randint(-1_000, 400))
    kept = {found for text in source.shared for found in _UUID.findall(text)}
    known: dict[str, str] = {}

    def another(found: re.Match[str]) -> str:
        old = found[0]
        if old in kept:
            return old
        if old not in known:
            hexed = blake2b(f"{seed}/{number}/{old}".encode(), digest_size=16).hexdigest()
            known[old] = "-".join(
                (hexed[:8], hexed[8:12], "4" + hexed[13:16], "8" + hexed[17:20], hexed[20:])
            )
        return known[old]

    def shifted(found: re.Match[str]) -> str:
        return f'"{date.fromisoformat(found[1]) + shift}'

    for text in source.copied:
        resource = json.loads(_DATE.sub(shifted, _UUID.sub(another, text)), parse_float=Decimal)
        if resource["resourceType"] == "Patient":
            _rename(resource, chance, number)
        yield resource


def _rename(patient: dict[str, Any], chance: Random, number: int) -> None:
    culture = chance.choice(CULTURES)
    family, given = chance.choice(culture.families), chance.choice(culture.women + culture.men)
    for name in patient.get("name", ()):
        name["family"], name["given"] = family, [given]
    for identifier in patient.get("identifier", ()):
        if identifier.get("system") != MRN:
            identifier["value"] = f"{identifier['value']}-{number}"


def fill(dsn: str, first: int, copies: int, seed: int, workers: int, console: Console) -> int:
    """Write copies from number `first` on; how many resources that were."""
    source = template()
    with Progress(console=console) as progress:
        bar = progress.add_task("amplified Synthea", total=copies)
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            if first == 0:
                shared = [json.loads(text, parse_float=Decimal) for text in source.shared]
                pool.submit(_write, dsn, shared).result()
            for _ in pool.map(partial(_fill_one, dsn, seed), range(first, first + copies)):
                progress.advance(bar)
    return copies * source.size


_TEMPLATE: list[Template] = []


def _fill_one(dsn: str, seed: int, number: int) -> None:
    if not _TEMPLATE:
        _TEMPLATE.append(template())
    _write(dsn, list(copy(_TEMPLATE[0], number, seed)))


def _write(dsn: str, resources: list[dict[str, Any]]) -> None:
    asyncio.run(_written(dsn, resources))


async def _written(dsn: str, resources: list[dict[str, Any]]) -> None:
    from fhirserver.app import open_services
    from fhirserver.interactions.draft import draft
    from fhirserver.settings import Settings
    from fhirserver.store import write

    services = await open_services(Settings.load(database_url=dsn, pool_min=0, pool_max=1))
    try:
        async with services.pool.acquire() as connection:
            for start in range(0, len(resources), TRANSACTION):
                drafts = [
                    draft(services, resource, resource["id"], "PUT")
                    for resource in resources[start : start + TRANSACTION]
                ]
                async with connection.transaction():
                    writer = await write.begin(connection, services.tenant)
                    await write.write_many(connection, services.tenant, drafts, writer, {}, {})
    finally:
        await services.pool.close()
