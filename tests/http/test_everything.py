"""`$everything` of patients and encounters, compared with what the definitions say word by word.

https://hl7.org/fhir/R4/operation-patient-everything.html
"""

import os
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.equivalence.hospital import DAYS, PATIENTS, TYPES, Hospital
from tests.equivalence.paths import BASE
from tests.http import records
from tests.http.crossing import crossing
from tests.http.records import Key, Stored, keys, link, pages
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FACTOR = int(os.environ.get("FHIRSERVER_FUZZ_FACTOR", "1"))
SEEDS = (1, 2)
Http = httpx.AsyncClient


class World:
    """A server and all that is current on it."""

    def __init__(self, http: Http, every: Stored) -> None:
        self.http, self.every = http, every


async def fill(http: Http, seed: int) -> Stored:
    """A hospital whose resources were written at different times."""
    hospital = Hospital(seed)
    resources = hospital.population()
    among = crossing(hospital)
    for part in (resources[: len(resources) // 2], resources[len(resources) // 2 :], among):
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in part
        ]
        answer = await http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
    for one in hospital.pick.sample(resources, 20):
        changed = {**hospital.changed(one), "id": one["id"]}
        if one["resourceType"] != "Patient":
            answer = await http.put(f"/{one['resourceType']}/{one['id']}", json=changed)
            assert answer.status_code == 200, answer.text
    return await records.stored(http)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SEEDS)
