"""$explain through the door: what is said of a search, and to whom."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.callers import granted
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}
OBSERVED = "Observation/$explain?code=8480-6&value-quantity=gt140&status=final&_sort=-date&_count=5"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database) as client:
        await client.put("/Patient/anna", json={"resourceType": "Patient", "id": "anna"})
        for value in (100, 150, 200):
            await client.post("/Observation", json=observation(value))
        yield client


def observation(value: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "subject": {"reference": "Patient/anna"},
        "effectiveDateTime": "2024-05-01",
        "valueQuantity": {"value": value},
    }


def said(response: httpx.Response) -> dict[str, list[Any]]:
    """The parts of the answer, by name."""
    assert response.status_code == 200, response.text
    found: dict[str, list[Any]] = {}
    for part in response.json()["parameter"]:
        value = next(value for key, value in part.items() if key.startswith("value"))
        found.setdefault(part["name"], []).append(value)
    return found


async def test_a_search_is_told_from_its_parameters_to_its_rows(http: httpx.AsyncClient) -> None:
    told = said(await http.get(OBSERVED))
    (link,) = told["search"]
    assert "/Observation?" in link and "$explain" not in link
    assert len(told["condition"]) == 3
    assert any(one.startswith("Clause(param=code") and "TokenValue" in one for one in told["condition"])
    assert told["rows"] == [2]
    assert told["read"][0] >= 2
    assert told["milliseconds"][0] > 0
    (plan,), (text,) = told["plan"], told["sql"]
    assert "resource_observation" in plan and text.startswith("SELECT") and "$1" in text
    assert len(told["argument"]) == max(n for n in range(200) if f"${n}" in text)


async def test_the_way_follows_from_what_is_asked(http: httpx.AsyncClient) -> None:
    async def way(search: str) -> str:
        return said(await http.get(f"Observation/$explain?{search}"))["strategy"][0]

    assert "known to be few: patient" in await way("patient=anna")
    assert "known to be few: patient code" in await way("patient=anna&code=8480-6")
    assert "known to be few: id" in await way("_id=x&status=final")
    assert "composite" in await way("code=8480-6&value-quantity=gt5&_sort=-date")
    assert "words" in await way("status=final")
    assert "reads qty" in await way("_sort=value-quantity")
    assert "counts what follows from: token" in await way("code=8480-6&_summary=count")


async def test_it_is_the_search_that_would_run(http: httpx.AsyncClient) -> None:
    """Everything that is refused of the search is refused of its explanation, form and URL are alike."""
    by_get = said(await http.get(OBSERVED))
    path, _, text = OBSERVED.partition("?")
    by_form = said(
        await http.post(path, content=text, headers={"Content-Type": "application/x-www-form-urlencoded"})
    )
    assert by_get["search"] == by_form["search"] and by_get["sql"] == by_form["sql"]
    for url, status in (
        ("Observation/$explain?cod=1", 400),
        ("Observation/$explain?code:nope=1", 400),
        ("Observation/$explain?date=ge2020-13", 400),
        ("Nothing/$explain?code=1", 404),
        ("$explain?_type=Patient", 404),
        ("Observation/1/$explain", 404),
    ):
        assert (await http.get(url)).status_code == status, url
    search = {"resourceType": "Parameters", "parameter": [{"name": "code", "valueString": "1"}]}
    assert (await http.post("Observation/$explain", json=search)).status_code == 400
    assert (await http.get("Observation/$explain?_asOf=2999-01-01T00:00:00Z")).status_code == 400


async def test_what_stands_for_others_is_explained_by_what_it_stands_for(http: httpx.AsyncClient) -> None:
    values = "http://hl7.org/fhir/ValueSet/observation-status"
    told = said(await http.get(f"Observation/$explain?status:in={values}"))
    assert "code='final'" in told["condition"][0] and "observation-status" in told["condition"][0]
    assert told["rows"] == [3]


async def test_contained_resources_are_explained(http: httpx.AsyncClient) -> None:
    inner = {"resourceType": "Patient", "id": "inner", "birthDate": "1970"}
    container = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "contained": [inner]}
    assert (await http.put("/Basic/b", json=container)).status_code == 201
    for kind in ("container", "contained"):
        search = f"birthdate=1970&_contained=true&_containedType={kind}"
        told = said(await http.get(f"Patient/$explain?{search}"))
        assert told["rows"] == [1]
        assert "contained" in told["sql"][0]
        assert told["strategy"] == ["sorts all that follows from: range"]
        assert said(await http.get(f"Patient/$explain?{search}&_summary=count"))["rows"] == [1]


async def test_a_page_is_not_explained(http: httpx.AsyncClient) -> None:
    page = (await http.get("Observation?_count=1")).json()
    link = next(one["url"] for one in page["link"] if one["relation"] == "next")
    assert (await http.get(link.replace("/Observation?", "/Observation/$explain?"))).status_code == 400


async def test_it_is_announced(http: httpx.AsyncClient) -> None:
    rest = (await http.get("metadata")).json()["rest"][0]
    described = next(one for one in rest["resource"] if one["type"] == "Observation")
    assert "explain" in [one["name"] for one in described["operation"]]
    definition = (await http.get("OperationDefinition/explain")).json()
    assert {one["use"] for one in definition["parameter"]} == {"out"}


async def test_it_is_for_administrators_who_see_everything(database: str) -> None:
    """The rows that were read are counted, hidden ones among them."""
    async with serving(database, auth="smart") as http:

        async def status(*scopes: str, **claims: Any) -> int:
            who = await granted(database, *scopes, **claims)
            return (await http.get(OBSERVED, headers=who.headers)).status_code

        assert (await http.get(OBSERVED)).status_code == 401
        assert await status("user/*.cruds", **ADMIN) == 200
        assert await status("user/*.rs", **ADMIN) == 200
        for target in (
            "AuditEvent/$explain?date=ge2020",
            "Patient/$explain?_has:AuditEvent:patient:action=R",
        ):
            who = await granted(database, "user/*.cruds", **ADMIN)
            assert (await http.get(target, headers=who.headers)).status_code == 403, "no * is about these"
        assert await status("user/*.r", **ADMIN) == 403
        assert await status("user/Observation.rs", **ADMIN) == 403
        assert await status("user/*.rs?_security=N", **ADMIN) in (400, 403)
        assert await status("patient/*.rs", **ADMIN, patient="anna") == 403
        assert await status("user/*.cruds", user=("Practitioner", "d"), roles=("practitioner",)) == 403
        assert await status("system/*.cruds") == 403
