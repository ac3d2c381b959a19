"""transaction through the door: https://hl7.org/fhir/R4/http.html#trules

References between entries have a module of their own, and so has what happens under concurrency.
"""

import itertools
import random
from typing import Any
from uuid import uuid4

import httpx
import pytest

from fhirserver.fhir import xml
from fhirserver.fhir.validate import issues
from tests.http.support import (
    SYSTEM,
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
    refused,
    resources,
    send,
    statuses,
    transact,
    versions,
)
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def key() -> str:
    """A value that no other test uses."""
    return uuid4().hex


# -- the answer


async def test_an_empty_transaction_is_answered_by_an_empty_bundle(http: Http) -> None:
    response = await send(http, "transaction")
    assert (response.status_code, response.json()) == (
        200,
        {"resourceType": "Bundle", "type": "transaction-response"},
    )


async def test_each_entry_is_answered_in_its_place(http: Http) -> None:
    mine, gone, kept = key(), key(), key()
    await put(http, patient(id=gone))
    before = await put(http, patient(mine, id=mine))
    await put(http, patient(id=kept))
    answers = await transact(
        http,
        entry("GET", f"Patient/{kept}"),
        entry("PUT", f"Patient/{mine}", patient(mine, id=mine, active=True)),
        entry("POST", "Observation", observation()),
        entry("DELETE", f"Patient/{gone}"),
        entry("PATCH", f"Patient/{kept}", json_patch({"op": "add", "path": "/gender", "value": "male"})),
        entry("HEAD", f"Patient/{kept}"),
        entry("GET", f"Patient?{criteria(mine)}"),
    )
    assert statuses(answers) == [200, 200, 201, 204, 200, 200, 200]
    made = answers[2]
    assert made["response"]["location"] == f"http://test/fhir/{path_of(made)}/_history/1"
    assert made["response"]["etag"] == 'W/"1"'
    assert made["fullUrl"] == f"http://test/fhir/{path_of(made)}"
    assert "resource" not in made
    stored = await read(http, path_of(made))
    assert made["response"]["lastModified"] == stored["meta"]["lastUpdated"]
    assert answers[1]["response"]["location"] == f"http://test/fhir/Patient/{mine}/_history/2"
    assert answers[1]["response"]["lastModified"] > before["meta"]["lastUpdated"]
    assert answers[3]["response"]["etag"] == 'W/"2"' and "location" not in answers[3]["response"]
    assert answers[0]["resource"]["gender"] == "male", "reads come after writes"
    assert answers[0]["response"]["etag"] == 'W/"2"'
    assert "resource" not in answers[5] and answers[5]["response"]["etag"] == 'W/"2"'
    assert [e["resource"]["active"] for e in answers[6]["resource"]["entry"]] == [True]
    instants = {answers[i]["response"]["lastModified"] for i in (1, 2, 4)}
    assert len(instants) == 1, "what is written together has one instant"


async def test_prefer_decides_what_writes_answer_with(http: Http) -> None:
    def entries() -> list[Entry]:
        return [
            entry("POST", "Patient", patient()),
            entry("GET", "metadata"),
            entry("DELETE", "Patient/none"),
        ]

    minimal = await transact(http, *entries())
    assert "resource" not in minimal[0] and "outcome" not in minimal[0]["response"]
    assert minimal[1]["resource"]["resourceType"] == "CapabilityStatement"
    whole = await transact(http, *entries(), Prefer="return=representation")
    assert whole[0]["resource"] == await read(http, path_of(whole[0]))
    told = await transact(http, *entries(), Prefer="return=OperationOutcome")
    assert told[0]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert told[2]["response"]["outcome"]["issue"][0]["severity"] == "information"
    assert "resource" not in told[0] and told[1]["resource"]["resourceType"] == "CapabilityStatement"


