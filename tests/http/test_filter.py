"""`_filter`, and searches of compartments, by GET and by form, as clients send them.

https://hl7.org/fhir/R4/search_filter.html, https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import pytest_asyncio

from tests.http.support import Resource, observation, put

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True, name="stored")
async def _stored(http: Http) -> None:
    for number, family in enumerate(("Chalmers", "Windsor", "Notsowell")):
        name = [{"family": family, "given": ["Peter", "James"]}]
        born = f"{1970 + number * 10}-03-01"
        await put(http, {"resourceType": "Patient", "id": f"p{number}", "name": name, "birthDate": born})
        await put(http, observation(f"Patient/p{number}", id=f"o{number}"))


async def ids(http: Http, url: str, form: dict[str, str] | None = None) -> list[str]:
    answer = await (http.get(url) if form is None else http.post(url, data=form))
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


TEXT = 'given eq "peter" and (birthdate ge 1975 or family sw "chal")'


async def test_by_get_and_by_form(http: Http) -> None:
    assert sorted(await ids(http, f"/Patient?_filter={quote(TEXT)}")) == ["p0", "p1", "p2"]
    assert sorted(await ids(http, "/Patient/_search", {"_filter": TEXT})) == ["p0", "p1", "p2"]
    form = {"_filter": TEXT, "birthdate": "lt1985", "_sort": "birthdate"}
    assert await ids(http, "/Patient/_search", form) == ["p0", "p1"]
    chained = quote('patient[birthdate lt 1985].family co "sor"')
    assert await ids(http, f"/Observation?_filter={chained}") == ["o1"]


async def test_the_self_link_repeats_it_and_pages_go_on(http: Http) -> None:
    answer = (await http.get(f"/Patient?_filter={quote(TEXT)}&_count=2&_sort=_id")).json()
    links = {link["relation"]: link["url"] for link in answer["link"]}
    assert parse_qs(urlsplit(links["self"]).query)["_filter"] == [TEXT]
    assert answer["total"] == 3
    assert await ids(http, links["next"]) == ["p2"]


async def test_a_mistake_is_shown_where_it_is(http: Http) -> None:
    answer = await http.get("/Patient?_filter=" + quote("name co x and famly eq y"))
    assert answer.status_code == 400
    (issue,) = answer.json()["issue"]
    assert issue["code"] == "not-supported"
    assert issue["diagnostics"] == (
        "_filter, character 15: Patient has no search parameter 'famly'; alike: family"
    )
    answer = await http.get("/Patient?_filter=" + quote('name = "x"'))
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["diagnostics"].startswith("_filter, character 6: expected one of eq, ne")


@pytest.mark.parametrize("character", ["%00", "%EF%BF%BE", "%F0%9F%98%80"])
async def test_any_character_is_read_or_refused(http: Http, character: str) -> None:
    for text in (f"name%20eq%20{character}", f"name%20eq%20%22{character}%22", f"{character}%20eq%20x"):
        answer = await http.get(f"/Patient?_filter={text}")
        assert answer.status_code in (200, 400), text


async def test_criteria_of_a_conditional_create(http: Http) -> None:
    criteria = 'family eq "chalmers" and not (birthdate lt 1960)'
    resource: Resource = {"resourceType": "Patient"}
    answer = await http.post(
        "/Patient", json=resource, headers={"If-None-Exist": f"_filter={quote(criteria)}"}
    )
    assert answer.status_code == 200
    assert answer.json()["id"] == "p0"


@pytest.mark.parametrize(
    ("path", "form", "wanted"),
    [
        ("/Patient/p0/Observation", {}, ["o0"]),
        ("/Patient/p0/*", {}, ["o0", "p0"]),
        ("/Patient/p0/*", {"_type": "Observation"}, ["o0"]),
        ("/Patient/p0/*", {"_filter": "_id ne o0"}, ["p0"]),
        ("/Patient/p0/Observation", {"_filter": "status eq final and patient.family eq windsor"}, []),
        ("/Patient/p0/Patient", {}, ["p0"]),
        ("/Device/p0/Observation", {}, []),
    ],
)
async def test_compartments(http: Http, path: str, form: dict[str, str], wanted: list[str]) -> None:
    query = "&".join(f"{name}={quote(value)}" for name, value in form.items())
    assert sorted(await ids(http, f"{path}?{query}")) == wanted
    posted = path.replace("/*", "") + "/_search"
    assert sorted(await ids(http, posted, form)) == wanted


async def test_a_named_query_is_refused_by_its_name(http: Http) -> None:
    for prefer in ("strict", "lenient"):
        answer = await http.get("/Patient?_query=current-high-risk", headers={"Prefer": f"handling={prefer}"})
        assert answer.status_code == 400
        assert "'current-high-risk'" in answer.json()["issue"][0]["diagnostics"]
