"""SearchParameter resources for tests, and waiting for what they bring."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

from fhirserver.jobs.locks import REBUILD

COMPLETE_S_MAX = 60
URLS = "http://example.org/SearchParameter/"


def search_parameter(
    code: str, type_: str, expression: str | None, *base: str, **more: Any
) -> dict[str, Any]:
    """An active one; of Patient unless another base is given."""
    return {
        "resourceType": "SearchParameter",
        "url": f"{URLS}{code}",
        "name": code.replace("-", ""),
        "status": "active",
        "description": code,
        "code": code,
        "base": list(base) or ["Patient"],
        "type": type_,
        **({"expression": expression} if expression is not None else {}),
        **more,
    }


def extension(url: str, **value: Any) -> dict[str, Any]:
    return {"url": url, **value}


def of_extension(url: str, of: str = "Patient") -> str:
    """The expression of the values of an extension."""
    return f"{of}.extension.where(url = '{url}').value"


async def defined(http: httpx.AsyncClient, resource: dict[str, Any]) -> str:
    """The id under which the definition was created."""
    response = await http.post("/SearchParameter", json=resource)
    assert response.status_code == 201, response.text
    return response.json()["id"]


async def standing(http: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    """The values of $status by their names; `type` is a list."""
    response = await http.get(f"/SearchParameter/{id_}/$status")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = {"type": []}
    for part in response.json()["parameter"]:
        value = next(value for key, value in part.items() if key.startswith("value"))
        if part["name"] == "type":
            found["type"].append(value)
        else:
            found[part["name"]] = value
    return found


async def complete(http: httpx.AsyncClient, *ids: str) -> None:
    """Wait until the definitions can be searched by."""
    for id_ in ids:
        await until(http, id_, "complete", never="failed")


async def until(http: httpx.AsyncClient, id_: str, status: str, never: str | None = None) -> dict[str, Any]:
    """Wait until the definition has a status, and give all of it; `never` is one that it must not have."""
    deadline = time.monotonic() + COMPLETE_S_MAX
    while True:
        now = await standing(http, id_)
        if now["status"] == status:
            return now
        assert time.monotonic() < deadline and now["status"] != never, now
        await asyncio.sleep(0.05)


async def gone(http: httpx.AsyncClient, id_: str) -> None:
    """Wait until nothing is left of a definition whose resource is deleted."""
    deadline = time.monotonic() + COMPLETE_S_MAX
    while (response := await http.get(f"/SearchParameter/{id_}/$status")).status_code != 410:
        assert time.monotonic() < deadline, response.text
        await asyncio.sleep(0.05)


async def settled(dsn: str) -> None:
    """Wait until nothing is being rebuilt."""
    connection = await asyncpg.connect(dsn)
    try:
        deadline = time.monotonic() + COMPLETE_S_MAX
        while await connection.fetchval("SELECT count(*) FROM rebuild WHERE wanted > built"):
            assert time.monotonic() < deadline, await connection.fetch("SELECT * FROM rebuild")
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


@asynccontextmanager
async def held_up(dsn: str, tenant: int = 1) -> AsyncIterator[None]:
    """Nothing is rebuilt while this is open."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1, $2)", REBUILD, tenant)
        yield
    finally:
        await connection.close()
