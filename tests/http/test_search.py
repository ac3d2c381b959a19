"""Search through the door: https://hl7.org/fhir/R4/search.html

What each parameter type matches is the matter of tests/unit/params and tests/db/search; here is what a
client sees: Bundles, links, paging under writers, includes, totals, handling.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
LOINC = "http://loinc.org"


async def put(http: Http, resource: dict[str, Any]) -> dict[str, Any]:
    response = await http.put(f"/{resource['resourceType']}/{resource['id']}", json=resource)
    assert response.status_code in (200, 201), response.text
    return response.json()


def observation(id_: str, patient: str, code: str, date: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": date,
        "valueQuantity": {"value": value, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"},
        **more,
    }


def ids(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    return [e["resource"]["id"] for e in bundle.get("entry", []) if e.get("search", {}).get("mode") == mode]


async def get(http: Http, url: str) -> dict[str, Any]:
    response = await http.get(url)
    assert response.status_code == 200, response.text
    return response.json()


async def pages(http: Http, url: str) -> list[list[str]]:
    found = []
    while url:
        bundle = await get(http, url)
        found.append(ids(bundle))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    for number, family in enumerate(["Müller", "Muller", "de la Cruz"]):
        await put(
            http,
            {
                "resourceType": "Patient",
                "id": f"p{number}",
                "identifier": [{"system": "http://mrn", "value": f"m{number}"}],
                "name": [{"family": family, "given": ["Ana", "María"]}],
                "birthDate": f"19{70 + number}-05-0{number + 1}",
                "active": number != 2,
            },
        )
    for number in range(40):
        await put(
            http,
            observation(
                f"o{number:02}",
                f"p{number % 2}",
                f"c{number % 4}",
                f"2024-01-{number % 28 + 1:02}",
                number / 2,
            ),
        )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Patient?family=muller", {"p0", "p1"}),
        ("Patient?family:exact=Muller", {"p1"}),
        ("Patient?name=cruz", {"p2"}),
        ("Patient?given=aria", set()),
        ("Patient?name:contains=cruz", {"p2"}),
        ("Patient?name=ana&active=true", {"p0", "p1"}),
        ("Patient?identifier=http://mrn|m1,m2", {"p1", "p2"}),
        ("Patient?identifier=http://mrn|", {"p0", "p1", "p2"}),
        ("Patient?birthdate=1971", {"p1"}),
        ("Patient?birthdate=ge1971-05-02&birthdate=lt1972-06", {"p1", "p2"}),
        ("Patient?active:not=true", {"p2"}),
        ("Patient?_id=p0,p2,nobody", {"p0", "p2"}),
        ("Patient?gender:missing=true", {"p0", "p1", "p2"}),
        ("Patient?gender:missing=false", set()),
        ("Observation?_id=o00&subject=Patient/p0", {"o00"}),
        ("Observation?patient=p0&code=c2&value-quantity=gt15", {"o34", "o38"}),
        ("Observation?subject:Patient.family=muller&code=c3&date=2024-01-04", {"o03", "o31"}),
        ("Observation?patient.identifier=http://mrn|m1&date=2024-01-02", {"o01", "o29"}),
        ("Observation?value-quantity=19500|http://unitsofmeasure.org|mg", {"o39"}),
        ("Observation?code-value-quantity=http://loinc.org|c3$gt17", {"o35", "o39"}),
        ("Patient?_has:Observation:patient:code=c1&_id=p0,p1", {"p1"}),
        ("Patient/p1/Observation?code=c1&date=ge2024-01-26", {"o25"}),
    ],
)
async def test_everyday_searches(http: Http, query: str, expected: set[str]) -> None:
    bundle = await get(http, f"/{query}")
    assert set(ids(bundle)) == expected
    assert bundle["total"] == len(expected)


async def test_sort_both_ways_with_ties_and_pages(http: Http) -> None:
    newest = [i for page in await pages(http, "/Observation?_sort=-date,_id&_count=7") for i in page]
    expected = sorted((f"o{n:02}" for n in range(40)), key=lambda i: (-(int(i[1:]) % 28), i))
    assert newest == expected
    oldest = [i for page in await pages(http, "/Observation?_sort=date,-_id&_count=9") for i in page]
    assert oldest == expected[::-1]


async def test_previous_leads_back(http: Http) -> None:
    first = await get(http, "/Observation?_sort=-date&_count=15")
    relation = {link["relation"]: link["url"] for link in first["link"]}
    assert set(relation) == {"self", "first", "next"} or set(relation) == {"self", "next"}
    second = await get(http, relation["next"])
    back = {link["relation"]: link["url"] for link in second["link"]}
    assert ids(await get(http, back["previous"])) == ids(first)
    assert ids(await get(http, back["first"])) == ids(first)
    assert second["total"] == first["total"] == 40


async def test_pages_are_the_snapshot_while_others_write(http: Http) -> None:
    before = {f"v{number:02}" for number in range(40)}
    for number, id_ in enumerate(sorted(before)):
        await put(http, observation(id_, "p0", "cv", f"2024-01-{number % 28 + 1:02}", number))
    first = await get(http, "/Observation?code=cv&_count=5")
    stop = asyncio.Event()

    async def writer(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await put(http, observation(f"w{number}-{turn}", "p0", "cv", "2025-01-01", turn))
            moved = observation(
                f"v{(turn * 7 + number) % 40:02}", "p1", "cw", f"2023-02-{turn % 28 + 1:02}", turn
            )
            await put(http, moved)
            await http.delete(f"/Observation/v{(turn * 11 + number) % 40:02}")

    writers = [asyncio.create_task(writer(number)) for number in range(3)]
    seen = ids(first)
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    for page in await pages(http, url):
        seen += page
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*writers)
    assert len(seen) == len(set(seen)), "nothing twice"
    assert set(seen) == before, "nothing missing, nothing new"


async def test_page_links_are_bound_and_signed(http: Http) -> None:
    first = await get(http, "/Patient?_count=1&_sort=_id")
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    cursor = parse_qs(urlsplit(url).query)["_cursor"][0]
    for other in (
        f"/Patient?_count=2&_sort=_id&_cursor={cursor}",
        f"/Observation?_count=1&_sort=_id&_cursor={cursor}",
        f"/Patient?_count=1&_sort=_id&_cursor={cursor[:-2]}AA",
        "/Patient?_cursor=garbage",
    ):
        response = await http.get(other)
        assert response.status_code == 400, other
        assert response.json()["resourceType"] == "OperationOutcome"


async def test_includes_come_once_and_are_marked(http: Http) -> None:
    bundle = await get(http, "/Observation?_id=o01,o03,o05&_include=Observation:subject")
    assert ids(bundle, "include") == ["p1"]
    bundle = await get(http, "/Patient?_id=p2&_revinclude=Observation:patient")
    assert ids(bundle, "include") == []
    await put(http, observation("only", "p2", "c7", "2024-03-01", 1))
    bundle = await get(
        http, "/Patient?_id=p2&_revinclude=Observation:patient&_include=Patient:general-practitioner"
    )
    assert (ids(bundle), ids(bundle, "include"), bundle["total"]) == (["p2"], ["only"], 1)


async def test_unknown_parameters_are_refused_or_reported(http: Http) -> None:
    response = await http.get("/Patient?famly=x")
    assert response.status_code == 400 and "family" in response.json()["issue"][0]["diagnostics"]
    lenient = await http.get("/Patient?famly=x&_id=p0", headers={"Prefer": "handling=lenient"})
    bundle = lenient.json()
    assert ids(bundle) == ["p0"]
    outcome = next(e for e in bundle["entry"] if e["search"]["mode"] == "outcome")
    assert "famly" in outcome["resource"]["issue"][0]["diagnostics"]
    assert "famly" not in bundle["link"][0]["url"]
    for prefer in ("", "handling=lenient"):
        modifier = await http.get("/Patient?birthdate:exact=1970", headers={"Prefer": prefer})
        assert modifier.status_code == 400, "R4: an unsupported modifier SHALL be refused"


async def test_post_search_is_the_same(http: Http) -> None:
    by_get = await get(http, "/Patient?family=muller&_sort=_id")
    by_post = (await http.post("/Patient/_search?_sort=_id", data={"family": "muller"})).json()
    assert ids(by_post) == ids(by_get) == ["p0", "p1"]
    assert "/Patient?" in by_post["link"][0]["url"]


async def test_totals_and_counts(http: Http) -> None:
    assert (await get(http, "/Patient?_summary=count")) == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 3,
        "link": [{"relation": "self", "url": "http://test/fhir/Patient?_summary=count"}],
    }
    assert (await get(http, "/Patient?_count=0"))["total"] == 3
    assert "total" not in await get(http, "/Patient?_total=none&_count=1")
    assert (await get(http, "/Patient?_total=accurate&_count=1"))["total"] == 3
    assert (await get(http, "/Patient?_total=estimate&_count=1"))["total"] >= 1


async def test_deleted_resources_are_not_found(http: Http) -> None:
    await put(http, {"resourceType": "Patient", "id": "gone", "name": [{"family": "Vanished"}]})
    assert ids(await get(http, "/Patient?family=vanished")) == ["gone"]
    await http.delete("/Patient/gone")
    assert ids(await get(http, "/Patient?family=vanished")) == []
    assert ids(await get(http, "/Patient?_id=gone")) == []


async def test_system_and_compartment_search(http: Http) -> None:
    bundle = await get(http, "/?_type=Patient,Observation&_id=p0,o02")
    assert sorted(ids(bundle)) in (["o02", "p0"], ["p0"])
    assert ids(await get(http, "/?_id=p0")) == ["p0"]
    await put(http, observation("only", "p2", "c7", "2024-03-01", 1))
    everything = await get(http, "/Patient/p2/*")
    assert "only" in ids(everything)
    assert (await http.get("/Location/1/Observation")).status_code == 404


async def test_what_is_referred_to_is_searched_for_across_all_types(http: Http) -> None:
    """R4 gives `_has` to every type: https://hl7.org/fhir/R4/search.html#all"""
    given = {"resourceType": "List", "id": "referring", "status": "current", "mode": "working"}
    items = ["Patient/p1", "Observation/o01"]
    await put(http, given | {"entry": [{"item": {"reference": item}} for item in items]})
    url = "/?_has:List:item:_id=referring"
    assert sorted(ids(await get(http, url))) == ["o01", "p1"]
    assert sorted(await pages(http, f"{url}&_count=1")) == [["o01"], ["p1"]]
    refused = await http.get("/?_has:Observation:patient:status=final")
    assert refused.status_code == 400 and "refers to Patient, not to Account" in refused.text


