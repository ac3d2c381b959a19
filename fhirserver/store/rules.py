"""Writing the rules of consents: rows of `consent_rule`, which belong to a version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.policy.consent import COLUMNS

_PLACES: Final = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 3))
INSERT: Final = f"INSERT INTO consent_rule (tenant, rid, {', '.join(COLUMNS)}) VALUES ({_PLACES})"  # noqa: S608 (names of ours)
SELECT: Final = f"SELECT rid, {', '.join(COLUMNS)} FROM consent_rule WHERE rid = ANY ($1::bigint[])"  # noqa: S608
"""The rules of versions, each after its `rid`."""


async def put(connection: Connection, tenant: int, placed: Iterable[tuple[int, tuple[Any, ...]]]) -> None:
    """Write rows of rules with the `rid` of their version, in the caller's transaction."""
    records = [(tenant, rid, *row) for rid, row in placed]
    if records:
        await connection.executemany(INSERT, records)