async def test_a_transaction_in_xml(http: Http) -> None:
    entries = [
        entry("POST", "Patient", patient(), "urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1"),
        entry("POST", "Observation", observation("urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1")),
    ]
    response = await http.post(
        "",
        content=xml.to_xml(bundle("transaction", entries)),
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"},
    )
    answer = xml.from_xml(response.content)
    assert response.status_code == 200 and issues(answer) == []
    person, weight = (path_of(one) for one in answer["entry"])
    assert (await read(http, weight))["subject"] == {"reference": person}


# -- reads


async def test_reads_of_every_kind(http: Http) -> None:
    id_ = key()
    first = await put(http, patient(id_, id=id_))
    second = await put(http, patient(id_, id=id_, active=True))
    answers = await transact(
        http,
        entry("GET", f"Patient/{id_}/_history/1"),
        entry("GET", f"Patient/{id_}/_history"),
        entry("GET", f"Patient/_history?_count=1&_since={second['meta']['lastUpdated']}"),
        entry("GET", f"Patient?{criteria(id_)}&_summary=count"),
        entry("POST", f"Patient/_search?{criteria(id_)}"),
        entry("GET", f"Patient/{id_}", ifNoneMatch='W/"2"'),
        entry("GET", f"Patient/{id_}", ifNoneMatch='W/"1"'),
        entry("GET", f"Patient/{id_}", ifModifiedSince=second["meta"]["lastUpdated"]),
        entry("HEAD", f"Patient?{criteria(id_)}"),
    )
    assert statuses(answers) == [200, 200, 200, 200, 200, 304, 200, 304, 200]
    assert answers[0]["resource"] == first
    assert [e["resource"] for e in answers[1]["resource"]["entry"]] == [second, first]
    assert answers[3]["resource"]["total"] == 1
    assert [e["resource"] for e in answers[4]["resource"]["entry"]] == [second]
    assert "resource" not in answers[5] and answers[6]["resource"] == second
    assert "resource" not in answers[8]


async def test_reads_see_all_that_was_written(http: Http) -> None:
    id_, gone = key(), key()
    await put(http, patient(gone, id=gone))
    answers = await transact(
        http,
        entry("GET", f"Patient?{criteria(id_)}"),
        entry("GET", f"Patient?{criteria(gone)}"),
        entry("GET", f"Patient/{gone}/_history"),
        entry("DELETE", f"Patient/{gone}"),
        entry("PUT", f"Patient/{id_}", patient(id_, id=id_)),
    )
    assert [e["resource"]["id"] for e in answers[0]["resource"]["entry"]] == [id_]
    assert answers[1]["resource"]["total"] == 0
    assert [e["request"]["method"] for e in answers[2]["resource"]["entry"]] == ["DELETE", "PUT"]


@pytest.mark.parametrize("url", ["Patient/none", "Patient/none/_history/1", "Nothing?x=1", "Patient?x=1"])
async def test_a_read_that_fails_fails_all(http: Http, url: str) -> None:
    mark = key()
    await refused(
        http,
        400 if url.startswith("Patient?") else 404,
        entry("POST", "Patient", patient(mark)),
        entry("GET", url),
    )
    assert await found(http, f"Patient?{criteria(mark)}") == []


# -- order and identity


async def test_the_order_of_entries_does_not_matter(http: Http) -> None:
    """Every order of the same seven entries leaves the same resources and answers."""
    outcomes = set()
    for order in random.Random(4).sample(list(itertools.permutations(range(7))), 12):
        mark, old = key(), key()
        await put(http, patient(mark, id=old))
        await put(http, observation(id=old))
        entries = [
            entry("DELETE", f"Patient/{old}"),
            entry("POST", "Patient", patient(mark), "urn:uuid:patient", ifNoneExist=criteria(mark)),
            entry("PUT", f"Observation/{old}", observation("urn:uuid:patient", id=old)),
            entry("POST", "Encounter", encounter(f"Patient?{criteria(mark)}", mark)),
            entry("PUT", f"Group?{criteria(mark)}", group(mark)),
            entry("GET", f"Observation/{old}"),
            entry("GET", f"Encounter?{criteria(mark)}"),
        ]
        answers = await transact(http, *(entries[i] for i in order), Prefer="return=representation")
        by_entry = {i: answers[place] for place, i in enumerate(order)}
        made = by_entry[1]["resource"]["id"]
        assert made != old
        assert by_entry[2]["resource"]["subject"] == {"reference": f"Patient/{made}"}
        assert by_entry[3]["resource"]["subject"] == {"reference": f"Patient/{made}"}
        assert by_entry[5]["resource"]["subject"] == {"reference": f"Patient/{made}"}
        assert by_entry[6]["resource"]["total"] == 1
        outcomes.add(tuple(by_entry[i]["response"]["status"] for i in range(7)))
    assert len(outcomes) == 1


