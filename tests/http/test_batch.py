"""batch through the door: https://hl7.org/fhir/R4/http.html#brules"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.support import (
    Entry,
    bundle,
    created,
    criteria,
    entry,
    found,
    json_patch,
    observation,
    path_of,
    patient,
    put,
    read,
    send,
    statuses,
    versions,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def key() -> str:
    return uuid4().hex


async def batch(http: Http, *entries: Entry, **headers: str) -> list[Entry]:
    response = await send(http, "batch", *entries, **headers)
    assert response.status_code == 200, response.text
    assert response.json()["type"] == "batch-response"
    return response.json().get("entry", [])


async def test_an_empty_batch_is_answered_by_an_empty_bundle(http: Http) -> None:
    assert await batch(http) == []


async def test_every_entry_has_its_own_outcome(http: Http) -> None:
    id_, mark = key(), key()
    await put(http, patient(id_, id=id_))
    answers = await batch(
        http,
        entry("GET", f"Patient/{id_}"),
        entry("POST", "Patient", patient(mark)),
        entry("POST", "Patient", patient(gender="nonsense")),
        entry("GET", "Patient/none"),
        entry("PUT", f"Patient/{id_}", patient(id="other")),
        {"resource": patient()},
        entry("DELETE", "Patient/none"),
        entry("PATCH", f"Patient/{id_}", json_patch({"op": "add", "path": "/active", "value": True})),
        entry("GET", "Patient?nonsense=1"),
        entry("PUT", f"Patient/{id_}", patient(id_, id=id_), ifMatch='W/"9"'),
        entry("GET", f"Patient/{id_}", ifNoneMatch='W/"2"'),
        entry("HEAD", f"Patient/{id_}"),
        entry("POST", "Patient", patient(mark), ifNoneExist=criteria(mark)),
        entry("POST", "/", bundle("batch", [])),
        entry("DELETE", "Patient/1/_history/1"),
        entry("GET", "http://elsewhere.org/fhir/Patient/1"),
    )
    assert statuses(answers) == [
        *(200, 201, 400, 404, 400, 400, 204, 200, 400, 412, 304, 200, 200, 400, 405, 400)
    ]
    assert answers[0]["resource"]["active"] is True, "in the order of a transaction, reads come last"
    assert await read(http, path_of(answers[1])) == (await found(http, f"Patient?{criteria(mark)}"))[0]
    assert path_of(answers[12]) == path_of(answers[1])
    for place, expression in ((2, ".resource.gender"), (3, ""), (4, ".resource.id"), (5, ".request")):
        outcome = answers[place]["response"]["outcome"]
        assert outcome["resourceType"] == "OperationOutcome"
        assert outcome["issue"][0]["expression"] == [f"Bundle.entry[{place}]{expression}"]
    assert answers[9]["response"]["etag"] == 'W/"2"', "what If-Match should have been"
    assert "resource" not in answers[11]
    assert all("response" in answer for answer in answers)


@settings(max_examples=20, deadline=None)
@given(
    kinds=st.lists(
        st.sampled_from(["create", "invalid", "update", "stale", "delete", "patch", "missing"]),
        min_size=1,
        max_size=12,
    )
)
async def test_a_failure_changes_nothing_about_the_others(http: Http, kinds: Sequence[str]) -> None:
    """Each entry of a mixture does what it does alone, whatever stands beside it."""
    marks = [key() for _ in kinds]
    for mark in marks:
        await put(http, patient(mark, id=mark))

    def made(kind: str, mark: str) -> tuple[Entry, int, str]:
        """The entry, its status and the version that its resource has afterwards (- if it is deleted)."""
        url, changed = f"Patient/{mark}", patient(mark, id=mark, active=True)
        match kind:
            case "create":
                return entry("POST", "Observation", observation(identifier=[{"value": mark}])), 201, "1"
            case "invalid":
                return entry("PUT", url, {**changed, "gender": 5}), 400, "1"
            case "update":
                return entry("PUT", url, changed, ifMatch='W/"1"'), 200, "2"
            case "stale":
                return entry("PUT", url, changed, ifMatch='W/"2"'), 412, "1"
            case "delete":
                return entry("DELETE", url), 204, "-"
            case "patch":
                return (
                    entry("PATCH", url, json_patch({"op": "add", "path": "/active", "value": True})),
                    200,
                    "2",
                )
            case _:
                return entry("GET", f"Patient/{mark}-none"), 404, "1"

    wanted = [made(kind, mark) for kind, mark in zip(kinds, marks, strict=True)]
    answers = await batch(http, *(one for one, _, _ in wanted))
    assert statuses(answers) == [status for _, status, _ in wanted]
    for kind, mark, (_, _, version) in zip(kinds, marks, wanted, strict=True):
        response = await http.get(f"/Patient/{mark}")
        assert response.status_code == (410 if version == "-" else 200)
        if version != "-":
            assert response.headers["etag"] == f'W/"{version}"'
        assert len(await found(http, f"Observation?identifier={mark}")) == (kind == "create")


async def test_prefer_holds_for_each_entry(http: Http) -> None:
    answers = await batch(
        http,
        entry("POST", "Patient", patient()),
        entry("GET", "Patient?nonsense=1&_count=1"),
        Prefer="return=representation, handling=lenient",
    )
    assert statuses(answers) == [201, 200]
    assert answers[0]["resource"]["resourceType"] == "Patient"
    assert "nonsense" in answers[1]["resource"]["entry"][-1]["resource"]["issue"][0]["diagnostics"]


async def test_conditions_are_strict_even_under_lenient_handling(http: Http) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_))
    answers = await batch(
        http,
        entry("DELETE", f"Patient?{criteria(id_)}&nonsense=1"),
        entry("POST", "Patient", patient(), ifNoneExist=f"{criteria(id_)}&nonsense=1"),
        entry("PUT", f"Patient?{criteria(id_)}&nonsense=1", patient()),
        entry("PATCH", f"Patient?{criteria(id_)}&nonsense=1", json_patch()),
        Prefer="handling=lenient",
    )
    assert statuses(answers) == [400, 400, 400, 400]
    assert len(await versions(http, f"Patient/{id_}")) == 1


async def test_entries_cannot_refer_to_what_the_batch_creates(http: Http) -> None:
    """Non-conformant by #brules; storing the reference would leave it dangling."""
    id_ = key()
    answers = await batch(
        http,
        entry("POST", "Patient", patient(), "urn:uuid:p"),
        entry("POST", "Observation", observation("urn:uuid:p"), "urn:uuid:o"),
        entry("PUT", f"Patient/{id_}", patient(id=id_), f"http://test/fhir/Patient/{id_}"),
        entry("POST", "Observation", observation(f"Patient/{id_}")),
        entry("POST", "Observation", observation("urn:uuid:elsewhere")),
        entry("POST", "Observation", observation("Patient?identifier=1")),
        entry(
            "POST",
            "Group",
            {
                "resourceType": "Group",
                "type": "person",
                "actual": True,
                "member": [{"entity": {"reference": "urn:uuid:g"}}],
            },
            "urn:uuid:g",
        ),
    )
    assert statuses(answers) == [201, 400, 201, 201, 201, 400, 201]
    issue = answers[1]["response"]["outcome"]["issue"][0]
    assert issue["expression"] == ["Bundle.entry[1].resource.subject.reference"]
    assert "transaction" in issue["diagnostics"]


