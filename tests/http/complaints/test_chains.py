"""Chains that other servers refuse or cannot finish."""

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.http.complaints.test_cost import multiply
from tests.http.support import Resource, found, put
from tests.support.statements import recorded, work

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
OID = "urn:oid:2.999.1.2.3.4"
MANY = 10_000
ROWS_MAX = 500


def provenance(target: str) -> Resource:
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target}],
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/1"}}],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    await put(
        http,
        {"resourceType": "Patient", "id": "p1", "identifier": [{"system": OID, "value": "IPF-1"}]},
    )
    await put(
        http,
        {"resourceType": "Device", "id": "d1", "identifier": [{"system": OID, "value": "IPF-2"}]},
    )
    for number, subject in enumerate(["Patient/p1", "Device/d1"], 1):
        await put(
            http,
            {
                "resourceType": "DocumentReference",
                "id": f"doc{number}",
                "status": "current",
                "subject": {"reference": subject},
                "content": [{"attachment": {"url": "Binary/1"}}],
            },
        )
        await put(http, {**provenance(subject), "id": f"prov{number}"})


async def ids(http: Http, search: str) -> set[str]:
    return {one["id"] for one in await found(http, search)}


async def test_patient_identifier_is_ambiguous_microsoft_fhir_server_3839(http: Http) -> None:
    """`patient` may point at a Group by its definition, but by its expression only at a Patient."""
    for name in ("patient.identifier", "patient:Patient.identifier", "subject.identifier"):
        assert await ids(http, f"DocumentReference?{name}={OID}|IPF-1") == {"doc1"}
        assert await ids(http, f"DocumentReference?{name}=IPF-1") == {"doc1"}
    assert await ids(http, f"DocumentReference?patient.identifier={OID}|IPF-2") == set()
    assert await ids(http, f"DocumentReference?subject.identifier={OID}|IPF-2") == {"doc2"}


async def test_an_unqualified_chain_by_id_finds_nothing_hapi_fhir_8025(http: Http) -> None:
    """One of the types that a reference may point at has no such id: the others may."""
    assert await ids(http, "DocumentReference?subject._id=p1") == {"doc1"}
    assert await ids(http, "DocumentReference?subject._id=p1,d1") == {"doc1", "doc2"}
    assert await ids(http, "DocumentReference?subject._id=nobody,d1") == {"doc2"}


async def test_unqualified_chains_explode_hapi_fhir_8247(http: Http, connection: asyncpg.Connection) -> None:
    """What a Provenance is about may be of any type: a statement that says of which types there is anything,
    and the search, which looks at few rows of many."""
    elsewhere = {**provenance("Patient/elsewhere"), "id": "elsewhere"}
    await multiply(connection, await put(http, elsewhere), MANY)
    for asked, expected in [
        (f"{OID}|IPF-1", {"prov1"}),
        (f"{OID}|IPF-2,{OID}|IPF-1", {"prov1", "prov2"}),
        (f"{OID}|nothing", set()),
    ]:
        with recorded() as statements:
            assert await ids(http, f"Provenance?target.identifier={asked}") == expected
        assert len(statements) == 2
        assert await work(connection, statements) < ROWS_MAX