def encounter(subject: str, mark: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": subject},
        "identifier": [{"system": SYSTEM, "value": mark}],
    }


def group(mark: str) -> dict[str, Any]:
    return {
        "resourceType": "Group",
        "type": "person",
        "actual": True,
        "identifier": [{"system": SYSTEM, "value": mark}],
    }


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations_with_replacement(["DELETE", "PUT", "PATCH"], 2))
)
@pytest.mark.parametrize("conditional", [False, True])
async def test_a_resource_appears_once(http: Http, one: str, other: str, conditional: bool) -> None:
    id_ = key()
    before = await put(http, patient(id_, id=id_))

    def made(method: str, url: str, flag: bool) -> Entry:
        body = {
            "DELETE": None,
            "PUT": patient(id_, id=id_, active=flag),
            "PATCH": json_patch({"op": "add", "path": "/active", "value": flag}),
        }[method]
        return entry(method, url, body)

    second = f"Patient?{criteria(id_)}" if conditional else f"Patient/{id_}"
    entries = [made(one, f"Patient/{id_}", True), made(other, second, False)]
    for ordered in (entries, entries[::-1]):
        response = await send(http, "transaction", *ordered)
        if one == "DELETE" and conditional and other != "DELETE":
            # The delete comes first, so the criteria find nothing: a PUT of that id overlaps all the same.
            assert response.status_code == (404 if other == "PATCH" else 400), response.text
        else:
            assert response.status_code == 400, response.text
        assert "expression" in response.json()["issue"][0]
    assert await read(http, f"Patient/{id_}") == before


async def test_equal_conditional_creates_are_one(http: Http) -> None:
    for there in (False, True):
        mark = key()
        if there:
            await created(http, patient(mark))
        answers = await transact(
            http,
            entry("POST", "Patient", patient(mark), "urn:uuid:a", ifNoneExist=criteria(mark)),
            entry("POST", "Patient", patient(mark), "urn:uuid:b", ifNoneExist=criteria(mark)),
            entry("POST", "Observation", observation("urn:uuid:b")),
        )
        assert statuses(answers) == [200 if there else 201, 200, 201]
        [person] = await found(http, f"Patient?{criteria(mark)}")
        assert path_of(answers[0]) == path_of(answers[1]) == f"Patient/{person['id']}"
        weight = await read(http, path_of(answers[2]))
        assert weight["subject"]["reference"] == f"Patient/{person['id']}"


async def test_conditions_that_other_entries_fulfil_are_ambiguous(http: Http) -> None:
    """Whether the condition or the other entry comes first would decide the outcome."""
    mark, id_ = key(), key()
    both = patient(mark, identifier=[{"system": SYSTEM, "value": value} for value in (mark, id_)])
    conditional = entry("POST", "Patient", both, ifNoneExist=criteria(mark))
    for one, other in (
        (conditional, entry("POST", "Patient", patient(mark))),
        (conditional, entry("PUT", f"Patient/{id_}", patient(mark, id=id_))),
        (conditional, entry("POST", "Patient", both, ifNoneExist=criteria(id_))),
        (entry("PUT", f"Patient?{criteria(mark)}", patient()), entry("POST", "Patient", patient(mark))),
        (
            entry("PUT", f"Patient?{criteria(mark)}", both),
            entry("PUT", f"Patient/{id_}", patient(mark, id=id_)),
        ),
    ):
        for entries in ((one, other), (other, one)):
            issue = await refused(http, 412, *entries)
            assert issue["code"] == "multiple-matches"
    assert await found(http, f"Patient?{criteria(mark)}") == []