async def test_too_many_entries_are_refused_as_a_whole(database: str) -> None:
    async with serving(database, entries_max=3) as http:
        mark = key()
        response = await send(http, "batch", *[entry("POST", "Patient", patient(mark))] * 4)
        assert response.status_code == 413
        assert await found(http, f"Patient?{criteria(mark)}") == []


async def test_what_the_database_refuses_costs_one_entry_only(database: str) -> None:
    """An entry that waits too long for a lock fails; those before and after it are done."""
    async with serving(database, statement_timeout_s=0.4) as http:
        held = await created(http, patient())
        connection = await asyncpg.connect(database)
        try:
            async with connection.transaction():
                await connection.execute("SELECT FROM resource_patient WHERE id = $1 FOR UPDATE", held["id"])
                answers = await batch(
                    http,
                    entry("PUT", f"Patient/{held['id']}", patient(id=held["id"], active=True)),
                    entry("POST", "Patient", patient()),
                    entry("GET", f"Patient/{held['id']}"),
                )
        finally:
            await connection.close()
        assert statuses(answers) == [503, 201, 200]
        issue: dict[str, Any] = answers[0]["response"]["outcome"]["issue"][0]
        assert issue["code"] == "transient" and issue["expression"] == ["Bundle.entry[0]"]


async def test_an_entry_that_is_no_resource_fails_alone(http: Http) -> None:
    urn = "urn:uuid:6a8c1c5e-6f0e-4e4e-9a55-0f6f3f8f1d11"
    made = {
        "resource": {"resourceType": "Patient"},
        "fullUrl": urn,
        "request": {"method": "POST", "url": "Patient"},
    }
    odd = {"resource": {"subject": {"reference": urn}}, "request": {"method": "POST", "url": "Observation"}}
    response = await http.post("", json={"resourceType": "Bundle", "type": "batch", "entry": [made, odd]})
    assert response.status_code == 200
    assert [entry["response"]["status"][:3] for entry in response.json()["entry"]] == ["201", "400"]


async def test_every_entry_says_how_much_of_resources_it_wants(http: Http) -> None:
    """https://hl7.org/fhir/R4/search.html#summary, #elements"""
    id_ = key()
    await put(http, patient(id_, id=id_, contact=[{"gender": "female"}], gender="male"))
    answers = await batch(
        http,
        entry("GET", f"Patient/{id_}?_summary=true"),
        entry("GET", f"Patient?_id={id_}&_elements=gender"),
        entry("GET", f"Patient/{id_}"),
        entry("GET", f"Patient/{id_}?_summary=some"),
        entry("GET", f"Patient/{id_}?_elements=nothing"),
    )
    assert statuses(answers) == [200, 200, 200, 400, 400]
    summary, (match,), whole = answers[0]["resource"], answers[1]["resource"]["entry"], answers[2]["resource"]
    assert whole.keys() - summary.keys() == {"contact"}
    assert match["resource"].keys() == {"resourceType", "id", "meta", "gender"}
    for part in (summary, match["resource"]):
        assert [tag["code"] for tag in part["meta"]["tag"]] == ["SUBSETTED"]
    assert "tag" not in whole["meta"]
