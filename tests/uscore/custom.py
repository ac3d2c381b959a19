"""US Core's own SearchParameters, given to the server as a client gives them."""

from __future__ import annotations

import asyncio
import time

import httpx

from tests.uscore.packages import Definition, Package

BUILT_WITHIN_S = 30


async def built(http: httpx.AsyncClient, package: Package) -> dict[tuple[str, str], Definition]:
    """Those that the server builds and searches by, by type and code; none where it says it cannot.

    A server that can offers `SearchParameter/[id]/$status`.
    """
    statement = (await http.get("/metadata")).json()["rest"][0]
    offered = next(one for one in statement["resource"] if one["type"] == "SearchParameter")
    if not any(one["name"] == "status" for one in offered.get("operation", ())):
        return {}
    own = [one for one in package.definitions if one.derived_from is None]
    for one in own:
        resource = package.resources[f"SearchParameter-{one.url.rpartition('/')[2]}"]
        answer = await http.put(f"/SearchParameter/{resource['id']}", json=resource)
        assert answer.status_code == 201, answer.text
    for one in own:
        await _ready(http, one)
    return {(one.base, one.code): one for one in own}


async def _ready(http: httpx.AsyncClient, param: Definition) -> None:
    """Until a search by the parameter is no longer refused."""
    deadline = time.monotonic() + BUILT_WITHIN_S
    while (answer := await http.get(f"/{param.base}?{param.code}:missing=true")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.1)
