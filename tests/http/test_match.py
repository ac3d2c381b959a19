"""Patient/$match: https://hl7.org/fhir/R4/patient-operation-match.html"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir.validate import validate
from fhirserver.interactions.operations.match import BLOCK_MAX
from tests.http.support import bundle, entry
from tests.support.callers import granted
from tests.support.matching.blocked import true_pairs
from tests.support.matching.hard import hard
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
ANNA = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:mrn", "value": "10203040"}],
    "active": True,
    "name": [{"family": "Schröder", "given": ["Anna"]}],
    "gender": "female",
    "birthDate": "1984-03-07",
    "address": [{"line": ["12 Mill Road"], "city": "Leeds", "postalCode": "LS1 4AB"}],
    "telecom": [{"system": "phone", "value": "+44 113 496 0123"}],
}
TWIN = ANNA | {"name": [{"family": "Schröder", "given": ["Peter"]}], "gender": "male", "identifier": []}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(database: str) -> AsyncIterator[Http]:
    """The people who are hard to tell apart, and some who are not."""
    async with serving(database) as http:
        stored = [("anna", ANNA), ("peter", {key: value for key, value in TWIN.items() if value})]
        stored += [(patient["id"], patient) for _, patient in hard(80)]
        entries = [entry("PUT", f"Patient/{id_}", {**patient, "id": id_}) for id_, patient in stored]
        assert (await http.post("", json=bundle("transaction", entries))).status_code == 200
        yield http


def asking(patient: dict[str, Any], **more: Any) -> dict[str, Any]:
    kinds = {"onlyCertainMatches": "valueBoolean", "count": "valueInteger"}
    parts = [{"name": name, kinds[name]: value} for name, value in more.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}, *parts]}


async def matches(http: Http, patient: dict[str, Any], **more: Any) -> list[tuple[str, str, float]]:
    """Id, grade and score."""
    answer = await http.post("/Patient/$match", json=asking(patient, **more))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    validate(found, "Bundle")
    assert found["type"] == "searchset"
    matched = [one for one in found.get("entry", []) if one["search"]["mode"] == "match"]
    result = []
    for one in matched:
        (extension,) = one["search"]["extension"]
        assert extension["url"] == "http://hl7.org/fhir/StructureDefinition/match-grade"
        assert one["fullUrl"].endswith(f"/Patient/{one['resource']['id']}")
        result.append((one["resource"]["id"], extension["valueCode"], one["search"]["score"]))
    return result


async def test_what_is_enough_and_what_is_too_little(people: Http) -> None:
    """Parts of a name and of a date, as they are often all that is known."""
    anna = {"resourceType": "Patient", "name": [{"text": "Anna Schröder"}]}
    known: tuple[dict[str, Any], ...] = (
        {"name": [{"text": "Anna Schröder"}], "birthDate": "1984-03-07"},
        {"name": [{"family": "Schröder", "given": ["Anna"]}], "birthDate": "1984-03"},
        {"name": [{"family": "Schröder", "given": ["Anna"]}], "birthDate": "1984", "gender": "female"},
    )
    for one in known:
        found = await matches(people, {"resourceType": "Patient", **one})
        assert found and found[0][0] == "anna", one
    assert (await people.post("/Patient/$match", json=anna)).status_code == 200
    little: tuple[dict[str, Any], ...] = (
        {},
        {"birthDate": "1984"},
        {"birthDate": "1984-03"},
        {"name": [{"family": "Schröder"}]},
        {"name": [{"given": ["Anna"]}]},
        {"name": [{"text": "Schröder"}]},
        {"gender": "female", "address": [{"city": "Leeds"}]},
    )
    for one in little:
        answer = await people.post("/Patient/$match", json={"resourceType": "Patient", **one})
        assert answer.status_code == 400, one
        assert "a given and a family name, a whole birth date" in answer.text


async def test_grades_and_scores_in_order(people: Http) -> None:
    found = await matches(people, ANNA)
    assert [(id_, grade) for id_, grade, _ in found] == [("anna", "certain"), ("peter", "possible")]
    scores = [score for _, _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.999 > scores[1] > 0
    assert await matches(people, ANNA, count=1) == found[:1]
    assert await matches(people, ANNA, onlyCertainMatches=True) == found[:1]
    assert await matches(people, ANNA, onlyCertainMatches=False) == found
    direct = await people.post("/Patient/$match", json=ANNA)
    assert direct.json()["total"] == 2


async def test_what_is_known_may_be_little(people: Http) -> None:
    for known in (
        {"identifier": ANNA["identifier"]},
        {"name": [{"family": "Schroder", "given": ["Ana"]}], "birthDate": "1984-03-07"},
        {"name": [{"family": "Anna", "given": ["Schroeder"]}], "birthDate": "1984-07-03"},
        {"telecom": ANNA["telecom"], "name": ANNA["name"]},
    ):
        found = await matches(people, {"resourceType": "Patient", **known})
        assert found and found[0][0] == "anna", known


@pytest.mark.parametrize(
    "body",
    [
        asking({"resourceType": "Patient"}),
        asking({"resourceType": "Patient", "gender": "male"}),
        asking({"resourceType": "Practitioner"}),
        asking(ANNA, count=0),
        {"resourceType": "Parameters"},
        {"resourceType": "Practitioner"},
    ],
)
async def test_too_little_is_refused(people: Http, body: dict[str, Any]) -> None:
    answer = await people.post("/Patient/$match", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_nobody(people: Http) -> None:
    stranger = {
        "resourceType": "Patient",
        "name": [{"family": "Xyzzy", "given": ["Plugh"]}],
        "birthDate": "1901-02-03",
    }
    answer = await people.post("/Patient/$match", json=asking(stranger))
    assert answer.json() == {"resourceType": "Bundle", "type": "searchset", "total": 0}
    blank = {"resourceType": "Patient", "name": [{"family": "...", "given": ["-"]}]}
    assert (await people.post("/Patient/$match", json=asking(blank))).json()["total"] == 0


async def test_the_database_finds_whom_the_pure_search_finds(people: Http) -> None:
    """Whoever has a second record finds it with grade probable or better."""
    described = hard(80)
    same = true_pairs([who for who, _ in described])
    assert len(same) > 80
    right = 0
    for one, other in sorted(same):
        found = await matches(people, {k: v for k, v in described[one][1].items() if k != "id"}, count=100)
        grades = {id_: grade for id_, grade, _ in found}
        assert grades[described[one][1]["id"]] in ("certain", "probable")
        right += grades.get(described[other][1]["id"]) in ("certain", "probable")
    assert right / len(same) >= 0.95


async def test_several_certain_ones_are_nobody(people: Http) -> None:
    again = {**ANNA, "id": "again", "identifier": [{"system": "urn:other", "value": "1"}]}
    assert (await people.put("/Patient/again", json=again)).status_code == 201
    assert {grade for _, grade, _ in (await matches(people, ANNA))[:2]} == {"certain"}
    answer = (await people.post("/Patient/$match", json=asking(ANNA, onlyCertainMatches=True))).json()
    assert answer["total"] == 0
    assert answer["entry"][0]["resource"]["issue"][0]["code"] == "multiple-matches"
    linked = again | {
        "active": False,
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/anna"}}],
    }
    assert (await people.put("/Patient/again", json=linked)).status_code == 200
    found = await matches(people, ANNA, onlyCertainMatches=True)
    assert [id_ for id_, _, _ in found] == ["anna"], "linked records are one candidate"
    moved = ANNA | {"name": [{"family": "Zzz", "given": ["Q"]}], "identifier": again["identifier"]}
    described = {key: moved[key] for key in ("resourceType", "identifier", "birthDate")}
    assert (await matches(people, described))[0][0] == "anna", (
        "of what was merged away the other one is given"
    )
    assert (await people.delete("/Patient/again")).status_code == 204
    assert [id_ for id_, _, _ in await matches(people, ANNA, onlyCertainMatches=True)] == ["anna"]


async def test_links_are_followed_to_the_end(people: Http) -> None:
    """A record that was replaced by one that was itself replaced: the last one is given, once."""
    alike: dict[str, Any] = {
        "birthDate": "1961-12-24",
        "name": [{"family": "Quillfeather", "given": ["Ida"]}],
    }
    for id_, to in (("k3", None), ("k2", "k3"), ("k1", "k2"), ("j1", "k3")):
        link = [{"type": "replaced-by", "other": {"reference": f"Patient/{to}"}}] if to else []
        known = alike if id_ in ("k1", "j1") else {}
        more = {"link": link, "active": False} if to else {}
        patient = {"resourceType": "Patient", "id": id_, **known, **more}
        assert (await people.put(f"/Patient/{id_}", json=patient)).status_code == 201
    assert [id_ for id_, _, _ in await matches(people, {"resourceType": "Patient", **alike})] == ["k3"]
    round_ = {
        "resourceType": "Patient",
        "id": "k3",
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/k1"}}],
    }
    assert (await people.put("/Patient/k3", json=round_)).status_code == 200
    assert len(await matches(people, {"resourceType": "Patient", **alike})) == 1


async def test_only_whom_the_caller_may_see(people: Http, database: str) -> None:
    active = await granted(database, "system/Patient.rs?active=false")
    wide = await granted(database, "system/Patient.rs")
    other = await granted(database, "system/Observation.rs")
    async with serving(database, auth="smart") as http:

        async def asked(who: Any) -> httpx.Response:
            return await http.post("/Patient/$match", json=asking(ANNA), headers=who.headers)

        assert (await asked(active)).json() == {"resourceType": "Bundle", "type": "searchset", "total": 0}
        assert (await asked(wide)).json()["total"] == 2
        assert (await asked(other)).status_code == 403
        assert (await http.post("/Patient/$match", json=asking(ANNA))).status_code == 401


async def test_more_than_are_compared_is_said(people: Http) -> None:
    many = [
        {"resourceType": "Patient", "name": [{"family": f"F{n}"}], "birthDate": "1950-05-05"}
        for n in range(BLOCK_MAX + 1)
    ]
    entries = [entry("POST", "Patient", one) for one in many]
    assert (await people.post("", json=bundle("transaction", entries))).status_code == 200
    asked = {"resourceType": "Patient", "birthDate": "1950-05-05", "name": [{"family": "F7"}]}
    answer = (await people.post("/Patient/$match", json=asking(asked))).json()
    assert answer["entry"][-1]["resource"]["issue"][0]["code"] == "incomplete"
