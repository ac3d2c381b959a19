"""Chains, includes and sorts through the door: https://hl7.org/fhir/R4/search.html#chaining, #revinclude

What they find is the matter of tests/db/search/test_graph.py; here is what a client sees of it.
"""

from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def observation(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": {"text": "x"}, **more}


RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Ruiz"}], "identifier": [{"value": "m1"}]},
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Abel"}], "birthDate": "1980"},
    {"resourceType": "Location", "id": "w", "name": "Ward"},
    *(
        observation(
            f"o{number}",
            subject={"reference": f"Patient/p{number % 2 + 1}"},
            hasMember=[{"reference": f"Observation/o{number - 1}"}] if number else [],
        )
        for number in range(8)
    ),
    {
        "resourceType": "Provenance",
        "id": "v",
        "target": [{"reference": "Observation/o7/_history/1"}, {"reference": "Patient/p1"}],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Patient/p2"}}],
    },
    {"resourceType": "Questionnaire", "id": "q1", "status": "active", "url": "http://q", "version": "1"},
    {"resourceType": "Questionnaire", "id": "q2", "status": "draft", "url": "http://q", "version": "2"},
    {
        "resourceType": "QuestionnaireResponse",
        "id": "r1",
        "status": "completed",
        "questionnaire": "http://q|1",
    },
    {"resourceType": "QuestionnaireResponse", "id": "r", "status": "completed", "questionnaire": "http://q"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    for resource in RESOURCES:
        content = {key: value for key, value in resource.items() if value != []}
        response = await http.put(f"/{resource['resourceType']}/{resource['id']}", json=content)
        assert response.status_code == 201, response.text


async def get(http: Http, url: str) -> dict[str, Any]:
    response = await http.get(url)
    assert response.status_code == 200, response.text
    return response.json()


def paths(bundle: dict[str, Any], mode: str = "match") -> list[str]:
    found = [one for one in bundle.get("entry", []) if one["search"]["mode"] == mode]
    return [f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in found]


def ids(bundle: dict[str, Any]) -> str:
    return " ".join(sorted(path.partition("/")[2] for path in paths(bundle)))


def remarks(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (issue["code"], issue["diagnostics"])
        for entry in bundle.get("entry", [])
        if entry["search"]["mode"] == "outcome"
        for issue in entry["resource"]["issue"]
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/Observation?subject.name=ruiz&_id=o0,o1", "o0"),
        ("/Observation?subject:Patient.identifier=m1&_id=o0,o1", "o0"),
        ("/Provenance?target.name=ruiz", "v"),
        ("/Provenance?target.status=final", "v"),
        ("/Provenance?target.subject.family=abel", "v"),
        ("/Provenance?target.patient:missing=true", ""),
        ("/Patient?_has:Observation:subject:_has:Provenance:target:agent.family=abel", "p2"),
        ("/Location?_has:Observation:subject:status=final", ""),
        (
            "/QuestionnaireResponse?questionnaire.version=1",
            "r r1",
        ),
        ("/QuestionnaireResponse?questionnaire.version=2", "r"),
        (
            "/QuestionnaireResponse?questionnaire=http://q",
            "r r1",
        ),
        ("/QuestionnaireResponse?questionnaire=http://q|1", "r1"),
        ("/Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=r1", "q1"),
        (
            "/Questionnaire?_has:QuestionnaireResponse:questionnaire:_id=r",
            "q1 q2",
        ),
    ],
)
async def test_chains(http: Http, url: str, expected: str) -> None:
    assert ids(await get(http, url)) == expected
    path, _, query = url.partition("?")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await http.post(f"{path}/_search", content=query, headers=headers)
    assert ids(response.json()) == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/Observation?subject:identifier.name=x", "leads to no resource"),
        ("/Observation?code.name=x", "leads nowhere"),
        ("/Observation?subject.nonsense=x", "no type that 'subject' of Observation refers to"),
        ("/Provenance?target.identifer=x", "identifier"),
        ("/Observation?subject:Practitioner.name=x", "refers to Device, Group, Location, Patient"),
        ("/Observation?subject.subject.subject.subject.name=x", "'subject'"),
        ("/Observation?has-member.has-member.has-member.has-member.code=x", "at most 3 links"),
        ("/Observation?_sort=subject.name.x", "one step"),
        ("/Observation?_sort=code-value-quantity", "composite"),
        ("/Observation?_include:every=Observation:subject", ":iterate"),
    ],
)
async def test_what_is_not_defined_is_refused_with_what_would_be(http: Http, url: str, text: str) -> None:
    response = await http.get(url)
    assert response.status_code == 400
    assert text in response.json()["issue"][0]["diagnostics"]