async def test_a_conditional_delete_makes_room_for_what_replaces_it(http: Http) -> None:
    mark = key()
    old = await created(http, patient(mark))
    answers = await transact(
        http,
        entry("POST", "Patient", patient(mark), ifNoneExist=criteria(mark)),
        entry("DELETE", f"Patient?{criteria(mark)}"),
    )
    assert statuses(answers) == [201, 204]
    [new] = await found(http, f"Patient?{criteria(mark)}")
    assert new["id"] != old["id"]


async def test_a_read_of_what_is_written_is_no_collision(http: Http) -> None:
    id_ = key()
    answers = await transact(
        http,
        entry("GET", f"Patient/{id_}"),
        entry("GET", f"Patient/{id_}"),
        entry("PUT", f"Patient/{id_}", patient(id=id_)),
    )
    assert statuses(answers) == [200, 200, 201]


async def test_a_full_url_stands_once(http: Http) -> None:
    issue = await refused(
        http,
        400,
        entry("POST", "Patient", patient(), "urn:uuid:a"),
        entry("POST", "Patient", patient(), "urn:uuid:a"),
    )
    assert issue["expression"] == ["Bundle.entry[1].fullUrl"]


# -- all or nothing


INVALID = observation(status="nonsense")


@pytest.mark.parametrize(
    ("status", "bad", "expression"),
    [
        (400, {"resource": patient()}, "request"),
        (400, entry("POST", "Patient"), "resource"),
        (400, entry("POST", "Patient", observation()), "resource"),
        (400, entry("POST", "Observation", INVALID), "resource.status"),
        (400, entry("POST", "Patient", patient(nmae=[])), "resource.nmae"),
        (400, entry("PUT", "Patient/one", patient(id="other")), "resource.id"),
        (400, entry("PUT", "Patient/one", patient()), "resource.id"),
        (404, entry("POST", "Patientt", patient()), ""),
        (405, entry("DELETE", "Patient/one/_history/1"), ""),
        (400, entry("GET", "http://elsewhere.org/fhir/Patient/1"), "request.url"),
        (400, entry("POST", "/", bundle("transaction", [])), "request.url"),
        (400, entry("POST", "http://test/fhir", bundle("batch", [])), "request.url"),
        (400, entry("POST", "Patient", patient(), ifNoneExist=""), None),
        (400, entry("POST", "Patient", patient(), ifNoneExist="nonsense=1"), "request.ifNoneExist"),
        (400, entry("POST", "Patient", patient(), ifNoneExist="identifier=%00"), "request.ifNoneExist"),
        (400, entry("POST", "Patient", patient(), ifNoneExist="_count=1"), "request.ifNoneExist"),
        (400, entry("DELETE", "Patient?_include=Patient:organization"), "request.url"),
        (400, entry("DELETE", "Patient?identifier=%ff"), ""),
        (400, entry("GET", "Patient?" + "&".join(["name=x"] * 101)), ""),
        (400, entry("GET", "Patient?name=" + "x" * 9000), ""),
        (412, entry("PUT", "Patient/none", patient(id="none"), ifMatch='W/"1"'), ""),
        (400, entry("PUT", "Patient/none", patient(id="none"), ifMatch='W/"1'), ""),
        (412, entry("DELETE", "Patient/none", ifMatch='W/"1"'), ""),
        (404, entry("PATCH", "Patient/none", json_patch()), ""),
        (404, entry("PATCH", "Patient?identifier=none-at-all", json_patch()), ""),
        (400, entry("PATCH", "Patient/there", patient()), ""),
        (400, entry("PATCH", "Patient/there", {"resourceType": "Binary", "data": "!"}), "resource.data"),
        (415, entry("PATCH", "Patient/there", {"resourceType": "Binary", "data": "W10="}), ""),
        (422, entry("PATCH", "Patient/there", json_patch({"op": "remove", "path": "/x"})), ""),
        (
            400,
            entry("PATCH", "Patient/there", json_patch({"op": "add", "path": "/x", "value": 1})),
            "resource.x",
        ),
        (400, entry("GET", "Patient/there", ifModifiedSince="yesterday"), None),
        (
            412,
            entry("POST", "Observation", observation("Patient?identifier=none")),
            "resource.subject.reference",
        ),
        (400, entry("POST", "Observation", observation("Patient?nonsense=1")), "resource.subject.reference"),
        (400, entry("POST", "Observation", observation("Patient?_count=1")), "resource.subject.reference"),
        (400, entry("POST", "Observation", observation("Parameters?_id=1")), "resource.subject.reference"),
        (412, entry("POST", "Patient", patient(), ifNoneExist="gender=other"), ""),
        (412, entry("PUT", "Patient?gender=other", patient()), ""),
        (412, entry("PATCH", "Patient?gender=other", json_patch()), ""),
        (412, entry("DELETE", "Patient?gender=other"), ""),
        (412, entry("POST", "Observation", observation("Patient?gender=other")), ""),
    ],
)
async def test_one_error_undoes_all_and_says_where(
    http: Http, status: int, bad: Entry, expression: str | None
) -> None:
    """`expression` is relative to the entry; None where the Bundle as a whole is malformed."""
    for id_ in ("there", "doomed"):
        await put(http, patient(id=id_))
    for id_ in ("other-1", "other-2"):
        await put(http, patient(id=id_, gender="other"))
    mark, old = key(), key()
    before = await put(http, patient(old, id=old))
    issue = await refused(
        http,
        status,
        entry("POST", "Patient", patient(mark)),
        entry("PUT", f"Patient/{old}", patient(old, id=old, active=True)),
        bad,
        entry("DELETE", "Patient/doomed"),
    )
    if expression is not None:
        assert issue["expression"][0] == "Bundle.entry[2]" + (f".{expression}" if expression else "")
        assert issue["diagnostics"].startswith("entry 2 (")
    assert issue["severity"] == "error" and issue["diagnostics"]
    assert await found(http, f"Patient?{criteria(mark)}") == []
    assert await read(http, f"Patient/{old}") == before
    assert (await http.get("/Patient/doomed")).status_code == 200


