"""Attempts to see or to infer by searching what is not one's own."""

import json

import pytest

from tests.attacks.world import World, observation, without

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_include_of_an_outside_patient(world: World) -> None:
    await world.put(observation("focus-bert", "anna", focus=[{"reference": "Patient/bert"}]))
    anna = await world.anna("patient/*.rs")
    for url in (
        "/Observation?_include=Observation:focus",
        "/Observation?_include=*",
        "/List?_include=List:item",
        "/Provenance?_include=Provenance:target",
        "/DiagnosticReport?_include=DiagnosticReport:result",
    ):
        found = await world.found(anna, url)
        assert found and not any("bert" in one for one in found - {"Observation/focus-bert"}), (url, found)


async def test_revinclude_of_foreign_reports(world: World) -> None:
    anna = await world.anna("patient/*.rs")
    found = await world.found(anna, "/Observation?_id=lab-anna&_revinclude=DiagnosticReport:result")
    assert found == {"Observation/lab-anna", "DiagnosticReport/report-anna"}
    found = await world.found(anna, "/Practitioner?_revinclude=Patient:general-practitioner")
    assert {one for one in found if one.startswith("Patient/")} == {"Patient/anna"}
    found = await world.found(anna, "/Patient?_revinclude=Group:member&_revinclude=Provenance:target")
    assert "Group/both" not in found and "Provenance/provenance-anna" in found


async def test_being_the_focus_gives_nothing(world: World) -> None:
    """`focus` is no parameter of the Patient compartment: who is in focus of another's does not see it."""
    await world.put(observation("about", "bert", focus=[{"reference": "Patient/anna"}]))
    anna = await world.anna("patient/*.cruds")
    assert "Observation/about" not in await world.found(anna, "/Observation?focus=Patient/anna")
    await world.alike(anna, "GET", "/Observation/about", "/Observation/abxxx")
    for stolen in ("lab-bert", "about"):
        reply = await world.ask(
            anna,
            "PUT",
            f"/Observation/{stolen}",
            observation(stolen, "bert", focus=[{"reference": "Patient/anna"}]),
        )
        assert reply.status == 405


async def test_two_hops(world: World) -> None:
    """Through what is one's own to what is not: chains, `_has` within a chain, includes of includes."""
    await world.put(observation("member", "anna", hasMember=[{"reference": "Observation/lab-bert"}]))
    anna = await world.anna("patient/*.rs")
    for url in (
        "/Observation?has-member.subject:Patient.family=Family-bert",
        "/Observation?has-member:Observation.subject:Patient._id=bert",
        "/DiagnosticReport?result:Observation.subject:Patient.family=Family-bert",
        "/Practitioner?_has:Patient:general-practitioner:family=Family-bert",
        "/Practitioner?_has:Patient:general-practitioner:_has:Observation:subject:_id=lab-bert",
        "/Patient?_has:DiagnosticReport:subject:result:Observation._id=lab-bert",
        "/List?item:Observation._id=lab-bert",
    ):
        assert await world.found(anna, url) == set(), url
    reply = await world.ask(
        anna,
        "GET",
        "/Observation?_id=member&_include=Observation:has-member&_include:iterate=Observation:subject",
    )
    assert b'lab-bert",' not in reply.body.replace(b'"Observation/lab-bert"', b"")
    await world.ask(world.admin, "DELETE", "/Observation/member")


async def test_a_page_link_with_another_token(world: World) -> None:
    for name in ("p1", "p2"):
        await world.put(observation(name, "anna"))
    anna, doctor = await world.anna("patient/*.rs"), world.admin
    for owner, other in ((anna, doctor), (doctor, anna)):
        first = await world.bundle(owner, "/Observation?_count=1")
        link = next(one["url"] for one in first["link"] if one["relation"] == "next")
        path = link.removeprefix("http://test/fhir")
        assert (await world.ask(owner, "GET", path)).status == 200
        assert (await world.ask(other, "GET", path)).status == 400
        assert (await world.ask(None, "GET", path)).status == 401
    feed = await world.bundle(doctor, "/Observation/_history?_count=1")
    link = next(one["url"] for one in feed["link"] if one["relation"] == "next")
    while link:
        page = await world.bundle(anna, link.removeprefix("http://test/fhir"))
        assert not any(e["fullUrl"].endswith("-bert") for e in page["entry"] if "focus" not in e["fullUrl"])
        link = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")


async def test_bisection_by_has_on_a_denied_type(world: World) -> None:
    """Patients are shared with the app, their Observations are not: no value of these can be asked for."""
    app = await world.anna("patient/Patient.rs", "patient/Organization.rs")
    assert await world.found(app, "/Patient") == {"Patient/anna"}
    for url in (
        "/Patient?_has:Observation:subject:status=final",
        "/Patient?_has:Observation:subject:category=laboratory",
        "/Patient?_has:Observation:subject:_id=lab-anna",
    ):
        assert await world.total(app, url) == 0, url
    lab = await world.anna("patient/Patient.rs", "patient/Observation.rs?category=laboratory")
    assert await world.total(lab, "/Patient?_has:Observation:subject:category=laboratory") == 1
    assert await world.total(lab, "/Patient?_has:Observation:subject:category=vital-signs") == 0