async def hospital(database: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with serving(database, base_url=BASE) as http:
        yield World(http, await fill(http, request.param))


def asked(owner: Key, **parameters: Any) -> str:
    names = {"since": "_since", "types": "_type", "count": "_count"}
    given_ = {names.get(name, name): value for name, value in parameters.items() if value is not None}
    text = urlencode(given_)
    return f"/{owner[0]}/{owner[1]}/$everything" + (f"?{text}" if text else "")


days = st.none() | st.sampled_from([day[:10] for day in DAYS])


@settings(
    max_examples=25 * FACTOR,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(("Patient", 0), None, None, None, [], 7)
@example(("Patient", 1), "2020-01", "2020-12", 0.6, [], 3)
@example(("Encounter", 2), None, None, 0.5, [], None)
@given(
    st.tuples(st.sampled_from(["Patient", "Patient", "Encounter"]), st.integers(0, 9)),
    days,
    days,
    st.none() | st.floats(0, 1),
    st.lists(st.sampled_from(TYPES), max_size=4),
    st.none() | st.integers(1, 40),
)
async def test_the_record_is_what_the_definitions_say(
    hospital: World,
    of: tuple[str, int],
    start: str | None,
    end: str | None,
    moment: float | None,
    types: list[str],
    count: int | None,
) -> None:
    http, every = hospital.http, hospital.every
    owners = sorted(key for key in every if key[0] == of[0])
    owner = owners[of[1] % len(owners)]
    if owner[0] == "Encounter":  # which knows no dates of care
        start = end = None
    instants = sorted(one["meta"]["lastUpdated"] for one in every.values())
    since = None if moment is None else instants[int(moment * (len(instants) - 1))]
    url = asked(owner, start=start, end=end, since=since, types=",".join(types) or None, count=count)
    answer = await http.get(url)
    if start and end and start > end and not end.startswith(start) and not start.startswith(end):
        assert answer.status_code == 400
        return
    found = await pages(http, url)
    inside, outside = await records.everything(http, every, owner, start, end, since, frozenset(types))
    assert sorted(keys(found, "match")) == sorted(inside), url
    assert sorted(keys(found, "include")) == sorted(outside), url
    shown = [one["resource"] for page in found for one in page.get("entry", ())]
    assert all(one == every[one["resourceType"], one["id"]] for one in shown)
    assert all(len(page.get("entry", ())) == count for page in found[:-1])
    if owner in inside:
        assert keys(found)[0] == owner, "the one whose record it is comes first"


async def test_the_hospitals_have_what_is_looked_for(hospital: World) -> None:
    """Members that are reached in every way, and references of every sort."""
    http, every = hospital.http, hospital.every
    sizes = []
    for name in PATIENTS:
        owner = ("Patient", name)
        inside, outside = await records.everything(http, every, owner)
        others = records.referred(every, inside) - inside - outside
        sizes.append((len(inside), len(outside), len(others)))
    assert min(size[0] for size in sizes) > 5 and sum(size[1] for size in sizes) > 10, sizes
    assert sum(size[2] for size in sizes), "records of others are referred to"


async def test_a_record_takes_along_what_is_its_own_and_nobodys(hospital: World) -> None:
    """And what is another patient's is left where it is, whatever refers to it."""
    http = hospital.http
    text = {"contentType": "text/plain", "data": "eA=="}
    ina, udo = ({"reference": f"Patient/{name}"} for name in ("ina", "udo"))
    things: dict[str, dict[str, Any]] = {
        "Binary/own": {**text, "securityContext": ina},
        "Binary/nobodys": text,
        "Bundle/own": {
            "type": "collection",
            "entry": [{"resource": {"resourceType": "Patient", "id": "ina"}}],
        },
        "Task/own": {"status": "requested", "intent": "order", "for": ina, "requester": udo},
        "Schedule/nobodys": {"actor": [{"reference": "Location/nobodys"}]},
        "Binary/his": {**text, "securityContext": udo},
        "Bundle/his": {
            "type": "collection",
            "entry": [{"resource": {"resourceType": "Patient", "id": "udo"}}],
        },
        "Bundle/somebodys": {"type": "collection", "entry": [{"resource": {"resourceType": "Patient"}}]},
        "Task/his": {"status": "requested", "intent": "order", "for": udo, "requester": ina},
        "Contract/both": {"subject": [ina, udo]},
        "Account/his": {"status": "active", "subject": [udo]},
    }
    stored_ = [
        {"resourceType": type_, "id": id_, **thing}
        for path, thing in things.items()
        for type_, id_ in (path.split("/"),)
    ]
    stored_ += [{"resourceType": "Patient", "id": name} for name in ("ina", "udo")]
    stored_ += [{"resourceType": "Location", "id": "nobodys"}]
    stored_ += [
        {
            "resourceType": "Basic",
            "id": "of-ina",
            "code": {"text": "x"},
            "subject": ina,
            "extension": [{"url": "urn:x", "valueReference": {"reference": path}} for path in things],
        }
    ]
    for one in stored_:
        answer = await http.put(f"/{one['resourceType']}/{one['id']}", json=one)
        assert answer.is_success, answer.text
    found = (await http.get("/Patient/ina/$everything")).json()
    assert {"/".join(key) for key in keys([found])} == {
        *("Patient/ina", "Basic/of-ina"),
        *("Binary/own", "Binary/nobodys", "Bundle/own", "Task/own", "Schedule/nobodys"),
    }
    for one in stored_:
        assert (await http.delete(f"/{one['resourceType']}/{one['id']}")).is_success


async def test_pages_backwards_are_the_pages_forwards(hospital: World) -> None:
    http = hospital.http
    for count in (1, 4, 9):
        forwards = await pages(http, asked(("Patient", "anna"), count=count))
        assert len(forwards) > 2 and link(forwards[0], "previous") is None
        back = [forwards[-1]]
        while (url := link(back[-1], "previous")) is not None:
            back.append((await http.get(url)).json())
        assert keys(back[::-1]) == keys(forwards)
        again = (await http.get(link(forwards[-1], "first") or "")).json()
        assert keys([again]) == keys(forwards[:1])


async def test_post_asks_the_same_as_get(hospital: World) -> None:
    http = hospital.http
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "start", "valueDate": "2020-01-01"},
            {"name": "_type", "valueCode": "Observation"},
            {"name": "_type", "valueCode": "Practitioner,Patient"},
            {"name": "_count", "valueInteger": 2},
        ],
    }
    by_post = (await http.post("/Patient/anna/$everything", json=body)).json()
    url = "/Patient/anna/$everything?start=2020-01-01&_type=Observation&_type=Practitioner,Patient&_count=2"
    by_get = (await http.get(url)).json()
    assert by_post["entry"] == by_get["entry"]
    assert link(by_post, "self") == link(by_get, "self") == f"{BASE}{url}"
    following = await pages(http, link(by_post, "next") or "")
    assert keys([by_post, *following]) == keys(await pages(http, url))