async def test_every_defect_of_an_entry_is_told(http: Http) -> None:
    response = await send(
        http, "transaction", entry("POST", "Patient", patient(gender="x", birthDate="y", nmae="z"))
    )
    assert response.status_code == 400
    assert {issue["expression"][0] for issue in response.json()["issue"]} == {
        f"Bundle.entry[0].resource.{name}" for name in ("gender", "birthDate", "nmae")
    }


async def test_defects_of_a_bundle_within_an_entry_are_located_there(http: Http) -> None:
    inner = bundle(
        "collection", [{"resource": observation(), "fullUrl": "urn:uuid:1"}, {"resource": INVALID}]
    )
    issue = await refused(http, 400, entry("POST", "Bundle", inner))
    assert issue["expression"] == ["Bundle.entry[0].resource.entry[1].resource.status"]


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        (bundle("collection", []), "Bundle.type"),
        (bundle("history", []), "Bundle.type"),
        (bundle("searchset", []), "Bundle.type"),
        (bundle("transaction-response", []), "Bundle.type"),
        (bundle("nonsense", []), "Bundle.type"),
        ({"resourceType": "Bundle"}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": []}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": {}}, "Bundle.entry"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [5]}, "Bundle.entry[0]"),
        (
            {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": 5}]},
            "Bundle.entry[0].request",
        ),
        (bundle("transaction", [{"resource": 5, **entry("POST", "Patient")}]), "Bundle.entry[0].resource"),
        (bundle("transaction", [entry("TRACE", "Patient")]), "Bundle.entry[0].request.method"),
        (bundle("transaction", [entry("GET", "")]), "Bundle.entry[0].request.url"),
        (patient(), "Patient"),
    ],
)
async def test_what_is_no_transaction_is_refused(http: Http, body: Any, expression: str) -> None:
    response = await http.post("", json=body)
    assert response.status_code == 400, response.text
    assert response.json()["issue"][0]["expression"] == [expression]