async def test_a_chain_over_a_reference_to_a_version_says_which_it_looked_at(http: Http) -> None:
    """https://hl7.org/fhir/R4/search.html#versions"""
    assert remarks(await get(http, "/Provenance?target:Observation.status=final")) == [
        ("not-supported", "'target' names a version in Provenance/v; the search looked at the current one")
    ]
    assert remarks(await get(http, "/Provenance?agent:Patient.family=abel")) == []


async def test_includes_are_marked_and_come_once(http: Http) -> None:
    bundle = await get(
        http,
        "/Observation?_id=o7&_include:iterate=Observation:has-member&_include:iterate=Observation:subject",
    )
    assert paths(bundle) == ["Observation/o7"]
    found = paths(bundle, "include")
    assert len(found) == len(set(found))
    assert set(found) == {*(f"Observation/o{number}" for number in range(2, 7)), "Patient/p1", "Patient/p2"}
    assert remarks(bundle) == [("too-costly", "includes were followed for 5 rounds; there may be more")]
    assert bundle["total"] == 1
    bundle = await get(http, "/Patient?_id=p2&_revinclude=*")
    assert set(paths(bundle, "include")) == {*(f"Observation/o{n}" for n in (1, 3, 5, 7)), "Provenance/v"}
    bundle = await get(http, "/QuestionnaireResponse?_id=r1&_include=QuestionnaireResponse:questionnaire")
    assert paths(bundle, "include") == ["Questionnaire/q1"]
    bundle = await get(http, "/Questionnaire?_id=q1&_revinclude=QuestionnaireResponse:*")
    assert set(paths(bundle, "include")) == {"QuestionnaireResponse/r1", "QuestionnaireResponse/r"}


async def test_every_page_has_its_own_includes(http: Http) -> None:
    """https://hl7.org/fhir/R4/search.html#Paging"""
    url = "/Observation?_count=3&_sort=patient.family,_id&_include=Observation:subject"
    matches: list[str] = []
    included: list[list[str]] = []
    while url:
        bundle = await get(http, url)
        matches += paths(bundle)
        included.append(paths(bundle, "include"))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
    assert matches == [f"Observation/o{number}" for number in (1, 3, 5, 7, 0, 2, 4, 6)]
    assert included == [["Patient/p2"], ["Patient/p1", "Patient/p2"], ["Patient/p1"]]


async def test_statements(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for the page, one for each round of includes; one more for what may lead to any type."""
    statements: list[str] = []
    for name in ("fetch", "fetchval"):
        method = getattr(asyncpg.Connection, name)

        async def counted(self: Any, query: str, *args: Any, method: Any = method, **more: Any) -> Any:
            statements.append(query)
            return await method(self, query, *args, **more)

        monkeypatch.setattr(asyncpg.Connection, name, counted)
    for url, expected in (
        ("/Observation?subject.name=ruiz&_sort=patient.family", 1),
        ("/Patient?_has:Observation:subject:_has:Provenance:target:agent.family=abel", 1),
        ("/Provenance?target.identifier=m1", 2),
        ("/Observation?_id=o7&_include=Observation:subject&_include=Observation:has-member", 2),
        ("/Observation?_id=o3&_include:iterate=Observation:has-member", 4),
        ("/Observation?_id=o0&_include:iterate=Observation:has-member", 1),
        ("/Patient?_id=p1&_revinclude=*", 3),
    ):
        statements.clear()
        await get(http, url)
        assert len(statements) == expected, (url, statements)


async def test_rounds_are_a_setting(database: str) -> None:
    async with serving(database, include_iterate_max=2) as http:
        bundle = await get(http, "/Observation?_id=o7&_include:iterate=Observation:has-member")
        assert set(paths(bundle, "include")) == {"Observation/o6", "Observation/o5"}
        assert "2 rounds" in remarks(bundle)[0][1]
