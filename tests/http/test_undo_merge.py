"""Patient/$undo-merge: what was edited since stays, and what is unclear is asked."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.http.merges import (
    asked,
    ids,
    links,
    merged,
    observed,
    parts,
    person,
    post,
    refused,
    stored,
    subject,
    undone,
    values,
)
from tests.http.support import patched, put, read
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
Resource = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database) as client:
        yield client


def bare(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name != "meta"}


def group(id_: str, *members: str) -> Resource:
    return {
        "resourceType": "Group",
        "id": id_,
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": f"Patient/{one}"}} for one in members],
    }


def members(resource: Resource) -> list[str]:
    return [one["entity"]["reference"] for one in resource["member"]]


async def changed(http: Http, path: str, element: str, value: Any) -> Resource:
    answer = await patched(http, f"/{path}", {"op": "add", "path": f"/{element}", "value": value})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_all_is_as_before(http: Http) -> None:
    resources = [
        person("s1", "1", active=True, gender="male"),
        person("t1", "2", link=[{"other": {"reference": "Patient/s1"}, "type": "seealso"}]),
        observed("o-1", "s1"),
        observed("own-1", "t1"),
        group("g-1", "s1", "t1"),
        {
            "resourceType": "Account",
            "id": "a-1",
            "status": "active",
            "subject": [{"reference": "Patient/s1/_history/1"}],
        },
    ]
    await stored(http, *resources)
    await merged(http, "s1", "t1")
    answer = await undone(http, "s1", "t1")
    assert bare(answer["result"]) == resources[1]
    for resource in resources:
        now = await read(http, f"{resource['resourceType']}/{resource['id']}")
        assert bare(now) == resource
        assert now["meta"]["versionId"] == ("1" if resource["id"] == "own-1" else "3")
    assert await ids(http, "Observation?patient=s1") == {"Observation/o-1"}
    # And once more, the other way round.
    await merged(http, "t1", "s1")
    assert await ids(http, "Observation?patient=s1") == {"Observation/o-1", "Observation/own-1"}
    await undone(http, "t1", "s1")
    assert await ids(http, "Observation?patient=t1") == {"Observation/own-1"}


async def test_what_was_edited_since_stays(http: Http) -> None:
    await stored(http, person("s2", "21"), person("t2", "22"), person("u2"))
    await stored(http, *(observed(f"{name}-2", "s2") for name in ("kept", "edited", "moved", "gone", "back")))
    await merged(http, "s2", "t2")
    await changed(http, "Observation/edited-2", "status", "amended")
    await changed(http, "Observation/moved-2", "subject", {"reference": "Patient/u2"})
    await http.delete("/Observation/gone-2")
    await http.delete("/Observation/back-2")
    await put(http, observed("back-2", "t2", status="amended"))
    await stored(http, observed("new-2", "t2"))
    await changed(http, "Patient/t2", "gender", "female")
    await changed(http, "Patient/t2", "identifier/-", {"system": "urn:later", "value": "9"})
    await changed(http, "Patient/s2", "birthDate", "1990-01-02")
    preview = parts(await post(http, "undo-merge", asked("s2", "t2", preview=True)))
    assert [issue["severity"] for issue in preview["outcome"]["issue"]] == ["information"]
    await undone(http, "s2", "t2")
    source, target = await read(http, "Patient/s2"), await read(http, "Patient/t2")
    assert bare(source) == person("s2", "21", birthDate="1990-01-02")
    assert target["gender"] == "female" and values(target) == [("22", None), ("9", None)]
    assert "link" not in target
    assert await ids(http, "Observation?patient=s2") == {"Observation/kept-2", "Observation/edited-2"}
    assert (await read(http, "Observation/edited-2"))["status"] == "amended"
    assert await subject(http, "Observation/moved-2") == "Patient/u2"
    assert (await http.get("/Observation/gone-2")).status_code == 410
    # What was created again after it was deleted is of whom its author said.
    assert await ids(http, "Observation?patient=t2") == {"Observation/new-2", "Observation/back-2"}


@pytest.mark.parametrize("side", ["keep", "restore"])
async def test_conflicts_are_listed_and_refused_unless_told(http: Http, side: str) -> None:
    s, t = f"s3-{side}", f"t3-{side}"
    given = person(
        t, "32", gender="female", link=[{"other": {"reference": f"Patient/{s}"}, "type": "replaces"}]
    )
    g = f"g3-{side}"
    await stored(http, person(s, "31"), person(t, "32", gender="unknown"), group(g, s, t, "x"))
    await merged(http, s, t, {"name": "result-patient", "resource": given})
    await changed(http, f"Patient/{t}", "gender", "male")
    await put(http, group(g, "y", t, t, "x"))
    preview = parts(await post(http, "undo-merge", asked(s, t, preview=True)))
    conflicts = [issue for issue in preview["outcome"]["issue"] if issue["code"] == "conflict"]
    assert [issue["diagnostics"].split(" was changed")[0] for issue in conflicts] == [
        f"Patient.gender of Patient/{t}",
        f"Group/{g}",
    ]
    assert conflicts[0]["expression"] == ["Patient.gender"]
    refusal = await post(http, "undo-merge", asked(s, t))
    assert refusal.status_code == 422 and refusal.json()["issue"] == conflicts
    assert (await read(http, f"Patient/{s}"))["active"] is False
    wrong = await post(http, "undo-merge", asked(s, t, side="whatever"))
    assert "keep or restore" in refused(wrong, 400)
    await undone(http, s, t, side)
    target = await read(http, f"Patient/{t}")
    if side == "keep":
        assert target["gender"] == "male"
        assert members(await read(http, f"Group/{g}")) == [
            "Patient/y",
            f"Patient/{t}",
            f"Patient/{t}",
            "Patient/x",
        ]
    else:
        assert target["gender"] == "unknown"
        assert members(await read(http, f"Group/{g}")) == [
            "Patient/y",
            f"Patient/{s}",
            f"Patient/{s}",
            "Patient/x",
        ]
    assert links(target) == [] and values(target) == [("32", None)]


async def test_two_merges_into_one_are_undone_in_any_order(http: Http) -> None:
    await stored(
        http, person("x7", "71"), person("y7", "72"), person("t7", "73"), group("g-7", "x7", "y7", "t7")
    )
    await merged(http, "x7", "t7")
    await merged(http, "y7", "t7")
    assert members(await read(http, "Group/g-7")) == ["Patient/t7"] * 3
    await changed(http, "Group/g-7", "name", "edited")
    await undone(http, "x7", "t7")
    assert members(await read(http, "Group/g-7")) == ["Patient/x7", "Patient/t7", "Patient/t7"]
    assert values(await read(http, "Patient/t7")) == [("73", None), ("72", "old")]
    await undone(http, "y7", "t7")
    assert bare(await read(http, "Group/g-7")) == group("g-7", "x7", "y7", "t7") | {"name": "edited"}
    assert bare(await read(http, "Patient/t7")) == person("t7", "73")


async def test_a_reference_to_what_a_record_contains_is_one_to_the_record(http: Http) -> None:
    said = ["Patient/s8#within", "Patient/s8/_history/1#within"]
    await stored(http, person("s8"), person("t8"))
    await stored(http, *(observed(f"o-8-{n}", "x", subject={"reference": one}) for n, one in enumerate(said)))
    await merged(http, "s8", "t8")
    await stored(http, observed("o-8-2", "x", subject={"reference": said[0]}))
    all_ = {f"Observation/o-8-{n}" for n in range(3)}
    assert await ids(http, "Observation?subject=Patient/t8") == all_
    assert await ids(http, "Observation?subject=Patient/s8") == set()
    await undone(http, "s8", "t8")
    assert [await subject(http, f"Observation/o-8-{n}") for n in range(3)] == [*said, said[0]]


@pytest.mark.parametrize("side", ["keep", "restore"])
async def test_an_element_that_may_have_several_types_is_one(http: Http, side: str) -> None:
    s, t = f"s9-{side}", f"t9-{side}"
    given = person(
        t, deceasedBoolean=True, link=[{"other": {"reference": f"Patient/{s}"}, "type": "replaces"}]
    )
    await stored(http, person(s), person(t, deceasedBoolean=False))
    await merged(http, s, t, {"name": "result-patient", "resource": given})
    edited = {**await read(http, f"Patient/{t}"), "deceasedDateTime": "2020"}
    del edited["deceasedBoolean"]
    await put(http, edited)
    assert "Patient.deceased of" in refused(await post(http, "undo-merge", asked(s, t)), 422)
    await undone(http, s, t, side)
    said = {"deceasedDateTime": "2020"} if side == "keep" else {"deceasedBoolean": False}
    assert bare(await read(http, f"Patient/{t}")) == person(t, **said)


async def test_what_would_not_be_valid_is_not_stored(http: Http) -> None:
    await stored(http, person("s10"), person("t10"))
    within: dict[str, Any] = {
        "contained": [{"resourceType": "Organization", "id": "o1", "name": "x"}],
        "managingOrganization": {"reference": "#o1"},
    }
    link = [{"other": {"reference": "Patient/s10"}, "type": "replaces"}]
    given = person("t10", link=link, **within)
    await merged(http, "s10", "t10", {"name": "result-patient", "resource": given})
    await put(http, {**given, "generalPractitioner": [{"reference": "#o1"}]})
    for preview in (True, False):
        answer = await post(http, "undo-merge", asked("s10", "t10", preview=preview))
        assert "Patient/t10" in refused(answer, 422)
        assert answer.json()["issue"][1]["expression"] == ["Patient.generalPractitioner[0].reference"]
    await put(http, given)
    await undone(http, "s10", "t10")
    assert bare(await read(http, "Patient/t10")) == person("t10")


async def test_what_an_undone_merge_brought_does_not_come_back(http: Http) -> None:
    """Neither where a later merge took it away, nor where somebody has edited it when the other one goes."""
    await stored(http, person("x11", "1"), person("y11", "2"), person("t11", "3"))
    link = [{"other": {"reference": "Patient/x11"}, "type": "replaces"}]
    given = person("t11", "3", "1", gender="male", birthDate="1990", link=link)
    await merged(http, "x11", "t11", {"name": "result-patient", "resource": given})
    link = [*link, {"other": {"reference": "Patient/y11"}, "type": "replaces"}]
    given = person("t11", "3", "2", birthDate="1990", link=link)
    await merged(http, "y11", "t11", {"name": "result-patient", "resource": given})
    await changed(http, "Patient/t11", "birthDate", "1991")
    await undone(http, "x11", "t11", "keep")
    await undone(http, "y11", "t11")
    assert bare(await read(http, "Patient/t11")) == person("t11", "3", birthDate="1991")


async def test_an_identifier_that_was_edited_since(http: Http) -> None:
    await stored(http, person("s4", "41", "42"), person("t4", "43"))
    await merged(http, "s4", "t4")
    target = await read(http, "Patient/t4")
    edited = [dict(one) for one in target["identifier"]]
    edited[1] |= {"use": "official"}
    del edited[2]
    await put(http, {**target, "identifier": edited})
    assert "Patient.identifier" in refused(await post(http, "undo-merge", asked("s4", "t4")), 422)
    await undone(http, "s4", "t4", "keep")
    assert values(await read(http, "Patient/t4")) == [("43", None), ("41", "official")]
    assert values(await read(http, "Patient/s4")) == [("41", None), ("42", None)]


async def test_a_target_that_an_ignorant_client_wrote_over(http: Http) -> None:
    """A PUT of what somebody knew from before: links and identifiers are gone, which is no conflict."""
    await stored(http, person("s5", "51"), person("t5", "52"), observed("o-5", "s5"))
    await merged(http, "s5", "t5")
    await put(http, person("t5", "52", gender="other"))
    await undone(http, "s5", "t5")
    assert bare(await read(http, "Patient/t5")) == person("t5", "52", gender="other")
    assert bare(await read(http, "Patient/s5")) == person("s5", "51")
    assert await subject(http, "Observation/o-5") == "Patient/s5"


async def test_nothing_is_undone_of_what_is_gone(http: Http) -> None:
    await stored(http, person("s6"), person("t6"))
    await merged(http, "s6", "t6")
    assert (await http.delete("/Patient/s6")).status_code == 204
    assert "deleted" in refused(await post(http, "undo-merge", asked("s6", "t6")), 422)
    link = [{"other": {"reference": "Patient/t6"}, "type": "replaced-by"}]
    assert "was merged" in refused(await http.put("/Patient/s6", json=person("s6")), 422)
    await put(http, person("s6", active=False, link=link))
    await undone(http, "s6", "t6")
    assert (await read(http, "Patient/s6"))["active"] is True