@pytest.mark.parametrize("base", ["http://test/fhir/", "http://127.0.0.1:8080/fhir/", "/"])
async def test_an_own_address_in_front_of_the_url_is_accepted(http: Http, base: str) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_))
    answers = await transact(
        http, entry("GET", f"{base}Patient/{id_}"), entry("GET", f"{base}Patient?{criteria(id_)}")
    )
    assert answers[0]["resource"] == answers[1]["resource"]["entry"][0]["resource"]


# -- versions


async def test_if_match_within_a_transaction(http: Http) -> None:
    id_ = key()
    await put(http, patient(id_, id=id_))
    changed = patient(id_, id=id_, active=True)
    for stale in (
        entry("PUT", f"Patient/{id_}", changed, ifMatch='W/"2"'),
        entry("PUT", f"Patient?{criteria(id_)}", changed, ifMatch='W/"2"'),
        entry("PATCH", f"Patient/{id_}", json_patch(), ifMatch='W/"2"'),
        entry("DELETE", f"Patient/{id_}", ifMatch='W/"2"'),
        entry("DELETE", f"Patient?{criteria(id_)}", ifMatch='W/"2"'),
        entry("PUT", f"Patient/{id_}", changed, ifNoneMatch="*"),
    ):
        assert (await refused(http, 412, stale))["expression"] == ["Bundle.entry[0]"]
    right = entry("PUT", f"Patient/{id_}", changed, ifMatch='W/"1"')
    assert statuses(await transact(http, right)) == [200]
    assert statuses(await transact(http, entry("DELETE", f"Patient/{id_}", ifMatch='W/"2"'))) == [204]
    again = await transact(http, entry("PUT", f"Patient/{id_}", changed, ifNoneMatch="*"))
    assert statuses(again) == [201] and again[0]["response"]["etag"] == 'W/"4"'
    methods = [one["request"]["method"] for one in await versions(http, f"Patient/{id_}")]
    assert methods == ["PUT", "DELETE", "PUT", "PUT"]


async def test_identical_updates_make_no_version(http: Http) -> None:
    id_ = key()
    before = await put(http, patient(id_, id=id_))
    answers = await transact(
        http,
        entry("PUT", f"Patient/{id_}", patient(id_, id=id_)),
        entry("POST", "Patient", patient(id_), ifNoneExist=criteria(id_)),
    )
    assert statuses(answers) == [200, 200]
    assert {answer["response"]["etag"] for answer in answers} == {'W/"1"'}
    assert await read(http, f"Patient/{id_}") == before


async def test_an_own_address_in_a_reference_is_no_change(http: Http) -> None:
    """It is stored without the address, so the same request again says what is stored already."""
    id_ = key()
    body = observation("http://127.0.0.1:8080/fhir/Patient/1", id=id_)
    for _ in range(2):
        await put(http, body)
        answers = await transact(http, entry("PUT", f"Observation/{id_}", body))
        assert answers[0]["response"]["etag"] == 'W/"1"'
    assert (await read(http, f"Observation/{id_}"))["subject"]["reference"] == "Patient/1"


