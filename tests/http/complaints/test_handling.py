"""Searches that other servers answer with more than was asked for, in silence.

Among them hapi-fhir #2361, medplum's and aws' servers' answers to misspelt names.
"""

import httpx
import pytest
import pytest_asyncio

from tests.http.support import put

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    for number in range(3):
        await put(http, {"resourceType": "Patient", "id": f"p{number}", "active": True})


MISSPELT = [
    "Patient?familly=smith",
    "Patient?birthDate=1970",
    "Patient?identifer=1",
    "Patient?general_practitioner=1",
    "Patient?_lastupdated=2020",
    "Patient?_id=p0&nmae=x",
    "Observation?pateint=p0",
    "Observation?patient.nmae=x",
    "Patient?_has:Observation:patient:cod=x",
    "Patient?_sort=brithdate",
    "Patient?_include=Patient:orgnization",
    "Patient?_revinclude=Observation:pateint",
    "?_type=Patient&brithdate=1970",
]


@pytest.mark.parametrize("search", MISSPELT)
async def test_a_misspelt_parameter_is_ignored(http: Http, search: str) -> None:
    """It is refused with what was probably meant, unless the caller wants it to be ignored and is told."""
    answer = await http.get(f"/{search}")
    assert answer.status_code == 400
    said = answer.json()["issue"][0]["diagnostics"]
    assert "alike: " in said or "did you mean" in said, said
    lenient = await http.get(f"/{search}", headers={"Prefer": "handling=lenient"})
    assert lenient.status_code == 200
    outcomes = [e["resource"] for e in lenient.json()["entry"] if e["search"]["mode"] == "outcome"]
    assert said.split(";")[0] in outcomes[0]["issue"][0]["diagnostics"]


async def test_a_misspelt_criterion_deletes_everything(http: Http) -> None:
    """Conditional interactions are strict whatever the handling."""
    for handling in ("strict", "lenient"):
        headers = {"Prefer": f"handling={handling}"}
        assert (await http.delete("/Patient?identifer=1", headers=headers)).status_code == 400
        assert (
            await http.put("/Patient?identifer=1", json={"resourceType": "Patient"}, headers=headers)
        ).status_code == 400
        created = await http.post(
            "/Patient", json={"resourceType": "Patient"}, headers={"If-None-Exist": "identifer=1", **headers}
        )
        assert created.status_code == 400
    assert (await http.get("/Patient?_summary=count")).json()["total"] == 3


async def test_lists_of_misspelt_values_find_everything(http: Http) -> None:
    """A value that nothing has is no reason to leave the condition out."""
    for search in ("Patient?active=false", "Patient?_id=nobody", "Patient?gender=malle", "Patient?_tag=x"):
        bundle = (await http.get(f"/{search}")).json()
        assert bundle["total"] == 0, search