async def test_what_cannot_be_understood_is_refused(hospital: World) -> None:
    http = hospital.http
    for query, hint in {
        "start=yesterday": "start",
        "start=2021-01-01&end=2020-01-01": "after",
        "start=2020&start=2021": "at most 1",
        "_since=2020-01-01": "_since",
        "_since=0000-01-01T00:00:00Z": "_since",
        "_type=Observations": "Observation",
        "_count=0": "_count",
        "_count=-1": "_count",
        "_count=many": "_count",
        "_cursor=x": "page link",
        "_cursor=": "page link",
        "status=final": "no parameter",
        "_summary=count": "for searches",
        "_include=*": "no parameter",
    }.items():
        answer = await http.get(f"/Patient/anna/$everything?{query}")
        assert answer.status_code == 400, (query, answer.text)
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert hint in answer.json()["issue"][0]["diagnostics"], (query, answer.text)
    for path in ("Practitioner/d1/$everything", "Encounter/$everything", "Encounter/x/$timeline"):
        assert (await http.get(f"/{path}")).status_code == 404
    assert (await http.get("/Encounter/e/$everything?start=2020")).status_code == 400


async def test_a_link_is_for_the_record_that_it_belongs_to(hospital: World) -> None:
    http = hospital.http
    first = (await http.get("/Patient/anna/$everything?_count=2")).json()
    cursor = (link(first, "next") or "").partition("_cursor=")[2]
    for other in (
        "Patient/bert/$everything?_count=2",
        "Patient/anna/$everything?_count=3",
        "Patient/anna/$timeline?_count=2",
        "Patient/anna/*?_count=2",
    ):
        assert (await http.get(f"/{other}&_cursor={cursor}")).status_code == 400


async def test_who_is_not_there_and_who_is_gone(hospital: World) -> None:
    http = hospital.http
    for operation in ("$everything", "$timeline", "$everything?_type=Slot"):
        assert (await http.get(f"/Patient/nobody/{operation}")).status_code == 404
    assert (await http.put("/Patient/gone", json={"resourceType": "Patient", "id": "gone"})).is_success
    assert keys([(await http.get("/Patient/gone/$everything")).json()]) == [("Patient", "gone")]
    nothing = (await http.get("/Patient/gone/$everything?_type=Slot")).json()
    assert "entry" not in nothing and [one["relation"] for one in nothing["link"]] == ["self"]
    first = (await http.get("/Patient/gone/$timeline")).json()
    assert "entry" not in first
    assert (await http.delete("/Patient/gone")).is_success
    for operation in ("$everything", "$timeline"):
        gone = await http.get(f"/Patient/gone/{operation}")
        assert gone.status_code == 410 and gone.json()["issue"][0]["code"] == "deleted"


async def test_patients_in_general_are_nobody_in_particular(hospital: World) -> None:
    http = hospital.http
    answer = await http.get("/Patient/$everything")
    assert answer.status_code == 400 and answer.json()["issue"][0]["code"] == "too-costly"


async def test_other_forms_of_the_answer(hospital: World) -> None:
    http = hospital.http
    answer = await http.get("/Patient/anna/$everything?_format=xml&_count=3")
    assert answer.headers["content-type"].startswith("application/fhir+xml") and "_format=xml" in answer.text
    short = (await http.get("/Patient/anna/$everything?_summary=true")).json()
    assert short["entry"][0]["resource"]["meta"]["tag"][-1]["code"] == "SUBSETTED"
    entry = {"request": {"method": "GET", "url": "Patient/anna/$everything?_count=3"}}
    for kind in ("batch", "transaction"):
        sent = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        (answered,) = (await http.post("", json=sent)).json()["entry"]
        assert answered["response"]["status"] == "200 OK"
        following = await pages(http, link(answered["resource"], "next") or "")
        assert len({*keys([answered["resource"], *following])}) > 6


async def test_the_next_since_is_given(hospital: World) -> None:
    """What was written up to `meta.lastUpdated` has been seen: who gives it as `_since` misses nothing."""
    http = hospital.http
    first = (await http.get("/Patient/anna/$everything")).json()
    since = first["meta"]["lastUpdated"]
    assert "entry" not in (await http.get(asked(("Patient", "anna"), since=since))).json()
    new = {"resourceType": "Observation", "status": "final", "code": {"text": "new"}}
    new["subject"] = {"reference": "Patient/anna"}
    new["performer"] = [{"reference": "Practitioner/d1"}]
    made = (await http.post("/Observation", json=new)).json()
    news = (await http.get(asked(("Patient", "anna"), since=since))).json()
    assert keys([news]) == [("Observation", made["id"]), ("Practitioner", "d1")], (
        "with what is needed to read it"
    )
    assert (await http.delete(f"/Observation/{made['id']}")).is_success