async def test_a_count_over_a_chain(world: World) -> None:
    anna = await world.anna("patient/*.rs")
    assert await world.total(anna, "/Observation?subject:Patient.identifier=mrn-anna&_summary=count") >= 2
    for url in (
        "/Observation?subject:Patient.identifier=mrn-bert&_summary=count",
        "/DiagnosticReport?result.subject:Patient.identifier=mrn-bert&_summary=count",
        "/Observation?patient=bert&_summary=count",
        "/Patient?identifier=mrn-bert&_summary=count",
        "/Patient/bert/Observation?_summary=count",
    ):
        reply = await world.ask(anna, "GET", url)
        assert reply.status == 400 or json.loads(reply.body)["total"] == 0, url
    blind = await world.anna("patient/Observation.rs")
    assert await world.total(blind, "/Observation?subject:Patient.identifier=mrn-anna&_summary=count") == 0


@pytest.mark.parametrize("how", ["", "&_total=accurate", "&_total=estimate"])
async def test_totals_count_what_is_shown(world: World, how: str) -> None:
    anna = await world.anna("patient/*.rs")
    shown = await world.found(anna, "/Observation?_count=1000")
    assert await world.total(anna, f"/Observation?_count=1{how}") == len(shown)
    assert await world.total(anna, f"/?_type=Observation&_count=1{how}") == len(shown)
    reply = await world.bundle(anna, f"/Observation?_count=0{how}")
    assert reply["total"] == len(shown)


async def test_sorting_by_what_is_denied(world: World) -> None:
    """The order of what is shown must not tell anything of what is not."""
    app = await world.anna("patient/Observation.rs", "patient/Practitioner.rs")
    for key in ("subject:Patient.birthdate", "subject.family", "patient.name"):
        up = await world.ask(app, "GET", f"/Observation?_sort={key}")
        down = await world.ask(app, "GET", f"/Observation?_sort=-{key}")
        assert up.status == down.status
        if up.status == 200:
            order = [[e["resource"]["id"] for e in json.loads(one.body)["entry"]] for one in (up, down)]
            assert order[0] in (order[1], order[1][::-1])


async def test_synonyms_of_a_parameter(world: World) -> None:
    anna = await world.anna("patient/*.rs")
    for url in (
        "/Observation?patient=bert",
        "/Observation?subject=bert",
        "/Observation?subject=Patient/bert",
        "/Observation?subject:Patient=bert",
        "/Observation?patient:Patient=bert",
        "/Observation?patient=http://test/fhir/Patient/bert",
        "/Observation?subject=Patient/bert,Patient/bert",
        "/Observation?_id=lab-bert",
        "/Observation?_id=lab-bert&subject=Patient/bert",
        "/Observation?subject:Patient._id=bert",
        "/Patient/bert/Observation",
        "/Patient?_id=bert",
        "/Patient?_id=bert,bert",
        "/Patient?identifier=mrn-bert",
        "/Patient?link=Patient/bert",
        "/?_type=Patient&_id=bert",
        "/Patient?_id:not=anna",
        "/Patient?gender:missing=true&_id:not=anna",
    ):
        assert await world.found(anna, url) == set(), url


async def test_absolute_and_relative_references_are_the_same_record(world: World) -> None:
    """A reference by this server's own URL puts a resource where the relative one does; one by a foreign URL
    that ends alike puts it nowhere."""
    foreign = observation("foreign", "x")
    await world.put({**foreign, "subject": {"reference": "http://elsewhere.example/fhir/Patient/anna"}})
    await world.put({**foreign, "id": "absolute", "subject": {"reference": "http://test/fhir/Patient/bert"}})
    await world.put({**foreign, "id": "versioned", "subject": {"reference": "Patient/bert/_history/1"}})
    await world.put({**foreign, "id": "logical", "subject": {"identifier": {"value": "mrn-bert"}}})
    anna = await world.anna("patient/*.rs")
    bert = await world.anna("patient/*.rs", patient="bert", own=("bert",), user=("Patient", "bert"))
    theirs, his = await world.found(anna, "/Observation"), await world.found(bert, "/Observation")
    hidden = {f"Observation/{one}" for one in ("foreign", "absolute", "versioned", "logical")}
    assert not theirs & hidden
    assert his & hidden == {"Observation/absolute", "Observation/versioned"}
    device = {"resourceType": "Device", "patient": {"identifier": {"value": "mrn-bert"}}}
    await world.put({**device, "id": "logical"})
    await world.put(
        {**device, "id": "elsewhere", "patient": {"reference": "http://elsewhere.example/Patient/b"}}
    )
    await world.put({"resourceType": "Device", "id": "nobodys"})
    assert await world.found(anna, "/Device") == {"Device/device-anna", "Device/nobodys"}


async def test_history_does_not_tell_when_something_left(world: World) -> None:
    """`_at` shows what was current then; a version that followed out of sight does not count."""
    await world.put(observation("moving", "anna"))
    await world.put(observation("moving", "bert"))
    anna = await world.anna("patient/*.rs")
    at = "2999-01-01"
    shown = await world.bundle(anna, f"/Observation/moving/_history?_at={at}")
    assert [e["resource"]["meta"]["versionId"] for e in shown["entry"]] == ["1"]
    feed = await world.bundle(anna, f"/Observation/_history?_at={at}&_count=1000")
    assert "http://test/fhir/Observation/moving" in {e["fullUrl"] for e in feed["entry"]}
    later = await world.bundle(anna, f"/Observation/moving/_history?_since={at}")
    assert "entry" not in later


async def test_errors_of_a_search_do_not_depend_on_what_is_hidden(world: World) -> None:
    anna = await world.anna("patient/*.rs")
    for url in (
        "/Observation?_sort=nothing&_id={}",
        "/Observation?nothing={}",
        "/Patient/{}/Observation",
        "/Patient/{}/*",
    ):
        replies = [await world.ask(anna, "GET", url.format(id_)) for id_ in ("bert", "xxxx")]
        assert without(replies[0], "bert") == without(replies[1], "xxxx"), url
