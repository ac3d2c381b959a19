"""Search parameters of one's own that are stored and never work."""

import httpx
import pytest

from tests.http.support import Resource, created, found
from tests.support.definitions import complete, defined, extension, held_up, search_parameter, standing
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
MANY = 60


def basic(url: str, date: str) -> Resource:
    return {
        "resourceType": "Basic",
        "code": {"coding": [{"code": "example"}]},
        "extension": [extension(url, valueDate=date)],
    }


def dated(code: str, url: str) -> Resource:
    return search_parameter(code, "date", f"Basic.extension.where(url='{url}').value", "Basic")


async def test_custom_parameters_never_load_medplum_8650(http: Http) -> None:
    """What was stored before is found as well as what comes after, without a restart."""
    url = "https://example.com/fhir/ext/my-date"
    before = await created(http, basic(url, "2026-03-10"))
    assert (await http.get("/Basic?my-date=2026-03-10")).status_code == 400
    id_ = await defined(http, dated("my-date", url))
    after = await created(http, basic(url, "2026-03-10"))
    await complete(http, id_)
    matches = {before["id"], after["id"]}
    assert {one["id"] for one in await found(http, "Basic?my-date=2026-03-10")} == matches
    assert {one["id"] for one in await found(http, "Basic?my-date=gt2026-03-09")} == matches
    assert await found(http, "Basic?my-date=2026-03-11") == []
    announced = (await http.get("/metadata")).json()["rest"][0]["resource"]
    (described,) = [one for one in announced if one["type"] == "Basic"]
    assert "my-date" in {param["name"] for param in described["searchParam"]}


async def test_reindexing_stays_queued_microsoft_fhir_server_3684(database: str) -> None:
    """Interrupted by the end of the server, deleted and sent again: it goes on and comes to its end."""
    url = "https://example.com/fhir/ext/queued"
    async with serving(database) as http:
        for _ in range(MANY):
            await created(http, basic(url, "2026-01-01"))
        async with held_up(database):
            first = await defined(http, dated("queued", url))
            assert (await standing(http, first))["status"] in ("pending", "building")
            refused = await http.get("/Basic?queued=2026-01-01")
            assert refused.status_code == 409 and "queued" in refused.text
            await http.delete(f"/SearchParameter/{first}")
            second = await defined(http, dated("queued", url))
    async with serving(database) as http:
        await complete(http, second)
        assert (await standing(http, second))["percentage"] == 100


async def test_reindexing_reports_completion_without_work_microsoft_fhir_server_4020(database: str) -> None:
    """Complete means that every resource that was there is found."""
    url = "https://example.com/fhir/ext/done"
    async with serving(database) as http:
        for _ in range(MANY):
            await created(http, basic(url, "2026-02-02"))
        await complete(http, await defined(http, dated("done", url)))
        assert len(await found(http, "Basic?done=2026-02-02&_count=1000")) == MANY
