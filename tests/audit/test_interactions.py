"""Every interaction leaves its event: of whom, about what, as BALP has it."""

import asyncio
from typing import Any

import pytest

from fhirserver.fhir.validate import issues
from fhirserver.interactions.table import TABLE
from tests.audit import balp
from tests.audit.support import Watched, data, patients, query, request_ids, subtypes

pytestmark = pytest.mark.asyncio(loop_scope="module")

Resource = dict[str, Any]


def patient(id_: str) -> Resource:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": f"Family-{id_}"}]}


def observation(id_: str, *of: str) -> Resource:
    """An Observation, without an id if it is empty, of the first patient and by the others."""
    made: Resource = {"resourceType": "Observation", "status": "final", "code": {"text": "secret words"}}
    if id_:
        made["id"] = id_
    if of:
        made["subject"] = {"reference": f"Patient/{of[0]}"}
    if of[1:]:
        made["performer"] = [{"reference": f"Patient/{one}"} for one in of[1:]]
    return made


PATCH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "replace"},
                {"name": "path", "valueString": "Observation.status"},
                {"name": "value", "valueCode": "amended"},
            ],
        }
    ],
}


MERGE = {
    "resourceType": "Parameters",
    "parameter": [
        {"name": "source-patient", "valueReference": {"reference": "Patient/a"}},
        {"name": "target-patient", "valueReference": {"reference": "Patient/none"}},
    ],
}


