"""Rules of consents are derived: `fhirserver reindex` verifies and mends them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from fhirserver.cli.reindexing import run
from fhirserver.policy.consent import COLUMNS
from fhirserver.settings import Settings
from tests.support.consents import actor, consent
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAMAGES = {
    "a rule is gone": "DELETE FROM consent_rule WHERE node = 1",
    "all are gone": "DELETE FROM consent_rule",
    "a permission": "UPDATE consent_rule SET permit = true WHERE NOT permit",
    "nobody's": "UPDATE consent_rule SET actors = '{}' WHERE actors IS NOT NULL",
    "a policy": "UPDATE consent_rule SET patient = NULL",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database) as client:
        yield client


async def rules(dsn: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        columns = ", ".join(COLUMNS)
        found = await connection.fetch(f"SELECT rid, {columns} FROM consent_rule ORDER BY rid, node")
        return [tuple(row) for row in found]
    finally:
        await connection.close()


async def reindexed(dsn: str, *, verifying: bool) -> list[str]:
    report = await run(dsn, Settings.load(database_url=dsn), [], [], verifying=verifying, shown=False)
    return [*(str(one) for one in report.differences), *report.strays]


async def test_damage_is_found_and_mended(database: str, http: httpx.AsyncClient) -> None:
    deny = consent("p", "OPTIN", provision=[{"type": "deny", "actor": actor("Practitioner/d")}])
    made = await http.post("/Consent", json=deny)
    assert made.status_code == 201, made.text
    assert (await http.post("/Consent", json={**deny, "status": "inactive"})).status_code == 201
    contained = {
        "resourceType": "DocumentReference",
        "status": "current",
        "contained": [{**deny, "id": "c"}],
        "context": {"related": [{"reference": "#c"}]},
        "content": [{"attachment": {"title": "x"}}],
    }
    answer = await http.post("/DocumentReference", json=contained)
    assert answer.status_code == 201, answer.text
    right = await rules(database)
    assert len(right) == 2
    assert await reindexed(database, verifying=True) == []
    for name, damage in DAMAGES.items():
        connection = await asyncpg.connect(database)
        await connection.execute(damage)
        await connection.close()
        found = await reindexed(database, verifying=True)
        assert found and "consent_rule" in found[0], name
        await reindexed(database, verifying=False)
        assert await rules(database) == right, name


async def test_rules_of_nobodys_versions_are_strays(database: str, http: httpx.AsyncClient) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO consent_rule (tenant, rid, node, path, permit, starts, ends, vague)"
        " VALUES (1, 999999, 0, '{0}', true, 0, 9, '{}')"
    )
    await connection.close()
    assert await reindexed(database, verifying=True) == ["consent_rule"]
    await reindexed(database, verifying=False)
    assert await reindexed(database, verifying=True) == []
