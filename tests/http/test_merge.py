"""Patient/$merge: https://build.fhir.org/patient-operation-merge.html, docs/how-to/merging.md"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.http.merges import (
    MRN,
    asked,
    identified,
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
from tests.http.support import created, entry, found, patched, put, read, transact, versions
from tests.http.test_unique_identifiers import naming, reindexed
from tests.support.server import BASE, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database, base_url=BASE) as client:
        await put(client, naming("mrn", MRN, "Patient"))
        yield client


def everywhere(name: str, patient: str) -> list[dict[str, Any]]:
    """Resources that refer to a patient by parameters, in elements without any, in extensions and within."""
    reference = {"reference": f"Patient/{patient}"}
    return [
        observed(f"o-{name}", patient),
        {
            "resourceType": "Group",
            "id": f"g-{name}",
            "type": "person",
            "actual": True,
            "member": [{"entity": reference}, {"entity": {"reference": "Patient/else"}}],
        },
        {
            "resourceType": "Immunization",
            "id": f"i-{name}",
            "status": "completed",
            "vaccineCode": {"text": "x"},
            "patient": {"reference": "Patient/else"},
            "occurrenceString": "once",
            "extension": [{"url": "urn:test:about", "valueReference": reference}],
        },
        {
            "resourceType": "Observation",
            "id": f"c-{name}",
            "status": "final",
            "code": {"text": "x"},
            "contained": [
                {"resourceType": "Specimen", "id": "s", "subject": reference},
            ],
            "specimen": {"reference": "#s"},
        },
        {
            "resourceType": "Account",
            "id": f"a-{name}",
            "status": "active",
            "subject": [{"reference": f"Patient/{patient}/_history/1"}],
            "guarantor": [{"party": reference}, {"party": {"reference": f"Patient/{patient}#within"}}],
        },
        {"resourceType": "Person", "id": f"p-{name}", "link": [{"target": reference}]},
        {
            "resourceType": "Provenance",
            "id": f"v-{name}",
            "target": [{"reference": f"Patient/{patient}/_history/1"}, reference],
            "recorded": "2020-01-01T00:00:00Z",
            "agent": [{"who": {"display": "x"}}],
        },
        {
            "resourceType": "Bundle",
            "id": f"b-{name}",
            "type": "collection",
            "entry": [{"resource": {k: v for k, v in observed("in", patient).items() if k != "id"}}],
        },
    ]


def event_about(patient: str) -> dict[str, Any]:
    """What was recorded, which nobody changes afterwards."""
    return {
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "x"}},
        "entity": [{"what": {"reference": f"Patient/{patient}"}}],
    }


async def test_one_person(http: Http) -> None:
    await stored(http, person("else"), person("s1", "1", "both"), person("t1", "2"), *everywhere("1", "s1"))
    event = await created(http, event_about("s1"))
    before = (await read(http, "Observation/o-1"))["meta"]["lastUpdated"]
    answer = await merged(http, "s1", "t1")
    source, target = await read(http, "Patient/s1"), await read(http, "Patient/t1")
    assert answer["result"] == target
    assert answer["input"] == asked("s1", "t1")
    assert source["active"] is False and links(source) == [("replaced-by", "Patient/t1")]
    assert target["active"] is True and links(target) == [("replaces", "Patient/s1")]
    assert values(source) == [("1", None), ("both", None)]
    assert values(target) == [("2", None), ("1", "old"), ("both", "old")]
    assert await subject(http, "Observation/o-1") == "Patient/t1"
    group = await read(http, "Group/g-1")
    assert [one["entity"]["reference"] for one in group["member"]] == ["Patient/t1", "Patient/else"]
    extension = (await read(http, "Immunization/i-1"))["extension"][0]
    assert extension["valueReference"]["reference"] == "Patient/t1"
    assert (await read(http, "Observation/c-1"))["contained"][0]["subject"]["reference"] == "Patient/t1"
    account = await read(http, "Account/a-1")
    assert account["subject"] == [{"reference": "Patient/t1"}], "of no version of the other one"
    assert account["guarantor"] == [{"party": {"reference": "Patient/t1"}}] * 2, "nor of what was within it"
    assert (await read(http, "Person/p-1"))["link"][0]["target"]["reference"] == "Patient/t1"
    provenance = await read(http, "Provenance/v-1")
    said = [one["reference"] for one in provenance["target"]]
    assert said == ["Patient/s1/_history/1", "Patient/t1"], "it speaks of versions"
    for path in (f"AuditEvent/{event['id']}", "Bundle/b-1"):
        stays = await read(http, path)
        assert stays["meta"]["versionId"] == "1" and "Patient/s1" in str(stays)
    # What was is in the history, and the index is that of what is.
    old, new = (await versions(http, "Observation/o-1"))[::-1]
    assert old["resource"]["subject"]["reference"] == "Patient/s1"
    assert new["resource"]["subject"]["reference"] == "Patient/t1"
    assert await ids(http, "Observation?subject=Patient/s1") == set()
    assert await ids(http, "Observation?patient=t1") == {"Observation/o-1"}
    assert await ids(http, f"Observation?patient=s1&_asOf={before}") == {"Observation/o-1"}
    assert await ids(http, "Specimen?_contained=true&subject=Patient/t1") == {"Observation/c-1"}


async def test_provenance_names_the_versions(http: Http) -> None:
    await stored(http, person("s2", "21"), person("t2"), observed("o-2", "s2"))
    await merged(http, "s2", "t2")
    await undone(http, "s2", "t2")
    told = await found(http, "Provenance?target=Patient/t2&_sort=_lastUpdated")
    activities = [one["activity"]["coding"][0]["code"] for one in told]
    assert activities == ["merge", "unmerge"]
    assert [[target["reference"] for target in one["target"]] for one in told] == [
        ["Patient/t2/_history/2", "Patient/s2/_history/2", "Observation/o-2/_history/2"],
        ["Patient/t2/_history/3", "Patient/s2/_history/3", "Observation/o-2/_history/3"],
    ]


async def test_by_identifiers(http: Http) -> None:
    await stored(http, person("s3", "31", "shared-3"), person("t3", "32"))
    body = asked(
        None, None, identified("source", "31"), identified("source", "shared-3"), identified("target", "32")
    )
    answer = parts(await post(http, "merge", body))
    assert answer["result"]["id"] == "t3"
    body = asked(None, None, identified("source", "31"), identified("target", "32"))
    undo = parts(await post(http, "undo-merge", body))
    assert undo["result"]["id"] == "t3"
    reference = {"name": "source-patient", "valueReference": {"identifier": {"value": "31"}}}
    body = asked(None, "t3", reference, preview=True)
    assert parts(await post(http, "merge", body))["result"]["id"] == "t3"


async def test_the_result_as_it_is_given(http: Http) -> None:
    await stored(http, person("s4", "41", gender="female"), person("t4", "42"))
    given = person("t4", "42", "41", gender="female")
    given["link"] = [{"other": {"reference": "Patient/s4"}, "type": "replaces"}]
    part = {"name": "result-patient", "resource": given}
    for wrong in (
        {**given, "id": "s4"},
        {**given, "link": []},
        {key: value for key, value in given.items() if key != "link"},
        {**given, "active": False},
        {**given, "link": [*given["link"], {"other": {"reference": "Patient/u4"}, "type": "replaced-by"}]},
        {**given, "identifier": given["identifier"][:1]},
    ):
        wrong = {key: value for key, value in wrong.items() if value != []}
        body = asked("s4", "t4", identified("source", "41"), {**part, "resource": wrong})
        assert "result-patient" in refused(await post(http, "merge", body), 400)
    answer = await merged(http, "s4", "t4", part)
    assert values(answer["result"]) == [("42", None), ("41", None)]
    assert answer["result"]["gender"] == "female"
    assert values(await read(http, "Patient/s4")) == [("41", None)]


async def test_preview_changes_nothing(http: Http) -> None:
    await stored(http, person("s5", "51"), person("t5"), observed("o-5", "s5"))
    answer = parts(await post(http, "merge", asked("s5", "t5", preview=True)))
    assert answer["outcome"]["issue"][0]["diagnostics"].startswith("preview: nothing was changed; 1 resource")
    assert links(answer["result"]) == [("replaces", "Patient/s5")]
    assert values(answer["result"]) == [("51", "old")]
    assert "versionId" not in str(answer["result"])
    for path in ("Patient/s5", "Patient/t5", "Observation/o-5"):
        assert (await read(http, path))["meta"]["versionId"] == "1"
    answer = parts(await post(http, "merge", asked("s5", "t5", preview=False)))
    assert answer["result"]["meta"]["versionId"] == "2"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (asked("s6", None), 400, "'target-patient'"),
        (asked(None, "t6"), 400, "'source-patient'"),
        ({"resourceType": "Parameters"}, 400, "'source-patient'"),
        (asked("s6", "t6", {"name": "nonsense", "valueString": "x"}), 400, "nonsense"),
        (
            asked(None, "t6", {"name": "source-patient", "valueReference": {"reference": "Group/1"}}),
            400,
            "Patient",
        ),
        (
            asked(
                None,
                "t6",
                {"name": "source-patient", "valueReference": {"reference": "http://e.org/Patient/1"}},
            ),
            400,
            "this server",
        ),
        (asked(None, "t6", {"name": "source-patient", "valueString": "Patient/s6"}), 400, "valueReference"),
        (
            asked(None, "t6", {"name": "source-patient-identifier", "valueIdentifier": {"system": MRN}}),
            400,
            "no value",
        ),
        (asked("s6", "s6"), 422, "source and target are both Patient/s6"),
        (asked("never", "t6"), 422, "there is no Patient/never"),
        (asked("s6", "gone6"), 422, "deleted"),
        (asked("s6", None, identified("target", "nobody's")), 422, "no Patient has"),
        (asked("s6", None, identified("target", "same6", "urn:other")), 422, "several Patients"),
        (asked("s6", "t6", identified("source", "62")), 422, "has not all"),
        (asked("linked6", "t6"), 422, "says that another one replaces it"),
        (asked("s6", "linked6"), 422, "says that another one replaces it"),
        (asked("s6", "inactive6"), 422, "Patient/inactive6 is inactive"),
    ],
)
async def test_what_is_refused(http: Http, body: Any, status: int, said: str) -> None:
    same = {"identifier": [{"system": "urn:other", "value": "same6"}]}
    if (await http.get("/Patient/s6")).status_code == 404:
        await stored(http, person("s6", "61"), person("t6", "62"), person("gone6"))
        await stored(http, person("a6", **same), person("b6", **same))
        link = [{"other": {"reference": "Patient/a6"}, "type": "replaced-by"}]
        await stored(http, person("linked6", link=link), person("inactive6", active=False))
        await http.delete("/Patient/gone6")
    answer = await post(http, "merge", body)
    assert said in refused(answer, status)
    assert (await read(http, "Patient/t6"))["meta"]["versionId"] == "1"


async def test_once_is_enough(http: Http) -> None:
    await stored(http, person("s7"), person("t7"), person("u7"))
    await merged(http, "s7", "t7")
    for source, target in (("s7", "t7"), ("s7", "u7"), ("u7", "s7"), ("t7", "s7")):
        said = refused(await post(http, "merge", asked(source, target)), 422)
        assert "Patient/s7 was merged into Patient/t7 already" in said
    assert "not merged" in refused(await post(http, "undo-merge", asked("u7", "t7")), 422)
    assert "not merged" in refused(await post(http, "undo-merge", asked("s7", "u7")), 422)


async def test_one_after_the_other(http: Http) -> None:
    """A into B, B into C; who refers to A leads to C. Back again in the opposite order."""
    await stored(http, person("a8", "81"), person("b8", "82"), person("c8", "83"))
    await stored(http, observed("oa", "a8"), observed("ob", "b8"), observed("oc", "c8"))
    await merged(http, "a8", "b8")
    await merged(http, "b8", "c8")
    assert await ids(http, "Observation?patient=c8") == {"Observation/oa", "Observation/ob", "Observation/oc"}
    assert links(await read(http, "Patient/a8")) == [("replaced-by", "Patient/c8")]
    late = await created(http, {k: v for k, v in observed("x", "a8").items() if k != "id"})
    assert late["subject"]["reference"] == "Patient/c8"
    assert "undo that first" in refused(await post(http, "undo-merge", asked("a8", "b8")), 422)
    await undone(http, "b8", "c8")
    assert await ids(http, "Observation?patient=c8") == {"Observation/oc"}
    assert await ids(http, "Observation?patient=b8") == {
        *("Observation/oa", "Observation/ob"),
        f"Observation/{late['id']}",
    }
    assert links(await read(http, "Patient/a8")) == [("replaced-by", "Patient/b8")]
    await undone(http, "a8", "b8")
    assert await ids(http, "Observation?patient=a8") == {"Observation/oa", f"Observation/{late['id']}"}
    assert await ids(http, "Observation?patient=b8") == {"Observation/ob"}
    for id_ in ("a8", "b8", "c8"):
        patient = await read(http, f"Patient/{id_}")
        assert patient["active"] is True and "link" not in patient and len(values(patient)) == 1


async def test_writes_that_refer_to_the_source_follow(http: Http) -> None:
    await stored(http, person("s9", "91"), person("t9"), observed("o-9", "s9"))
    await merged(http, "s9", "t9")
    made = await created(http, {k: v for k, v in observed("x", "s9").items() if k != "id"})
    assert made["subject"]["reference"] == "Patient/t9"
    header = {"Prefer": "return=OperationOutcome"}
    said = await http.post("/Observation", json={**observed("x", "s9")}, headers=header)
    assert "Patient/s9 was merged into another Patient" in said.text
    absolute = observed("o-9", "s9", note=[{"text": "later"}])
    absolute["subject"] = {"reference": f"{BASE}/Patient/s9"}
    assert (await put(http, absolute))["subject"]["reference"] == "Patient/t9"
    patch = {"op": "replace", "path": "/subject/reference", "value": "Patient/s9"}
    assert (await patched(http, "/Observation/o-9", patch)).json()["subject"]["reference"] == "Patient/t9"
    entries = [
        entry("PUT", f"Observation/b-9-{number}", observed(f"b-9-{number}", "s9")) for number in range(3)
    ]
    await transact(http, *entries)
    assert await subject(http, "Observation/b-9-2") == "Patient/t9"
    assert await ids(http, "Observation?patient=s9") == set()
    again = observed("o-9", "s9", note=[{"text": "later"}])
    version = (await read(http, "Observation/o-9"))["meta"]["versionId"]
    assert (await put(http, again))["meta"]["versionId"] == version, "the same again"
    # What its writers said of the source goes back to it.
    own = await created(http, {k: v for k, v in observed("x", "t9").items() if k != "id"})
    await undone(http, "s9", "t9")
    assert await ids(http, "Observation?patient=t9") == {f"Observation/{own['id']}"}
    assert f"Observation/{made['id']}" in await ids(http, "Observation?patient=s9")


async def test_the_source_stays_merged(http: Http) -> None:
    await stored(http, person("s10", "101"), person("t10"))
    await merged(http, "s10", "t10")
    now = await read(http, "Patient/s10")
    for wrong in (
        person("s10", "101"),
        {**now, "active": True},
        {**now, "link": [*now["link"], *now["link"]][:0]},
        {**now, "link": [*now["link"], {"other": {"reference": "Patient/u10"}, "type": "replaced-by"}]},
    ):
        wrong = {key: value for key, value in wrong.items() if value != []}
        answer = await http.put("/Patient/s10", json=wrong)
        assert "was merged into Patient/t10" in refused(answer, 422)
    patch = {"op": "remove", "path": "/link"}
    assert "undone" in refused(await patched(http, "/Patient/s10", patch), 422)
    edited = await put(http, {**now, "gender": "male"})
    assert edited["gender"] == "male"
    await undone(http, "s10", "t10")
    assert await read(http, "Patient/s10") == {
        **person("s10", "101"),
        "gender": "male",
        "meta": (await read(http, "Patient/s10"))["meta"],
    }


async def test_the_one_that_stays_is_not_deleted(http: Http) -> None:
    """Who refers to the source refers to it: neither alone, nor by criteria, nor in a transaction."""
    await stored(http, person("s17", "171"), person("t17", "172"), observed("o-17", "s17"))
    await merged(http, "s17", "t17")
    said = refused(await http.delete("/Patient/t17"), 409)
    assert said.startswith("Patient/t17 stands for Patient/s17")
    assert refused(await http.delete(f"/Patient?identifier={MRN}|172"), 409) == said
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [entry("DELETE", "Patient/t17")]}
    assert said in refused(await http.post("", json=body), 409)
    assert await subject(http, "Observation/o-17") == "Patient/t17"
    assert (await http.delete("/Patient/s17")).status_code == 204
    assert (await http.put("/Patient/s17", json={**person("s17"), "active": False})).status_code == 422
    link = [{"other": {"reference": "Patient/t17"}, "type": "replaced-by"}]
    await put(http, person("s17", active=False, link=link))
    await undone(http, "s17", "t17")
    assert (await http.delete("/Patient/t17")).status_code == 204


async def test_a_result_is_made_of_the_version_that_is_there(http: Http) -> None:
    await stored(http, person("s18"), person("t18"), person("t18", gender="female"))
    link = [{"other": {"reference": "Patient/s18"}, "type": "replaces"}]
    stale = person("t18", link=link, meta={"versionId": "1"})
    body = asked("s18", "t18", {"name": "result-patient", "resource": stale})
    for wanted in (
        body,
        {**body, "parameter": [*body["parameter"], {"name": "preview", "valueBoolean": True}]},
    ):
        said = refused(await post(http, "merge", wanted), 409)
        assert "was made of version 1 of Patient/t18, which has version 2" in said
    current = {**stale, "meta": {"versionId": "2"}}
    body = asked("s18", "t18", {"name": "result-patient", "resource": current})
    assert "another version" in refused(await post(http, "merge", body, **{"If-Match": 'W/"1"'}), 412)
    assert (await read(http, "Patient/t18"))["gender"] == "female"
    parts(await post(http, "merge", body, **{"If-Match": 'W/"2"'}))
    assert "gender" not in await read(http, "Patient/t18")
    back = asked("s18", "t18")
    assert refused(await post(http, "undo-merge", back, **{"If-Match": 'W/"2"'}), 412)
    parts(await post(http, "undo-merge", back, **{"If-Match": 'W/"3"'}))


async def test_a_preview_says_what_would_be_refused(http: Http) -> None:
    await stored(http, person("s19", "191"), person("t19", "192"), person("u19", "193"))
    link = [{"other": {"reference": "Patient/s19"}, "type": "replaces"}]
    taken = {"name": "result-patient", "resource": person("t19", "192", "193", link=link)}
    said = [
        refused(await post(http, "merge", asked("s19", "t19", taken, **flags)), 409)
        for flags in ({"preview": True}, {})
    ]
    assert said[0] == said[1] and said[0].endswith(": Patient/u19")
    assert (await read(http, "Patient/t19"))["meta"]["versionId"] == "1"


async def test_what_was_moved_is_counted(http: Http) -> None:
    """Neither what stays though it refers to the source, nor what nobody could move back."""
    replaces = [{"other": {"reference": "Patient/s20"}, "type": "replaces"}]
    await stored(http, person("s20"), person("t20"), person("u20", link=replaces), observed("o-20", "s20"))
    for flags in ({"preview": True}, {}):
        answer = parts(await post(http, "merge", asked("s20", "t20", **flags)))
        assert "1 resources w" in answer["outcome"]["issue"][0]["diagnostics"]
    await put(http, observed("o-20", "u20"))
    for flags in ({"preview": True}, {}):
        answer = parts(await post(http, "undo-merge", asked("s20", "t20", **flags)))
        assert "0 resources w" in answer["outcome"]["issue"][0]["diagnostics"]


async def test_conditional_writes_find_the_one_that_stays(http: Http) -> None:
    await stored(http, person("s11", "111"), person("t11", "112"))
    await merged(http, "s11", "t11")
    criteria = f"identifier={MRN}|111"
    answer = await http.post("/Patient", json=person("x", "111"), headers={"If-None-Exist": criteria})
    assert answer.status_code == 200 and "/Patient/t11/" in answer.headers["location"]
    patch = [{"op": "add", "path": "/gender", "value": "other"}]
    answer = await http.patch(
        f"/Patient?{criteria}", json=patch, headers={"Content-Type": "application/json-patch+json"}
    )
    assert answer.status_code == 200 and answer.json()["id"] == "t11"


async def test_unique_identifiers_belong_to_the_one_that_stays(http: Http, database: str) -> None:
    await stored(http, person("s12", "121"), person("t12", "122"))
    await merged(http, "s12", "t12")
    said = refused(await http.post("/Patient", json=person("x", "121")), 409)
    assert said.endswith(": Patient/t12")
    assert (await reindexed(database, verify=True)).differences == []
    await undone(http, "s12", "t12")
    said = refused(await http.post("/Patient", json=person("x", "121")), 409)
    assert said.endswith(": Patient/s12")
    assert (await reindexed(database, verify=True)).differences == []


async def test_one_candidate_of_a_match(http: Http) -> None:
    alike: dict[str, Any] = {
        "name": [{"family": "Okonkwo", "given": ["Adaeze"]}],
        "birthDate": "1977-03-09",
        "gender": "female",
    }
    await stored(http, person("s13", "131", **alike), person("t13", "132", **alike))
    described = {"resourceType": "Patient", **alike}
    assert (await http.post("/Patient/$match", json=described)).json()["total"] == 2
    await merged(http, "s13", "t13")
    answer = (await http.post("/Patient/$match", json=described)).json()
    assert [one["resource"]["id"] for one in answer["entry"]] == ["t13"]


async def test_within_a_batch_but_not_a_transaction(http: Http) -> None:
    await stored(http, person("s14"), person("t14"))
    one = entry("POST", "Patient/$merge", asked("s14", "t14"))
    for kind, status in (("transaction", 400), ("batch", 200)):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [one]}
        answer = await http.post("", json=bundle)
        assert answer.status_code == status, answer.text
    assert answer.json()["entry"][0]["response"]["status"].startswith("200")
    assert (await read(http, "Patient/s14"))["active"] is False


async def test_references_to_others_are_replaced(http: Http) -> None:
    doctor = {"resourceType": "Practitioner", "id": "d1"}
    await stored(http, doctor, {**doctor, "id": "d2"}, person("p15"))
    performed = observed("o-15", "p15", performer=[{"reference": "Practitioner/d1"}])
    identifier = {"system": "urn:x", "value": "1", "assigner": {"reference": "Organization/org1"}}
    organization = {"resourceType": "Organization", "id": "org1", "name": "A"}
    await stored(http, performed, organization, {**organization, "id": "org2"})
    await stored(http, {**person("q15"), "identifier": [identifier]})

    def body(type_: str, source: str, target: str, **more: Any) -> dict[str, Any]:
        sides = (("source", source), ("target", target))
        said = [{"name": k, "valueReference": {"reference": f"{type_}/{v}"}} for k, v in sides]
        return {
            "resourceType": "Parameters",
            "parameter": said + [{"name": k, "valueBoolean": v} for k, v in more.items()],
        }

    preview = await http.post(
        "/Practitioner/$replace-references", json=body("Practitioner", "d1", "d2", preview=True)
    )
    assert "1 resource" in parts(preview)["outcome"]["issue"][0]["diagnostics"]
    for type_, source, target in (("Practitioner", "d1", "d2"), ("Organization", "org1", "org2")):
        answer = await http.post(f"/{type_}/$replace-references", json=body(type_, source, target))
        assert "result" not in parts(answer)
        assert (await read(http, f"{type_}/{source}"))["meta"]["versionId"] == "1"
    assert (await read(http, "Observation/o-15"))["performer"] == [{"reference": "Practitioner/d2"}]
    assigner = (await read(http, "Patient/q15"))["identifier"][0]["assigner"]
    assert assigner == {"reference": "Organization/org2"}
    assert len(await found(http, "Provenance?target=Observation/o-15")) == 1
    wrong = await http.post("/Practitioner/$replace-references", json=body("Organization", "org1", "org2"))
    assert refused(wrong, 400)
    assert (
        await http.post("/Patient/$replace-references", json=body("Patient", "p15", "q15"))
    ).status_code == 404