def bundle(kind: str, *entries: tuple[str, str, Resource | None]) -> Resource:
    made = [
        {"request": {"method": method, "url": url}, **({"resource": body} if body else {})}
        for method, url, body in entries
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": made}


Case = tuple[str, str, Any, int, str, list[str], list[str], list[str]]
CASES: dict[str, Case] = {
    "read": ("GET", "/Observation/o", None, 200, "R", ["read"], ["Patient/a"], ["Observation/o/_history/1"]),
    "head": ("HEAD", "/Observation/o", None, 200, "R", ["read"], ["Patient/a"], ["Observation/o/_history/1"]),
    "vread": (
        *("GET", "/Patient/a/_history/1", None, 200, "R", ["vread"]),
        *(["Patient/a"], ["Patient/a/_history/1"]),
    ),
    "of nobody": ("GET", "/Organization/g", None, 200, "R", ["read"], [], ["Organization/g/_history/1"]),
    "history of an instance": (
        *("GET", "/Observation/o/_history", None, 200, "R", ["history-instance"]),
        *(["Patient/a"], ["Observation/o"]),
    ),
    "create": ("POST", "/Observation", observation("", "a"), 201, "C", ["create"], ["Patient/a"], ["*"]),
    "create of two": (
        *("POST", "/Observation", observation("", "c", "d"), 201, "C", ["create"]),
        *(["Patient/c", "Patient/d"], ["*"]),
    ),
    "update": (
        *("PUT", "/Observation/u", observation("u", "b"), 200, "U", ["update"]),
        *(["Patient/b", "Patient/a"], ["Observation/u/_history/2"]),
    ),
    "update without a change": (
        *("PUT", "/Observation/u", observation("u", "b"), 200, "U", ["update"]),
        *(["Patient/b"], ["Observation/u/_history/2"]),
    ),
    "update that creates": (
        *("PUT", "/Observation/n", observation("n", "a"), 201, "C", ["create", "update"]),
        *(["Patient/a"], ["Observation/n/_history/1"]),
    ),
    "conditional update": (
        *("PUT", "/Observation?_id=n", {**observation("n", "a"), "status": "amended"}, 200, "U", ["update"]),
        *(["Patient/a"], ["Observation/n/_history/2"]),
    ),
    "patch": (
        *("PATCH", "/Observation/u", PATCH, 200, "U", ["patch", "read"]),
        *(["Patient/b"], ["Observation/u/_history/3"]),
    ),
    "conditional patch": (
        *("PATCH", "/Observation?_id=o", PATCH, 200, "U", ["patch", "read"]),
        *(["Patient/a"], ["Observation/o/_history/2"]),
    ),
    "delete": (
        *("DELETE", "/Observation/u", None, 204, "D", ["delete"]),
        *(["Patient/b"], ["Observation/u/_history/4"]),
    ),
    "delete of nothing": (
        *("DELETE", "/Observation/none", None, 204, "D", ["delete"]),
        *([], ["Observation/none"]),
    ),
    "conditional delete": (
        *("DELETE", "/Observation?_id=n", None, 204, "D", ["delete"]),
        *(["Patient/a"], ["Observation/n/_history/3"]),
    ),
    "search": ("GET", "/Observation?patient=a", None, 200, "E", ["search-type"], ["Patient/a"], []),
    "search by form": (
        *("POST", "/Patient/_search", None, 200, "E", ["search-type"]),
        *(["Patient/b", "Patient/a"], []),
    ),
    "search of nobody": ("GET", "/Organization", None, 200, "E", ["search-type"], [None], []),
    "search of the system": ("GET", "/?_id=a", None, 200, "E", ["search-system"], ["Patient/a"], []),
    "compartment": ("GET", "/Patient/a/Observation", None, 200, "E", ["search-type"], ["Patient/a"], []),
    "nothing found of a patient": (
        *("GET", "/Observation?patient=b&status=unknown", None, 200, "E", ["search-type"]),
        *(["Patient/b"], []),
    ),
    "history of a type": ("GET", "/Organization/_history", None, 200, "E", ["history-type"], [None], []),
    "everything": (
        *("GET", "/Patient/a/$everything", None, 200, "E", ["operation", "everything"]),
        *(["Patient/a"], []),
    ),
    "docref": (
        *("GET", "/DocumentReference/$docref?patient=a", None, 200, "E", ["operation", "docref"]),
        *(["Patient/a"], []),
    ),
    "accounting": (
        *("GET", "/Patient/b/$accounting-of-disclosures", None, 200, "E"),
        *(["operation", "accounting-of-disclosures"], ["Patient/b"], []),
    ),
    "validate": (
        *("GET", "/Observation/o/$validate", None, 200, "E", ["operation", "validate"]),
        *([None, "Patient/a"], []),
    ),
    "validate before a delete": (
        *("GET", "/Patient/a/$validate?mode=delete", None, 200, "E", ["operation", "validate"]),
        *(["Patient/a"], []),
    ),
    "count": (
        *("GET", "/Patient?family=Family-a&_summary=count", None, 200, "E", ["search-type"]),
        *([None, "Patient/a"], []),
    ),
    "count of nobody": (
        *("GET", "/Patient?family=Nobody&_summary=count", None, 200, "E", ["search-type"]),
        *([None], []),
    ),
    "a merge that is refused": (
        *("POST", "/Patient/$merge", MERGE, 422, "E", ["operation", "merge"]),
        *(["Patient/a", "Patient/none"], []),
    ),
    "no such method": (
        *("POST", "/Patient/a", patient("a"), 405, "C", ["create"], ["Patient/a"], ["Patient/a"]),
    ),
    "an event is changed": (
        *("PUT", "/AuditEvent/x", {}, 405, "U", ["update"], [], ["AuditEvent/x"]),
    ),
    "events are deleted": (
        *("DELETE", "/AuditEvent?patient=a", None, 405, "D", ["delete"]),
        *(["Patient/a"], ["AuditEvent"]),
    ),
    "no such operation": (
        *("GET", "/Patient/a/$nonsense", None, 404, "E", ["operation"]),
        *([None, "Patient/a"], []),
    ),
    "not there": ("GET", "/Observation/none", None, 404, "R", ["read"], [], ["Observation/none"]),
    "a patient who is not there": (
        *("GET", "/Patient/none", None, 404, "R", ["read"], ["Patient/none"], ["Patient/none"]),
    ),
    "gone": ("GET", "/Observation/u", None, 410, "R", ["read"], [], ["Observation/u"]),
    "invalid": (
        *("POST", "/Observation", {"resourceType": "Observation"}, 400, "C", ["create"]),
        *([], ["Observation"]),
    ),
    "no JSON": ("POST", "/Observation", "{", 400, "C", ["create"], [], ["Observation"]),
    "no such parameter": ("GET", "/Observation?nonsense=1", None, 400, "E", ["search-type"], [None], []),
    "a conflict": ("PUT", "/Patient/a", patient("b"), 400, "U", ["update"], ["Patient/a"], ["Patient/a"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return {"2": "0", "4": "4"}


async def prepare(watched: Watched) -> None:
    made = [
        *(patient("a"), patient("b"), {"resourceType": "Organization", "id": "g", "name": "G"}),
        *(observation("o", "a"), observation("u", "a")),
    ]
    entries = [("PUT", f"{one['resourceType']}/{one['id']}", one) for one in made]
    assert (await watched.ask("POST", "", bundle("transaction", *entries))).status == 200
    await watched.new()


async def test_each_interaction_leaves_its_events(watched: Watched, outcomes: dict[str, str]) -> None:
    """In their order, for some follow others."""
    await prepare(watched)
    for name, (method, target, body, status, action, kinds, whose, about) in CASES.items():
        reply = await watched.ask(method, target, body, x_request_id=f"r-{name.replace(' ', '-')}")
        assert reply.status == status, (name, reply)
        events = await watched.new()
        assert [patients(one) or [None] for one in events] == [[one] for one in whose or [None]], (
            name,
            events,
        )
        for event in events:
            assert (event["action"], subtypes(event)) == (action, kinds), (name, event)
            assert event["outcome"] == outcomes[str(status)[0]], name
            assert ("outcomeDesc" in event) == (status >= 400), name
            assert request_ids(event) == [f"r-{name.replace(' ', '-')}"], name
            assert about == ["*"] or data(event) == about, (name, data(event))
            assert (query(event) is not None) == (action == "E"), name
            assert issues(event) == [], name
            assert "Family-" not in str(event) and "secret words" not in str(event), name
            assert ("meta" in event) == (status < 300), name
            assert status >= 300 or balp.faults(event) == [], (name, event)


async def test_the_table_has_no_interaction_that_is_not_recorded() -> None:
    """Beside the statement of capabilities, which is the same for everybody."""
    from fhirserver.interactions.audit.deeds import UNRECORDED, deed

    for row in TABLE:
        operation = row.operation.code if row.operation else None
        if row.name not in UNRECORDED:
            assert deed(row.name, ":type" in row.shape, ":id" in row.shape, operation).subtypes, row
    assert {row.name for row in TABLE if row.name in UNRECORDED} == {"capabilities"}


async def test_metadata_leaves_none(watched: Watched) -> None:
    assert (await watched.ask("GET", "/metadata")).status == 200
    assert (await watched.ask("OPTIONS", "/Patient")).status == 204
    assert (await watched.ask("GET", "/nonsense")).status == 404
    assert await watched.new() == []


async def test_a_batch_leaves_the_events_of_its_entries(watched: Watched) -> None:
    reply = await watched.ask(
        *("POST", ""),
        bundle(
            "batch",
            ("GET", "Patient/a", None),
            ("POST", "Observation", observation("", "b")),
            ("GET", "Observation/none", None),
            ("GET", "Observation?patient=b", None),
            ("DELETE", "AuditEvent/x", None),
        ),
    )
    assert reply.status == 200
    events = await watched.new()
    told = sorted((one["action"], one["outcome"], *subtypes(one), *patients(one)) for one in events)
    assert told == [
        ("C", "0", "create", "Patient/b"),
        ("D", "4", "delete"),
        ("E", "0", "search-type", "Patient/b"),
        ("R", "0", "read", "Patient/a"),
        ("R", "4", "read"),
    ]


async def test_a_transaction_leaves_an_event_for_each_kind_and_patient(watched: Watched) -> None:
    entries = [
        *(("PUT", f"Observation/t{n}", observation(f"t{n}", "a")) for n in range(3)),
        ("POST", "Observation", observation("", "b")),
        ("GET", "Patient/b", None),
    ]
    assert (await watched.ask("POST", "", bundle("transaction", *entries))).status == 200
    found = {(one["action"], *patients(one), *subtypes(one)): data(one) for one in await watched.new()}
    assert {key: len(value) for key, value in found.items()} == {
        ("C", "Patient/a", "create", "update", "transaction"): 3,
        ("C", "Patient/b", "create", "transaction"): 1,
        ("R", "Patient/b", "read"): 1,
    }
    assert ("Observation/t0/_history/1") in found["C", "Patient/a", "create", "update", "transaction"]
    entries = [("DELETE", "Observation/t0", None), ("PUT", "Observation/t1", observation("t1", "b"))]
    assert (await watched.ask("POST", "", bundle("transaction", *entries))).status == 200
    assert sorted((one["action"], *patients(one), *data(one)) for one in await watched.new()) == [
        ("D", "Patient/a", "Observation/t0/_history/2"),
        ("U", "Patient/a", "Observation/t1/_history/2"),
        ("U", "Patient/b", "Observation/t1/_history/2"),
    ]


async def test_a_transaction_that_fails_leaves_an_event_of_its_failure(watched: Watched) -> None:
    entries = [("PUT", "Observation/f", observation("f", "a")), ("GET", "Observation/none", None)]
    reply = await watched.ask("POST", "", bundle("transaction", *entries))
    assert reply.status == 404
    [event] = await watched.new()
    assert (subtypes(event), event["outcome"]) == (["transaction"], "4")
    assert data(event) == ["Observation/none"]  # because of which it fails
    assert (await watched.ask("GET", "/Observation/f")).status == 404
    await watched.new()
    for failing, about, whose in (
        (("GET", "Patient/none", None), ["Patient/none"], ["Patient/none"]),
        (("PUT", "AuditEvent/x", {"resourceType": "AuditEvent", "id": "x"}), ["AuditEvent/x"], []),
        (("GET", "nonsense", None), [], []),
    ):
        assert (await watched.ask("POST", "", bundle("transaction", failing))).status >= 400
        [event] = await watched.new()
        assert (data(event), patients(event)) == (about, whose) and issues(event) == []


async def test_a_transaction_that_finds_what_it_would_create_says_so(watched: Watched) -> None:
    body = {**observation("", "a"), "identifier": [{"system": "urn:x", "value": "found"}]}
    entry: Resource = {"request": {"method": "POST", "url": "Observation"}, "resource": body}
    entry["request"]["ifNoneExist"] = "identifier=urn:x|found"
    whole = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await watched.ask("POST", "", whole)).status == 200
    assert [subtypes(one) for one in await watched.new()] == [["create", "transaction"]]
    assert (await watched.ask("POST", "", whole)).status == 200
    assert [subtypes(one) for one in await watched.new()] == [["create"]]
    assert (await watched.ask("POST", "", whole, prefer="return=representation")).status == 200
    assert [subtypes(one) for one in await watched.new()] == [["create", "read"]]
    await watched.new()


async def test_writers_that_share_a_transaction_leave_an_event_each(watched: Watched) -> None:
    replies = await asyncio.gather(
        *(watched.ask("POST", "/Observation", observation("", "a")) for _ in range(30))
    )
    made = {reply.resource()["id"] for reply in replies}
    events = await watched.new()
    assert {data(one)[0].split("/")[1] for one in events} == made and len(events) == 30


async def test_readers_that_share_a_statement_leave_an_event_each(watched: Watched) -> None:
    replies = await asyncio.gather(
        *(watched.ask("GET", "/Patient/a", x_request_id=f"shared-{n}") for n in range(50))
    )
    assert {reply.status for reply in replies} == {200}
    assert {request_ids(one)[0] for one in await watched.new()} == {f"shared-{n}" for n in range(50)}


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ("/Observation?patient=a", True),
        ("/Observation?patient=a&category=x,y", True),
        ("/Patient?family=Family-a", False),
        ("/Patient?_id=a,somebody-else", False),
        ("/Patient?family=Family-a&_id:not=somebody-else", False),
    ],
)
async def test_words_that_may_name_others_stand_in_an_event_of_nobody(
    watched: Watched, target: str, plain: bool
) -> None:
    reply = await watched.ask("GET", target)
    assert reply.status == 200, reply
    events = await watched.new()
    told = [query(one) for one in events if patients(one) == ["Patient/a"]]
    whole = target.removeprefix("/")
    assert [text == whole for text in told] == [plain], told
    assert plain or all("omebody" not in str(text) and "Family" not in str(text) for text in told)
    assert [query(one) for one in events if not patients(one)] == ([] if plain else [whole])


async def test_a_merge_tells_both_whom_no_reference_names(watched: Watched) -> None:
    for id_ in ("twice-1", "twice-2"):
        body = patient(id_) | {"identifier": [{"system": "urn:x", "value": id_}]}
        assert (await watched.ask("PUT", f"/Patient/{id_}", body)).status == 201
    given = [
        {"name": f"{side}-patient-identifier", "valueIdentifier": {"system": "urn:x", "value": id_}}
        for side, id_ in (("source", "twice-1"), ("target", "twice-2"))
    ]
    for preview in (True, False):
        await watched.new()
        asked = [*given, {"name": "preview", "valueBoolean": preview}]
        reply = await watched.ask(
            "POST", "/Patient/$merge", {"resourceType": "Parameters", "parameter": asked}
        )
        assert reply.status == 200, reply
        told = [patients(one) for one in await watched.new() if subtypes(one) == ["operation", "merge"]]
        assert sorted(told) == [["Patient/twice-1"], ["Patient/twice-2"]]


async def test_what_is_streamed_is_recorded_before_it_begins(watched: Watched) -> None:
    many = [("POST", "Observation", observation("", "a", "d")) for _ in range(150)]
    assert (await watched.ask("POST", "", bundle("transaction", *many))).status == 200
    await watched.new()
    reply = await watched.ask("GET", "/Patient/a/$everything")
    assert len(reply.resource()["entry"]) > 150
    events = {patients(one)[0]: (subtypes(one), query(one)) for one in await watched.new()}
    operation = ["operation", "everything"]
    assert events == {
        "Patient/a": (operation, "Patient/a/$everything"),
        "Patient/d": (operation, "Patient/[id]/$everything"),
    }
    assert not any(e["resource"]["resourceType"] == "AuditEvent" for e in reply.resource()["entry"])


async def test_who_is_shown_in_a_later_piece_only_has_an_event_too(watched: Watched) -> None:
    """Resources of the same instant come in the order in which they were written, backwards."""
    body = {**observation("", "b", "late"), "effectiveDateTime": "1900-01-01"}
    assert (await watched.ask("POST", "/Observation", body)).status == 201
    many = [("POST", "Observation", observation("", "b") | {"effectiveDateTime": "2020-01-01"})] * 400
    assert (await watched.ask("POST", "", bundle("transaction", *many))).status == 200
    await watched.new()
    reply = await watched.ask("GET", "/Patient/b/$everything")
    assert len(reply.resource()["entry"]) > 400
    told = [patients(one) for one in await watched.new()]
    assert ["Patient/late"] in told and ["Patient/b"] in told
    assert len(told) == len({str(one) for one in told})
