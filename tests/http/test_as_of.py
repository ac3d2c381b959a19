"""`_asOf` through the door: reads of any instant, searches of those whose index is still kept."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


async def put(http: Http, id_: str, family: str, **more: Any) -> str:
    """The instant of the version that it makes."""
    resource = {"resourceType": "Patient", "id": id_, "name": [{"family": family}], **more}
    answer = await http.put(f"/Patient/{id_}", json=resource)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["meta"]["lastUpdated"]


def before(instant: str) -> str:
    moment = datetime.fromisoformat(instant) - timedelta(microseconds=1)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


async def get(http: Http, url: str) -> dict[str, Any]:
    answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(bundle: dict[str, Any]) -> set[str]:
    return {f"{e['resource']['id']}/{e['resource']['meta']['versionId']}" for e in bundle.get("entry", ())}


def why(answer: httpx.Response) -> str:
    return answer.json()["issue"][0]["diagnostics"]


async def now(database: str) -> str:
    connection = await asyncpg.connect(database)
    try:
        moment = await connection.fetchval("SELECT clock_timestamp()")
        return moment.isoformat().replace("+00:00", "Z")
    finally:
        await connection.close()


async def test_each_version_is_read_at_its_time(http: Http, database: str) -> None:
    written = [await put(http, "read", family) for family in ("A", "B", "C")]
    await http.delete("/Patient/read")
    deleted = await now(database)
    for number, instant in enumerate(written, 1):
        answer = await http.get(f"/Patient/read?_asOf={instant}")
        assert answer.status_code == 200
        assert answer.json()["meta"]["versionId"] == str(number)
        assert answer.headers["etag"] == f'W/"{number}"'
        assert answer.headers["content-location"].endswith(f"/Patient/read/_history/{number}")
        same = await http.get(f"/Patient/read?_asOf={instant}", headers={"If-None-Match": f'W/"{number}"'})
        assert same.status_code == 304
    unknown = await http.get(f"/Patient/read?_asOf={before(written[0])}")
    assert unknown.status_code == 404
    assert "as of" in why(unknown)
    assert (await get(http, f"/Patient/read?_asOf={before(written[1])}"))["meta"]["versionId"] == "1"
    assert (await http.get(f"/Patient/read?_asOf={deleted}")).status_code == 410
    assert (await http.get("/Patient/read")).status_code == 410


async def test_an_offset_and_whole_seconds_are_instants_too(http: Http) -> None:
    written = await put(http, "offset", "A")
    moment = datetime.fromisoformat(written)
    shifted = (moment + timedelta(hours=2)).replace(tzinfo=None).isoformat(timespec="microseconds")
    for text in (f"{shifted}%2B02:00", f"{shifted}+02:00"):
        assert (await get(http, f"/Patient/offset?_asOf={text}"))["meta"]["lastUpdated"] == written
    second = moment.replace(microsecond=0, tzinfo=None).isoformat()
    assert (await http.get(f"/Patient/offset?_asOf={second}Z")).status_code == 404


@pytest.mark.parametrize("text", ["2024", "2024-01-01", "2024-01-01T10:00Z", "2024-01-01T10:00:00", "x", ""])
@pytest.mark.parametrize(
    "path", ["/Patient/any?", "/Patient?", "/?_type=Patient&", "/Patient?_summary=count&"]
)
async def test_what_is_no_instant_is_refused(http: Http, path: str, text: str) -> None:
    answer = await http.get(f"{path}_asOf={text}")
    assert answer.status_code == 400
    assert "_asOf" in why(answer)


async def test_the_future_is_refused(http: Http) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    for path in ("/Patient/any?", "/Patient?"):
        answer = await http.get(f"{path}_asOf={later}")
        assert answer.status_code == 400
        assert "future" in why(answer)
    twice = await http.get(f"/Patient/any?_asOf={before(later)}&_asOf={later}")
    assert twice.status_code == 400


async def test_searches_of_every_kind_show_the_instant(http: Http) -> None:
    await put(http, "one", "Then", active=True)
    await put(http, "two", "Then")
    await put(http, "three", "Other")
    observation = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/one"},
    }
    instant = (await http.put("/Observation/o", json=observation)).json()["meta"]["lastUpdated"]
    await put(http, "one", "Later")
    await put(http, "new", "Then")
    await put(http, "three", "Then")
    await http.delete("/Patient/two")
    await http.delete("/Observation/o")
    at = f"_asOf={instant}"
    assert found(await get(http, f"/Patient?family=then&{at}")) == {"one/1", "two/1"}
    assert found(await get(http, "/Patient?family=then")) == {"new/1", "three/2"}
    assert found(await get(http, f"/?_type=Patient&_id=one,two,new&{at}")) == {"one/1", "two/1"}
    assert found(await get(http, f"/?_id=one,two,new,o&{at}")) == {"one/1", "two/1", "o/1"}
    assert found(await get(http, f"/Patient/one/Observation?{at}")) == {"o/1"}
    assert found(await get(http, f"/Patient/one/*?{at}")) == {"one/1", "o/1"}
    assert found(await get(http, "/Patient/one/Observation")) == set()
    assert found(await get(http, f"/Observation?subject:Patient.family=then&{at}")) == {"o/1"}
    assert found(await get(http, f"/Patient?_has:Observation:subject:status=final&{at}")) == {"one/1"}
    assert found(await get(http, f"/Observation?_include=Observation:subject&{at}")) == {"o/1", "one/1"}
    assert found(await get(http, f"/Patient?family=then&_revinclude=Observation:subject&{at}")) == {
        *("one/1", "two/1", "o/1")
    }
    assert (await get(http, f"/Patient?family=then&_summary=count&{at}"))["total"] == 2
    form = await http.post("/Patient/_search", data={"family": "then", "_asOf": instant, "_sort": "_id"})
    assert [e["resource"]["id"] for e in form.json()["entry"]] == ["one", "two"]
    assert f"_asOf={instant}" in form.json()["link"][0]["url"]


async def test_the_pages_of_an_instant(http: Http) -> None:
    instants = [await put(http, f"page{number}", "Paged") for number in range(7)]
    url = f"/Patient?family=paged&_sort=-_id&_count=2&_asOf={instants[4]}"
    seen: list[str] = []
    while url:
        bundle = await get(http, url)
        assert bundle["total"] == 5
        seen += sorted(found(bundle), reverse=True)
        await put(http, "page3", "Moved")
        url = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "")
    assert seen == [f"page{number}/1" for number in (4, 3, 2, 1, 0)]


async def test_an_answer_is_given_only_when_it_will_stay_the_same(http: Http, database: str) -> None:
    """A transaction that began before the instant may yet write a version of before it."""
    settled = await put(http, "settled", "A")
    writer = await asyncpg.connect(database)
    try:
        async with writer.transaction():
            await writer.execute("SELECT pg_current_xact_id()")
            await asyncio.sleep(0.01)
            instant = await now(database)
            for path in ("/Patient/settled", "/Patient"):
                answer = await http.get(f"{path}?_asOf={instant}")
                assert answer.status_code == 503
                assert answer.headers["retry-after"]
                assert (await http.get(f"{path}?_asOf={settled}")).status_code == 200
        for path in ("/Patient/settled", "/Patient"):
            assert (await http.get(f"{path}?_asOf={instant}")).status_code == 200
    finally:
        await writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful(database: str) -> AsyncIterator[Http]:
    async with serving(database, index_retention_s=1) as client:
        yield client


async def test_what_is_too_old_is_read_but_no_longer_searched(forgetful: Http, database: str) -> None:
    instant = await put(forgetful, "old", "A")
    assert found(await get(forgetful, f"/Patient?_id=old&_asOf={instant}")) == {"old/1"}
    await asyncio.sleep(1.1)
    for path in ("/Patient?_id=old", "/Patient?_id=old&_summary=count", "/?_id=old", "/Patient/old/*?"):
        answer = await forgetful.get(f"{path}&_asOf={instant}")
        assert answer.status_code == 410
        assert "for 1 s" in why(answer)
    assert (await get(forgetful, f"/Patient/old?_asOf={instant}"))["meta"]["versionId"] == "1"


async def test_what_was_swept_is_gone_even_where_the_retention_was_made_longer(
    http: Http, database: str
) -> None:
    instant = await put(http, "swept", "A")
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("INSERT INTO tick (swept) VALUES (true)")
        assert (await http.get(f"/Patient?_asOf={instant}")).status_code == 410
        assert (await http.get(f"/Patient/swept?_asOf={instant}")).status_code == 200
        assert (await http.get(f"/Patient?_asOf={await now(database)}")).status_code == 200
    finally:
        await connection.execute("DELETE FROM tick")
        await connection.close()


async def test_what_is_written_depends_on_what_is_current_alone(http: Http) -> None:
    instant = await put(http, "condition", "A")
    resource = {"resourceType": "Patient"}
    refused = [
        await http.put(f"/Patient?_id=condition&_asOf={instant}", json=resource),
        await http.delete(f"/Patient?_id=condition&_asOf={instant}"),
        await http.post(
            "/Patient", json=resource, headers={"If-None-Exist": f"_id=condition&_asOf={instant}"}
        ),
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 400]
    assert all("_asOf" in why(answer) for answer in refused)


async def test_entries_of_a_batch_look_back_as_well(http: Http) -> None:
    instant = await put(http, "batch", "A")
    await put(http, "batch", "B")
    urls = (f"Patient/batch?_asOf={instant}", f"Patient?_id=batch&_asOf={instant}")
    for kind in ("batch", "transaction"):
        entries = [{"request": {"method": "GET", "url": url}} for url in urls]
        answer = await http.post("/", json={"resourceType": "Bundle", "type": kind, "entry": entries})
        read, searched = [one["resource"] for one in answer.json()["entry"]]
        assert read["meta"]["versionId"] == "1"
        assert found(searched) == {"batch/1"}


async def test_it_is_announced(http: Http) -> None:
    rest = (await get(http, "/metadata"))["rest"][0]
    assert "_asOf" in rest["documentation"]
    assert {"name": "_asOf", "type": "date"} in rest["searchParam"]
