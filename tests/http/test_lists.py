"""`_list` on searches and histories: https://hl7.org/fhir/R4/search.html#list, http.html#history"""

from __future__ import annotations

import httpx
import pytest
import pytest_asyncio

from tests.http.support import Resource, observation, put

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def list_of(id_: str, *items: str, deleted: tuple[str, ...] = (), **more: object) -> Resource:
    entries: list[Resource] = [{"item": {"reference": item}} for item in items]
    entries += [{"item": {"reference": item}, "deleted": True} for item in deleted]
    mode = "changes" if deleted else "working"
    return {"resourceType": "List", "id": id_, "status": "current", "mode": mode, "entry": entries, **more}


async def ids(http: Http, url: str, **form: str) -> list[str]:
    answer = await (http.post(url, data=form) if form else http.get(url))
    assert answer.status_code == 200, answer.text
    return sorted(entry["resource"]["id"] for entry in answer.json().get("entry", []))


async def versions(http: Http, url: str) -> set[str]:
    answer = await http.get(url)
    assert answer.status_code == 200, answer.text
    return {entry["response"]["location"].partition("/fhir/")[2] for entry in answer.json().get("entry", [])}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True, name="stored")
async def _stored(http: Http) -> None:
    for id_ in ("a", "b", "c", "d"):
        await put(http, {"resourceType": "Patient", "id": id_})
        await put(http, {"resourceType": "Patient", "id": id_, "active": True})
    await put(http, observation("Patient/a", id="o"))
    items = ("Patient/a", "Patient/b/_history/1", "Patient/c", "Observation/o")
    await put(http, list_of("l", *items, deleted=("Patient/d",)))
    code = {"coding": [{"system": "http://loinc.org", "code": "52472-8"}]}
    await put(http, list_of("current", "Patient/a", code=code))


async def test_search(http: Http) -> None:
    assert await ids(http, "/Patient?_list=l") == ["a", "b", "c"]
    assert await ids(http, "/Patient?_list=List/l&_id=a,d") == ["a"]
    assert await ids(http, "/Patient/_search", _list="l", active="true") == ["a", "b", "c"]
    assert await ids(http, "?_list=l") == ["a", "b", "c", "o"]
    assert await ids(http, "?_type=Observation&_list=l") == ["o"]
    assert await ids(http, "/_search", _list="l", _type="Observation,Patient") == ["a", "b", "c", "o"]
    assert await ids(http, "/Patient/a/Observation?_list=l") == ["o"]
    assert await ids(http, "/Observation?subject:Patient._list=l") == ["o"]
    assert await ids(http, "/Patient?_list=$current-allergies") == ["a"]
    assert await ids(http, "/Patient?_list=nowhere") == []
    answer = await http.get("/Patient?_list=l")
    assert answer.json()["link"][0]["url"].endswith("/Patient?_list=l")


async def test_history(http: Http) -> None:
    """A reference to a version is to that one, a reference without to all."""
    every = {"Patient/a/_history/1", "Patient/a/_history/2", "Patient/c/_history/1", "Patient/c/_history/2"}
    assert await versions(http, "/Patient/_history?_list=l") == every | {"Patient/b/_history/1"}
    assert await versions(http, "/_history?_list=List/l") == every | {
        "Patient/b/_history/1",
        "Observation/o/_history/1",
    }
    assert await versions(http, "/_history?_list=l&_type=Observation") == {"Observation/o/_history/1"}
    assert await versions(http, "/Patient/b/_history?_list=l") == {"Patient/b/_history/1"}
    assert await versions(http, "/Patient/d/_history?_list=l") == set()
    assert await versions(http, "/Patient/_history?_list=$current-allergies") == {
        "Patient/a/_history/1",
        "Patient/a/_history/2",
    }
    assert await versions(http, "/Patient/_history?_list=nowhere") == set()
    page = (await http.get("/Patient/_history?_list=l&_count=2")).json()
    assert [link["relation"] for link in page["link"]] == ["self", "next"]
    assert all("_list=l" in link["url"] for link in page["link"])
    rest = (await http.get(page["link"][1]["url"])).json()
    assert len(page["entry"]) == 2
    assert len(rest["entry"]) == 2


async def test_refused(http: Http) -> None:
    for url in (
        "/Patient?_list=$current-alergies",
        "/Patient?_list=Patient/1",
        "/Patient?_list:not=l",
        "/Patient/_history?_list=$current-drug-allergies",
        "/Patient/_history?_list=Patient/1",
    ):
        answer = await http.get(url)
        assert answer.status_code == 400, url
        assert "_list" in answer.text or "allergies" in answer.text