async def test_a_search_of_everything_pages_like_any_other(http: Http) -> None:
    found = await pages(http, "/?_count=9&_sort=_id&_lastUpdated=ge2020")
    flat = [i for page in found for i in page]
    assert {"o00", "o01", "p0", "p1", "p2"} <= set(flat)
    assert flat == sorted(flat)
    assert all(len(page) == 9 for page in found[:-1])
    bundle = await get(http, "/?_id=o01,p1,nobody&_sort=_id")
    assert (ids(bundle), bundle["total"]) == (["o01", "p1"], 2)
    assert ids(await get(http, "/?_id=nobody")) == []
    refused = await http.get("/?birthdate=2020")
    assert refused.status_code == 400 and "_type=" in refused.text


async def test_links_say_what_was_used(http: Http) -> None:
    bundle = await get(http, "/Patient?_count=5000&family=&_id=p0")
    assert [link["url"] for link in bundle["link"]] == ["http://test/fhir/Patient?_id=p0&_count=1000"]


async def test_links_lead_to_the_form_asked_for(http: Http) -> None:
    """A browser, or a client without an Accept header, stays with `_format` on the pages that follow."""
    url = "/Observation?_count=1&_format=json&_pretty=true"
    while url:
        links = {link["relation"]: link["url"] for link in (await get(http, url))["link"]}
        for link in links.values():
            assert (
                parse_qs(urlsplit(link).query).items() >= {"_format": ["json"], "_pretty": ["true"]}.items()
            )
        url = links.get("next", "")
    plus = await http.get("/Observation?_summary=count&_format=application/fhir%2Bxml")
    assert "Observation?_summary=count&amp;_format=application/fhir%2Bxml" in plus.text
    form = await http.post("/Observation/_search", data={"_format": "xml", "_count": "1"})
    assert "/Observation?_count=1&amp;_format=xml&amp;_cursor=" in form.text


async def test_a_summary_without_a_value_is_left_out(http: Http) -> None:
    found, whole = await get(http, "/Observation?_summary="), await get(http, "/Observation")
    assert found["entry"] == whole["entry"] and found["link"][0] == whole["link"][0]


async def test_an_unknown_query_is_refused_whatever_the_handling(http: Http) -> None:
    answer = await http.get("/Patient?_query=nothing", headers={"Prefer": "handling=lenient"})
    assert answer.status_code == 400


async def test_the_pages_of_a_long_form_can_be_fetched(http: Http) -> None:
    wanted = ",".join(["p0", "p1", "p2", *(f"x{number:060}" for number in range(300))])
    first = (await http.post("/Patient/_search", data={"_id": wanted, "_count": "1", "_sort": "_id"})).json()
    assert ids(first) == ["p0"]
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    assert len(url) > 8192
    assert await pages(http, url) == [["p1"], ["p2"]]
