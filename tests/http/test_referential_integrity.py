"""Referential integrity, where the setting is on: https://hl7.org/fhir/R4/http.html#transactional-integrity

No reference may lead nowhere, and nothing may be deleted that something refers to, whoever comes first.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.http.support import (
    Entry,
    Resource,
    created,
    criteria,
    entry,
    found,
    json_patch,
    observation,
    patched,
    patient,
    put,
    read,
    refused,
    send,
    statuses,
    together,
    transact,
    versions,
)
from tests.support.callers import granted
from tests.support.server import BASE, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def key() -> str:
    return uuid4().hex


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(database: str) -> AsyncIterator[Http]:
    async with serving(
        database, referential_integrity=True, conditional_delete="multiple", pool_timeout_s=30
    ) as client:
        yield client


def identity(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def located(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(issue["code"], issue["expression"][0]) for issue in answer.json()["issue"]]


# -- references that lead nowhere


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"subject": {"reference": "Patient/none"}}, "subject"),
        ({"subject": {"reference": "http://127.0.0.1:8080/fhir/Patient/none"}}, "subject"),
        ({"subject": {"reference": "Patient/none/_history/1"}}, "subject"),
        ({"performer": [{"display": "x"}, {"reference": "Practitioner/none"}]}, "performer[1]"),
        (
            {"extension": [{"url": "http://example.org", "valueReference": {"reference": "Group/none"}}]},
            "extension[0].valueReference",
        ),
        (
            {
                "contained": [patient(id="p", managingOrganization={"reference": "Organization/none"})],
                "subject": {"reference": "#p"},
            },
            "contained[0].managingOrganization",
        ),
    ],
)
async def test_a_dangling_reference_is_refused_where_it_stands(
    strict: Http, more: Resource, path: str
) -> None:
    there = await created(strict, observation())
    url = f"/{identity(there)}"
    wrong = ("not-found", f"Observation.{path}.reference")
    operations = [{"op": "add", "path": f"/{name}", "value": value} for name, value in more.items()]
    answers = [
        await strict.post("/Observation", json=observation(**more)),
        await strict.put(url, json=observation(id=there["id"], **more)),
        await strict.put(f"/Observation/{key()}", json=observation(**more)),
        await strict.put(f"/Observation?identifier={key()}", json=observation(**more)),
        await strict.post(
            "/Observation", json=observation(**more), headers={"If-None-Exist": f"identifier={key()}"}
        ),
        await patched(strict, url, *operations),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 400, 422, 422, 422]
    assert all(located(answer) == [wrong] for answer in answers if answer.status_code == 422)
    assert await read(strict, identity(there)) == there


async def test_every_dangling_reference_of_a_transaction_is_told(strict: Http) -> None:
    mark = key()
    there = await created(strict, patient())
    answer = await send(
        strict,
        "transaction",
        entry("POST", "Patient", patient(mark), "urn:uuid:p"),
        entry(
            "POST", "Observation", observation("urn:uuid:p", performer=[{"reference": "Practitioner/none"}])
        ),
        entry("POST", "Observation", observation(identity(there), encounter={"reference": "Encounter/none"})),
        entry("PUT", f"Observation?identifier={mark}", observation("Patient/none")),
    )
    assert answer.status_code == 422
    assert located(answer) == [
        ("not-found", "Bundle.entry[1].resource.performer[0].reference"),
        ("not-found", "Bundle.entry[2].resource.encounter.reference"),
        ("not-found", "Bundle.entry[3].resource.subject.reference"),
    ]
    assert answer.json()["issue"][0]["diagnostics"].startswith("entry 1 (POST Observation): ")
    assert await found(strict, f"Patient?{criteria(mark)}") == []


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "http://elsewhere.org/fhir/Patient/none"},
        {"reference": "urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1"},
        {"reference": "#p"},
        {"display": "nobody"},
        {"identifier": {"value": "1"}},
    ],
)
async def test_what_is_no_reference_to_this_server_may_be_anything(strict: Http, reference: Resource) -> None:
    contained = {"contained": [patient(id="p")]} if reference.get("reference") == "#p" else {}
    assert (await created(strict, observation(subject=reference, **contained)))["subject"] == reference


async def test_a_reference_to_itself_is_none_to_nowhere(strict: Http) -> None:
    id_ = key()
    made = await put(
        strict, patient(id=id_, link=[{"other": {"reference": f"Patient/{id_}"}, "type": "refer"}])
    )
    assert (await strict.delete(f"/{identity(made)}")).status_code == 204


async def test_what_is_deleted_is_not_there(strict: Http) -> None:
    gone = await created(strict, patient())
    await strict.delete(f"/{identity(gone)}")
    assert (await strict.post("/Observation", json=observation(identity(gone)))).status_code == 422
    await put(strict, patient(id=gone["id"]))
    assert (await strict.post("/Observation", json=observation(identity(gone)))).status_code == 201


# -- deleting what is referred to


async def test_what_is_referred_to_stays(strict: Http) -> None:
    mark = key()
    person = await created(strict, patient(mark))
    weight = await created(strict, observation(identity(person)))
    for answer in (
        await strict.delete(f"/{identity(person)}"),
        await strict.delete(f"/Patient?{criteria(mark)}"),
        await send(strict, "transaction", entry("DELETE", identity(person))),
        await send(strict, "transaction", entry("DELETE", f"Patient?{criteria(mark)}")),
    ):
        assert answer.status_code == 409, answer.text
        assert identity(weight) in answer.json()["issue"][0]["diagnostics"]
    assert await read(strict, identity(person)) == person
    assert (await strict.delete(f"/{identity(weight)}")).status_code == 204
    assert (await strict.delete(f"/{identity(person)}")).status_code == 204


async def test_a_reference_that_was_taken_back_does_not_count(strict: Http) -> None:
    person = await created(strict, patient())
    weight = await created(strict, observation(identity(person)))
    await put(strict, observation(id=weight["id"]))
    assert (await strict.delete(f"/{identity(person)}")).status_code == 204


@pytest.mark.parametrize("reference", ["{}", "{}/_history/1", "http://127.0.0.1:8080/fhir/{}", "{}#part"])
async def test_every_form_of_a_reference_counts(strict: Http, reference: str) -> None:
    person = await created(strict, patient())
    await created(
        strict,
        observation(
            note=[{"text": "x", "authorReference": {"reference": reference.format(identity(person))}}]
        ),
    )
    assert (await strict.delete(f"/{identity(person)}")).status_code == 409


async def test_a_transaction_is_judged_by_its_outcome(strict: Http) -> None:
    """Both come together, both go together, and a reference may move before its target goes."""
    answers = await transact(
        strict,
        entry("POST", "Observation", observation("urn:uuid:p"), "urn:uuid:o"),
        entry("POST", "Patient", patient(), "urn:uuid:p"),
        entry("POST", "Patient", patient(), "urn:uuid:q"),
    )
    weight, person, other = ("/".join(a["response"]["location"].split("/")[-4:-2]) for a in answers)
    await refused(
        strict,
        422,
        entry("DELETE", person),
        entry("PUT", weight, observation(person, id=weight.partition("/")[2], valueInteger=1)),
    )
    await refused(strict, 422, entry("DELETE", person), entry("POST", "Observation", observation(person)))
    moved = observation(other, id=weight.partition("/")[2])
    assert statuses(await transact(strict, entry("DELETE", person), entry("PUT", weight, moved))) == [
        204,
        200,
    ]
    issue = await refused(strict, 409, entry("POST", "Patient", patient()), entry("DELETE", other))
    assert issue["expression"] == ["Bundle.entry[1]"]
    assert statuses(await transact(strict, entry("DELETE", other), entry("DELETE", weight))) == [204, 204]


async def test_circles_come_and_go_together(strict: Http) -> None:
    def linked(to: str) -> Resource:
        return patient(link=[{"other": {"reference": to}, "type": "seealso"}])

    answers = await transact(
        strict,
        entry("POST", "Patient", linked("urn:uuid:b"), "urn:uuid:a"),
        entry("POST", "Patient", linked("urn:uuid:a"), "urn:uuid:b"),
    )
    one, other = ("/".join(a["response"]["location"].split("/")[-4:-2]) for a in answers)
    await refused(strict, 409, entry("DELETE", one))
    assert statuses(await transact(strict, entry("DELETE", one), entry("DELETE", other))) == [204, 204]


async def test_what_says_what_was_done_holds_up_no_deletion(database: str) -> None:
    on: dict[str, Any] = {"referential_integrity": True, "audit": "on", "provenance": True}
    async with serving(database, auth="smart", base_url=BASE, **on) as http:
        who = await granted(database, "user/*.cruds", user=("Practitioner", "x"), roles=("administrator",))
        ask = partial(http.request, headers=who.headers)
        made = (await ask("POST", "/Patient", json=patient())).json()
        path = f"/{identity(made)}"
        assert (await ask("GET", path)).status_code == 200
        named = await ask("POST", "/Observation", json=observation(subject={"reference": path[1:]}))
        assert named.status_code == 201, named.text
        assert (await ask("DELETE", path)).status_code == 409
        assert (await ask("DELETE", f"/{identity(named.json())}")).status_code == 204
        deleted = await ask("DELETE", path)
        assert deleted.status_code == 204, deleted.text


async def test_a_conditional_delete_may_take_both_ends(strict: Http) -> None:
    mark = key()
    first = await created(strict, patient(mark))
    second = await created(
        strict, patient(mark, link=[{"other": {"reference": identity(first)}, "type": "refer"}])
    )
    third = await created(strict, observation(identity(second)))
    assert (await strict.delete(f"/Patient?{criteria(mark)}")).status_code == 409
    assert await read(strict, identity(first)) == first, "all or none"
    await strict.delete(f"/{identity(third)}")
    assert (await strict.delete(f"/Patient?{criteria(mark)}")).status_code == 204


async def test_conditional_references_are_resolved_before_they_are_judged(strict: Http) -> None:
    mark = key()
    person = await created(strict, patient(mark))
    await transact(strict, entry("POST", "Observation", observation(f"Patient?{criteria(mark)}")))
    assert (await strict.delete(f"/{identity(person)}")).status_code == 409
    operation = {"op": "add", "path": "/subject", "value": {"reference": "Patient/none"}}
    weight = await created(strict, observation())
    issue = await refused(strict, 422, entry("PATCH", identity(weight), json_patch(operation)))
    assert issue["expression"] == ["Bundle.entry[0].resource.subject.reference"]


# -- races


def writing(http: Http, how: str, n: int, reference: str) -> Awaitable[httpx.Response]:
    body = observation(reference, valueInteger=n)
    if how == "alone":
        return http.post("/Observation", json=body)
    return send(http, "transaction", entry("POST", "Observation", body))


def deleting(http: Http, how: str, path: str) -> Awaitable[httpx.Response]:
    return http.delete(f"/{path}") if how == "alone" else send(http, "transaction", entry("DELETE", path))


@pytest.mark.parametrize("how", ["alone", "transaction"])
async def test_a_delete_and_new_references_exclude_each_other(strict: Http, how: str) -> None:
    """Whoever comes first: afterwards the target is gone and nothing refers to it, or it is there."""
    outcomes: Counter[str] = Counter()
    for turn in range(12):
        person = await created(strict, patient())
        path = identity(person)

        async def after(delay_s: float, request: Awaitable[httpx.Response]) -> httpx.Response:
            await asyncio.sleep(delay_s)
            return await request

        ahead = (turn - 6) / 100  # from the delete well before the writers to well after them
        deleted, *answers = await together(
            [
                after(ahead, deleting(strict, how, path)),
                *(after(-ahead, writing(strict, how, n, path)) for n in range(4)),
            ]
        )
        made = sum(answer.status_code in (200, 201) for answer in answers)
        assert all(answer.status_code in (200, 201, 422) for answer in answers)
        referring = await found(strict, f"Observation?subject={path}")
        assert len(referring) == made
        gone = (await strict.get(f"/{path}")).status_code == 410
        assert gone == (deleted.status_code in (200, 204)) and deleted.status_code in (200, 204, 409)
        assert not (gone and made), "a reference to nowhere"
        outcomes["gone" if gone else "kept"] += 1
    assert outcomes["gone"] and outcomes["kept"]


@pytest.mark.parametrize("how", ["alone", "transaction"])
async def test_a_target_under_update_exists_all_the_time(strict: Http, how: str) -> None:
    """A lock that waited for a version's successor must look for the successor."""
    person = await created(strict, patient())
    done = asyncio.Event()

    async def update() -> None:
        for n in range(40):
            await put(strict, {**person, "name": [{"family": str(n)}]})
        done.set()

    async def refer() -> Counter[int]:
        codes: Counter[int] = Counter()
        while not done.is_set():
            answers = await together(writing(strict, how, n, identity(person)) for n in range(4))
            codes.update(answer.status_code for answer in answers)
        return codes

    _, codes = await asyncio.gather(update(), refer())
    assert set(codes) == {201 if how == "alone" else 200}
    assert len(await versions(strict, identity(person))) == 41


async def test_a_target_that_is_being_deleted_is_waited_for(strict: Http, database: str) -> None:
    """The reference is refused if the deletion is committed, accepted if it is not."""
    for outcome in ("commit", "rollback"):
        person = await created(strict, patient())
        connection = await asyncpg.connect(database)
        try:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                "UPDATE resource_patient SET died = pg_current_xact_id() WHERE id = $1", person["id"]
            )
            waiting = asyncio.create_task(strict.post("/Observation", json=observation(identity(person))))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await (transaction.commit() if outcome == "commit" else transaction.rollback())
            assert (await waiting).status_code == (422 if outcome == "commit" else 201)
        finally:
            await connection.close()


async def test_two_that_delete_what_the_other_needs_do_not_both_succeed(strict: Http) -> None:
    one, other = [await created(strict, patient()) for _ in range(2)]

    def swap(gone: Resource, needed: Resource) -> list[Entry]:
        return [entry("DELETE", identity(gone)), entry("POST", "Observation", observation(identity(needed)))]

    answers = await together(
        send(strict, "transaction", *swap(*pair)) for pair in ((one, other), (other, one))
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes in ([200, 422], [200, 409]), [answer.text for answer in answers]
