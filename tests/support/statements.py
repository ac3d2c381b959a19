"""What the application asks of PostgreSQL, and how much work the answer takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest


@dataclass(frozen=True, slots=True)
class Statement:
    """One that returned rows."""

    text: str
    args: tuple[Any, ...]


_asking: ContextVar[list[Statement] | None] = ContextVar("asking", default=None)


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """All that is fetched for what is asked meanwhile, in order.

    Not what a job of the application looks for by the clock: it began in another context.
    """
    found: list[Statement] = []
    asking = _asking.set(found)

    def spied(name: str) -> Any:
        original = getattr(asyncpg.Connection, name)

        async def fetch(self: asyncpg.Connection, query: str, *args: Any, **more: Any) -> Any:
            if _asking.get() is found:
                found.append(Statement(query, args))
            return await original(self, query, *args, **more)

        return fetch

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch", "fetchrow", "fetchval"):
            patch.setattr(asyncpg.Connection, name, spied(name))
        try:
            yield found
        finally:
            _asking.reset(asking)


async def plan(connection: asyncpg.Connection, statement: Statement) -> dict[str, Any]:
    """The plan with what running it took, as EXPLAIN (ANALYZE, FORMAT JSON) gives it."""
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.text}", *statement.args
    )
    return json.loads(text)[0]["Plan"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows of tables and indexes were looked at, found and thrown away ones alike."""
    scans = [node for node in nodes(plan) if "Scan" in node["Node Type"] and node["Node Type"] != "CTE Scan"]
    return sum(
        round(
            node["Actual Loops"]
            * (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
        )
        for node in scans
    )


async def work(connection: asyncpg.Connection, statements: Sequence[Statement]) -> int:
    """The rows that all statements together look at."""
    return sum([rows_read(await plan(connection, one)) for one in statements])