async def test_numbers_keep_their_digits(http: Http) -> None:
    body = (
        '{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Observation",'
        '"status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50},"component":[{"code":{"text":"y"},'
        '"valueQuantity":{"value":1.0E2}}]},"request":{"method":"POST","url":"Observation"}}]}'
    )
    response = await http.post("", content=body, headers={"Content-Type": "application/fhir+json"})
    text = (await http.get(f"/{path_of(response.json()['entry'][0])}")).text
    assert "1.50" in text and "1.0E+2" in text


async def test_security_labels_survive_an_update_in_a_transaction(http: Http) -> None:
    id_, label = key(), {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    await put(http, patient(id_, id=id_, meta={"security": [label], "tag": [{"code": "t"}]}))
    by_id, by_search = patient(id_, id=id_, active=True), patient(id_, active=False)
    for changed in (
        entry("PUT", f"Patient/{id_}", by_id),
        entry("PUT", f"Patient?{criteria(id_)}", by_search),
    ):
        [stored] = await resources(http, changed)
        assert stored["meta"]["security"] == [label] and "tag" not in stored["meta"]
    removal = json_patch({"op": "remove", "path": "/meta/security"})
    [stored] = await resources(http, entry("PATCH", f"Patient/{id_}", removal))
    assert "security" not in stored["meta"]


async def test_what_comes_with_an_id_gets_another(http: Http) -> None:
    [made] = await resources(
        http,
        entry(
            "POST",
            "Patient",
            patient(id="mine", meta={"versionId": "9", "lastUpdated": "2001-01-01T00:00:00Z"}),
        ),
    )
    assert made["id"] != "mine" and made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"] > "2020"


async def test_a_patch_in_a_transaction_equals_one_by_itself(http: Http) -> None:
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/name", "value": [{"family": "Ä"}]},
        {"op": "test", "path": "/name/0/family", "value": "Ä"},
        {"op": "copy", "from": "/name/0", "path": "/name/-"},
    ]
    one, other = [await created(http, patient(key())) for _ in range(2)]
    [in_bundle] = await resources(http, entry("PATCH", f"Patient/{one['id']}", json_patch(*operations)))
    alone = await http.patch(
        f"/Patient/{other['id']}", json=operations, headers={"Content-Type": "application/json-patch+json"}
    )
    assert in_bundle["name"] == alone.json()["name"] and in_bundle["meta"]["versionId"] == "2"


# -- limits


async def test_five_thousand_entries_are_one_transaction_and_one_more_is_too_large(http: Http) -> None:
    mark = key()
    first = [entry("POST", "Patient", patient(), "urn:uuid:patient")]
    others = [
        entry("POST", "Observation", observation("urn:uuid:patient", valueString=f"{mark} {n}"))
        for n in range(4_999)
    ]
    answers = await transact(http, *first, *others)
    assert statuses(answers) == [201] * 5_000
    assert len({path_of(answer) for answer in answers}) == 5_000
    subject = path_of(answers[0])
    counted = await read(http, f"Observation?subject={subject}&_summary=count&_total=accurate")
    assert counted["total"] == 4_999
    for place in (1, 2_500, 4_999):
        stored = await read(http, path_of(answers[place]))
        assert (stored["subject"]["reference"], stored["valueString"]) == (subject, f"{mark} {place - 1}")
    response = await send(http, "transaction", *first, *others, entry("POST", "Patient", patient()))
    assert response.status_code == 413
    assert response.json()["issue"][0]["code"] == "too-long"


async def test_clients_choose_no_ids_where_they_may_not(database: str) -> None:
    async with serving(database, update_create=False) as http:
        id_ = key()
        refusal = await refused(http, 405, entry("PUT", f"Patient/{id_}", patient(id=id_)))
        assert refusal["expression"] == ["Bundle.entry[0]"]
        await refused(http, 405, entry("PUT", f"Patient?{criteria(id_)}", patient(id_, id=id_)))
        [made] = await transact(http, entry("PUT", f"Patient?{criteria(id_)}", patient(id_)))
        assert statuses([made]) == [201], "an id of the server's is no choice of the client's"
