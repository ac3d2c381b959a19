"""Alive, ready and measured: what orchestrators and Prometheus see."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from fhirserver.db.migrate import revisions
from tests.conftest import NewDatabase
from tests.support import postgres
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = "http://test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def root(database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of everything beside the FHIR base."""
    async with serving(database) as client:
        client.base_url = httpx.URL(ROOT)
        yield client


async def test_ready_says_what_was_looked_at(root: httpx.AsyncClient) -> None:
    response = await root.get("/readyz")
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    found = response.json()
    assert found["ready"] is True
    assert {name: check["ok"] for name, check in found["checks"].items()} == dict.fromkeys(
        ("database", "migrations", "pool", "definitions"), True
    )
    assert found["checks"]["migrations"]["revision"] == revisions()[-1]
    assert found["checks"]["definitions"]["types"] == 145
    assert found["checks"]["definitions"]["search_parameters"] == 1706 - 1  # `_content` is a setting
    assert 0 < found["checks"]["database"]["latency_ms"] < 3000


async def test_it_looks_with_the_role_of_requests_afterwards(root: httpx.AsyncClient) -> None:
    await root.get("/readyz")
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(root.get("/fhir/Patient") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}


async def test_another_schema_is_not_ready(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn) as client:
            for revision, reason in (("9999", "newer"), (None, "fhirserver migrate")):
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute("DELETE FROM alembic_version")
                    if revision:
                        connection.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))
                response = await client.get(f"{ROOT}/readyz")
                assert response.status_code == 503
                found = response.json()
                assert found["ready"] is False and found["checks"]["database"]["ok"] is True
                assert found["checks"]["migrations"]["ok"] is False
                assert reason in found["checks"]["migrations"]["reason"]


async def test_without_the_database_it_is_alive_but_not_ready(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        async with serving(dsn, pool_timeout_s=1) as client:
            assert (await client.get(f"{ROOT}/readyz")).status_code == 200
            name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
            with psycopg.connect(postgres.admin(), autocommit=True) as connection:
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
                )
                assert (await client.get(f"{ROOT}/livez")).status_code == 200
                await asyncio.sleep(0.1)
                response = await client.get(f"{ROOT}/readyz")
                assert response.status_code == 503, response.text
                checks = response.json()["checks"]
                assert not checks["database"]["ok"] and not checks["migrations"]["ok"]
                assert name not in response.text
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert (await client.get(f"{ROOT}/readyz")).status_code == 200


async def test_alive_asks_nobody(root: httpx.AsyncClient) -> None:
    response = await root.get("/livez")
    assert (response.status_code, response.text) == (200, "ok\n")
    assert (await root.head("/livez")).status_code == 200
    refused = await root.post("/livez")
    assert refused.status_code == 405 and refused.json()["resourceType"] == "OperationOutcome"


async def test_metrics_show_requests_and_the_pool(root: httpx.AsyncClient) -> None:
    await root.get("/fhir/Patient/unknown")
    response = await root.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    assert samples[("http_requests_total", ("method", "GET"), ("status", "404"))] >= 1
    key = ("fhir_operations_total", ("interaction", "read"), ("status", "404"), ("type", "Patient"))
    assert samples[key] >= 1
    assert samples[("db_pool_max",)] >= samples[("db_pool_size",)] >= samples[("db_pool_idle",)] >= 0
    assert samples[("db_pool_size",)] >= 1
    assert [name for name, *_ in samples if name == "fhirserver_build_info"]
